"""Diagnoses: the faults that a training can have, found in its record alone."""
