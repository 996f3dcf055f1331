"""What is odd about parameter groups, beside groups that are as they should be."""

from __future__ import annotations

from typing import Any

import pytest
from support.trainings import seen, stepped

from optitrace.analysis.training.diagnoses.registry import diagnose
from optitrace.records.findings import Diagnosis
from optitrace.records.training import OptimizerTrace, WatchedParameter

WEIGHT = WatchedParameter("dense.weight", (4, 2), "float32", module="Linear")
BIAS = WatchedParameter("dense.bias", (4,), "float32", 1, module="Linear")
NORM = WatchedParameter("norm.weight", (4,), "float32", module="LayerNorm")
EMBEDDING = WatchedParameter("embedding.weight", (9, 4), "float32", module="Embedding")
SPARED = WatchedParameter("tokens.weight", (9, 4), "float32", 1, module="Embedding")


def of(cls: str, parameters: tuple[WatchedParameter, ...], *groups: dict[str, Any]) -> OptimizerTrace:
    """Return an optimizer over parameters, with the hyperparameters of its groups."""
    path = f"torch.optim.{cls.lower()}.{cls}"
    return stepped(cls, class_path=path, parameters=parameters, hyperparameters=groups)


def found(optimizer: OptimizerTrace) -> list[Diagnosis]:
    diagnoses = list(diagnose(seen(optimizer)))
    assert all((one.severity, one.step) == ("remark", 1) for one in diagnoses)
    return diagnoses


def test_a_group_without_parameters_is_told() -> None:
    [one] = found(of("SGD", (WEIGHT,), {"lr": 0.1}, {"lr": 0.1}))

    assert (one.fault, one.parameter) == ("empty group", None)
    assert one.fact == "group 1 of SGD has no parameter that a step can move"
    [two] = found(of("SGD", (WEIGHT,), {"lr": 0.1}, {"lr": 0.1}, {"lr": 0.1}))
    assert two.fact == "groups 1, 2 of SGD have no parameter that a step can move"
    assert found(of("SGD", (WEIGHT, BIAS), {"lr": 0.1}, {"lr": 0.1})) == []


DECAY, NO_DECAY = {"lr": 0.1, "weight_decay": 0.01}, {"lr": 0.1, "weight_decay": 0.0}


def test_a_norm_that_decays_beside_biases_that_do_not_is_told() -> None:
    [one] = found(of("AdamW", (WEIGHT, NORM, BIAS), DECAY, NO_DECAY))

    assert (one.fault, one.parameter, one.parameters) == ("norm decays", "norm.weight", ("norm.weight",))
    assert one.fact == (
        "norm.weight (LayerNorm) of the parameters of AdamW decays with weight_decay=0.01, though dense.bias "
        "of its norms and biases does not"
    )


@pytest.mark.parametrize(
    ("parameters", "groups"),
    [
        ((WEIGHT, BIAS), (DECAY, NO_DECAY)),
        ((WEIGHT, NORM), (DECAY,)),  # all decays
        ((NORM, WatchedParameter("head.weight", (3, 4), "float32", 1)), (DECAY, NO_DECAY)),  # a head does not
        (
            (NORM, WatchedParameter("embedding.weight", (9, 4), "float32", 1, module="Embedding")),
            (DECAY, NO_DECAY),
        ),
        ((WEIGHT, NORM, BIAS), ({"lr": 0.1}, {"lr": 0.1})),
    ],
)
def test_groups_with_another_meaning_are_not(
    parameters: tuple[WatchedParameter, ...], groups: tuple[dict[str, Any], ...]
) -> None:
    assert found(of("AdamW", parameters, *groups)) == []


def test_an_embedding_or_a_vector_under_muon_is_told() -> None:
    [one] = found(of("Muon", (WEIGHT, EMBEDDING), {"lr": 0.02}))

    assert (one.fault, one.parameter) == ("not a hidden matrix", "embedding.weight")
    assert one.fact.startswith("Muon moves embedding.weight, an embedding: ")
    [vector] = found(of("Muon", (WEIGHT, NORM), {"lr": 0.02}))
    assert vector.fact.startswith("Muon moves norm.weight, of 1 dimension: ")
    assert found(of("Muon", (WEIGHT,), {"lr": 0.02})) == []
    assert found(of("AdamW", (WEIGHT, EMBEDDING), {"lr": 0.02})) == []


@pytest.mark.parametrize(("cls", "ratio"), [("Adam", 100), ("SGD", 100)])
def test_groups_whose_first_updates_differ_more_than_tenfold_are_told(cls: str, ratio: float) -> None:
    """Adam's first update is lr long and SGD's lr times the gradient: either way as the lrs are."""
    [one] = found(of(cls, (WEIGHT, BIAS), {"lr": 1e-3}, {"lr": 0.1}))

    assert (one.fault, one.parameter) == ("groups far apart", "dense.bias")
    assert one.numbers["ratio"] == pytest.approx(ratio, rel=1e-4)
    assert one.fact == (
        f"the first update of group 1 of {cls} is 100 times as long as that of group 0 at the same gradient, "
        "by the rule: their lrs are 0.1 and 0.001"
    )


@pytest.mark.parametrize(
    ("cls", "groups"),
    [
        ("Adam", ({"lr": 0.01}, {"lr": 0.1})),  # a head at ten times the lr
        ("Adam", ({"lr": 0.0}, {"lr": 0.1})),  # a frozen group
        ("Adam", ({"lr": 0.1, "weight_decay": 0.0}, {"lr": 0.1, "weight_decay": 10.0})),
        ("SGD", ({"lr": 0.1, "momentum": 0.99}, {"lr": 0.1})),  # the first step has no momentum yet
        ("Own", ({"lr": 0.001}, {"lr": 0.1})),  # without a rule nothing is known
    ],
)
def test_groups_that_are_near_are_not(cls: str, groups: tuple[dict[str, Any], ...]) -> None:
    assert found(of(cls, (WEIGHT, BIAS), *groups)) == []


def test_layers_whose_lr_falls_step_by_step_are_near_each_other() -> None:
    layers = tuple(WatchedParameter(f"{k}.weight", (4, 2), "float32", k) for k in range(12))

    assert found(of("AdamW", layers, *({"lr": 1e-3 * 0.65**k} for k in range(12)))) == []
