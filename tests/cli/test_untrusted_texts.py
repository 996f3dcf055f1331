"""Texts that come from files, from a program and from file names do no harm in any view."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt
from support.hostile import HOSTILE
from support.made_trainings import by_parameter, optimizer, scalar, training
from support.runs import Finished, run, run_process

import optitrace
from optitrace.errors import printable
from optitrace.records.findings import Diagnosis, RankAgreement, RuleAgreement, TrainingFindings
from optitrace.records.trace import Outcome, Status, Versions
from optitrace.records.training import (
    NonFinite,
    Program,
    Scheduling,
    UnownedParameter,
    WatchedParameter,
)
from optitrace.records.writer import fields_of, json_chunks

ALL = " ".join(HOSTILE)

TEXT_FORMATS = ("table", "json", "jsonl", "csv", "tsv", "markdown", "html", "svg")

WIDE = {"COLUMNS": "20000"}


def trace_text(**versions: str) -> str:
    """Return a trace file with a hostile text wherever a text can stand."""
    vector = [0.5, 0.5]
    row: dict[str, Any] = {"step": 0, "loss": None, "gradient": None, "weights": vector, "lr": None}
    states = dict.fromkeys(HOSTILE, 0.25)
    data = {
        "schema": 1,
        "experiment": {
            "optimizer": f"mine.py:{ALL}",
            "hyperparameters": {"lr": 0.1, **{text: text for text in HOSTILE}},
            "objective": {"name": "function", "function": f"mine.py:{ALL}", "dimension": 2},
            "start": vector,
            "steps": 2,
            "gradient": "fresh",
            "dtype": "float32",
            "device": "cpu",
            "implementation": "single",
            "schedule": f"StepLR:step_size=1,{ALL.replace('=', '').replace(',', '').replace(';', '')}=1",
        },
        "versions": {"optitrace": ALL, "torch": ALL, "python": ALL, **versions},
        "outcome": {"status": "failed", "step": 1, "reason": ALL},
        "final_loss": 0.1,
        "steps": [
            {**row, "state": {}},
            {**row, "step": 1, "loss": 0.75, "gradient": [1.0, -2.0], "lr": 0.1, "state": states},
        ],
    }
    return json.dumps(data)


def training_text() -> str:
    """Return a training file with a hostile text wherever a text can stand."""
    parameters = tuple(WatchedParameter(text, (2,), "float32", also_in=text) for text in HOSTILE)
    rows = [[1.0] * len(HOSTILE)] * 3
    optimizers = [
        optimizer(
            name=text,
            class_path=text,
            hyperparameters=({"lr": 0.1, text: text},),
            parameters=parameters,
            by_parameter=by_parameter(rows),
            state={text: scalar([1.0, 2.0, 3.0])},
            values={text: scalar([1.0, 2.0, 3.0])},
            non_finite=(NonFinite(text, 3, text),),
            scheduling=Scheduling((text,), 3, 1),
        )
        for text in HOSTILE
    ]
    found = TrainingFindings(
        tuple(Diagnosis(text, text, 1, text, text, text) for text in HOSTILE),
        tuple(
            RuleAgreement(text, text, 1, 1, 1.0, 1.0, departure, text, text, text)
            for text in HOSTILE
            for departure in (None, 1)
        ),
        RankAgreement(2, False, ALL, 1, ALL, (0, 1), (1.0, 2.0), ALL),
    )
    made = training(
        *optimizers,
        program=Program(HOSTILE),
        versions=Versions(ALL, ALL, ALL),
        outcome=Outcome(Status.FAILED, 3, reason=ALL),
        idle=HOSTILE,
        unowned=tuple(UnownedParameter(text, text) for text in HOSTILE),
        world_size=2,
    )
    return "".join(json_chunks(made, fields_of(found)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of files with hostile texts in them, some of which have hostile names as well."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "trace.json").write_text(trace_text())
    (folder / "other.json").write_text(trace_text(torch=f"2 {ALL}").replace(": 0.75", ": 0.5"))
    (folder / "training.json").write_text(training_text())
    (folder / "later.json").write_text(training_text().replace('"loss": 2.25', '"loss": 2.5'))
    for text in named():
        (folder / text).write_text(trace_text())
    return folder


def named() -> list[str]:
    """Return the names of files that have hostile texts in their names."""
    return [f"{text.replace('/', '')}.json".replace("\x00", "") for text in HOSTILE]


def shown(finished: Finished) -> str:
    assert "Traceback" not in finished.stderr
    check_characters(finished.stderr)
    return finished.stdout


def check_characters(text: str, allowed: str = "\n") -> None:
    """See that a text has no control character but for some that are its structure."""
    assert {c for c in text if not c.isprintable()} <= set(allowed)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


HARMLESS_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "section", "div", "button", "input"),
    *("h2", "table", "tbody", "p", "noscript", "b", "br", "tr", "th", "td"),
    *("svg", "metadata", "rdf:rdf", "cc:work", "dc:type", "dc:title", "dc:format", "defs", "g", "path"),
    *("use", "clippath", "rect", "image", "pattern", "symbol", "script"),
}


def check_html(text: str, *, scripts: int = 0) -> Page:
    check_characters(text)
    page = Page(text)

    assert set(page.tags) <= HARMLESS_TAGS
    assert page.tags.count("script") == scripts
    assert not [name for name in page.attributes if name.startswith("on")]
    return page


def check_svg(text: str) -> None:
    check_characters(text)
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}

    assert not tags & {"script", "a", "foreignObject", "animate", "set", "b"}


INERT = {
    *("inline", "text", "softbreak", "paragraph_open", "paragraph_close", "strong_open", "strong_close"),
    *(f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")),
}
"""The tokens of Markdown that we mean, and that do nothing."""


def check_markdown(text: str) -> str:
    """See that Markdown is read as text and tables alone; return the text."""
    check_characters(text)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inline = [child for token in tokens for child in token.children or ()]

    assert {token.type for token in (*tokens, *inline)} <= INERT
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({re.sub(r"\\.", "", row).count("|") for row in table.splitlines()}) == 1
    assert not [token for token in inline if token.type == "strong_open" and token.level > 0]
    return "".join(token.content for token in inline if token.type == "text")


def check_delimited(text: str, delimiter: str) -> list[list[str]]:
    check_characters(text, "\n\t" if delimiter == "\t" else "\n")
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))

    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))):
        assert re.fullmatch(r"[+-](\d+(\.\d+)?(e[+-]?\d+)?|Infinity)", cell)
    return rows


def check(text: str, format: str) -> None:
    """See that what stands in a format does no harm."""
    if format == "html":
        check_html(text, scripts=2)
    elif format == "svg":
        check_svg(text)
    elif format == "markdown":
        check_markdown(text)
    elif format in ("csv", "tsv"):
        check_delimited(text, "\t" if format == "tsv" else ",")
    else:
        check_characters(text)
        if format == "json":
            json.loads(text)


@pytest.mark.parametrize("format", TEXT_FORMATS)
@pytest.mark.parametrize(
    "command",
    [
        "show trace.json --state --update",
        "show training.json --state --params --all",
        "compare trace.json other.json",
    ],
)
def test_every_format_of_every_view_is_inert(
    command: str, format: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if command.startswith("compare") and format == "jsonl":
        return
    finished = run(*command.split(), "-f", format, **WIDE)

    assert finished.code == 0
    check(shown(finished), format)


@pytest.mark.parametrize(
    "command",
    [
        "show trace.json --plot",
        "show training.json --plot",
        "compare trace.json other.json --plot --table loss",
    ],
)
def test_plots_and_files_of_pictures_are_inert(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    paths = [tmp_path / f"x.{suffix}" for suffix in ("png", "pdf", "gif", "svg", "html", "txt", "md", "csv")]
    finished = run(*command.split(), *(word for path in paths for word in ("-o", str(path))), **WIDE)

    assert finished.code == 0
    check_characters(shown(finished))
    for path, format in zip(paths[3:], ("svg", "html", "table", "markdown", "csv"), strict=True):
        check(path.read_text(), format)
    assert all(path.stat().st_size for path in paths[:3])


@pytest.mark.parametrize("format", ["table", "json"])
@pytest.mark.parametrize("command", ["diff trace.json other.json", "diff training.json later.json"])
def test_differences_are_inert(
    command: str, format: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    finished = run(*command.split(), "-f", format, **WIDE)

    assert finished.code == 1
    check(shown(finished), format)


@pytest.mark.parametrize("format", ["table", "json", "csv", "tsv", "markdown", "html", "svg"])
@pytest.mark.parametrize("quantity", [(), ("--table", "loss")])
def test_names_of_files_are_inert(
    quantity: tuple[str, ...], format: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = [f"./{name}" if name.startswith(("-", "+")) else name for name in named()]
    finished = run("compare", *quantity, "-f", format, "--", *names, **WIDE)

    assert finished.code == 0
    check(shown(finished), format)


@pytest.mark.parametrize("format", ["table", "json"])
def test_names_of_files_are_inert_in_differences(
    format: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in named():
        check(shown(run("diff", "-f", format, "--", f"./{name}", "trace.json", **WIDE)), format)


def test_a_text_is_shown_as_it_stands_but_for_its_control_characters(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    table = run("show", "trace.json", "--state", COLUMNS="200000").stdout
    markdown = check_markdown(run("show", "trace.json", "--state", "-f", "markdown").stdout)
    header = check_delimited(run("show", "trace.json", "-f", "csv").stdout, ",")[0]
    html = Page(optitrace.read("trace.json")._repr_html_()).text

    for text in map(printable, HOSTILE):
        assert text in table
        assert text in markdown
        assert text.removeprefix("'") in [name.removeprefix("'") for name in header]
        assert text in html


def test_numbers_of_a_spreadsheet_stay_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = list(csv.DictReader(io.StringIO(run("sgd", "--start=-0.5,0.5", "-n", "1", "-f", "csv").stdout)))
    diverged = run("sgd", "--lr=3", "--start=-1,1", "-n", "400", "-f", "csv").stdout

    assert rows[0]["weights_1"] == "-0.5"
    assert rows[1]["gradient_1"] == "-1.0"
    assert "'" not in diverged
    assert "-Infinity" in diverged


def test_notebooks_show_texts_and_no_markup(folder: Path) -> None:
    check_html(optitrace.read(folder / "trace.json")._repr_html_())
    check_characters(str(optitrace.read(folder / "trace.json")))
    check_characters(repr(optitrace.read(folder / "trace.json")))


def test_a_file_of_hostile_texts_can_be_saved_and_shown_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("trace", "training"):
        for suffix in ("json", "jsonl"):
            assert run("show", str(folder / f"{name}.json"), "-o", f"{name}.{suffix}").code == 0
            check_characters(Path(f"{name}.{suffix}").read_text())
            assert run("show", f"{name}.{suffix}").code == 0


@pytest.mark.parametrize("format", ["table", "csv", "tsv", "json", "jsonl", "markdown", "svg"])
def test_the_path_of_a_class_is_inert_in_a_sweep(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('=cmd,"![x](y) <b>[red].py').write_text("from torch.optim import SGD as VerifiedClass\n")
    finished = run(
        "sweep", '=cmd,"![x](y) <b>[red].py:VerifiedClass', "-P", "lr=0.1,0.2", "-n", "2", "-f", format
    )

    assert (finished.code, finished.stderr) == (0, "")
    check(shown(finished), format)


@pytest.mark.parametrize(
    "arguments",
    [
        ("mine\x1b[2J.py:VerifiedClass",),
        ("sgd", "--objective", "two\nlines.py:loss"),
        ("sgd", "--objective", "w1**2 # \x1b[2J"),
        ("sgd", "--objective", "mine\udcff.py:loss"),
    ],
)
def test_code_whose_name_cannot_be_printed_is_refused(arguments: tuple[str, ...]) -> None:
    finished = run(*arguments)

    assert (finished.code, finished.stdout) == (2, "")
    assert re.fullmatch(r"optitrace: .* has a character that cannot be printed; re.*\.\n", finished.stderr)


def test_an_expression_may_be_given_on_several_lines() -> None:
    assert (
        run("sgd", "--objective", "(w1**2\n\t+ w2**2)").stdout
        == run("sgd", "--objective", "(w1**2 + w2**2)").stdout
    )


SCRIPT = f"""
import torch
HOSTILE = {HOSTILE!r}
names = [text.replace(".", "") for text in HOSTILE]
model = torch.nn.Module()
for name in names:
    model.register_parameter(name, torch.nn.Parameter(torch.ones(2)))
    model.register_parameter(name + "0", torch.nn.Parameter(torch.ones(2)))
for text in HOSTILE:
    cls = type(text.replace("\\x00", ""), (torch.optim.SGD,), {{"__module__": text}})
    cls.__qualname__ = text
    optimizer = cls([model.get_parameter(name) for name in names], lr=0.1)
    optimizer.defaults[text] = optimizer.param_groups[0][text] = text
    for parameter in model.parameters():
        optimizer.state[parameter][text] = torch.ones(2)
    for _ in range(2):
        sum(p.square().sum() for p in model.parameters()).backward()
        optimizer.step()
        optimizer.zero_grad()
raise ValueError({ALL!r})
"""


def test_texts_of_a_program_that_is_run_are_inert(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    suffixes = ("json", "jsonl", "csv", "tsv", "md", "svg", "html", "txt")
    outputs = [word for suffix in suffixes for word in ("-o", str(tmp_path / f"x.{suffix}"))]
    options = ("--params", "--state", "--watch", "*[0]", "--all", "--plot", "--verify")
    finished = run_process(
        "run", *options, *outputs, str(script), *(t for t in HOSTILE if "\x00" not in t), **WIDE
    )
    table, _, traceback = finished.stderr.partition("Traceback")
    formats = ("json", "jsonl", "csv", "tsv", "markdown", "svg", "html", "table")

    assert finished.code == 1
    assert (
        ALL.replace("\r", "\n") in traceback
    )  # as text is read; what Python prints of the program's own error is the program's
    check_characters(table)
    for suffix, format in zip(suffixes, formats, strict=True):
        check((tmp_path / f"x.{suffix}").read_text(encoding="utf-8"), format)
    for suffix in ("json", "jsonl"):
        assert run("show", str(tmp_path / f"x.{suffix}"), "--params", "--state", **WIDE).code == 0
