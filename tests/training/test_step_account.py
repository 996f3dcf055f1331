"""One step of a training beside those before it, and what made its update so long."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.runs import run
from support.trainings import PARAMETERS, seen, stepped

from optitrace.analysis.training.diagnoses.step_size import step_exponents
from optitrace.analysis.training.step_account import accounts_of, concerns
from optitrace.errors import UsageError
from optitrace.records.findings import Diagnosis, TrainingFindings
from optitrace.records.trace import Column
from optitrace.records.training import OptimizerTrace, TrainingRecord
from optitrace.records.writer import fields_of, json_chunks
from optitrace.views.presenters.step_account import made


def column(*numbers: float) -> Column:
    return Column(array("d", numbers), ())


def adam(steps: int = 20) -> OptimizerTrace:
    """Return Adam whose last step has ten times the first moment and four times the second, at half the lr.

    By m / √v · lr its update is 10 / √4 / 2 = 2.5 times as long as those before.
    """
    before = steps - 1
    columns = {"lr": [0.1] * before + [0.05], "update_norm": [0.02] * before + [0.05]}
    state = {"exp_avg": column(*[1.0] * before, 10.0), "exp_avg_sq": column(*[1.0] * before, 4.0)}
    return replace(
        stepped("Adam", steps=steps, columns=columns, class_path="torch.optim.adam.Adam"), state=state
    )


@pytest.mark.parametrize(
    ("cls", "settings", "powers"),
    [
        ("adam.Adam", {"lr": 0.1}, {"exp_avg": 1.0, "exp_avg_sq": -0.5}),
        ("adamw.AdamW", {"lr": 0.1, "weight_decay": 0.5}, {"exp_avg": 1.0, "exp_avg_sq": -0.5}),
        ("rmsprop.RMSprop", {"lr": 0.1}, {"gradient": 1.0, "square_avg": -0.5}),
        ("adamax.Adamax", {"lr": 0.1}, {"exp_avg": 1.0, "exp_inf": -1.0}),
        ("adagrad.Adagrad", {"lr": 0.1}, {"gradient": 1.0, "sum": -0.5}),
        ("sgd.SGD", {"lr": 0.1}, {"gradient": 1.0}),
        ("sgd.SGD", {"lr": 0.1, "momentum": 0.9}, {"momentum_buffer": 1.0}),
        ("sgd.SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, {}),  # a sum: g + 0.9 buffer
        ("own.Own", {"lr": 0.1}, {}),  # no rule is known
    ],
)
def test_the_powers_of_a_rule_are_those_of_its_last_line(
    cls: str, settings: dict[str, Any], powers: dict[str, float]
) -> None:
    optimizer = stepped(class_path=f"torch.optim.{cls}", hyperparameters=(settings,))

    assert step_exponents(optimizer) == pytest.approx(powers)


def test_an_update_is_the_product_of_lr_and_powers_of_the_state() -> None:
    [account] = accounts_of(seen(adam()), 20)

    assert dict(account.factors) == pytest.approx({"lr": 0.5, "exp_avg": 10.0, "exp_avg_sq": 0.5})
    assert account.is_whole
    assert account.rest == pytest.approx(1.0)
    assert made(account) == (
        "the update is 2.5 times as long as usual: 0.5 by lr, 10 by exp_avg, 0.5 by exp_avg_sq and 1 by what "
        "the norms do not show"
    )


def test_without_the_norms_of_the_state_the_lr_alone_is_told_apart() -> None:
    [account] = accounts_of(seen(replace(adam(), state={})), 20)

    assert (account.factors, account.is_whole) == ((("lr", 0.5),), False)
    assert made(account) == (
        "the update is 2.5 times as long as usual: 0.5 by lr and 5 by gradient and state together; "
        "'optitrace run --state' records the norms of the state"
    )


def test_an_update_as_usual_needs_no_cause() -> None:
    [account] = accounts_of(seen(adam()), 19)

    assert made(account) == ""


def test_a_step_is_compared_with_the_median_of_those_before_it() -> None:
    columns = {"loss": [1.0, 2.0, 6.0, 4.0, 9.0]}
    [account] = accounts_of(seen(stepped(steps=5, columns=columns)), 5)
    stands = account.numbers[0].stands

    assert stands is not None
    assert (account.numbers[0].name, stands.value, stands.usual, stands.factor) == ("loss", 9.0, 3.0, 3.0)
    assert (stands.least, stands.greatest, stands.rows) == (1.0, 6.0, 4)
    [early] = accounts_of(seen(stepped(steps=5)), 3)  # two steps are no window
    assert all(one.stands is None for one in early.numbers)
    assert made(early) == ""


def test_the_parameters_that_differ_the_most_come_first() -> None:
    norms = array("d", [1.0, 1.0] * 20)
    norms[2 * 19 + 1] = 7.0
    optimizer = replace(adam(), by_parameter={"gradient_norm": Column(norms, (2,))})
    [account] = accounts_of(seen(optimizer), 20)

    assert [(one.name, one.value) for one in account.parameters] == [
        (PARAMETERS[1].name, 7.0),
        (PARAMETERS[0].name, 1.0),
    ]


def test_a_step_that_was_not_recorded_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^step 21 was not recorded; recorded are steps 1 to 20\.$"):
        accounts_of(seen(adam()), 21)


def test_a_diagnosis_concerns_its_step_and_those_that_remember_it() -> None:
    spike = Diagnosis("spike", "Adam", 37, None, "", "", numbers={"until": 50.0})

    assert [concerns(spike, step) for step in (36, 37, 50, 51)] == [False, True, True, False]
    assert not concerns(replace(spike, step=None), 37)


def saved(training: TrainingRecord, folder: Path) -> str:
    path = folder / "training.json"
    path.write_text("".join(json_chunks(training, fields_of(TrainingFindings()))))
    return str(path)


def test_show_why_shows_the_step_beside_the_others(tmp_path: Path) -> None:
    finished = run("show", saved(seen(adam()), tmp_path), "--why", "20")

    assert (finished.code, finished.stderr) == (0, "")
    assert "step 20 of Adam, with a gradient that is fresh" in finished.stdout
    assert "update norm" in finished.stdout
    assert "the update is 2.5 times as long as usual" in " ".join(finished.stdout.split())


def test_show_why_as_json_has_the_exact_numbers(tmp_path: Path) -> None:
    finished = run("show", saved(seen(adam()), tmp_path), "--why", "20", "--format", "json")

    written = json.loads(finished.stdout)
    [account] = written["accounts"]
    assert written["diagnoses"] == []
    assert (account["optimizer"], account["step"], account["kind"]) == ("Adam", 20, "fresh")
    assert [one["value"] for one in account["numbers"] if one["name"] == "update_norm"] == [0.05]


def test_a_number_that_is_not_finite_is_shown_without_a_comparison(tmp_path: Path) -> None:
    path = saved(seen(stepped(steps=20, columns={"loss": [1.0] * 19 + [float("nan")]})), tmp_path)
    table, written = (run("show", path, "--why", "20", *more) for more in ((), ("--format", "json")))

    assert " ".join(["loss", "nan"]) in " ".join(table.stdout.split())
    loss = json.loads(written.stdout)["accounts"][0]["numbers"][0]
    assert loss == {"name": "loss", "value": "NaN", "stands": None}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--why", "0"), "why is '0'; it must be a positive integer."),
        (("--why", "21"), "step 21 was not recorded; recorded are steps 1 to 20."),
        (("--why", "20", "--params"), "--why shows one step, and --params says nothing of it; leave it out."),
        (("--why", "20", "--allow", "spike"), "--why shows one step, and --allow says nothing of it"),
        (("--why", "20", "--format", "csv"), "csv"),
    ],
)
def test_show_why_refuses_what_it_cannot_do(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    finished = run("show", saved(seen(adam()), tmp_path), *options)

    assert (finished.code, finished.stdout) == (2, "")
    assert said in finished.stderr


def test_show_why_is_for_trainings(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    run("sgd", "-n", "3", "-o", str(path))
    finished = run("show", str(path), "--why", "2")

    assert finished.code == 2
    assert finished.stderr == "optitrace: --why is for trainings, and this is a trace; use --explain.\n"
