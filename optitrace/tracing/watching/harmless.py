"""Listening that can do no harm: where it fails, the program goes on, unwatched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from optitrace.experiment.own_module import reason

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a watching before the program ended.

    Attributes:
        optimizer: the name of the one that is watched no longer; empty if none is.
        step: the last one before, of that optimizer or of all together; 0 if there was none.
        error: what has failed.
    """

    optimizer: str
    step: int
    error: Exception

    @property
    def clause(self) -> str:
        """What has failed, and why."""
        what = f"the watching of {self.optimizer}" if self.optimizer else "the watching"
        return f"{what} failed: {reason(self.error)}"

    @property
    def sentence(self) -> str:
        """What was not watched for that."""
        after = f" after step {self.step}" if self.step else ""
        if not self.optimizer:
            return f"nothing was watched{after}: {reason(self.error)}."
        return f"{self.optimizer} was not watched{after}: {reason(self.error)}."


def without_traceback(error: Exception) -> Exception:
    """Return an error that keeps nothing alive of what it went through, such as copies of weights."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def harmless(method: Method) -> Method:
    """Make a method of a listener one that never raises: an error is kept, and nothing is heard any more.

    Hours of someone's training must not end because of a fault, or a lack of memory, of what watches it.
    """

    @functools.wraps(method)
    def listening(self: Any, *args: Any) -> Any:
        if self.failure is not None:
            return None
        try:
            return method(self, *args)
        except Exception as error:
            self.failure = error
            return None

    return listening  # type: ignore[return-value]


def harmless_to_others(method: Method) -> Method:
    """Make a method that is told of an optimizer one that never raises, as `harmless` does.

    An error ends the watching of that optimizer alone.
    """

    @functools.wraps(method)
    def listening(self: Any, optimizer: Any, *args: Any) -> Any:
        if self.failure is not None:
            return None
        try:
            return method(self, optimizer, *args)
        except Exception as error:
            self.give_up(optimizer, error)
            return None

    return listening  # type: ignore[return-value]
