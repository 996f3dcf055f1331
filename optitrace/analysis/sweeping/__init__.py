"""Sweeps: one optimizer under many settings at once, by its rule, and torch itself as the judge."""
