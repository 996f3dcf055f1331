from __future__ import annotations

from pathlib import Path

import pytest
from support.findings import FINDINGS
from support.made_trainings import optimizer, training
from support.runs import run
from test_training_commands import save

from optitrace.records.findings import TrainingFindings
from optitrace.views.pictures.scene import Panel
from optitrace.views.pictures.training_scene import training_numbers, training_scene

NOTHING = TrainingFindings()


def points(panel: Panel, line: int = 0) -> list[tuple[float, float]]:
    return [point for stroke in panel.lines[line].strokes for point in stroke.points]


def test_loss_lr_and_ratio_are_drawn_as_they_were_recorded() -> None:
    scene = training_scene(training(optimizer((2.5, 2.25, 2.0))), NOTHING)
    loss, lr, ratio = scene.panels

    assert [panel.up.label for panel in scene.panels] == ["loss", "lr", "update / weight"]
    assert points(loss) == [(1, 2.5), (2, 2.25), (3, 2.0)]
    assert points(lr) == [(1, 0.001), (2, 0.001), (3, 0.001)]
    assert points(ratio) == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert loss.across.label == "step"


def test_two_optimizers_are_two_lines_with_their_names() -> None:
    two = training(optimizer((2.0, 1.0)), optimizer((4.0, 3.0), name="AdamW 2"))
    loss = training_scene(two, NOTHING).panels[0]

    assert [line.name for line in loss.lines] == ["AdamW", "AdamW 2"]
    assert points(loss, 1) == [(1, 4.0), (2, 3.0)]


def test_the_words_are_those_of_the_table_with_the_faults_below() -> None:
    scene = training_scene(training(), FINDINGS)

    assert scene.title.startswith("AdamW(lr=0.001, betas=(0.9,0.999)")
    assert scene.notes[0] == "completed after 3 steps"
    assert FINDINGS.diagnoses[0].fact in scene.notes


def test_the_numbers_beside_a_step_are_those_of_the_table() -> None:
    numbers = training_numbers(training(optimizer((2.5, 2.25, 2.0))), [1, 3], 4)

    assert [name for _, name in numbers.headings] == [
        "loss",
        "lr",
        "gradient norm",
        "update norm",
        "weight norm",
        "update ratio",
    ]
    assert list(numbers.rows[3]) == ["2.000", "0.001000", "9.000", "1.000", "8.000", "0.1250"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".gif", ".html"])
def test_a_training_is_drawn_to_a_file_of_any_picture(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    saved, picture = save(tmp_path / "saved.json", training()), tmp_path / f"picture{suffix}"
    shown = run("show", saved, "-o", str(picture))

    assert (shown.code, shown.stderr) == (0, "")
    begin = {".png": b"\x89PNG", ".svg": b"<?xml", ".gif": b"GIF8", ".html": b"<!DOCTYPE html>"}
    assert picture.read_bytes()[:15].lower().startswith(begin[suffix].lower())


def test_a_training_without_decimals_is_drawn_with_one_digit(tmp_path: Path) -> None:
    file = save(tmp_path / "saved.json", training(optimizer((2.5, 2.25, 2.0))))
    shown = run("show", file, "--precision", "0", "--format", "html")

    assert (shown.code, shown.stderr) == (0, "")
    assert '"0.1"' in shown.stdout


def test_a_training_without_a_recorded_step_cannot_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    saved = save(tmp_path / "saved.json", training(optimizer((), steps=())))
    shown = run("show", saved, "-o", str(tmp_path / "x.png"))

    assert shown.code == 4
    assert "cannot draw the training: no step was recorded; record more of it." in shown.stderr


def test_a_shown_training_is_plotted_below_its_tables_when_asked(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved.json", training())
    plotted, bare = run("show", saved, "--plot").stdout, run("show", saved).stdout

    below = plotted.partition("0.1250")[2].splitlines()
    assert [line for line in below if line in ("loss", "lr", "update / weight")] == [
        "loss",
        "lr",
        "update / weight",
    ]
    assert "--plot" in bare
    assert "--plot" not in plotted
    assert len(bare.splitlines()) < len(plotted.splitlines())


def test_a_training_without_a_recorded_step_has_no_plot(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved.json", training(optimizer((), steps=())))
    shown = run("show", saved, "--plot")

    assert shown.code == 0
    assert "no step was recorded\n\ncompleted" in shown.stdout


def test_a_text_file_of_a_training_has_the_plot_that_is_asked_for(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved.json", training())
    bare, plotted = tmp_path / "bare.txt", tmp_path / "plotted.txt"
    run("show", saved, "-o", str(bare))
    run("show", saved, "--plot", "-o", str(plotted))

    assert "update / weight" in plotted.read_text(encoding="utf-8").splitlines()
    assert "update / weight" not in bare.read_text(encoding="utf-8").splitlines()
