"""The pytest plugin: `pytest --optitrace mine:Lion --optitrace-rule lion` adds a test of a class."""

from __future__ import annotations

from typing import Any

import pytest

from optitrace.errors import OptitraceError


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("optitrace", "optimizers against their published rules")
    group.addoption(
        "--optitrace",
        action="append",
        default=[],
        metavar="CLASS",
        help="verify an optimizer class, package.module:Class or path/file.py:Class; can be repeated",
    )
    group.addoption(
        "--optitrace-rule",
        metavar="RULE",
        help="the update rule that these classes are to follow, such as adam",
    )


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add a test for each class to those that were collected."""
    config = session.config
    rule = config.getoption("optitrace_rule")
    names = config.getoption("optitrace")
    if rule and not names:
        raise pytest.UsageError("--optitrace-rule needs --optitrace CLASS, which names the class to verify")
    items += [
        OptimizerItem.from_parent(session, name=f"optitrace[{name}]", optimizer=name, rule=rule)
        for name in names
    ]


class OptimizerItem(pytest.Item):
    """A test that passes if `optitrace verify` does."""

    def __init__(self, *, optimizer: str, rule: str | None, **given: Any) -> None:
        super().__init__(**given)
        self.optimizer = optimizer
        self.rule = rule

    def runtest(self) -> None:
        """Verify the class."""
        from optitrace.testing import assert_follows_rule

        assert_follows_rule(self.optimizer, self.rule)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the report, or the sentence that says why there is none."""
        if excinfo.errisinstance((AssertionError, OptitraceError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return what a failure is listed under."""
        return self.path, None, self.name
