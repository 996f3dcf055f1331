"""Scenes as figures and files: the artists have the scene's numbers, the words are there, bytes repeat."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from support.pictured import compared, compared_scene, scene_of, swept, traced

from optitrace.views.pictures.figure import Drawn, draw, house_style
from optitrace.views.pictures.image_files import moving, still
from optitrace.views.pictures.panels import INK, LINE_COLORS, PAPER, SIGNS, scale
from optitrace.views.pictures.scene import Axis, Kind, Line, Picture, Scene, Stroke
from optitrace.views.pictures.sweep_scene import sweep_scene


def drawn(scene: Scene | None) -> Drawn:
    assert scene is not None
    with house_style():
        return draw(scene)


def lines_of(ax: Axes) -> Iterator[list[tuple[float, float]]]:
    """Yield the points of each line that matplotlib has, gaps left out."""
    for line in ax.get_lines():
        points = [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]
        yield [point for point in points if not math.isnan(point[0])]


def words_of(shown: Drawn) -> list[str]:
    texts = shown.figure.findobj(Text)
    return [text.get_text() for text in texts if text.get_visible() and text.get_text()]


def test_the_line_of_the_plane_has_the_weights_of_the_trace() -> None:
    run = traced(momentum=0.9, steps=50)
    plane, chart = drawn(scene_of(momentum=0.9, steps=50)).axes
    weights = [run.weights.row(k) for k in range(51)]
    losses = [*zip(map(float, range(51)), [*run.loss.values, run.final_loss], strict=True)]

    assert weights in list(lines_of(plane))
    assert losses in list(lines_of(chart))
    assert chart.get_yscale() == "log"


@pytest.mark.parametrize(
    ("low", "high"), [(1e30, 1.0004e30), (-3.0002e-9, -3e-9), (1e7, 1e7 + 3), (0.0, 2e30), (1e-12, 5e-12)]
)
def test_no_two_ticks_of_an_axis_read_alike(low: float, high: float) -> None:
    ax = Figure().add_subplot()
    scale(ax.xaxis, Axis("w1", low, high))
    ax.set_xlim(low, high)

    said = [label.get_text() for label in ax.get_xticklabels()]
    assert len(said) == len(set(said)) >= 3


def test_marks_are_where_the_numbers_say() -> None:
    plane, _ = drawn(scene_of(momentum=0.9, steps=50)).axes
    signs = {line.get_marker(): line for line in plane.get_lines()}

    assert [*map(float, signs["+"].get_xydata()[0])] == [0.0, 0.0]
    start = signs["o"]
    assert [*map(float, start.get_xydata()[0])] == [0.5, 0.5]
    assert to_hex(start.get_markerfacecolor()) == PAPER


def test_level_lines_are_at_the_levels_of_the_scene() -> None:
    scene = scene_of(momentum=0.9, steps=50)
    plane, _ = drawn(scene).axes
    assert scene.panels[0].contour is not None
    levels = scene.panels[0].contour.levels
    outlines = plane.collections[-1]

    assert outlines.levels.tolist() == pytest.approx(list(levels))
    for level, path in zip(levels, outlines.get_paths(), strict=True):
        x, y = path.vertices[0]
        assert x * x + 2 * y * y == pytest.approx(level, rel=0.02)


def test_both_coordinates_of_a_plane_have_one_scale() -> None:
    shown = drawn(scene_of(momentum=0.9, steps=50))
    plane = shown.axes[0]
    width, height = plane.get_window_extent().size

    assert width == pytest.approx(height)
    assert np.ptp(plane.get_xlim()) == pytest.approx(np.ptp(plane.get_ylim()))


def test_the_words_are_those_of_the_scene() -> None:
    scene = scene_of(lr=0.6, steps=300)
    words = words_of(drawn(scene))

    for word in (scene.title, scene.subtitle, *scene.notes, "w1", "w2", "loss", "steps taken"):
        assert word in words
    for kind in (Kind.START, Kind.MINIMUM, Kind.LEAVES, Kind.NON_FINITE):
        assert kind in words


def test_long_words_are_folded_and_none_is_lost() -> None:
    objective = " + ".join(f"sin({k}*w1)**2 + w2**2" for k in range(1, 12))
    scene = scene_of(objective=objective, lr=1e-3)
    shown = drawn(scene)
    width = shown.figure.bbox.width

    assert all(text.get_window_extent().x1 < width for text in shown.figure.texts)
    assert scene.subtitle.replace(" ", "") in "".join(words_of(shown)).replace(" ", "")


def test_a_name_with_signs_of_mathematics_is_written_as_it_is() -> None:
    line = Line("_my$x^2$_class", (Stroke((0, 1), ((0.1, 0.1), (0.2, 0.2))),))
    scene = scene_of()
    named = replace(scene, title="a$b$_c", panels=(replace(scene.panels[0], lines=(line,)),))
    words = words_of(drawn(named))

    assert "_my$x^2$_class" in words
    assert "a$b$_c" in words
    assert still(named, "png")


def test_runs_have_colours_and_a_legend_in_the_order_of_their_ranking() -> None:
    optimizers = ("sgd", "adam", "rmsprop", "adagrad")
    scene, comparison = compared_scene(*optimizers), compared(*optimizers)
    shown = drawn(scene)
    [legend] = shown.figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    names = [summary.name for summary in comparison.summaries]

    assert {*names, "start", "minimum"} <= {*named}
    # matplotlib goes down the columns; along the rows, the ranking comes first
    columns = legend._ncols
    rows = -(-len(named) // columns)
    by_row = [
        text
        for row in range(rows)
        for column in np.array_split(np.array(named), columns)
        for text in column[row : row + 1]
    ]
    assert by_row[:4] == names
    for number, named_run in enumerate(comparison.traces):
        path = [named_run.trace.weights.row(k) for k in range(31)]
        [line] = [
            line
            for line in shown.axes[0].get_lines()
            if line.get_linestyle() != "None" and line.get_xydata().tolist()[-1] == [*(path[-1] or ())]
        ]
        assert to_hex(line.get_color()) == LINE_COLORS[number]


def luminance(color: str) -> float:
    r, g, b = (float(c) / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("color", [*LINE_COLORS[:5], INK])
def test_lines_stand_out_from_paper_and_from_losses(color: str) -> None:
    # WCAG asks for 3 : 1 of graphical objects
    assert (luminance(PAPER) + 0.05) / (luminance(color) + 0.05) > 2.7


def test_the_heat_map_has_the_losses_of_the_sweep() -> None:
    found = swept("lr=0.1:1.5:15", "momentum=0:0.8:9")
    assert found.landscape is not None
    shown = drawn(sweep_scene([found]))
    mesh = shown.axes[0].collections[-1]
    values = np.ma.filled(mesh.get_array().astype(float), np.nan)
    losses = np.array(found.landscape.losses)

    assert np.array_equal(np.isnan(values), np.isinf(losses))
    seen = losses > 1e-14
    assert np.allclose(values[seen & np.isfinite(losses)], np.log10(losses[seen & np.isfinite(losses)]))
    assert {"lr", "momentum", "final loss", "best", "stability limit", "diverged"} <= set(words_of(shown))


def test_a_heat_map_of_losses_below_zero_has_them_as_they_are_and_no_number_cut() -> None:
    found = swept("lr=log:0.01:0.4:9", "momentum=0:0.9:4", objective="saddle", steps=60)
    assert found.landscape is not None
    shown = drawn(sweep_scene([found]))
    values = np.ma.filled(shown.axes[0].collections[-1].get_array().astype(float), np.nan)
    numbers = shown.axes[0].child_axes[0].get_yticklabels()

    assert np.nanmin(values) == min(x for row in found.landscape.losses for x in row) < -1e6
    assert min(float(label.get_text().replace("\u2212", "-")) for label in numbers) < -1e6
    assert all(label.get_window_extent().x1 <= shown.figure.bbox.x1 for label in numbers)


def test_the_curve_of_a_sweep_has_its_best_and_its_limit() -> None:
    found = swept("lr=0.05:0.8:16")
    [ax] = drawn(sweep_scene([found])).axes
    best = next(line for line in ax.get_lines() if line.get_marker() == SIGNS[Kind.BEST]["marker"])

    assert float(best.get_xydata()[0][0]) == found.best[0].configuration["lr"]
    assert any([x for x, _ in points] == [0.5, 0.5] for points in lines_of(ax))


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_scene_gives_the_same_bytes_whatever_a_person_has_set(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_of(momentum=0.9, steps=50)
    first = still(scene, format)
    monkeypatch.setitem(mpl.rcParams, "font.size", 30)
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "black")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")

    assert still(scene, format) == first
    assert still(scene_of(momentum=0.8, steps=50), format) != first
    assert mpl.rcParams["font.size"] == 30


def test_a_file_is_of_its_format_and_small() -> None:
    scene = scene_of(momentum=0.9, steps=50)
    png, svg, pdf = (still(scene, format) for format in ("png", "svg", "pdf"))

    assert Image.open(io.BytesIO(png)).size[0] == 1600
    assert svg.startswith(b"<?xml")
    assert b"<!-- sgd(lr=0.01, momentum=0.9) -->" in svg
    assert b"<dc:date>" not in svg
    assert pdf.startswith(b"%PDF-")
    assert b"CreationDate" not in pdf
    assert max(map(len, (png, svg, pdf))) < 250_000


def test_short_numbers_move_nothing_by_more_than_a_hundredth_of_a_point() -> None:
    svg = still(scene_of(momentum=0.9, steps=50), "svg").decode()
    dots = re.findall(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: #d55e00', svg)
    shown = drawn(scene_of(momentum=0.9, steps=50))
    shown.figure.set_dpi(72)
    height = shown.figure.bbox.height
    run = traced(momentum=0.9, steps=50)
    places = shown.axes[0].transData.transform([run.weights.row(k) for k in range(51)])

    for (x, y), (across, up) in zip(dots[:51], places, strict=True):
        assert [float(x), height - float(y)] == pytest.approx([across, up], abs=0.01)


def test_a_moving_picture_has_a_frame_for_each_step_and_ends_as_the_still_one() -> None:
    scene = scene_of(momentum=0.9, steps=8)
    gif = Image.open(io.BytesIO(moving(Picture(scene, range(9)))))
    frames = []
    for k in range(gif.n_frames):
        gif.seek(k)
        frames.append(np.asarray(gif.convert("RGB")).astype(int))
    orange = np.array([213, 94, 0])
    shares = [float((abs(frame - orange).sum(-1) < 40).mean()) for frame in frames]

    assert len(frames) == 9
    assert shares == sorted(shares)
    assert shares[-1] > 2 * shares[0] > 0
    assert moving(Picture(scene, range(9))) == moving(Picture(scene, range(9)))


ODD: list[Any] = [
    scene_of(steps=0),
    scene_of(start=(0.0, 0.0)),
    scene_of(lr=1e30, steps=5),
    scene_of(objective="w1*0 + w2*0 + 3"),
    scene_of(coefficients=(-1.0,), steps=3000),
    scene_of(start=(1e30, -1e30), dtype="float64", steps=3),
    scene_of(start=(1e-300, 1e-310), dtype="float64", steps=3),
    sweep_scene([swept("lr=0.1,0.2,0.7", "momentum=0,0.5")]),
    sweep_scene([swept("lr=5:9:5")]),
    sweep_scene([swept("lr=0.1,0.2", "weight_decay=0,0.1", optimizer=o) for o in ("sgd", "adam", "rmsprop")]),
]


@pytest.mark.parametrize("scene", [scene for scene in ODD if scene is not None], ids=lambda s: str(s.title))
def test_what_is_odd_is_drawn_without_a_warning(scene: Scene) -> None:
    assert len(still(scene, "svg")) > 10_000
    assert scene.title in words_of(drawn(scene))


def test_a_name_as_long_as_a_path_stays_within_the_picture() -> None:
    scene = scene_of()
    name = "/home/somebody/" + "a-long-folder/" * 12 + "mine.py:Lion"
    panels = tuple(replace(p, lines=(replace(p.lines[0], name=name),)) for p in scene.panels)
    shown = drawn(replace(scene, title=f"{name}(lr=0.01)", panels=panels))
    [legend] = shown.figure.legends
    label = legend.get_texts()[0]

    assert label.get_window_extent().x1 < shown.figure.bbox.width
    assert label.get_text().startswith("/home/somebody/")
    assert label.get_text().endswith("/mine.py:Lion")
    assert all(text.get_window_extent().x1 < shown.figure.bbox.width for text in shown.figure.texts)
