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
from optitrace.views.pictures.plot import HIGH, plot
from optitrace.views.pictures.sweep_scene import sweep_scene
from optitrace.views.presenters.sweep import SweepPresenter, columns_of
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


def pictured(landscape: LossMap, width: int | None, *, ascii_only: bool = False) -> list[str]:
    """Return the picture of some losses in characters, line by line."""
    scene = sweep_scene([replace(swept("lr=0.1,0.3")[0], landscape=landscape)])
    assert scene is not None
    return plot(scene, Display(width=width, ascii=ascii_only)).plain.splitlines()


def test_the_map_shades_low_losses_and_marks_the_best_the_limit_and_the_diverged() -> None:
    losses = [[1.0, 1e-2, 1e-8, math.inf], [1.0, 1e-16, 1e-1, math.nan]]
    landscape = LossMap(
        scale("lr", 0.1, 0.4, 4), scale("momentum", 0.0, 0.5, 2), losses, [0.29, 0.29], (1, 1)
    )
    lines = pictured(landscape, 12, ascii_only=True)

    # a cell is two characters wide; of five shades 1e-8 has the third, halfway from 1 to 1e-16
    assert lines[:3] == ["momentum", "0.5 +..#@|.  ", "  0 +....|+xx"]
    assert lines[6:] == [
        ". final loss 1",
        "# final loss 1e-16",
        "x diverged",
        "| stability limit",
        "@ best",
    ]


def test_a_character_has_the_shade_of_the_least_loss_that_it_stands_for() -> None:
    losses = [[1.0] * 10 + [1.0, 1e-16] * 10 + [math.inf] * 10, [1.0] * 40]
    landscape = LossMap(scale("lr", 0.1, 0.4, 40), scale("momentum", 0.0, 0.5, 2), losses, [], None)

    assert pictured(landscape, 25, ascii_only=True)[2] == "  0 +" + "." * 5 + "#" * 10 + "x" * 5


def test_a_curve_is_high_where_the_loss_is() -> None:
    losses = [[1.0, 1e-4, 1e-8, math.inf]]
    lines = pictured(LossMap(scale("lr", 0.1, 0.4, 4), None, losses, [], (2, 0)), 80)
    body = [line[line.index("┤" if "┤" in line else "│") + 1 :] for line in lines[1 : HIGH + 1]]
    rows = {sign: next(k for k, line in enumerate(body) if sign in line) for sign in "•×◆"}
    second = max(k for k, line in enumerate(body) if "•" in line)

    assert (rows["×"], rows["◆"]) == (0, HIGH - 1)
    assert rows["•"] <= 1
    assert second in (HIGH // 2 - 1, HIGH // 2)
    assert body[0].index("×") > body[-1].index("◆") > body[second].index("•")


def test_losses_below_zero_are_drawn_as_they_are() -> None:
    # 0, −10, −40, −90: the axis is linear, and the best is at its low end
    losses = [[0.0, -10.0, -40.0, -90.0]]
    axes = scale("lr", 0.1, 0.4, 4), scale("momentum", 0.0, 0.5, 2)
    curve = pictured(LossMap(axes[0], None, losses, [], (3, 0)), 80)
    drawn = pictured(LossMap(*axes, [losses[0], [0.0, 0.0, 0.0, math.inf]], [], (3, 0)), 80, ascii_only=True)

    assert curve[0] == "final loss"
    assert curve[HIGH].rstrip().endswith("◆")
    # of five shades −40 has the third, as 40 / 90 is between 2 / 5 and 3 / 5
    assert drawn[2] == "  0 +......+++#@#"
    assert drawn[-1].startswith(". final loss 0  # final loss -90  x diverged")


@pytest.mark.parametrize(
    ("least", "label", "title"),
    [
        (1e-3, "0.001", "final loss (log)"),
        (0.0, "1e-16 or less", "final loss"),  # no two losses above zero have a ratio
        (1e-30, "1e-16 or less", "final loss, cut at 2e-17 (log)"),  # a twentieth below sixteen decades
    ],
)
def test_it_is_said_where_lower_losses_are_drawn_alike(least: float, label: str, title: str) -> None:
    axes = scale("lr", 0.1, 0.2, 2), scale("momentum", 0.0, 0.5, 2)
    losses = [[1.0, least], [0.5, 0.5]]
    drawn = pictured(LossMap(*axes, losses, [], (1, 0)), 80, ascii_only=True)
    curve = pictured(LossMap(axes[0], None, losses[:1], [], (1, 0)), 80)

    assert drawn[-1] == f". final loss 1  # final loss {label}  @ best"
    assert curve[0] == title


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

    assert max(map(len, pictured(landscape, width))) <= (width or 80)


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
