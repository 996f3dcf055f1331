"""`optitrace verify`: check torch, or custom optimizer classes, against the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optitrace.analysis.verification.check import DTYPES, Scope, VerificationResult
from optitrace.analysis.verification.separate_process import TIMEOUT, Report, Request, verify_separately
from optitrace.cli import options
from optitrace.cli.delivery import leave, plan_delivery
from optitrace.cli.experiment_runner import load_torch
from optitrace.cli.progress import verify_progress
from optitrace.errors import UsageError
from optitrace.experiment.text import whole_number
from optitrace.experiment.user_class import entry_of, is_user_class
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.optimizer import Optimizer
from optitrace.views.presenters.verification import VerificationPresenter

OWN = "Custom class"

SCOPE = "What is tried"

PARAMETERS = (
    options.argument(
        "optimizers",
        list[str] | None,
        default=None,
        metavar="OPTIMIZER",
        help="Optimizers of torch, all if none is named, or custom classes: package.module:Class or "
        "path/file.py:Class.",
    ),
    options.text_option(
        "rule", metavar="OPTIMIZER", panel=OWN, help="The optimizer whose rule it is to follow."
    ),
    options.repeatable_option(
        "settings",
        "--set",
        metavar="NAME=VALUE",
        panel=OWN,
        help="One of its hyperparameters; repeatable.",
    ),
    options.text_option("dtype", metavar="DTYPE", panel=SCOPE, help="float32 or float64; both if not given."),
    options.text_option(
        "implementation",
        metavar="HOW",
        panel=SCOPE,
        help="single, foreach or fused; each that there is if not given.",
    ),
    options.text_option(
        "device",
        metavar="DEVICE",
        default="cpu",
        panel=SCOPE,
        help="Where to compute: cpu, cuda, cuda:N, auto.",
    ),
    options.text_option(
        "timeout",
        metavar="SECONDS",
        default=str(TIMEOUT),
        panel=OWN,
        help="How long one call of the class may take.",
    ),
    *options.delivery_options(VerificationPresenter),
)

HELP = """\
Check every step of torch, or of a custom optimizer class, against its published rule.

Each optimizer runs under settings that exercise every line of its rule, and every step is recomputed \
in float64. A custom class is also checked for what every good optimizer does. The exit code is \
0 if all agree, and 1 if one departs.
"""

EXAMPLES = """\
[bold]Examples[/]

  optitrace verify
  optitrace verify adam sgd --dtype float64
  optitrace verify mine.py:Adam --rule adam
  optitrace verify package.module:Lion --set weight_decay=0.1
  optitrace verify package.module:Lion --rule lion -o report.xml
"""


@options.takes(PARAMETERS)
def verify_optimizers(**given: Any) -> None:
    """Verify, show what was found, and exit with the answer."""
    delivery = plan_delivery(given, VerificationPresenter)
    names, rule = given["optimizers"] or list(TORCH_OPTIMIZERS), given["rule"]
    chosen = [entry_of(name) for name in names if not is_user_class(name)]
    if rule is not None and not is_user_class(rule):
        entry_of(rule)
    if (rule or given["settings"]) and chosen:
        option = "--rule" if rule else "--set"
        raise UsageError(f"{option} is for a custom class; {chosen[0].name} has its rule and settings.")
    scope = Scope(
        dtypes=(given["dtype"],) if given["dtype"] else DTYPES,
        implementation=given["implementation"] or "",
        device=given["device"],
    )
    timeout = whole_number("timeout", given["timeout"], least=1)
    with verify_progress() as report:
        parts = [_verify_catalogued(chosen, scope, report)] if chosen else []
        for name in filter(is_user_class, names):
            texts = tuple(given["settings"])
            request = Request(name, scope, texts=texts, rule=rule, timeout=timeout)
            parts.append(verify_separately(request, report))
    verification = VerificationResult.of(parts)
    leave(delivery.deliver(VerificationPresenter(verification)), is_no=not verification.passed)


def _verify_catalogued(chosen: Sequence[Optimizer], scope: Scope, report: Report) -> VerificationResult:
    load_torch()
    from optitrace.analysis.verification.verify import verify

    return verify(chosen, [], scope, report)
