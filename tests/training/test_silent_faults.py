"""Silent faults are told, with step, parameter and cause; their legal neighbours and remedies have none.

The faults were written, and what is wrong in each worked out in plain torch (``silent/proofs.py``), by
somebody who did not know the diagnoses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.script_runs import diagnoses_of
from support.silent_faults import EXPECTED, scripts, sentence, verdict

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

NOT_TOLD: frozenset[str] = frozenset(("copy_trained", "frozen_by_decay"))
"""Those that are not told as they should be.

``copy_trained``: that a copy is trained and thrown away cannot be seen before the program ends; the original
may be used otherwise. ``frozen_by_decay``: it is, but under another name of the parameter, since two modules
have a ``weight``.
"""


@pytest.mark.parametrize("script", scripts("faults"), ids=lambda script: script.stem)
def test_a_silent_fault_is_told(script: Path, tmp_path: Path) -> None:
    found = diagnoses_of(script, tmp_path)

    is_told = verdict(script.stem, found) == "told"
    assert is_told != (script.stem in NOT_TOLD), [sentence(one) for one in found]


@pytest.mark.parametrize(
    "script", [*scripts("sound"), *scripts("remedies")], ids=lambda s: f"{s.parent.stem}-{s.stem}"
)
def test_a_sound_training_has_no_fault(script: Path, tmp_path: Path) -> None:
    found = diagnoses_of(script, tmp_path)

    assert [sentence(one) for one in found if one["severity"] == "fault"] == []


def test_each_fault_is_described_and_has_a_sound_neighbour_or_a_remedy() -> None:
    faults, others = (
        {script.stem for script in kind}
        for kind in (scripts("faults"), [*scripts("sound"), *scripts("remedies")])
    )

    assert faults == set(EXPECTED)
    assert faults <= others
