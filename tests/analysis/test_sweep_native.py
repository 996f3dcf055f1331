"""Sweeps by machine code: to the last bit what the rule gives in torch, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from support.sweeps import GRIDS, everything, space
from torch import Tensor

from optitrace.analysis.sweeping import blocks
from optitrace.analysis.sweeping.batch import program
from optitrace.analysis.sweeping.measures import RANKS, USUAL_GOAL, Goal
from optitrace.analysis.sweeping.space import Space
from optitrace.experiment.landscapes import LANDSCAPES
from optitrace.functions import absolute, maximum, minimum, rms, sign, sqrt, where
from optitrace.native import machine_code as codes
from optitrace.native import program as programs
from optitrace.native.machine_code import is_compilable, listing
from optitrace.native.program import SPAN, CompiledRun
from optitrace.native.square_root import square_root
from optitrace.native.tape import OperandKind, Tape, TapeLine, TapeRecorder, UnrecordableError
from optitrace.rules.catalogue import find
from optitrace.rules.rule import rule

pytest.importorskip("llvmlite")

ACROSS_COORDINATES = ("adafactor", "muon")
"""Whose step looks at all weights together, which no tape says."""

RECORDED = [name for name in GRIDS if name not in ACROSS_COORDINATES]


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Tensor]]:
    """Run a space by the rule in torch, as where llvmlite is not installed."""

    def run(swept: Space, goal: Goal = USUAL_GOAL) -> dict[str, Tensor]:
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "can_run", lambda batch: False)
            return everything(swept, goal)

    return run


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(a[name].nan_to_num(-1), b[name].nan_to_num(-1)) for name in a)


@pytest.mark.parametrize("gradient", ["fresh", "stale", "accumulated"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", RECORDED)
def test_machine_code_gives_the_bits_of_the_rule(
    optimizer: str, dtype: str, gradient: str, by_torch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = space(optimizer, dtype=dtype, gradient=gradient)
    expected = by_torch(swept)
    monkeypatch.setattr(blocks, "run_by_torch", None)

    assert same(expected, everything(swept))


@pytest.mark.parametrize("optimizer", ACROSS_COORDINATES)
def test_a_rule_that_no_tape_says_is_run_as_it_stands(optimizer: str, by_torch: Callable[..., Any]) -> None:
    swept = space(optimizer)

    assert same(by_torch(swept), everything(swept))


@pytest.mark.parametrize("rank", RANKS)
def test_what_is_measured_on_the_way_is_the_same(rank: str, by_torch: Callable[..., Any]) -> None:
    swept, goal = space("adam", steps=40), Goal(rank, tolerance=1e-2)

    assert same(by_torch(swept, goal), everything(swept, goal))


@pytest.mark.parametrize("gradient", ["fresh", "stale", "accumulated"])
def test_a_gradient_by_autograd_is_handed_to_the_code(gradient: str, by_torch: Callable[..., Any]) -> None:
    swept = space("adam", ["lr=0.001,0.01"], objective=LANDSCAPES["rosenbrock"], gradient=gradient)

    assert same(by_torch(swept), everything(swept))


def test_coefficients_of_each_configuration_are_its_own(by_torch: Callable[..., Any]) -> None:
    swept = space("sgd", ["coefficients.1=1:4:40", "start.0=-1:1:5", "momentum=0.9"], dimension=2)

    assert same(by_torch(swept), everything(swept))


def test_many_steps_are_run_in_spans(by_torch: Callable[..., Any]) -> None:
    swept = space("nadam", ["lr=0.001,0.01"], steps=SPAN + 44)

    assert same(by_torch(swept), everything(swept))


def test_a_run_that_diverges_does_so_alike(by_torch: Callable[..., Any]) -> None:
    swept = space("sgd", ["lr=0.4:2:20", "momentum=0,0.9"], steps=200)
    expected = by_torch(swept)

    assert not torch.isfinite(expected["weights"]).all()
    assert same(expected, everything(swept))


def test_steps_that_differ_in_numbers_alone_are_one_segment() -> None:
    sgd = find("sgd").rule
    assert sgd is not None
    momentum = CompiledRun(
        sgd, {"momentum": 0.9}, steps=9, protocol="fresh", dtype="float32", knows_gradient=True
    )

    # the first momentum_buffer is the gradient itself, without the decayed buffer
    assert [(s.first, len(s.numbers)) for s in momentum.segments()] == [(1, 1), (2, 8)]


def changed(tape: Tape, place: int) -> Tape:
    """Return a tape with one operation exchanged for another."""
    others = {"add": "subtract", "subtract": "add", "multiply": "divide", "divide": "multiply"}
    line = tape.lines[place]
    other = line._replace(operation=others.get(line.operation, "absolute"))
    return Tape((*tape.lines[:place], other, *tape.lines[place + 1 :]), tape.outputs)


def damaged(
    monkeypatch: pytest.MonkeyPatch, swept: Space, damage: Callable[[Tape], Tape]
) -> dict[str, Tensor]:
    """Run a space by machine code from damaged tapes."""
    record = TapeRecorder.tape
    with monkeypatch.context() as patch:
        patch.setattr(TapeRecorder, "tape", lambda recorder, outputs: damage(record(recorder, outputs)))
        program.cache_clear()
        found = everything(swept)
    program.cache_clear()
    return found


# eps is so large that a float32 shows whether it is added
TELLING = ("adam", ["lr=0.01,0.1", "eps=0.1", "betas.0=0.9"])

OPERATIONS = (3, *range(7, 21))
"""Their places on Adam's tape, among what comes in: the gradient, and all lines of the rule."""


@pytest.mark.parametrize("place", OPERATIONS)
def test_an_operation_exchanged_for_another_is_noticed(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = space(*TELLING)
    expected = everything(swept)

    def damage(tape: Tape) -> Tape:
        assert [k for k, line in enumerate(tape.lines) if line.operation != "input"] == [*OPERATIONS]
        return changed(tape, place)

    assert not same(expected, damaged(monkeypatch, swept, damage))


def test_a_state_carried_to_the_wrong_place_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = space(*TELLING)
    expected = everything(swept)

    def damage(tape: Tape) -> Tape:
        places = dict(tape.outputs)
        crossed = {**places, "state.m": places["state.v"], "state.v": places["state.m"]}
        return Tape(tape.lines, tuple(crossed.items()))

    assert not same(expected, damaged(monkeypatch, swept, damage))


def test_a_number_that_varies_taken_for_a_fixed_one_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = space(*TELLING)
    expected = everything(swept)
    monkeypatch.setattr(
        programs, "listing", lambda tape, varying, dtype: listing(tape, [False] * len(varying), dtype)
    )
    program.cache_clear()
    found = everything(swept)
    program.cache_clear()

    assert not same(expected, found)


SPECIAL = torch.tensor([0.0, -0.0, 1.0, -1.0, torch.inf, -torch.inf, torch.nan, 1e-42, -1e-42, 3e38])
"""Signed zeros, infinities, NaN, numbers below the least normal one, and one near the greatest."""

EXPRESSIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": lambda w, g: w + g,
    "subtract": lambda w, g: 1 - (w - g),
    "multiply": lambda w, g: 3 * w * g,
    "divide": lambda w, g: w / g,
    "number over weights": lambda w, g: 3 / w,
    "negative": lambda w, g: -w,
    "square": lambda w, g: w**2,
    "root": lambda w, g: square_root(w) if isinstance(w, Tensor) else sqrt(w),
    "absolute": lambda w, g: absolute(w),
    "sign": lambda w, g: sign(w),
    "maximum": lambda w, g: maximum(w, g),
    "maximum with a number": lambda w, g: maximum(0.0, w),
    "minimum": lambda w, g: minimum(w, g),
    "minimum with a number": lambda w, g: minimum(w, -0.0),
    "greater": lambda w, g: where(w > g, 1.0, g),
    "at least": lambda w, g: where(w >= g, w, 2.0),
    "less": lambda w, g: where(w < 1, w, g),
    "at most": lambda w, g: where(w <= 0, w, g),
    "equal": lambda w, g: where(w == g, w, 2.0),
    "unequal": lambda w, g: where(w != 0, w, g),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_each_operation_is_torchs_on_special_numbers(name: str, dtype: torch.dtype) -> None:
    w, g = torch.cartesian_prod(SPECIAL, SPECIAL).to(dtype)[:, [0, 1]].T.repeat(1, 16).contiguous()
    expression = EXPRESSIONS[name]
    expected = expression(w, g)
    found = stepped(expression, w, g)

    assert torch.equal(found.nan_to_num(-7), expected.nan_to_num(-7))
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.signbit() | found.isnan(), expected.signbit() | expected.isnan())


def stepped(expression: Callable[[Any, Any], Any], w: Tensor, g: Tensor) -> Tensor:
    """Return weights after one step of a rule that is one expression, by machine code."""

    @rule(source="none")
    def written(w: Any, g: Any, t: int) -> tuple[Any, ...]:
        return (expression(w, g),)

    dtype = str(w.dtype).removeprefix("torch.")
    [segment] = CompiledRun(
        written, {}, steps=1, protocol="fresh", dtype=dtype, knows_gradient=False
    ).segments()
    found = w.clone()
    given = {"w": found, "used": g}
    segment.code.run([given[a.name] for a in segment.arrays], segment.numbers, len(w), len(w))
    return found


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (lambda w, g: rms(w), "rms is no operation of a tape"),
        (lambda w, g: w**3, "weights are raised to another power than 2"),
        (lambda w, g: 2**w, "weights are an exponent"),
        (lambda w, g: w if w > g else g, "a condition is asked with if"),
        (lambda w, g: w if w else g, "a weights is asked with if"),
        (lambda w, g: w + torch.ones(1), "tensor.* is no number"),
        (lambda w, g: 1.0, "the weights are a number"),
    ],
)
def test_what_no_tape_says_is_refused(expression: Callable[[Any, Any], Any], message: str) -> None:
    with pytest.raises(UnrecordableError, match=message):
        stepped(expression, torch.ones(64), torch.ones(64))


def test_a_rule_that_was_refused_is_refused_again() -> None:
    @rule(source="none")
    def across(w: Any, g: Any, t: int) -> tuple[Any, ...]:
        return (w / rms(w),)

    refused = CompiledRun(across, {}, steps=2, protocol="fresh", dtype="float32", knows_gradient=True)

    for _ in range(4):
        with pytest.raises(UnrecordableError, match="rms is no operation of a tape"):
            list(refused.segments())


def test_a_tape_names_its_inputs_and_what_its_powers_are_made_from() -> None:
    recorder = TapeRecorder()
    w, beta = recorder.input("w", OperandKind.WEIGHTS), recorder.input("beta", OperandKind.COLUMN)
    tape = recorder.tape({"w": w * (1 - beta) ** 3, "count": 1.0})

    assert tape.inputs == {"w": 0, "beta": 1}
    assert tape.powers == (3,)
    assert tape.before_powers == (1, 2, 3)
    assert tape.lines[2] == TapeLine("subtract", OperandKind.COLUMN, (~0, 1))
    assert tape.outputs == (("w", 4),)
    assert recorder.numbers == [1.0, 3.0]


def test_a_sweep_that_is_told_to_stop_gives_no_more_blocks() -> None:
    asked = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 3

    found = list(blocks.blocks_by_rule(space("adam"), Goal(), threads=1, chunk=8, stop=stop))

    assert len(found) < 36 / 8


def test_without_llvmlite_the_rule_is_run_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = space("sgd")
    expected = everything(swept)
    monkeypatch.setattr(codes, "llvm", lambda: None)
    monkeypatch.setattr(blocks, "run_native", None)

    assert same(expected, everything(swept))


@pytest.mark.parametrize(
    "error", [ImportError("no llvmlite"), OSError("cannot load libllvmlite.so"), RuntimeError("no target")]
)
def test_an_llvmlite_that_does_not_load_counts_as_absent(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr("llvmlite.binding.initialize_native_target", refuse)

    assert codes.llvm.__wrapped__() is None


def test_code_that_llvm_refuses_is_run_by_torch_in_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = space("sgd")
    expected = everything(swept)
    refused = []

    def nonsense(*given: Any) -> str:
        refused.append(given)
        return "no assembly of any LLVM"

    program.cache_clear()
    monkeypatch.setattr(programs, "listing", nonsense)
    found = [everything(swept, chunk=chunk) for chunk in (8, 8, 1000)]
    program.cache_clear()

    assert refused
    assert all(same(expected, each) for each in found)


def test_code_that_llvm_refuses_is_refused_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "listing", lambda *given: "no assembly of any LLVM")
    sgd = find("sgd").rule
    assert sgd is not None
    settings = {h.name: h.default for h in find("sgd").hyperparameters}
    refused = CompiledRun(sgd, settings, steps=2, protocol="fresh", dtype="float32", knows_gradient=True)

    for _ in range(3):
        with pytest.raises(UnrecordableError, match="LLVM refuses the listing"):
            list(refused.segments())


def test_half_precision_has_no_machine_code() -> None:
    assert [is_compilable(d) for d in ("float32", "float64", "bfloat16", "float16")] == [
        True,
        True,
        False,
        False,
    ]
