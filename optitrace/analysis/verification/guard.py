"""The guard between a custom optimizer class and the code that verifies it, in the process of both."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from optitrace.analysis.verification.check import ClaimOutcome, Conformance
from optitrace.analysis.verification.separate_process import (
    ENDS,
    RETURNS,
    NeverReturnsError,
    Settings,
    TriedSettings,
    first_avoided,
    sentence,
)
from optitrace.experiment.float_formats import dtype_name
from optitrace.experiment.user_class import UserClass
from optitrace.rules.hyperparameter import show
from optitrace.tracing.stepping import construct


class CallTimeoutError(RuntimeError):
    """A call of a class took too long; that counts as an error that it raises."""


class ProcessEndedError(RuntimeError):
    """A class ended the process, or tried to; that counts as an error that it raises."""


class ProcessGuard:
    """Runs constructor and step of a class so that neither can end the process or change its verification.

    Attributes:
        endings: the settings under which it ended the process, and how, each once.
        late: the settings under which a call took too long, each once.
    """

    def __init__(
        self,
        report: Callable[[Settings], None] = lambda settings: None,
        avoided: Sequence[tuple[Settings, str]] = (),
        timeout: int = 0,
    ) -> None:
        """Begin before the class is imported, so that changes of torch at import are reverted, too.

        Args:
            report: called with the settings of each optimizer before it is made.
            avoided: settings that ended an earlier process, and how; they are not tried again.
            timeout: how many seconds a call may take; no limit if 0, or where there are no alarms.
        """
        self._report = report
        self._avoided = list(avoided)
        self._timeout = timeout if hasattr(signal, "SIGALRM") else 0
        self.late: dict[str, None] = {}
        self._tried = TriedSettings()
        self._torch = _TorchFunctions()
        self.endings: dict[str, None] = dict.fromkeys(sentence(*each) for each in avoided)

    def guarded(self, user_class: UserClass) -> UserClass:
        """Return a class whose optimizers are guarded."""

        def make(parameters: Any, **arguments: Any) -> Optimizer:
            settings = _settings(parameters, arguments)
            if how := first_avoided(settings, self._avoided):
                raise ProcessEndedError(how)
            self._tried.begin(settings)
            self._report(settings)
            with self.guarding():
                optimizer = construct(user_class.optimizer_class, parameters, arguments)
            step = optimizer.step

            def guarded_step(*closure: Any) -> object:
                with self.guarding():
                    return step(*closure)

            # where a learning rate scheduler puts its own, too
            setattr(optimizer, "step", guarded_step)  # noqa: B010
            return optimizer

        return replace(user_class, optimizer_class=cast("type[Optimizer]", make))

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Give a class torch as it has changed it, revert the changes afterwards, and let no exit through.

        Raises:
            ProcessEndedError: the code inside raised what is no `Exception`, and would end the process.
            CallTimeoutError: it took too long.
            NeverReturnsError: it took too long before anything else was tried.
        """
        try:
            with self._torch.as_changed(), _alarm(self._timeout):
                yield
        except CallTimeoutError as error:
            self._note_late(str(error))
            raise
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            how = _how(error)
            if culprit := self._tried.abandon():
                self.endings.setdefault(sentence(culprit, how))
            raise ProcessEndedError(how) from error

    def _note_late(self, how: str) -> None:
        """Try no settings again that have what distinguishes those that take too long."""
        culprit = self._tried.abandon()
        if not culprit:
            raise NeverReturnsError(f"{how}; --timeout allows more")
        self._avoided.append((culprit, how))
        self.late.setdefault(sentence(culprit, how))

    def conformances(self, name: str) -> Iterator[Conformance]:
        """Yield the failed claims if any settings ended the process, or took too long."""
        if self.late:
            said = "; ".join([*self.late, "--timeout allows more"])
            yield Conformance(name, RETURNS, ClaimOutcome.FAILED, said)
        if self.endings:
            yield Conformance(name, ENDS, ClaimOutcome.FAILED, "; ".join(self.endings))


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    """Let code take so many seconds at most; any number if 0.

    Raises:
        CallTimeoutError: it takes longer.
    """
    if not seconds:
        yield
        return

    def ring(*_: object) -> None:
        raise CallTimeoutError(f"a call takes more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _TorchFunctions:
    """torch's original functions, and those that a class has replaced."""

    def __init__(self) -> None:
        # torch imports its compiler, which changes some, with the first optimizer
        torch.optim.SGD([torch.zeros(1)], lr=0.1)
        self._found = [(holder, dict(vars(holder))) for holder in (torch, Tensor)]
        self._changes: dict[tuple[Any, str], Any] = {}

    @contextmanager
    def as_changed(self) -> Iterator[None]:
        for (holder, name), value in self._changes.items():
            _put(holder, name, value)
        try:
            yield
        finally:
            for holder, found in self._found:
                self._revert(holder, found)

    def _revert(self, holder: Any, found: dict[str, Any]) -> None:
        now = dict(vars(holder))
        if now == found:  # compares by identity first, and takes a third of the time of the loop below
            return
        for name in found.keys() | now.keys():
            before, after = found.get(name, _ABSENT), now.get(name, _ABSENT)
            if before is after:
                continue
            if callable(before) or _hides(holder, name, before):
                self._changes[holder, name] = after
                _put(holder, name, before)
            else:  # torch imports parts of itself late
                found[name] = after


_ABSENT = object()


def _hides(holder: Any, name: str, before: Any) -> bool:
    """Return whether a new name hides one that is inherited, as that of most methods of a tensor is."""
    return before is _ABSENT and isinstance(holder, type) and any(name in vars(b) for b in holder.__mro__[1:])


def _put(holder: Any, name: str, value: Any) -> None:
    if value is not _ABSENT:
        setattr(holder, name, value)
    elif name in vars(holder):
        delattr(holder, name)


def _settings(parameters: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return what an optimizer is made with, as text.

    Args:
        parameters: tensors, groups or a module of them, or an optimizer.
        arguments: what the class is given beside them.
    """
    settings = {name: show(value) for name, value in arguments.items()}
    given = parameters.param_groups if isinstance(parameters, Optimizer) else parameters
    tensors = [p for each in given for p in (each["params"] if isinstance(each, dict) else [each])]
    first = tensors[0]
    shapes = " and ".join("×".join(map(str, p.shape)) for p in tensors)
    return {**settings, "weights": f"{dtype_name(first.dtype)} of {shapes}"}


def _how(error: BaseException) -> str:
    if not isinstance(error, SystemExit):
        return f"it raises {type(error).__name__}"
    code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    return f"it raises SystemExit (exit code {code})"
