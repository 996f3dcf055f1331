"""A custom optimizer class verified in a process of its own, which it can end, but not this one.

This side imports neither torch nor the class. What the class prints goes to standard error.
"""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any, TypeAlias

from optitrace.analysis.verification import check
from optitrace.analysis.verification.check import ClaimOutcome, Conformance, Scope, VerificationResult
from optitrace.errors import DeviceError, OptitraceError, UsageError

ENDS = "no call ends the process"
"""The claim that a class fails if its constructor or its step ends the process."""

RETURNS = "every call returns"
"""The claim that a class fails if its constructor or its step takes longer than any may."""

TIMEOUT = 120
"""Seconds that one call may take, unless another limit is given: weights are few, and a step takes none."""

MOST_ENDINGS = 8
"""How many settings may each end a process until no more are tried."""

PATIENCE = 0.2
"""Seconds between two looks at whether the process has ended."""

Report: TypeAlias = Callable[[int, int, str], None]
"""Called with how many things are done, of how many, and what is next."""

Settings: TypeAlias = Mapping[str, str]
"""What an optimizer was made with, as text: its arguments by name, and dtype and shapes of its weights."""


class NeverReturnsError(BaseException):
    """A class takes too long under all settings, so that nothing can be tried."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be verified in a process of its own.

    Attributes:
        name: of the class, ``package.module:Class`` or ``path/file.py:Class``.
        scope: in what ways.
        texts: hyperparameters of the class as ``NAME=VALUE``.
        given: hyperparameters of the class as values.
        rule: the name of the rule; None for the one that the class is known to implement, if any is.
        timeout: how many seconds one call of the class may take.
        avoided: settings that ended the process, and how; they are not tried again.
    """

    name: str
    scope: Scope
    texts: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    rule: str | None = None
    timeout: int = TIMEOUT
    avoided: tuple[tuple[Settings, str], ...] = ()


def verify_separately(request: Request, report: Report = lambda done, of, what: None) -> VerificationResult:
    """Verify a class in a process of its own, and once more for each of its settings that ended it.

    Raises:
        OptitraceError: as `optitrace.analysis.verification.verify.verify`, or it could not be judged.
    """
    tried = TriedSettings()
    while True:
        try:
            outcome = _in_a_process(request, tried, report)
        except OptitraceError:
            if not request.avoided:
                raise
            return _ended(request.name, dict.fromkeys(how for _, how in request.avoided))  # none is left
        if isinstance(outcome, VerificationResult):
            return outcome
        what = "it" if tried.current else "importing it"
        culprit = tried.abandon() or {}
        avoided = (*request.avoided, (culprit, f"{what} {outcome}"))
        if not culprit or len(avoided) > MOST_ENDINGS:
            return _ended(request.name, [sentence(*each) for each in avoided])
        request = replace(request, avoided=avoided)


def _ended(name: str, endings: Iterable[str]) -> VerificationResult:
    """Return that a class ends the process whatever is tried."""
    finding = "; ".join([*endings, "nothing else could be tried"])
    return VerificationResult(conformances=(Conformance(name, ENDS, ClaimOutcome.FAILED, finding),))


class TriedSettings:
    """The settings that were tried one after the other; during the last ones the process may end."""

    def __init__(self) -> None:
        self._survived: list[Settings] = []
        self.current: Settings = {}

    def begin(self, settings: Settings) -> None:
        """Record that settings are tried; the process survived those before them."""
        if self.current and self.current not in self._survived:
            self._survived.append(self.current)
        self.current = settings

    def abandon(self) -> Settings | None:
        """Return what distinguishes the current settings from the most similar survived ones; drop them.

        None if nothing was survived; empty if the very same settings were.
        """
        ended, self.current = self.current, {}
        differing = [
            {name: value for name, value in ended.items() if survived.get(name) != value}
            for survived in self._survived
        ]
        return min(differing, key=len, default=None)


def sentence(settings: Settings, how: str) -> str:
    """Return how a class ends the process, and with which settings, as a clause."""
    said = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f"with {said} {how}" if said else how


def first_avoided(settings: Settings, avoided: Sequence[tuple[Settings, str]]) -> str:
    """Return how the process ended under settings that these contain; empty if they contain none."""
    contained = (how for culprit, how in avoided if culprit and culprit.items() <= settings.items())
    return next(contained, "")


def _in_a_process(request: Request, tried: TriedSettings, report: Report) -> VerificationResult | str:
    """Return what a process found; a clause that says how it ended if it found nothing."""
    with _child(request) as (process, messages):
        while True:
            try:
                message = messages.get(timeout=PATIENCE)
            except Empty:
                # what the class has started may hold the pipe open when the process has ended
                if process.poll() is not None and messages.empty():
                    return _ending(process.returncode)
                continue
            match message:
                case "tried", settings:
                    tried.begin(settings)
                case "report", arguments:
                    report(*arguments)
                case "found", VerificationResult() as verification:
                    return verification
                case "refused", (error_name, text):
                    raise _ERRORS[error_name](text)
                case _:
                    return _ending_of(process)


_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from optitrace.analysis.verification.child_process import main; main()"
)


@contextmanager
def _child(request: Request) -> Iterator[tuple[subprocess.Popen[bytes], SimpleQueue[Any]]]:
    """Start a process and send it the request; end it in any case.

    It has a session of its own, so that Ctrl-C reaches this process alone, which then ends the other.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOT, json.dumps([str(place) for place in sys.path])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    messages: SimpleQueue[Any] = SimpleQueue()
    try:
        _send(process.stdin, request)
        Thread(target=_read, args=(process.stdout, messages), daemon=True).start()
        yield process, messages
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


def _send(stream: IO[bytes], request: Request) -> None:
    """Send a request; the stream stays open, as its end shows the other process that this one ended."""
    try:
        pickle.dump(request, stream)
        stream.flush()
    except BrokenPipeError:  # it has ended already, which is seen later
        return


def _read(stream: IO[bytes], messages: SimpleQueue[Any]) -> None:
    """Put what the process sends into a queue, and None at its end."""
    with stream:
        try:
            while True:
                messages.put(_Unpickler(stream).load())
        except Exception:  # the class may have written anything into the pipe
            messages.put(None)


class _Unpickler(pickle.Unpickler):
    """Makes the values of `check` alone, whatever the class has sent."""

    def find_class(self, module: str, name: str) -> Any:
        found = vars(check).get(name) if module == check.__name__ else None
        if not isinstance(found, type) or found.__module__ != module:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return found


_KINDS: tuple[type[OptitraceError], ...] = (OptitraceError, UsageError, DeviceError)
_ERRORS = {kind.__name__: kind for kind in _KINDS}


def _ending_of(process: subprocess.Popen[bytes]) -> str:
    try:
        return _ending(process.wait(timeout=PATIENCE))
    except subprocess.TimeoutExpired:
        return "corrupts the pipe that its results are sent through"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ends the process with exit code {code}"
    try:
        return f"ends the process by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"ends the process by signal {-code}"
