"""What was found out about a training, as its file has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from optitrace.analysis.training.findings import Diagnosis, RankAgreement, RuleAgreement, TrainingFindings


def findings_fields(findings: TrainingFindings) -> dict[str, Any]:
    """Return findings as what stands in a training file above its optimizers."""
    return {
        "diagnoses": [asdict(diagnosis) for diagnosis in findings.diagnoses],
        **({"verified": [asdict(agreement) for agreement in findings.verified]} if findings.verified else {}),
        **({"ranks": asdict(findings.ranks)} if findings.ranks else {}),
    }


def saved_findings(above: Mapping[str, Any]) -> TrainingFindings:
    """Return the findings that stand in a training file, as `SavedTraining.above` has them."""
    return TrainingFindings(
        diagnoses=tuple(Diagnosis(**diagnosis) for diagnosis in above.get("diagnoses", ())),
        verified=tuple(RuleAgreement(**agreement) for agreement in above.get("verified", ())),
        ranks=_ranks(above["ranks"]) if "ranks" in above else None,
    )


def _ranks(given: Mapping[str, Any]) -> RankAgreement:
    pairs = {name: tuple(given[name]) for name in ("ranks", "norms")}
    return RankAgreement(**{**given, **pairs})
