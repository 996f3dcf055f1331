"""The classic mistakes in each rule, so that a departure from it can be given its likely cause.

Each is data: what it is called, and which piece of the rule's source is replaced by what. A test makes
every one of them and shows that the check of torch against the rule notices it. Smaller ones, which have
no name, are derived from the rule's lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from optitrace.rules.mistakes.adam_family import ADAM, ADAMAX, ADAMW, NADAM, RADAM, SPARSEADAM
from optitrace.rules.mistakes.adaptive import ADADELTA, ADAFACTOR, ADAGRAD, RMSPROP
from optitrace.rules.mistakes.derived import derived_mistakes
from optitrace.rules.mistakes.gradient_descent import ASGD, RPROP, SGD
from optitrace.rules.mistakes.mistake import Mistake, damaged
from optitrace.rules.mistakes.orthogonal import MUON

__all__ = ["MISTAKES", "Mistake", "damaged", "derived_mistakes"]

MISTAKES: Mapping[str, tuple[Mistake, ...]] = MappingProxyType(
    {
        "sgd": SGD,
        "asgd": ASGD,
        "rprop": RPROP,
        "adam": ADAM,
        "adamw": ADAMW,
        "adamax": ADAMAX,
        "nadam": NADAM,
        "radam": RADAM,
        "sparseadam": SPARSEADAM,
        "adagrad": ADAGRAD,
        "rmsprop": RMSPROP,
        "adadelta": ADADELTA,
        "adafactor": ADAFACTOR,
        "muon": MUON,
    }
)
"""What implementers get wrong, by the name of the rule."""
