"""The probe: takes from each step of an optimizer what is needed to recompute it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.training.rule_watch.agreement_accumulator import AgreementAccumulator
from optitrace.analysis.training.rule_watch.batch import ParameterBatch
from optitrace.analysis.training.rule_watch.compilation import is_compiled
from optitrace.analysis.training.rule_watch.step_capture import Before, Gradient, Taken
from optitrace.analysis.training.rule_watch.tensor_sampler import Reader
from optitrace.monitoring.backward_tracker import FOUND_INF, SCALE, from_scaler
from optitrace.monitoring.segment_recorder import SegmentRecorder
from optitrace.rules.rule import Rule
from optitrace.tracing.stepping import has_own_hooks


class RuleProbe:
    """Looks at each step of one optimizer. Nothing of it waits for an accelerator."""

    def __init__(
        self,
        optimizer: Optimizer,
        watched: SegmentRecorder,
        batches: Sequence[ParameterBatch],
        verdict: AgreementAccumulator,
    ) -> None:
        """Begin before a step.

        Args:
            optimizer: the optimizer, which this does not keep alive.
            watched: what else watches it.
            batches: where to look.
            verdict: what is told of every step.
        """
        self._optimizer = weakref.ref(optimizer)
        self._watched = watched
        self._verdict = verdict
        self._rule: Rule = verdict.rule
        self._defaults = {parameter.name: parameter.default for parameter in self._rule.parameters}
        self._readers = [Reader(self._rule, batch, watched.members.parameters) for batch in batches]
        self._before: list[Before] = []
        self._gradients: list[Gradient] = []

    def before(self) -> None:
        """Take the weights and the state before a step."""
        self._before, self._gradients = [], []
        self._look(self._take_before)

    def during(self) -> None:
        """Take the gradient, and the hyperparameters as they are now; of a step that is left out, nothing."""
        if self._before:
            self._look(self._take_gradients)

    def after(self) -> None:
        """Take the weights and the state after a step."""
        if self._gradients:
            self._look(self._take_after)

    def _look(self, at: Callable[[Optimizer], None]) -> None:
        """Look at the optimizer. What goes wrong must not end the program that is watched."""
        optimizer = self._optimizer()
        if optimizer is not None:
            self._verdict.attempt(lambda: at(optimizer))

    def _take_before(self, optimizer: Optimizer) -> None:
        for reader in self._readers:
            initial = self._initial(optimizer.param_groups[reader.batch.group])
            now = reader.snapshot(optimizer.state, initial)
            self._before.append(Before(reader.batch, now, initial))

    def _take_gradients(self, optimizer: Optimizer) -> None:
        scale, found_inf = (from_scaler(optimizer, name) for name in (SCALE, FOUND_INF))
        for reader in self._readers:
            numbers, has = reader.gradient()
            group = optimizer.param_groups[reader.batch.group]
            settings = {name: _copied(group.get(name, value)) for name, value in self._defaults.items()}
            is_capturable = bool(group.get("capturable")) or is_compiled()
            self._gradients.append(Gradient(numbers, has, settings, scale, found_inf, is_capturable))

    def _take_after(self, optimizer: Optimizer) -> None:
        has_hooks = has_own_hooks(optimizer)
        self._verdict.add(
            [
                Taken(
                    self._watched.taken,
                    before,
                    used,
                    reader.snapshot(optimizer.state, before.initial),
                    has_hooks,
                )
                for reader, before, used in zip(self._readers, self._before, self._gradients, strict=True)
            ]
        )
        self._before, self._gradients = [], []

    def _initial(self, group: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values of the state before the first step."""
        return {
            entry.key: group.get(entry.initial) if isinstance(entry.initial, str) else entry.initial
            for entry in self._rule.state
        }


def _copied(value: Any) -> Any:
    """Return a hyperparameter as it is now; schedulers fill those that are tensors anew."""
    if isinstance(value, Tensor):
        return value.item() if value.device.type == "cpu" else value.detach().reshape(()).clone()
    return tuple(_copied(each) for each in value) if isinstance(value, list | tuple) else value
