"""Findings made by hand."""

from __future__ import annotations

from optitrace.records.findings import Diagnosis, RankAgreement, RuleAgreement, TrainingFindings

STALE = Diagnosis(
    fault="stale gradient",
    optimizer="AdamW",
    step=2,
    parameter=None,
    fact="step 2 of AdamW used the gradient of step 1 once more, as did 57 later steps",
    remedy="no backward came between the two; call loss.backward() before each optimizer.step()",
)

UNOWNED = Diagnosis(
    fault="unowned parameter",
    optimizer="",
    step=None,
    parameter="head.weight",
    fact="no optimizer has head.weight, which asks for a gradient",
    remedy="it never changes; give it to an optimizer, or freeze it with requires_grad_(False)",
)

REMARK = Diagnosis(
    fault="clipped gradient",
    optimizer="AdamW",
    step=1,
    parameter=None,
    fact="clipping cuts the gradient of AdamW in 3 of 3 steps",
    remedy="this hardly changes the size of its steps",
    severity="remark",
)

AGREES = RuleAgreement("AdamW", "adamw", steps=1200, coordinates=64, worst=2.125, allowed=8.0)

DEPARTS = RuleAgreement(
    "AdamW",
    "adamw",
    1200,
    64,
    worst=820.0,
    allowed=8.0,
    departure=3,
    quantity="exp_avg",
    parameter="fc1.bias",
)

NO_RULE = RuleAgreement("Lion", None, note="its class has no rule")

PARTED = RankAgreement(2, False, "AdamW", 3, "fc1.bias", (0, 1), (1.0, 1.5))

FINDINGS = TrainingFindings((STALE, UNOWNED), (AGREES, NO_RULE), PARTED)
