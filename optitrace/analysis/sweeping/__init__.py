"""Sweeps: one optimizer under many settings at once, by its rule, checked with torch."""
