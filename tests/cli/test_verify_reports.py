"""The files that `verify` writes for other programs: JSON with its schema, JUnit XML and Markdown."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
from support.runs import run

from optitrace.analysis.verification.check import (
    Check,
    ClaimOutcome,
    Conformance,
    Departure,
    Suspect,
    Verdict,
    VerificationResult,
    code_of,
)
from optitrace.analysis.verification.conformance import CLAIMS, PLAIN_STEP
from optitrace.analysis.verification.report_schema import verification_schema
from optitrace.analysis.verification.separate_process import ENDS, RETURNS
from optitrace.rules.catalogue import TORCH_OPTIMIZERS
from optitrace.rules.mistake_derivation import mistakes_of
from optitrace.views.display import Display
from optitrace.views.presenters.verification import VerificationPresenter
from optitrace.views.writers.junit import write_junit
from optitrace.views.writers.markdown import write_markdown

DEPARTURE = Departure(
    settings={"lr": 0.1, "betas": (0.8, 0.95), "amsgrad": True},
    shape=(4,),
    step=3,
    quantity="weights",
    coordinate=2,
    of=4,
    line="w = w − lr·g = 1 − 0.1·2 = 0.8",
    expected=0.8,
    found=float("nan"),
    error=float("inf"),
    suspects=(Suspect("w = w − lr·g", 0.8, 0.9), Suspect("m = g", 1.0, 2.0)),
)


def check(optimizer: str, verdict: Verdict = Verdict.AGREES, **more: Any) -> Check:
    given = {"rule": "adam", "implementation": "single", "dtype": "float64", "device": "cpu", **more}
    return Check(
        optimizer, configurations=3, worst_step_error=1.5, worst_run_error=None, verdict=verdict, **given
    )


FOUND = VerificationResult(
    checks=(
        check("mine.py:Sound"),
        check(
            "mine.py:<Odd> & \x1b[1m",
            Verdict.DEPARTS,
            departure=DEPARTURE,
            causes=("the two betas are swapped", "m = g is replaced by m = 2·g"),
            notes=("it has no eps",),
        ),
        check("lbfgs", Verdict.NO_RULE, rule="", dtype="", notes=("what it does depends on the data",)),
    ),
    conformances=(
        Conformance("mine.py:Sound", "a saved state resumes", ClaimOutcome.PASSED, "bit for bit"),
        Conformance("mine.py:Sound", "the gradient is left alone", ClaimOutcome.FAILED, "step 1 changes it"),
        Conformance("mine.py:Sound", "maximize mirrors minimize", ClaimOutcome.NOT_APPLICABLE, "it has none"),
    ),
)

SCHEMA = json.loads(
    files("optitrace.analysis.verification").joinpath("verification.schema.json").read_text("utf-8")
)


def as_json(found: VerificationResult) -> Any:
    return json.loads("".join(VerificationPresenter(found).json(Display())))


def as_xml(found: VerificationResult) -> ET.Element:
    return ET.fromstring("".join(map(str, write_junit(VerificationPresenter(found), Display()))))


def test_the_schema_that_is_shipped_is_the_one_that_the_values_give() -> None:
    assert verification_schema() == SCHEMA
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("found", [FOUND, VerificationResult()])
def test_a_verification_is_what_the_schema_says(found: VerificationResult) -> None:
    Draft202012Validator(SCHEMA).validate(as_json(found))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 2),
        (("passed",), "yes"),
        (("checks", 0, "verdict"), "fine"),
        (("checks", 0, "worst_step_error"), "nan"),
        (("checks", 1, "departure", "step"), "three"),
        (("checks", 1, "departure", "extra"), 1),
        (("conformances", 0, "outcome"), "good"),
        (("conformances", 0, "code"), None),
    ],
)
def test_the_schema_refuses_what_no_verification_is(path: tuple[str | int, ...], value: Any) -> None:
    whole = as_json(FOUND)
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value

    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(whole)


def test_verdicts_causes_and_claims_have_codes() -> None:
    whole = as_json(FOUND)

    assert [each["verdict"] for each in whole["checks"]] == ["agrees", "departs", "has no rule"]
    assert whole["checks"][1]["cause_codes"] == ["the-two-betas-are-swapped", "changed-line"]
    assert [each["code"] for each in whole["conformances"]] == [
        "a-saved-state-resumes",
        "the-gradient-is-left-alone",
        "maximize-mirrors-minimize",
    ]


def test_codes_of_claims_stay_what_they_are() -> None:
    assert [code_of(claim) for claim in (*CLAIMS, PLAIN_STEP, ENDS, RETURNS)] == [
        "every-hyperparameter-has-an-effect",
        "a-zero-gradient-leaves-the-weights-unchanged",
        "a-parameter-without-a-gradient-does-not-move",
        "negated-weights-and-gradients-give-negated-steps",
        "maximize-mirrors-minimizing",
        "a-saved-state-can-be-resumed",
        "two-optimizers-made-from-one-state_dict-are-independent",
        "the-gradient-is-not-modified",
        "the-order-of-parameters-does-not-matter",
        "parameters-of-two-dtypes-move-as-each-would-alone",
        "the-state-has-the-weights-dtype",
        "step-needs-nothing-but-gradients",
        "no-call-ends-the-process",
        "every-call-returns",
    ]


def test_the_known_mistakes_of_a_rule_have_codes_of_their_own() -> None:
    for optimizer in TORCH_OPTIMIZERS.values():
        if optimizer.rule is not None:
            named = [mistake.name for mistake in mistakes_of(optimizer.rule) if "=" not in mistake.name]
            assert len({code_of(name) for name in named}) == len(named)


def test_junit_has_a_test_case_for_each_check_and_each_claim() -> None:
    [suite] = as_xml(FOUND)
    cases = list(suite)

    assert (suite.tag, suite.attrib["name"]) == ("testsuite", "optitrace")
    assert {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": 6,
        "failures": 2,
        "errors": 0,
        "skipped": 2,
    }
    assert [case.attrib["name"] for case in cases] == [
        "rule adam, single, float64",
        "rule adam, single, float64",
        "has no rule",
        "a saved state resumes",
        "the gradient is left alone",
        "maximize mirrors minimize",
    ]
    assert [[child.tag for child in case] for case in cases] == [
        [],
        ["failure"],
        ["skipped"],
        [],
        ["failure"],
        ["skipped"],
    ]


def test_a_failure_in_junit_has_the_text_of_the_report() -> None:
    [suite] = as_xml(FOUND)
    [[failure]] = [list(case) for case in suite if case.attrib["classname"].startswith("mine.py:<Odd>")]
    lines = (failure.text or "").splitlines()

    # a character that XML has no way to write is spelled out
    assert failure.attrib["message"] == (
        "mine.py:<Odd> & \\x1b[1m departs from the rule of adam (single float64)"
    )
    assert lines[0] == failure.attrib["message"]
    assert "first at step 3 with lr=0.1, betas=0.8,0.95, amsgrad=true: weights, coordinate 2 of 4" in lines
    assert "agrees with adam if the two betas are swapped" in lines
    assert "  m = g would be 2, not 1" in lines


def test_junit_has_the_elements_and_attributes_of_pytest(tmp_path: Path) -> None:
    tests = "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip()\n"
    (tmp_path / "test_theirs.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml", "theirs.xml"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    theirs = ET.parse(tmp_path / "theirs.xml").getroot()

    attributes = {element.tag: {*element.attrib} for element in theirs.iter()}
    for element in as_xml(FOUND).iter():
        assert {*element.attrib} <= attributes[element.tag]


def test_markdown_has_what_the_table_has() -> None:
    lines = "".join(map(str, write_markdown(VerificationPresenter(FOUND), Display()))).splitlines()

    assert lines[0] == "failed: 1 of 2 implementations agree with their rules; 1 of 2 general claims fails"
    assert "| mine.py:Sound | single | 3 | 1.5 | agrees |" in lines
    assert "agrees with adam if the two betas are swapped" in lines
    assert "| mine.py:Sound | the gradient is left alone | failed | step 1 changes it |" in lines


def test_one_run_writes_all_of_them(tmp_path: Path) -> None:
    names = [str(tmp_path / f"report.{suffix}") for suffix in ("json", "md", "xml", "csv")]
    outputs = [word for name in names for word in ("-o", name)]
    finished = run("verify", "sgd", "--implementation", "single", "--dtype", "float64", *outputs)
    report, page, tests, rows = (Path(name).read_text("utf-8") for name in names)

    assert finished.code == 0
    assert json.loads(report)["passed"] is True
    assert page.startswith("sgd agrees with its rule\n")
    assert [case.attrib["classname"] for case in ET.fromstring(tests).iter("testcase")] == ["sgd"]
    assert rows.startswith("optimizer,rule,implementation,dtype,")
