"""Trace, explain, verify and compare torch optimizers, step by step."""

from optitrace.version import __version__

__all__ = ["__version__"]
