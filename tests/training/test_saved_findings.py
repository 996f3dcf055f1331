from __future__ import annotations

import pytest
from findings import DEPARTS, FINDINGS, REMARK, UNOWNED
from made_trainings import training

from optitrace.analysis.training.findings import RankAgreement, TrainingFindings
from optitrace.analysis.training.saved_findings import findings_fields, saved_findings
from optitrace.records.training_reader import parse_training
from optitrace.records.training_writer import json_chunks


@pytest.mark.parametrize(
    "found",
    [
        FINDINGS,
        TrainingFindings(),
        TrainingFindings((UNOWNED,), (DEPARTS,)),
        TrainingFindings((UNOWNED, REMARK)),
        TrainingFindings(ranks=RankAgreement(4, None, note="rank 3 wrote no file")),
    ],
)
def test_findings_are_read_back_from_a_file_as_they_were(found: TrainingFindings) -> None:
    content = "".join(json_chunks(training(), findings_fields(found))).encode()

    assert saved_findings(parse_training(content).above) == TrainingFindings(
        tuple(found.diagnoses), tuple(found.verified), found.ranks
    )


def test_a_diagnosis_that_was_saved_without_its_severity_is_a_fault() -> None:
    fields = findings_fields(TrainingFindings((UNOWNED,)))
    del fields["diagnoses"][0]["severity"]
    content = "".join(json_chunks(training(), fields)).encode()

    assert saved_findings(parse_training(content).above).diagnoses == (UNOWNED,)


def test_what_was_not_asked_for_is_not_in_the_file() -> None:
    assert findings_fields(TrainingFindings()) == {"diagnoses": []}
