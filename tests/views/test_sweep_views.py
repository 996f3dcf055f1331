"""A sweep shown: the map and the curve say what the losses are, and no number is cut at any width."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from functools import cache

import pytest
from rich.console import Console
from support.samples import written

from optitrace.analysis.sweeping.axis import Range, SweptAxis
from optitrace.analysis.sweeping.blocks import Block
from optitrace.analysis.sweeping.loss_map import LossMap, Scale
from optitrace.analysis.sweeping.measures import Goal
from optitrace.analysis.sweeping.space import lay_out
from optitrace.analysis.sweeping.sweep import SweepResult, sweep
from optitrace.experiment.experiment import design
from optitrace.views.display import Display
from optitrace.views.page import html_page
from optitrace.views.presenters.sweep import SweepPresenter, columns_of
from optitrace.views.sweep_picture import HEIGHT, curve_lines, map_lines
from optitrace.views.sweep_wording import spot_check_line

WIDTHS = (30, 40, 80, 120, 300, None)


def scale(name: str, first: float, last: float, bins: int, *, logarithmic: bool = False) -> Scale:
    return Scale(SweptAxis(name, name, None, Range(first, last, bins, logarithmic)), bins)


@cache
def swept(*axes: str, optimizer: str = "sgd", steps: int = 60) -> tuple[SweepResult, tuple[Block, ...]]:
    blocks: list[Block] = []
    found = sweep(lay_out(design(optimizer, steps=steps), axes), Goal(), take=blocks.append)
    return found, tuple(blocks)


def printed(found: SweepResult, width: int | None, *, ascii_only: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width or 1000, height=50, color_system=None)
    console.print(SweepPresenter([found], ["optitrace sgd"]).table(Display(width=width, ascii=ascii_only)))
    return file.getvalue()


def test_the_map_shades_low_losses_and_marks_the_best_the_limit_and_the_diverged() -> None:
    losses = [[1.0, 1e-2, 1e-8, math.inf], [1.0, 1e-16, 1e-1, math.nan]]
    landscape = LossMap(
        scale("lr", 0.1, 0.4, 4), scale("momentum", 0.0, 0.5, 2), losses, [0.29, math.nan], (1, 1)
    )

    # the margin is that of the labels, 0.5 and 0
    assert map_lines(landscape, Display(width=8, ascii=True))[:4] == [
        "momentum",
        "0.5 .@.",
        "  0 ..+|",
        "lr: 0.1 to 0.4",
    ]


def test_a_curve_is_high_where_the_loss_is() -> None:
    losses = [[1.0, 1e-4, 1e-8, math.inf]]
    lines = curve_lines(LossMap(scale("lr", 0.1, 0.4, 4), None, losses, [], (2, 0)), Display(width=10))
    body = [line[6:] for line in lines[1 : HEIGHT + 1]]

    assert [next(k for k in range(HEIGHT) if body[k][c : c + 1].strip()) for c in range(4)] == [
        0,
        5,
        HEIGHT - 1,
        0,
    ]
    assert [body[0][0], body[0][3], body[-1][2]] == ["•", "×", "◆"]


@pytest.mark.parametrize(
    ("least", "label"), [(1e-3, "1e-03"), (0.0, "1e-16 or less"), (1e-30, "1e-16 or less")]
)
def test_or_less_is_said_where_lower_losses_are_drawn_alike(least: float, label: str) -> None:
    axes = scale("lr", 0.1, 0.2, 2), scale("momentum", 0.0, 0.5, 2)
    losses = [[1.0, least], [0.5, 0.5]]
    drawn = map_lines(LossMap(*axes, losses, [], (1, 0)), Display(width=80, ascii=True))
    curve = curve_lines(LossMap(axes[0], None, losses[:1], [], (1, 0)), Display(width=80, ascii=True))

    assert drawn[-1] == f"final loss . 1e+00 to # {label}, @ best"
    assert curve[HEIGHT].startswith("<= 1e-16 " if "less" in label else "1e-03 ")


def test_settings_that_tie_are_counted_and_an_exact_zero_is_printed_as_0() -> None:
    text = printed(swept("lr=0.25,0.3,0.35", steps=3000)[0], None)

    assert "3 settings tie at final loss 0; they are ranked by distance, then steps to tolerance, " in text
    assert text.splitlines()[-8].split() == ["1", "0.3", "0", "0"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "axes", [("lr=log:1e-3:1:90", "momentum=0:0.99:50"), ("lr=log:1e-3:1:500",), ("lr=0.1,0.5",)]
)
def test_pictures_stay_within_the_width(axes: tuple[str, ...], width: int | None) -> None:
    landscape = swept(*axes)[0].landscape
    assert landscape is not None
    draw = map_lines if landscape.up else curve_lines

    assert max(map(len, draw(landscape, Display(width=width)))) <= (width or 80)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_is_cut(width: int | None) -> None:
    found = swept("lr=log:1e-3:1:90", "momentum=0:0.99:50")[0]
    text = printed(found, width)

    for candidate in found.best:
        for value in candidate.configuration.values():
            assert f"{value:.6g}" in text.split()
    assert "…" not in text
    counts = [f"{count:,}" for count in found.counts.values()]
    assert all(count in text for count in counts)


def test_ascii_is_ascii() -> None:
    assert printed(swept("lr=log:1e-3:1:90", "momentum=0:0.99:50")[0], 80, ascii_only=True).isascii()


def test_the_spot_check_is_told() -> None:
    line = spot_check_line(swept("lr=log:1e-3:1:90", "momentum=0:0.99:50")[0])

    assert line is not None
    assert line.startswith("spot check: 10 of 10 agree with torch.optim.SGD, worst ")


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "tsv"])
def test_a_file_has_a_row_for_each_configuration_with_exact_numbers(format: str) -> None:
    found, blocks = swept("lr=0.1,0.3,1e3", "nesterov=false", "momentum=0.5,0.9", steps=200)
    rows = [columns_of(found.space, block) for block in blocks]
    text = written(SweepPresenter([found], ["optitrace sgd"], lambda: rows), format)
    if format in ("csv", "tsv"):
        read = list(csv.DictReader(io.StringIO(text), delimiter="," if format == "csv" else "\t"))
    elif format == "json":
        read = json.loads(text)["configurations"]
    else:
        read = [json.loads(line) for line in text.splitlines()][1:]

    assert len(read) == 6
    assert [float(row["lr"]) for row in read] == [0.1, 0.1, 0.3, 0.3, 1e3, 1e3]
    assert [str(row["nesterov"]).lower() for row in read] == ["false"] * 6
    assert [float(row["w1"]) for row in read[:4]] == blocks[0].weights[:4, 0].tolist()
    assert [row["outcome"] for row in read[-2:]] == ["diverged"] * 2
    assert read[-1]["final_loss"] in ("NaN", "Infinity")


def test_json_says_what_was_swept_and_found() -> None:
    found, _ = swept("lr=log:1e-3:1:90", "momentum=0:0.99:50")
    [said] = json.loads(written(SweepPresenter([found], ["optitrace sgd"]), "json"))["sweeps"]

    assert said["varied"][0] == {
        "name": "lr",
        "first": 1e-3,
        "last": 1.0,
        "count": 90,
        "spacing": "logarithmic",
    }
    assert (said["size"], said["finished"], said["outcome"]) == (4500, 4500, "completed")
    assert said["best"][0]["lr"] == found.best[0].configuration["lr"]
    assert said["counts"] == dict(found.counts)
    assert said["spot_check"]["agree"] == said["spot_check"]["of"] == 10
    assert said["command"] == "optitrace sgd"


def test_markdown_has_the_table_and_the_words_of_the_picture_alone() -> None:
    found, _ = swept("lr=0.1,0.3,1e3", "momentum=0,0.9")
    text = written(SweepPresenter([found], ["optitrace sgd --lr 0.3"]), "markdown")
    table = [line for line in text.splitlines() if line.startswith("|")]

    assert text.startswith("sgd: 6 configurations, 60 steps each\n")
    assert table[0] == "| rank | lr | momentum | final loss | distance |"
    assert len(table) == 2 + 6
    assert [cell.strip() for cell in table[2].split("|")[1:4]] == ["1", "0.3", "0"]
    assert text.endswith("\nbest: optitrace sgd --lr 0.3\n")


def test_markdown_of_several_sweeps_has_the_best_of_each() -> None:
    sweeps = [swept("lr=0.1,0.3", optimizer=name)[0] for name in ("sgd", "adam")]
    text = written(SweepPresenter(sweeps, ["", ""]), "markdown")

    assert "| best of | lr | final loss | distance |" in text
    assert [line.split(" ")[1] for line in text.splitlines() if line.startswith("|")][2:] == ["sgd", "adam"]
    assert "best: " not in text


def test_a_sweep_of_nothing_has_no_table() -> None:
    found, _ = swept("lr=0.1,0.3")
    none = replace(found, finished=0, best=[], checks=None, counts=dict.fromkeys(found.counts, 0))

    assert "\nno configuration was finished\n" in written(SweepPresenter([none], [""]), "markdown")
    assert "no configuration was finished" in html_page(SweepPresenter([none], [""]).page(Display()))
    assert "<table>" not in html_page(SweepPresenter([none], [""]).page(Display()))


def test_html_is_escaped() -> None:
    found, _ = swept("lr=0.1,0.3")

    assert "best: a &amp;&amp; b &lt; c" in html_page(SweepPresenter([found], ["a && b < c"]).page(Display()))
