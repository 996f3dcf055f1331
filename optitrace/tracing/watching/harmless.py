"""Listening that can do no harm: where it fails, the program goes on, unwatched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


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
