"""A training of very many optimizers: the first few and the last are shown, what is alike is told once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.findings import UNOWNED
from support.made_trainings import optimizer, training
from support.samples import printed, written

from optitrace.analysis.diff_report import diff_trainings
from optitrace.analysis.tolerance import EXACT
from optitrace.records.findings import Diagnosis, RuleAgreement, TrainingFindings
from optitrace.records.training import NamedTraining, OptimizerTrace, TrainingRecord
from optitrace.views.diff_view import training_diff_view
from optitrace.views.display import Display
from optitrace.views.page import html_page
from optitrace.views.pictures.training_scene import training_numbers, training_scene
from optitrace.views.presenters.training import TrainingPresenter
from optitrace.views.training_wording import MOST_ALIKE, MOST_OPTIMIZERS, ending, findings_lines, told

NOTHING = TrainingFindings()

ALL = Display(all_rows=True)

NAMES = ["SGD", *(f"SGD {k}" for k in range(2, 3001))]

FEW = ["SGD", "SGD 2", "SGD 3", "SGD 3000"]


def many(names: Sequence[str] = NAMES) -> TrainingRecord:
    own = optimizer(class_path="torch.optim.sgd.SGD")
    return training(*(replace(own, name=name) for name in names))


def stale(name: str, lr: float = 0.1) -> Diagnosis:
    return Diagnosis("stale gradient", name, 2, None, f"step 2 of {name} is stale", f"lower the lr ({lr})")


def titles(text: str) -> list[str]:
    return re.findall(r"(SGD[ \d]*)\(lr=", text)


def text_of(
    made: TrainingRecord, findings: TrainingFindings = NOTHING, display: Display = ALL, width: int = 80
) -> str:
    return printed(TrainingPresenter(made, findings).table(replace(display, width=width)), width)


@pytest.mark.parametrize("width", [40, 80])
def test_of_very_many_optimizers_the_first_few_and_the_last_are_shown(width: int) -> None:
    text = text_of(many(), display=Display(), width=width)

    assert titles(text) == FEW
    between = text[text.index("SGD 3(") : text.index("SGD 3000(")]
    assert " ".join(between.split()).endswith(
        "2,996 optimizers are hidden, SGD 4 to SGD 2999; --all shows them"
    )


def test_up_to_a_handful_of_optimizers_are_all_shown() -> None:
    names = NAMES[:MOST_OPTIMIZERS]

    assert titles(text_of(many(names), display=Display())) == names
    assert "hidden" not in text_of(many(names), display=Display())
    assert titles(text_of(many(NAMES[: MOST_OPTIMIZERS + 1]), display=Display())) == [*NAMES[:3], "SGD 9"]


def test_all_shows_every_optimizer() -> None:
    assert titles(text_of(many(NAMES[:20]))) == NAMES[:20]


@pytest.mark.parametrize("format", ["markdown", "html"])
def test_markdown_and_html_show_as_many_as_a_table(format: str) -> None:
    def shown(display: Display) -> str:
        if format == "html":
            return html_page(TrainingPresenter(many(NAMES[:20]), NOTHING).page(display))
        return written(TrainingPresenter(many(NAMES[:20]), NOTHING), format, display)

    assert titles(shown(Display())) == [*NAMES[:3], "SGD 20"]
    assert "16 optimizers are hidden, SGD 4 to SGD 19; --all shows them" in shown(Display())
    assert titles(shown(ALL)) == NAMES[:20]


def test_files_of_numbers_have_every_optimizer() -> None:
    [made] = [json.loads(written(TrainingPresenter(many(), NOTHING), "json"))]
    lines = written(TrainingPresenter(many(), NOTHING), "csv").splitlines(keepends=True)

    assert [own["name"] for own in made["optimizers"]] == NAMES
    assert len(lines) == 1 + 3 * 3000


def test_the_steps_of_those_that_are_not_named_are_added_up() -> None:
    """Three steps of each of 2,997 others are 8,991."""
    assert ending(many()) == (
        "completed after 3 steps of SGD, 3 steps of SGD 2, 3 steps of SGD 3 and 8,991 steps of 2,997 more"
    )


def test_a_picture_draws_the_optimizers_of_the_table_that_have_steps() -> None:
    unrecorded = [optimizer((), name=name, taken=3) for name in ("Adam", "Adam 2", "Adam 3")]
    made = replace(many(), optimizers=(*unrecorded, *many().optimizers))
    scene = training_scene(made, NOTHING)
    numbers = training_numbers(made, [1], 4)

    assert [line.name for line in scene.panels[0].lines] == FEW
    assert scene.notes[0] == "2,996 more optimizers are not drawn"
    assert list(dict.fromkeys(section.split(",")[0] for section, _ in numbers.headings)) == FEW


def test_a_fault_of_very_many_optimizers_is_told_once() -> None:
    faults = [stale(name, 0.1 * place) for place, name in enumerate(NAMES, start=1)]
    first, last = told([*faults, UNOWNED])

    assert first.fact == "step 2 of SGD is stale; the same applies to SGD 2, SGD 3 and 2,997 more"
    assert first.remedy == "lower the lr (0.1)"
    assert last == UNOWNED


def test_a_fault_of_a_few_optimizers_or_with_another_remedy_is_told_of_each() -> None:
    few = [stale(name) for name in NAMES[:MOST_ALIKE]]
    other = [replace(stale(name), remedy="raise the lr (0.1)") for name in NAMES[10 : 10 + MOST_ALIKE]]

    assert told([*few, *other]) == [*few, *other]


def test_many_faults_of_one_optimizer_are_told_one_by_one() -> None:
    shared = [replace(stale("SGD"), fact=f"w is in SGD {k} too") for k in range(2, 20)]

    assert told(shared) == shared


def test_all_tells_the_faults_of_every_optimizer() -> None:
    findings = TrainingFindings(tuple(stale(name) for name in NAMES[:20]))

    assert text_of(many(NAMES[:20]), findings).count(" is stale\n") == 20
    assert text_of(many(NAMES[:20]), findings, Display()).count(" is stale") == 1


def test_agreements_of_very_many_optimizers_are_added_up() -> None:
    """Of 3,000 five depart, five have no rule, and 2,990 agree: three by themselves, 2,987 together."""
    found = [
        RuleAgreement(name, "sgd", 3, 2, worst=place / 10000, departure=2 if place < 5 else None)
        for place, name in enumerate(NAMES[:2995])
    ]
    unknown = [RuleAgreement(name, None, note="its class has no rule") for name in NAMES[2995:]]
    lines = list(findings_lines(TrainingFindings(verified=(*found, *unknown))))

    assert [line.partition(" departs")[0] for line in lines[:3]] == NAMES[:3]
    assert lines[3] == "2 more optimizers depart from their rules, SGD 4, SGD 5"
    assert [line.partition(" agree")[0] for line in lines[4:7]] == [
        f"3 steps of {name}" for name in ("SGD 6", "SGD 7", "SGD 8")
    ]
    assert lines[7] == "8,961 steps of 2,987 more optimizers agree with the rule, worst 0.30 units"
    assert lines[11] == "no step of 2 more optimizers was verified"
    assert len(list(findings_lines(TrainingFindings(verified=tuple(found)), tells_all=True))) == 2995


def changed(own: OptimizerTrace) -> OptimizerTrace:
    return optimizer((2.5, 2.25, 1.0), name=own.name)


def test_the_difference_of_very_many_optimizers_shows_the_first_that_differ() -> None:
    one = many()
    other = replace(one, optimizers=(*one.optimizers[:100], *map(changed, one.optimizers[100:])))

    def said(b: TrainingRecord) -> str:
        a_and_b = NamedTraining("a", one), NamedTraining("b", b)
        return printed(training_diff_view(diff_trainings(*a_and_b, lambda dtypes: EXACT), Display()), 200)

    assert re.findall(r"^SGD.*$", said(other), re.MULTILINE) == NAMES[100:108]
    assert "\n2,892 more optimizers differ; --format json has all\n" in said(other)
    assert "\n100 optimizers are the same bit for bit\n" in said(other)
    assert said(one) == "A: a\nB: b\n\n3,000 optimizers are the same bit for bit\n"
