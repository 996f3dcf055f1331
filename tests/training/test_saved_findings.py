from __future__ import annotations

import pytest
from support.findings import DEPARTS, FINDINGS, REMARK, UNOWNED
from support.made_trainings import training

from optitrace.records.findings import RankAgreement, TrainingFindings
from optitrace.records.reader import parse_training
from optitrace.records.writer import exact_all, fields_of, json_chunks


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
    content = "".join(json_chunks(training(), fields_of(found))).encode()

    assert parse_training(content).findings == TrainingFindings(
        tuple(found.diagnoses), tuple(found.verified), found.ranks
    )


def test_a_diagnosis_that_was_saved_without_its_severity_is_a_fault() -> None:
    fields = exact_all(TrainingFindings((UNOWNED,)))
    del fields["diagnoses"][0]["severity"]
    content = "".join(json_chunks(training(), fields)).encode()

    assert parse_training(content).findings.diagnoses == (UNOWNED,)


def test_what_was_not_asked_for_is_empty_in_the_file() -> None:
    assert exact_all(TrainingFindings()) == {"diagnoses": [], "verified": []}
