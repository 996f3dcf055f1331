"""The mistakes that were written down by hand, rule by rule, before most of them were derived.

They are the measure of what is derived: each must be noticed, and each is one of the derived mistakes in
effect, or stands with its rule as an addition to them.
"""

from __future__ import annotations

import json
from pathlib import Path

from optitrace.rules.mistakes import Mistake

KNOWN_MISTAKES = {
    rule: tuple(Mistake(name, changes) for name, changes in mistakes.items())
    for rule, mistakes in json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8")).items()
}
"""By the name of the rule."""
