"""The training: what optimizers did in a program. Reading and showing one does not need torch.

A trace has the weights themselves, usually two or three. A training has millions, so each step is
recorded as norms, and as the values of single weights on request.
"""

# annotations are no texts here: pydantic 2.5 does not resolve those of dataclasses within others

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from optitrace.experiment.float_formats import FORMATS
from optitrace.records.quantity import Count, Limits, Name, Number, Per, Quantity, StepNumber
from optitrace.records.trace import Outcome, Table, Versions

GRADIENT_KINDS: Mapping[str, str] = {
    "fresh": "computed after the previous step, whose gradient was cleared",
    "stale": "that of the previous step again: backward was not called in between",
    "accumulated": "added to the gradient of the previous step, which was not cleared",
    "scaled": "still multiplied by the scale of a GradScaler",
    "skipped": "not finite, so that a GradScaler skipped the step",
    "cleared": "computed after the previous step, and cleared before this step",
    "by hand": "assigned by other means than backward",
    "none": "no parameter has a gradient",
}
"""The kinds of gradients that a step can use, and their meanings.

Where parameters differ, the kind is that of most parameters with a new gradient, ``accumulated`` in a tie
with ``fresh``; the cases of the optimizer list the others."""

KINDS = tuple(GRADIENT_KINDS)
"""The kinds by number, as stored in the column ``gradient``."""

NUMBERS = {kind: float(number) for number, kind in enumerate(KINDS)}
"""The number of each kind, as stored in the column."""

WITHOUT_LOSS = ("cleared", "by hand", "none")
"""The kinds of gradients without a known loss; the column ``loss`` then has NaN."""

if TYPE_CHECKING:  # a literal type cannot be made of a tuple there
    GradientKind: TypeAlias = str
else:
    GradientKind = Literal[KINDS]

ClippingKind: TypeAlias = Literal["used", "scaled", "micro-batch", "before backward"]
"""How the clipping of a gradient relates to the next step.

``used``: the step uses the clipped gradient. ``scaled``: it does, but a GradScaler had multiplied
that gradient when it was clipped. ``micro-batch``: another backward adds to it before the step. ``before
backward``: the previous step's gradient, or none, was clipped, and the step uses another one.
"""


@dataclass(frozen=True, slots=True)
class Program:
    """The program that was run.

    Attributes:
        arguments: the script, or the module's name, and its arguments; empty if the training was
            watched from within, by `optitrace.watch`.
        is_module: whether it was run by its module's name, as ``python -m`` does.
    """

    arguments: tuple[str, ...] = ()
    is_module: bool = False

    @property
    def command(self) -> str:
        """The command line after ``python`` that runs it."""
        return shlex.join(("-m", *self.arguments) if self.is_module else self.arguments)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was observed, over all steps, recorded or not.

    Attributes:
        count: the number of steps.
        first: the first of these steps.
    """

    count: Count
    first: Count


def one_more(tally: Tally | None, step: int) -> Tally:
    """Return a tally with one step added."""
    return Tally(1, step) if tally is None else Tally(tally.count + 1, tally.first)


@dataclass(frozen=True, slots=True)
class Movement:
    """Whether a parameter moves, in the steps that were inspected weight by weight.

    Attributes:
        graded: those in which it had a gradient that was not zero; None if there is none.
        still: how many of those changed no weight that had such a gradient.
        zero: those in which it had a gradient of zeros; None if there is none.
        drifts: those that changed weights although the gradient was zero or there was none; None if there is
            none.
        frozen_drifts: those of them in which it was frozen; None if there is none.
    """

    graded: Tally | None = None
    still: Count = 0
    zero: Tally | None = None
    drifts: Tally | None = None
    frozen_drifts: Tally | None = None


@dataclass(frozen=True, slots=True)
class WatchedParameter:
    """A parameter of an optimizer.

    Attributes:
        name: its name in the module that owns it, ``layer1.weight``; ``group 0 · parameter 3`` if no
            module is found.
        shape: the shape of the tensor.
        dtype: the dtype of the tensor, such as ``float32``.
        group: the number of its parameter group, from 0.
        is_frozen: whether it does not require a gradient.
        had_gradient: whether it ever had a gradient, if it required one when the optimizer was made.
        also_in: the name of another optimizer that has it too, and steps between the steps of this one;
            empty if none does.
        movement: whether it moves.
        module: the class of the module whose own parameter it is, ``Embedding``; empty if none is known.
    """

    name: Name
    shape: tuple[Count, ...]
    dtype: Name
    group: Count = 0
    is_frozen: bool = False
    had_gradient: bool = True
    also_in: str = ""
    movement: Movement = Movement()
    module: str = ""


@dataclass(frozen=True, slots=True)
class ClippingTally:
    """The clippings of one `ClippingKind`; those with an infinite limit do not count.

    Attributes:
        steps: the steps that had one.
        cut: the steps in which the measured value was above the limit; None if there are none.
        limits: the smallest and the largest limit.
        scale: the scale of the GradScaler in the first step; None if the gradient was not scaled.
        parameters: the parameters that were clipped in the first step; empty if all with a gradient were.
    """

    steps: Tally
    cut: Tally | None
    limits: tuple[Number, Number]
    scale: Number | None = None
    parameters: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class GradientCase:
    """A kind of gradient that only some parameters of an optimizer have, or that has a known cause.

    Attributes:
        kind: ``stale``, for parameters that the step moves; ``accumulated``; or ``cleared``.
        cause: for ``stale``: ``frozen`` if the parameters require no gradient; for ``cleared``:
            ``zero_grad`` if that was called, ``not finite`` if the gradient was not, else ``by hand``.
        steps: the number of steps, and the first.
        last: the last step.
        parameters: the names of the parameters; empty if all have it.
    """

    kind: GradientKind
    cause: str
    steps: Tally
    last: Count
    parameters: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The first number of a quantity that is not finite.

    Attributes:
        quantity: ``loss``, ``gradient``, ``weights``, or the name of a state entry.
        step: the step. Before it the quantities were finite in all recorded steps, and the state
            in all inspected steps.
        parameter: the first parameter that has it; None for a loss.
        cause: the line of the optimizer's rule that produced it, and the operand; empty if not known.
        remedy: a change that keeps that step finite; empty if none of those tried does.
    """

    quantity: str
    step: Count
    parameter: str | None = None
    cause: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class LostUpdate:
    """Weights that a step did not change although they have a gradient.

    Attributes:
        step: an inspected step, see `is_inspected`.
        lost: the number of coordinates that did not change although their gradient is not zero.
        coordinates: the number of coordinates whose gradient is not zero.
    """

    step: Count
    lost: Count
    coordinates: Count


@dataclass(frozen=True, slots=True)
class TermEffect:
    """What a term of the rule did to the weights of a parameter group, in the steps that were inspected.

    Each of these steps was taken once more on a sample of the weights, without the term, in their own dtype,
    until the term was seen to act.

    Attributes:
        term: the hyperparameter that is 0, or False, without it: ``weight_decay``.
        group: the number of the parameter group.
        dtype: of the weights.
        value: of the hyperparameter, 1 for True, in the step where lr · value was largest.
        lr: of the group in that step.
        steps: the steps that were taken once more, and the first.
        idle: those of them in which no weight and no number of the state is another without the term.
        weights: how many weights were looked at, at most.
        is_sampled: whether the optimizer moves more than it was looked at.
        changed: how many weights are others without it, in the step that has the most.
        share: the share of the weights that move, in all the steps, that move with it less than half as far
            as without.
        dominated: the parameters in which nearly all that move do so, in each step.
    """

    term: Name
    group: Count
    dtype: Name
    value: Number
    lr: Number
    steps: Tally
    idle: Tally | None
    weights: Count
    is_sampled: bool
    changed: Count
    share: Number
    dominated: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class StuckState:
    """A running mean of which no number can fall in its dtype, in inspected steps.

    Attributes:
        entry: the name of the state entry: ``exp_avg_sq``.
        dtype: of the entry.
        fall: the share that each number is to lose in a step whose gradient is zero, at most.
        steps: in which steps none loses it.
        inspected: in how many steps there were such numbers.
    """

    entry: Name
    dtype: Name
    fall: Number
    steps: Tally
    inspected: Count


@dataclass(frozen=True, slots=True)
class StalledCounter:
    """A step counter that steps no longer raise.

    Attributes:
        value: at which it stays.
        dtype: of the counter.
        steps: the steps that left it as it was, and the first.
        parameters: the names of the parameters whose it is; empty if all.
    """

    value: Number
    dtype: Name
    steps: Tally
    parameters: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class BackwardCount:
    """How many backwards a step used, and how many were for nothing.

    Attributes:
        used: of how many backwards the gradient of the step was the sum.
        wasted: how many more had computed gradients since the step before, which were cleared before any
            step used them; those by which the program did something else do not count.
        steps: in how many steps it was so, and the first.
        last: the last one.
    """

    used: Count
    wasted: Count
    steps: Tally
    last: Count


WEIGHTS = "weights"
"""What a `StateChange` calls the weights themselves."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of weights or state between two steps, by anything but the optimizer's step.

    Attributes:
        quantity: ``weights``, or the name of a state entry: ``exp_avg``.
        how: ``loaded`` by `load_state_dict` of the optimizer, ``written`` in place, or ``replaced`` by
            another tensor or by none.
        became: ``nothing`` if it is gone, ``zero`` if all its numbers are zero now, or the coarser dtype that
            all of them fit, such as ``bfloat16``; empty if none of this is so.
        steps: before how many steps, and before which first.
        last: before which last.
        parameters: the names of the parameters; empty if all.
        with_weights: whether the weights of these parameters were changed, too.
    """

    quantity: Name
    how: Literal["loaded", "written", "replaced"]
    became: str
    steps: Tally
    last: Count
    parameters: tuple[Name, ...] = ()
    with_weights: bool = False


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The activity of the learning rate schedulers of an optimizer.

    Attributes:
        schedulers: the names of their classes, such as ``StepLR``.
        steps: how often the program stepped any of them.
        early: how often it did so before the first step of the optimizer.
        course: after how many steps of its own the only scheduler is at the end of its course, as
            ``T_max`` and ``total_iters`` say; None if it has no such end.
        reached: how many steps of its own the only scheduler is at in the end, those before a loaded state
            among them; 0 if there are several.
        late: how often the program stepped any of them after the optimizer's last step.
    """

    schedulers: tuple[str, ...]
    steps: Count = 0
    early: Count = 0
    course: Count | None = None
    reached: Count = 0
    late: Count = 0


LearningRateFault: TypeAlias = Literal[
    "undone by constructor",
    "scheduler not resumed",
    "put back",
    "levelled",
    "changed inside step",
    "replaced by loading",
]
"""What can happen to the learning rates of an optimizer, beside what is meant.

``undone by constructor``: the constructor of a scheduler has put back what `load_state_dict` had loaded.
``scheduler not resumed``: the optimizer's state was loaded, and the scheduler begins anew. ``put back``: a
scheduler has undone what the program had set. ``levelled``: the constructor of a scheduler has given the same
lr to groups that had different ones. ``changed inside step``: by the optimizer itself. ``replaced by
loading``: `load_state_dict` has replaced the lr that the optimizer was made with, and no scheduler has a part
in it.
"""


@dataclass(frozen=True, slots=True)
class LearningRateEvent:
    """Something that happened to the learning rates of an optimizer.

    Attributes:
        fault: what.
        steps: which steps were the first to have the lr afterwards; of ``changed inside step``, which did it.
        before: the lr of each group before, the first time; of ``scheduler not resumed``, the scheduler's.
        after: that of each group afterwards.
    """

    fault: LearningRateFault
    steps: Tally
    before: tuple[Number, ...]
    after: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class SharedState:
    """Another optimizer whose state has tensors of this one's, so that each step of one changes both.

    Attributes:
        optimizer: its name.
        step: the first inspected step of this one after which it was seen.
    """

    optimizer: Name
    step: Count


@dataclass(frozen=True, slots=True)
class UnloadedState:
    """The state of an optimizer in a checkpoint that the program read without loading it.

    Attributes:
        file: the name of the file.
        step: how many steps the optimizer had taken; 0 if the file does not say.
        lr: the lr that each group began with.
    """

    file: Name
    step: Count
    lr: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class GroupStorage:
    """What the parameters of a group keep beside their weights, after the last inspected step.

    Attributes:
        gradient: the dtypes of their gradients; empty if there are none.
        state: the dtypes of the tensors of more than one number in their state.
        state_bytes: the memory of all tensors of their state in this process, in bytes; one that several
            parameters have counts once.
    """

    gradient: tuple[Name, ...] = ()
    state: tuple[Name, ...] = ()
    state_bytes: Count = 0


@dataclass(frozen=True, slots=True)
class OptimizerTrace(Table):
    """The steps of one optimizer.

    Norms are Euclidean: for the gradient, over all parameters that have one; for the others, over all
    parameters. There is no row for the start. The state has the norm of each entry over all parameters; for a
    scalar entry, such as Adam's step, the value for the first parameter.

    Attributes:
        name: the class's name, with a number if there are several: ``AdamW``, ``Adam 2``; with its first
            step if the optimizer's parameters changed there: ``SGD, from step 31 on``.
        class_path: the path of the class, such as ``torch.optim.adamw.AdamW``.
        hyperparameters: the hyperparameters of each parameter group at the first step, by torch's names.
        parameters: the parameters that it updates.
        taken: the number of its last step; steps that a GradScaler skipped are counted.
        gradients: how often each kind of gradient was used.
        cases: the kinds that only some parameters have, or that have a known cause, by first step.
        clippings: the clippings of gradients, by kind.
        non_finite: the first number of each quantity that is not finite, in the order of the steps.
        lost: the inspected steps in which updates were lost in rounding.
        scheduling: its schedulers; None if it has none. Where the parameters of an optimizer change,
            they are part of its first record.
        changes: what the program changed of weights and state between the steps, by the first step after it;
            of the first step, the state that was loaded before it.
        backwards: how many backwards steps have used and wasted.
        mixed: the steps whose gradient is that of a backward on which another optimizer had stepped before
            the next one began, and of one on which that never stepped; None if there is none.
        undivided: the steps that used several backwards, of losses that one operation had computed, and not
            by a division; None if there is none.
        uncleared: the steps that called a closure several times, which never cleared the gradients; None if
            there is none.
        unused_backwards: of how many backwards the gradient is that was there in the end, and that no step
            used.
        follows: the name of another optimizer of the class that has moved the same parameters before and took
            no step since; this one began with the weights that it left, and without its state. Empty if there
            is none.
        takes_over: the name of another optimizer that has moved some of the parameters before and took no
            step since this one's first; empty if there is none.
        shares_state: another optimizer that has tensors of its state; None if none has.
        unloaded: a state for these parameters in a checkpoint whose weights alone were loaded; None if there
            is none, or this one did not begin without a state.
        lr_events: what happened to the learning rates beside what is meant.
        storage: what the parameters of each group keep beside their weights; empty if no step was inspected.
        seconds_per_step: the mean time from the end of a step to that of the next, recorded or not, in
            seconds; None if there are not two steps.
        effects: what the terms of the rule did, as far as the inspected steps could be taken once more.
        stuck: the running means in the state that could not fall.
        stalled: the step counters that stay at a number; None if all count.
    """

    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "loss",
            "The sum of the tensors that backward was called on for the gradient of this step; null if none.",
            may_lack=True,
        ),
        Quantity(
            "lr",
            "The learning rate that the step used, one for each parameter group if they differ.",
            Per.GROUP,
            first=None,
            is_optional=True,
        ),
        Quantity(
            "gradient",
            "The kind of gradient that the step used: "
            + " ".join(f"{kind}: {meaning}." for kind, meaning in GRADIENT_KINDS.items()),
            words=KINDS,
        ),
        Quantity(
            "gradient_norm",
            "The norm of the gradient that the step used; 0 for a parameter without one.",
            heading=("gradient", "norm"),
            each_parameter=True,
        ),
        Quantity(
            "unclipped_gradient_norm",
            "The norm of the gradient that the step used, before it was clipped.",
            heading=("unclipped", "gradient"),
            first=None,
            is_optional=True,
        ),
        Quantity(
            "backwards",
            "The number of backwards whose gradients the step used, where a step has used several.",
            first=None,
            is_optional=True,
            counts=True,
        ),
        Quantity(
            "evaluations",
            "The number of times that the step called its closure; loss is that of the first time.",
            first=None,
            is_optional=True,
            counts=True,
        ),
        Quantity(
            "largest_loss",
            "The largest loss that the closure returned in the step.",
            heading=("largest", "loss"),
            first=None,
            is_optional=True,
        ),
        Quantity(
            "last_loss",
            "The loss that the closure returned last in the step.",
            heading=("last", "loss"),
            first=None,
            is_optional=True,
        ),
        Quantity(
            "update_norm",
            "The norm of the change that the step made.",
            heading=("update", "norm"),
            is_left=True,
            each_parameter=True,
        ),
        Quantity(
            "weight_norm",
            "The norm of the weights after the step.",
            heading=("weight", "norm"),
            is_left=True,
            each_parameter=True,
        ),
        Quantity(
            "update_ratio",
            "The update's norm divided by that of the weights.",
            heading=("update", "/ weight"),
            is_left=True,
            each_parameter=True,
        ),
    )
    RESULT: ClassVar[str] = "weight_norm"
    ALWAYS: ClassVar[tuple[str, ...]] = ()
    ASKED_FOR: ClassVar[tuple[str, ...]] = ("state", "values", "parameters")

    name: Name
    class_path: str
    hyperparameters: Annotated[tuple[Mapping[str, Any], ...], Limits(min_length=1)]
    parameters: tuple[WatchedParameter, ...]
    taken: Count
    gradients: Mapping[GradientKind, Tally] = field(default_factory=dict)
    cases: tuple[GradientCase, ...] = ()
    clippings: Mapping[ClippingKind, ClippingTally] = field(default_factory=dict)
    non_finite: tuple[NonFinite, ...] = ()
    lost: tuple[LostUpdate, ...] = ()
    changes: tuple[StateChange, ...] = ()
    scheduling: Scheduling | None = None
    backwards: tuple[BackwardCount, ...] = ()
    mixed: Tally | None = None
    undivided: Tally | None = None
    uncleared: Tally | None = None
    unused_backwards: Count = 0
    follows: str = ""
    takes_over: str = ""
    shares_state: SharedState | None = None
    unloaded: UnloadedState | None = None
    lr_events: tuple[LearningRateEvent, ...] = ()
    storage: tuple[GroupStorage, ...] = ()
    seconds_per_step: Number | None = None
    effects: tuple[TermEffect, ...] = ()
    stuck: tuple[StuckState, ...] = ()
    stalled: StalledCounter | None = None

    @property
    def steps_seen(self) -> int:
        """The number of steps covered: fewer than `taken` if it begins where parameters were added."""
        return sum(tally.count for tally in self.gradients.values())

    @property
    def recorded_parameters(self) -> list[str]:
        """The names of the parameters that `by_parameter` has: those that were there in the first row."""
        size = next((column.size for column in self.by_parameter.values()), 0)
        return [parameter.name for parameter in self.parameters[:size]]

    @property
    def dtype(self) -> str:
        """The dtype of the first parameter that has a common one."""
        return next((p.dtype for p in self.parameters if p.dtype in FORMATS), "float64")

    @property
    def last_step(self) -> int:
        """The last step that was taken, recorded or not."""
        return self.taken

    def kind(self, row: int) -> str:
        """Return the kind of a row's gradient, one of `GRADIENT_KINDS`."""
        return KINDS[int(self.columns["gradient"].values[row])]

    def has_loss(self, row: int) -> bool:
        """Return whether the loss of a row's gradient is known."""
        return self.kind(row) not in WITHOUT_LOSS

    def numbers(self, name: str, row: int) -> tuple[float, ...] | None:
        """Return the numbers of a quantity in a row, or None if it has no value or no known loss."""
        return self.columns[name].row(row) if name != "loss" or self.has_loss(row) else None


OF_A_PARAMETER = tuple(quantity.name for quantity in OptimizerTrace.QUANTITIES if quantity.each_parameter)
"""The names of the quantities that are recorded for each parameter on request."""


@dataclass(frozen=True, slots=True)
class UnownedParameter:
    """A parameter of the model that gets gradients and is in no optimizer.

    Attributes:
        name: the model's name for it.
        optimizer: an optimizer of other parameters of the model, whose steps are counted.
        since: the earliest step at which it may have had a gradient: 1, or the step after the last one
            at which it had none.
        by: the step at which it had one.
    """

    name: Name
    optimizer: str
    since: Count = 1
    by: Count = 1


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """The optimizers of a program, as recorded.

    Attributes:
        program: the program.
        versions: the versions that it was run with.
        outcome: how it ended: completed, interrupted or failed, with the reason of a failure.
        optimizers: every optimizer that took a step, in the order of their creation; one whose parameters
            changed has an entry for each set of parameters.
        idle: the names of optimizers that were created but never stepped.
        unowned: the parameters of the model that get a gradient and are in no optimizer.
        unobserved: the observations that this torch does not allow, each a sentence with its cause.
        rank: the rank of this process in a distributed training, from 0.
        world_size: the number of ranks.
    """

    program: Program
    versions: Versions
    outcome: Outcome
    optimizers: tuple[OptimizerTrace, ...]
    idle: tuple[str, ...] = ()
    unowned: tuple[UnownedParameter, ...] = ()
    unobserved: tuple[str, ...] = ()
    rank: Count = 0
    world_size: StepNumber = 1

    def every_kth(self, k: int) -> Self:
        """Return the first, every `k`-th and the last recorded step of each optimizer."""
        return replace(self, optimizers=tuple(optimizer.every_kth(k) for optimizer in self.optimizers))

    def between(self, first: int, last: int | None) -> Self:
        """Return the recorded steps of each optimizer from `first` to `last`; to the end if that is None."""
        return replace(self, optimizers=tuple(own.between(first, last) for own in self.optimizers))


@dataclass(frozen=True, slots=True)
class NamedTraining:
    """A training and the file that it was read from."""

    name: str
    training: TrainingRecord
