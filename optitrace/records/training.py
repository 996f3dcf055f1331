"""The training: what was seen of a program that steps optimizers. Holding and showing one needs no torch.

A trace has the weights themselves, two or three of them. A training has millions, so that a step of it is
told by norms, and the numbers of single weights where they are asked for.
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
    "fresh": "computed since the step before, after that of the step before was cleared",
    "stale": "that of the step before once more: no backward came between",
    "accumulated": "added to the gradient of the step before, which was not cleared",
    "scaled": "still multiplied with the scale of a GradScaler",
    "skipped": "not finite, so that a GradScaler left the step out",
    "cleared": "computed since the step before, and cleared before the step",
    "by hand": "put there by other means than a backward",
    "none": "no parameter has one",
}
"""What the gradient of a step can be, and what that means.

Where parameters differ, it is that of most of those that have a new one, ``accumulated`` if as many have that
as ``fresh``; the cases of the optimizer tell which have another."""

KINDS = tuple(GRADIENT_KINDS)
"""The kinds by number, as the column ``gradient`` has them."""

NUMBERS = {kind: float(number) for number, kind in enumerate(KINDS)}
"""The number of each kind, as the column has it."""

WITHOUT_LOSS = ("cleared", "by hand", "none")
"""The kinds of gradients that no loss is known of; the column ``loss`` then has NaN."""

if TYPE_CHECKING:  # a literal type cannot be made of a tuple there
    GradientKind: TypeAlias = str
else:
    GradientKind = Literal[KINDS]

ClippingKind: TypeAlias = Literal["used", "scaled", "micro-batch", "before backward"]
"""What the clipping of a gradient is to the step after it.

``used``: the step uses the gradient that was clipped. ``scaled``: so it does, and a GradScaler had multiplied
that gradient when it was clipped. ``micro-batch``: another backward adds to it before the step. ``before
backward``: the gradient of the step before was clipped, or none, and the step uses another one.
"""


@dataclass(frozen=True, slots=True)
class Program:
    """What was run.

    Attributes:
        arguments: the script, or the module's name, and what it was given; empty if the training was
            watched from within, by `optitrace.watch`.
        is_module: whether it was run by its module's name, as ``python -m`` does.
    """

    arguments: tuple[str, ...] = ()
    is_module: bool = False

    @property
    def command(self) -> str:
        """What a shell is given after ``python`` to run it."""
        return shlex.join(("-m", *self.arguments) if self.is_module else self.arguments)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was seen, over all steps, recorded or not.

    Attributes:
        count: in how many steps.
        first: the first of them.
    """

    count: Count
    first: Count


def one_more(tally: Tally | None, step: int) -> Tally:
    """Return a tally with one step more, which is its first if there was none."""
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
        name: as the module that owns it calls it, ``layer1.weight``; ``group 0 · parameter 3`` if no
            module is found that does.
        shape: of the tensor.
        dtype: of the tensor, ``float32``.
        group: the number of its parameter group, from 0.
        is_frozen: whether it asks for no gradient.
        had_gradient: whether it ever had a gradient, if it asked for one when the optimizer was made.
        also_in: the name of another optimizer that has it too, and takes steps between those of this one;
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
    """The clippings of one `ClippingKind`; those with an infinite limit are none.

    Attributes:
        steps: which steps had one.
        cut: in which of them what was measured was above the limit; None if in none.
        limits: the least limit and the greatest.
        scale: of the GradScaler in the first step; None if the gradient was not scaled.
        parameters: the names of those that were clipped in the first step; empty if all that have a gradient.
    """

    steps: Tally
    cut: Tally | None
    limits: tuple[Number, Number]
    scale: Number | None = None
    parameters: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class GradientCase:
    """A kind of gradient that not all parameters of an optimizer have, or that has a cause.

    Attributes:
        kind: which of `GRADIENT_KINDS`: ``stale``, of parameters that it moves; ``accumulated``; ``cleared``.
        cause: of ``stale``: ``frozen``, where the parameters ask for no gradient; of ``cleared``:
            ``zero_grad`` if that was called, ``not finite`` if the gradient was not, else ``by hand``.
        steps: in how many steps, and the first.
        last: the last one.
        parameters: the names of those that have it; none if all do.
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
        step: the step; the quantities before it were finite in the steps that were recorded, and the state
            in the steps that were inspected.
        parameter: the first parameter that has it; None of a loss.
        cause: the line of the optimizer's rule that gave it, and the operand; empty if that is not known.
        remedy: what keeps that step finite; empty if nothing that was tried does.
    """

    quantity: str
    step: Count
    parameter: str | None = None
    cause: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class LostUpdate:
    """Weights that a step left as they were although they have a gradient.

    Attributes:
        step: an inspected step, as `is_inspected` tells of its row.
        lost: how many coordinates did not change though their gradient is not zero.
        coordinates: how many have a gradient that is not zero.
    """

    step: Count
    lost: Count
    coordinates: Count


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
    """What the learning rate schedulers over an optimizer did.

    Attributes:
        schedulers: their classes' names, ``StepLR``.
        steps: how often the program stepped any of them.
        early: how often before the optimizer took its first step.
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
class OptimizerTrace(Table):
    """What one optimizer did.

    Norms are Euclidean, over all parameters that have a gradient for the gradient's, and over all for the
    others. There is no row of the start. The state has the norm of each entry over all parameters; of a
    scalar entry, such as Adam's step, its value for the first parameter.

    Attributes:
        name: the class's name, with a number where there are several: ``AdamW``, ``Adam 2``; where it begins
            at a step at which the optimizer was given other parameters, with that: ``SGD, from step 31 on``.
        class_path: ``torch.optim.adamw.AdamW``.
        hyperparameters: those of each parameter group at the first step, by torch's names.
        parameters: what it moves.
        taken: the number of its last step; those that a GradScaler left out are counted.
        gradients: how often each kind of gradient was used.
        cases: the kinds that not all parameters have, or that have a cause, by their first steps.
        clippings: what the clippings of gradients were to the steps, by kind.
        non_finite: the first of each quantity that is not finite, in the order of the steps.
        lost: the inspected steps in which updates were lost in rounding.
        changes: what the program changed of weights and state between the steps, by the first step after it;
            of the first step, the state that was loaded before it.
        scheduling: None if no scheduler was made for it; schedulers of an optimizer whose parameters change
            go on all the time, and stand where it begins.
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
    """

    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "loss",
            "The sum of what backward was called on for the gradient of this step; null where there is none.",
            may_lack=True,
        ),
        Quantity(
            "lr",
            "The learning rate that the step used, or that of each parameter group.",
            Per.GROUP,
            first=None,
            is_optional=True,
        ),
        Quantity(
            "gradient",
            "The kind of gradient that the step used, which is one of these. "
            + " ".join(f"{kind}: {meaning}." for kind, meaning in GRADIENT_KINDS.items()),
            words=KINDS,
        ),
        Quantity(
            "gradient_norm",
            "The norm of the gradient that the step used; 0 of a parameter without one.",
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

    @property
    def steps_seen(self) -> int:
        """How many steps it tells of: fewer than `taken` if it begins where parameters were added."""
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
        """Return which of `GRADIENT_KINDS` the gradient of a row is."""
        return KINDS[int(self.columns["gradient"].values[row])]

    def has_loss(self, row: int) -> bool:
        """Return whether a loss is known of the gradient of a row."""
        return self.kind(row) not in WITHOUT_LOSS

    def numbers(self, name: str, row: int) -> tuple[float, ...] | None:
        """Return what a row has of a quantity, or None where it has no value, or its gradient has no loss."""
        return self.columns[name].row(row) if name != "loss" or self.has_loss(row) else None


OF_A_PARAMETER = tuple(quantity.name for quantity in OptimizerTrace.QUANTITIES if quantity.each_parameter)
"""The names of the quantities that are recorded of each parameter, where they are asked for."""


@dataclass(frozen=True, slots=True)
class UnownedParameter:
    """A parameter of the model that gets gradients and that no optimizer has.

    Attributes:
        name: the model's name for it.
        optimizer: one that has others of the model's parameters, and whose steps are counted.
        since: the first of them by which it can have had a gradient: 1, or that after the last one after
            which it had none.
        by: the step by which it had one.
    """

    name: Name
    optimizer: str
    since: Count = 1
    by: Count = 1


@dataclass(frozen=True, slots=True)
class Training:
    """What was seen of a program.

    Attributes:
        program: what was run.
        versions: what it was run with.
        outcome: how it ended: completed, interrupted or failed, with the reason of a failure.
        optimizers: every optimizer that took a step, in the order in which they were made; one that was given
            other parameters on the way once for each time.
        idle: the names of optimizers that were made and took none.
        unowned: the parameters of the model that get a gradient and that no optimizer has.
        unobserved: what could not be observed with this torch, each a sentence with its cause.
        rank: the number of this process among those that train together, from 0.
        world_size: how many they are.
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


@dataclass(frozen=True, slots=True)
class NamedTraining:
    """A training and the file that it was read from."""

    name: str
    training: Training
