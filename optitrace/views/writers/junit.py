"""JUnit XML, which services that run tests show: a test case for each thing that was checked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from optitrace.views.display import Display
from optitrace.views.formats import HasCases, ReportCase, Writer

ELEMENTS = {"failed": "failure", "skipped": "skipped"}
"""What stands in a test case that did not pass."""

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML file may contain."""


def write_junit(result: HasCases, display: Display) -> Iterator[str]:
    """Yield the tests of a result as JUnit XML."""
    cases = list(result.cases())
    outcomes = [case.outcome for case in cases]
    counts = _attributes(
        name="optitrace",
        tests=str(len(cases)),
        failures=str(outcomes.count("failed")),
        errors="0",
        skipped=str(outcomes.count("skipped")),
    )
    yield '<?xml version="1.0" encoding="utf-8"?>\n'
    yield f"<testsuites>\n<testsuite{counts}>\n"
    yield from map(_test_case, cases)
    yield "</testsuite>\n</testsuites>\n"


def _test_case(case: ReportCase) -> str:
    start = f"<testcase{_attributes(classname=case.suite, name=case.name)}"
    if case.outcome == "passed":
        return f"{start}/>\n"
    element = ELEMENTS[case.outcome]
    inner = f"<{element}{_attributes(message=case.message)}>{_escaped(case.text)}</{element}>"
    return f"{start}>\n{inner}\n</testcase>\n"


def _attributes(**given: str) -> str:
    return "".join(f' {name}="{_escaped(value)}"' for name, value in given.items())


def _escaped(text: str) -> str:
    from html import escape

    return escape(_FORBIDDEN.sub(lambda found: repr(found[0])[1:-1], text))


WRITERS = (Writer("junit", ".xml", HasCases, write_junit),)
