from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from support.samples import printed

from optitrace.analysis.verification.check import ALLOWED, RUN_ALLOWED, Scope, Verdict
from optitrace.analysis.verification.recorded_run import RecordedRun, agrees, recompute, run_error
from optitrace.analysis.verification.subject import subject_of
from optitrace.analysis.verification.verify import check_subject, record_all, verify
from optitrace.errors import DeviceError, UsageError
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.mistakes import MISTAKES, Mistake, damaged
from optitrace.rules.rule import Rule
from optitrace.tracing.devices import one_thread
from optitrace.tracing.prescribed_run import default_dtype
from optitrace.views.display import Display
from optitrace.views.presenters.verification import VerificationPresenter

RULES = {name: optimizer.rule for name, optimizer in TORCH_OPTIMIZERS.items() if optimizer.rule is not None}

SEEN_IN_THE_STATE_ALONE = {
    ("sgd", "lr is inside the momentum_buffer"),
    ("rmsprop", "lr is inside the momentum_buffer"),
    ("asgd", "averaging begins one step early"),
    ("asgd", "averaging begins one step late"),
    ("asgd", "averaging begins at step 1, whatever t0"),
    ("asgd", "the average has the mu of this step"),
    ("asgd", "the average is of the weights before the step"),
    ("asgd", "the average stays at its start until t0"),
}
"""These mistakes leave the weights as they are: the buffer is scaled by lr and back again, and the average
of asgd is no part of its step."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@cache
def recordings(name: str, dtype: torch.dtype) -> list[RecordedRun]:
    """Return what torch does, with its scalars in the dtype of the weights."""
    with default_dtype(dtype):
        recorded, _ = record_all(
            subject_of(TORCH_OPTIMIZERS[name]),
            implementation="single",
            dtype=dtype,
            device=torch.device("cpu"),
        )
    return recorded


@pytest.mark.parametrize("name", RULES)
def test_torch_agrees_with_its_rule_in_every_implementation_and_dtype(name: str) -> None:
    verification = verify([TORCH_OPTIMIZERS[name]], [], Scope())

    assert verification.passed
    assert len(verification.checks) == 2 * len(TORCH_OPTIMIZERS[name].implementations)
    for check in verification.checks:
        assert check.worst_step_error is not None
        assert check.worst_step_error <= ALLOWED
        assert (check.worst_run_error is None) == (check.dtype == "float32")
        assert check.worst_run_error is None or check.worst_run_error <= RUN_ALLOWED


@pytest.mark.newer_torch
@pytest.mark.parametrize(
    ("name", "mistake"),
    [pytest.param(name, m, id=f"{name} if {m.name}") for name, all_of in MISTAKES.items() for m in all_of],
)
def test_a_mistake_in_the_place_of_the_rule_departs_from_torch(name: str, mistake: Mistake) -> None:
    wrong = damaged(RULES[name], mistake)

    assert not agrees(wrong, recordings(name, torch.float64))
    assert not agrees(wrong, recordings(name, torch.float32))
    weights_agree = agrees(wrong, recordings(name, torch.float64), trusted=False)
    assert weights_agree == ((name, mistake.name) in SEEN_IN_THE_STATE_ALONE)


@pytest.mark.newer_torch
@pytest.mark.parametrize(
    ("name", "mistake"),
    [pytest.param(name, all_of[-1], id=f"{name} if {all_of[-1].name}") for name, all_of in MISTAKES.items()],
)
def test_a_mistake_also_departs_in_a_whole_run(name: str, mistake: Mistake) -> None:
    wrong = damaged(RULES[name], mistake)

    assert max(run_error(wrong, recording) for recording in recordings(name, torch.float64)) > RUN_ALLOWED


def test_a_wrong_count_of_steps_departs() -> None:
    recording = recordings("adam", torch.float64)[0]
    for step in recording.steps:
        step.state["step"].add_(1)  # what the class counts, not what it does
    try:
        departing = next(recompute(RULES["adam"], recording)).departing
    finally:
        for step in recording.steps:
            step.state["step"].sub_(1)

    assert departing == ["step"]


@pytest.mark.parametrize("name", ["asgd", "nadam"])
def test_scalars_in_float32_are_told_and_not_held_against_float64(name: str) -> None:
    verification = verify([TORCH_OPTIMIZERS[name]], [], Scope(dtypes=("float64",), implementation="single"))
    [check] = verification.checks

    assert check.verdict is Verdict.AGREES
    assert check.worst_step_error is not None
    assert check.worst_step_error <= ALLOWED
    [note] = check.notes
    assert "float32; judged with float64 as the default dtype" in note


@pytest.mark.parametrize("name", ["asgd", "nadam"])
def test_a_mistake_is_not_excused_by_scalars_in_float32(name: str) -> None:
    subject = subject_of(TORCH_OPTIMIZERS[name])
    for mistake in MISTAKES[name][-3:]:
        wrong = replace(subject, rule=damaged(subject.rule, mistake))
        check = check_subject(wrong, implementation="single", dtype="float64", device=torch.device("cpu"))

        assert check.verdict is Verdict.DEPARTS


def test_verifying_leaves_the_default_dtype_and_the_random_numbers_as_they_are() -> None:
    before = torch.random.get_rng_state()
    verify([TORCH_OPTIMIZERS["nadam"]], [], Scope(implementation="single"))

    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_optimizer_without_a_rule_is_listed_and_not_judged() -> None:
    verification = verify([TORCH_OPTIMIZERS["lbfgs"]], [], Scope())

    assert [check.verdict for check in verification.checks] == [Verdict.NO_RULE]
    assert verification.passed


def test_none_as_eps_of_adafactor_is_the_epsilon_of_the_dtype() -> None:
    for dtype in (torch.float32, torch.float64):
        assert recordings("adafactor", dtype)[0].settings["eps"] == (torch.finfo(dtype).eps, 1e-3)


@pytest.mark.newer_torch
def test_every_rule_that_is_verified_is_tried_under_all_its_settings() -> None:
    from optitrace.rules.discriminating_cases import cases_of, shapes_of

    def count(rule: Rule) -> int:
        return len(cases_of(rule)) * len(shapes_of(rule))

    for name, rule in RULES.items():
        assert len(recordings(name, torch.float64)) == count(rule)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"dtypes": ("bfloat16",)}, "^verify has no dtype 'bfloat16'; it has float32 and float64.$"),
        (
            {"implementation": "fuse"},
            "^unknown implementation 'fuse'; did you mean 'fused'. choose from: single,",
        ),
    ],
)
def test_a_scope_that_cannot_be_is_refused(how: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Scope(**how)  # type: ignore[arg-type]


def test_what_the_installed_torch_lacks_is_listed_as_missing_and_the_others_are_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    found = verify([TORCH_OPTIMIZERS["sgd"], TORCH_OPTIMIZERS["muon"]], [], Scope(("float32",), "single"))

    sgd, muon = found.checks
    assert (sgd.verdict, muon.verdict, found.passed) == (Verdict.AGREES, Verdict.NO_CLASS, True)
    assert muon.notes == (f"torch {torch.__version__} has no Muon; install a newer torch",)
    text = printed(VerificationPresenter(found).table(Display()), 100)
    assert "sgd agrees with its rule\n" in text
    assert "missing" in next(line for line in text.splitlines() if line.startswith("muon  "))


def test_nothing_but_what_the_installed_torch_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)

    with pytest.raises(UsageError, match=r"^torch \S+ has no Muon; install a newer torch\.$"):
        verify([TORCH_OPTIMIZERS["muon"]], [], Scope())


@pytest.mark.newer_torch
def test_an_implementation_that_none_has_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^there is no fused implementation of muon\.$"):
        verify([TORCH_OPTIMIZERS["muon"]], [], Scope(implementation="fused"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(DeviceError, match="there is no CUDA device"):
        verify([TORCH_OPTIMIZERS["sgd"]], [], Scope(device="cuda"))
