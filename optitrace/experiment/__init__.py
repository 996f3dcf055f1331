"""Objectives, and the settings of one run; neither imports torch."""
