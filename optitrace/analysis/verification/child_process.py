"""The process that a custom optimizer class is verified in."""

from __future__ import annotations

import gc
import os
import pickle
from threading import Thread
from typing import TYPE_CHECKING, Any, NoReturn

from optitrace.analysis.verification.separate_process import NeverReturnsError
from optitrace.errors import OptitraceError
from optitrace.experiment.user_module import reason

if TYPE_CHECKING:
    from optitrace.analysis.verification.check import VerificationResult
    from optitrace.analysis.verification.separate_process import Report, Request


def main() -> NoReturn:
    """Verify what standard input asks for, write the outcome to standard output, and end.

    Both streams are kept from the class: it reads nothing, and what it prints goes to standard error.
    """
    given, results = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    process, leave = os.getpid(), os._exit

    def send(*message: Any) -> None:
        if os.getpid() != process:  # a copy of this process, which the class has made
            leave(0)
        try:
            pickle.dump(message, results)
            results.flush()
        except OSError:  # the other process has ended, or the class has closed the pipe
            leave(1)

    def watch() -> None:
        given.read(1)  # returns when the other process has ended
        leave(1)

    request = pickle.load(given)
    Thread(target=watch, daemon=True).start()
    try:
        found = _found(request, lambda settings: send("tried", settings), lambda *a: send("report", a))
        message: tuple[Any, ...] = "found", found
    except OptitraceError as error:
        message = "refused", (_kind(error), str(error))
    except NeverReturnsError as error:
        message = "refused", ("OptitraceError", f"{request.name} could not be verified: {error}.")
    except BaseException as error:  # whatever the class has made of this process
        fact = f"{request.name} could not be verified: {reason(error)}"
        message = "refused", ("OptitraceError", f"{fact}; see whether it changes torch or Python itself.")
    send(*message)
    leave(0)


def _found(request: Request, tried: Any, report: Report) -> VerificationResult:
    gc.disable()  # importing torch makes half a million objects, none of which can be freed
    from optitrace.analysis.verification.guard import ProcessGuard
    from optitrace.analysis.verification.verify import VerifiedClass, verify
    from optitrace.experiment.user_class import find_rule, known_rule, load
    from optitrace.rules.hyperparameter import read_settings

    gc.freeze()
    gc.enable()
    rule = find_rule(request.rule) if request.rule else known_rule(request.name)
    guard = ProcessGuard(tried, request.avoided, request.timeout)
    with guard.guarding():
        own = load(request.name)
    given = {**read_settings(own.name, own.hyperparameters, request.texts), **request.given}
    return verify([], [VerifiedClass(own, given, rule, guard)], request.scope, report)


def _kind(error: OptitraceError) -> str:
    """Return the name of the nearest kind of error that the other process knows."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return next(name for name in names if name in ("UsageError", "DeviceError", "OptitraceError"))
