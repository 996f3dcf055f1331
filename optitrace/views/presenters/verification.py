"""A verification as it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from optitrace.analysis.verification.check import (
    ALLOWED,
    RUN_ALLOWED,
    SCHEMA,
    Check,
    ClaimOutcome,
    Conformance,
    Departure,
    Verdict,
    VerificationResult,
    code_of,
)
from optitrace.records.writer import exact_all
from optitrace.rules.hyperparameter import show
from optitrace.views.display import Display
from optitrace.views.formats import HasCases, HasJson, HasPage, HasRows, Presenter, ReportCase
from optitrace.views.page import Paragraph, Section, grid_of_words
from optitrace.views.tables import as_text, headed_table

DEPARTS = "DEPARTS"
"""The verdict that is set in red."""


@dataclass(frozen=True, slots=True)
class VerificationPresenter(Presenter, HasJson, HasRows, HasPage, HasCases):
    """What verifying found."""

    called: ClassVar[str] = "a verification"

    verification: VerificationResult

    def table(self, display: Display) -> RenderableType:
        """Return a line for each optimizer and implementation, and below what is to be said of them."""
        checks, conformances = self.verification.checks, self.verification.conformances
        parts: list[RenderableType] = []
        if checks:
            said = as_text([*_legend(checks), *_notes(checks)], display, "dim")
            parts += [Text(), _table(checks, display), Text(), *said]
        for head, *lines in _departures(checks):
            parts += [Text(), *as_text([head], display, "bold red")]
            parts += [Padding(line, (0, 0, 0, 2), expand=False) for line in as_text(lines, display)]
        for name in dict.fromkeys(conformance.optimizer for conformance in conformances):
            own = [c for c in conformances if c.optimizer == name]
            parts += [Text(), *as_text([name], display, "bold"), _claims(own, display)]
        if summary := _summary(self.verification):
            parts += [Text(), *as_text([summary], display, "bold")]
        return Group(*parts[1:])

    def json(self, display: Display) -> Iterator[str]:
        """Yield all that was found as one object."""
        found = self.verification
        data = {
            "schema": SCHEMA,
            "passed": found.passed,
            "checks": [{**asdict(c), "cause_codes": [*map(code_of, c.causes)]} for c in found.checks],
            "conformances": [{**asdict(c), "code": code_of(c.claim)} for c in found.conformances],
        }
        yield json.dumps(exact_all(data), indent=2, ensure_ascii=False) + "\n"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield a row for each optimizer, implementation and dtype that was checked against a rule."""
        columns = (
            "optimizer",
            "rule",
            "implementation",
            "dtype",
            "configurations",
            "verdict",
            "worst_step_error",
            "worst_run_error",
        )
        yield columns
        for check in self.verification.checks:
            yield [getattr(check, column) for column in columns]

    def page(self, display: Display) -> Iterator[Section]:
        """Yield what the table shows, what was decided first."""
        checks, conformances = self.verification.checks, self.verification.conformances
        if summary := _summary(self.verification):
            yield Paragraph([summary])
        if checks:
            yield grid_of_words(*_rows_of_words(checks))
            if said := [*_legend(checks), *_notes(checks)]:
                yield Paragraph(said)
        yield from map(Paragraph, _departures(checks))
        if conformances:
            rows = [(c.optimizer, c.claim, c.outcome, c.finding) for c in conformances]
            yield grid_of_words(("optimizer", "claim", "outcome", "finding"), rows)

    def cases(self) -> Iterator[ReportCase]:
        """Yield each check against a rule, and each general claim."""
        for check in self.verification.checks:
            name = ", ".join(filter(None, (f"rule {check.rule}", check.implementation, check.dtype)))
            if check.verdict is Verdict.DEPARTS:
                [[message, *lines]] = _departures([check])
                yield ReportCase(check.optimizer, name, "failed", message, "\n".join([message, *lines]))
            elif check.verdict is Verdict.AGREES:
                yield ReportCase(check.optimizer, name)
            else:
                yield ReportCase(check.optimizer, check.verdict, "skipped", "; ".join(check.notes))
        for claimed in self.verification.conformances:
            outcome = _OUTCOMES[claimed.outcome]
            said = "" if outcome == "passed" else f"{claimed.claim}: {claimed.finding}"
            text = said if outcome == "failed" else ""
            yield ReportCase(claimed.optimizer, claimed.claim, outcome, said, text)


_OUTCOMES: Mapping[ClaimOutcome, Literal["passed", "failed", "skipped"]] = {
    ClaimOutcome.PASSED: "passed",
    ClaimOutcome.FAILED: "failed",
    ClaimOutcome.NOT_APPLICABLE: "skipped",
}


def _table(checks: Sequence[Check], display: Display) -> RenderableType:
    """Return a row for each optimizer and implementation, with a column for each dtype."""
    headings, rows = _rows_of_words(checks)
    _, _, *numbers, _ = headings
    return headed_table(headings, rows, display, alarm=DEPARTS, numbers=numbers)


def _rows_of_words(checks: Sequence[Check]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the table."""
    dtypes = list(dict.fromkeys(check.dtype for check in checks if check.dtype))
    has_runs = any(check.worst_run_error is not None for check in checks)
    headings = ["optimizer", "implementation", "settings", *dtypes, *(["run"] if has_runs else []), "verdict"]
    return headings, [_cells(row, dtypes, has_runs) for row in _rows(checks)]


def _cells(row: Mapping[str, Check], dtypes: Sequence[str], has_runs: bool) -> list[str]:
    first = next(iter(row.values()))
    runs = [c.worst_run_error for c in row.values() if c.worst_run_error is not None]
    return [
        first.optimizer,
        first.implementation,
        str(first.configurations or ""),
        *(_units(row[dtype].worst_step_error) if dtype in row else "" for dtype in dtypes),
        *([_relative(runs[0]) if runs else ""] if has_runs else []),
        DEPARTS if Verdict.DEPARTS in {check.verdict for check in row.values()} else first.verdict,
    ]


def _rows(checks: Iterable[Check]) -> Iterable[dict[str, Check]]:
    rows: dict[tuple[str, str], dict[str, Check]] = {}
    for check in checks:
        rows.setdefault((check.optimizer, check.implementation), {})[check.dtype] = check
    return rows.values()


def _units(error: float | None) -> str:
    if error is None:
        return ""
    return f"{error:.1f}" if error < 1000 else f"{error:.0e}"


def _relative(error: float) -> str:
    return f"{error:.0e}" if error else "0"


def _legend(checks: Sequence[Check]) -> Iterator[str]:
    """Yield what the numbers of the table are."""
    dtypes = list(dict.fromkeys(check.dtype for check in checks if check.dtype))
    if dtypes:
        yield f"{', '.join(dtypes)}: error after one step in eps·max(|before|, |after|), {ALLOWED:g} allowed"
    if any(check.worst_run_error is not None for check in checks):
        yield f"run: relative error of a whole run in float64, {RUN_ALLOWED:g} allowed"


def _notes(checks: Sequence[Check]) -> Iterator[str]:
    """Yield each note once, with the optimizers that it is about."""
    about: dict[str, list[str]] = {}
    for check in checks:
        for note in check.notes:
            names = about.setdefault(note, [])
            if check.optimizer not in names:
                names.append(check.optimizer)
    for note, names in about.items():
        yield f"{', '.join(names)}: {note}"


def _departures(checks: Iterable[Check]) -> Iterator[list[str]]:
    """Yield a paragraph for each way in which an optimizer departs: who, where, how, and why."""
    alike: dict[tuple[Any, ...], list[Check]] = {}
    for check in checks:
        if check.verdict is Verdict.DEPARTS:
            alike.setdefault((check.optimizer, check.causes), []).append(check)
    for same in alike.values():
        # float64 shows most digits
        check = next((c for c in same if c.dtype == "float64"), same[0])
        where = ", ".join(dict.fromkeys(f"{c.implementation} {c.dtype}" for c in same))
        yield [
            f"{check.optimizer} departs from the rule of {check.rule} ({where})",
            *(_place(check.departure) if check.departure else [_run(check)]),
            *(f"agrees with {check.rule} if {cause}" for cause in check.causes),
            *([] if check.causes else [f"no mistake in {check.rule} was found that explains it"]),
        ]


def _place(departure: Departure) -> list[str]:
    settings = ", ".join(f"{name}={show(value)}" for name, value in departure.settings.items())
    where = f"coordinate {departure.coordinate} of {departure.of}" if departure.coordinate else "one number"
    return [
        f"first at step {departure.step} with {settings or 'the defaults'}: {departure.quantity}, {where}",
        *([f"rule:  {departure.line}"] if departure.line else []),
        f"class: {departure.found:.12g}, where the rule gives {departure.expected:.12g}",
        *_suspects(departure),
    ]


def _suspects(departure: Departure) -> Iterator[str]:
    if len(departure.suspects) > 1:
        yield "only weights and state can be seen; each of these lines, alone, would explain this step:"
    elif departure.suspects:
        yield "this line, alone, would explain this step:"
    for suspect in departure.suspects:
        yield f"  {suspect.line} would be {suspect.needed:.12g}, not {suspect.expected:.12g}"


def _run(check: Check) -> str:
    return f"each step agrees, but a whole run is off by {check.worst_run_error:.1e}"


def _claims(conformances: Iterable[Conformance], display: Display) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for conformance in conformances:
        failed = conformance.outcome is ClaimOutcome.FAILED
        outcome = Text(
            "FAILED" if failed else conformance.outcome,
            style="red" if failed else "dim" if conformance.outcome is ClaimOutcome.NOT_APPLICABLE else "",
        )
        table.add_row(outcome, *as_text([f"{conformance.claim}: {conformance.finding}"], display))
    return table


def _summary(verification: VerificationResult) -> str:
    """Return in one line what was decided; empty if nothing was."""
    rules, claims = _ruled(verification.checks), _claimed(verification.conformances)
    if rules and claims:
        return f"{'passed' if verification.passed else 'failed'}: {rules}; {claims}"
    if claims and len(names := {c.optimizer for c in verification.conformances}) == 1:
        return f"{names.pop()}: {claims}"
    return rules or claims


def _ruled(checks: Sequence[Check]) -> str:
    judged = [row for row in _rows(checks) if _is_judged(row)]
    good = sum(all(check.verdict is Verdict.AGREES for check in row.values()) for row in judged)
    if len(judged) == 1:
        [check, *_] = judged[0].values()
        return f"{check.optimizer} {'agrees with' if good else 'departs from'} {_whose(check)}"
    return f"{good} of {len(judged)} implementations agree with their rules" if judged else ""


def _claimed(conformances: Sequence[Conformance]) -> str:
    tried = [c.outcome for c in conformances if c.outcome is not ClaimOutcome.NOT_APPLICABLE]
    if failed := tried.count(ClaimOutcome.FAILED):
        return f"{failed} of {len(tried)} general claims {'fails' if failed == 1 else 'fail'}"
    return f"all {len(tried)} general claims hold" if tried else ""


def _whose(check: Check) -> str:
    return "its rule" if check.optimizer == check.rule else f"the rule of {check.rule}"


def _is_judged(row: Mapping[str, Check]) -> bool:
    return all(check.verdict in (Verdict.AGREES, Verdict.DEPARTS) for check in row.values())
