"""The player: what it holds, and, in a real browser, what it does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from support.browser import BROWSER, DRIVER, Browser, browser
from support.pictured import compared, compared_scene, scene_of, traced

from optitrace.text import format_number
from optitrace.views.pictures.player import player
from optitrace.views.pictures.run_scenes import compare_numbers, trace_numbers
from optitrace.views.pictures.scene import Picture

RUN: dict[str, Any] = {"momentum": 0.9, "steps": 50}


@cache
def page(**settings: Any) -> str:
    run = traced(**settings)
    return player(Picture(scene_of(**settings), run.steps, partial(trace_numbers, run, precision=4)))


def data_of(html: str) -> dict[str, Any]:
    [found] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


def test_a_page_has_a_stop_for_each_step_with_its_numbers() -> None:
    data = data_of(page(**RUN))

    assert data["steps"] == list(range(51))
    assert len(data["rows"]) == 51
    assert data["rows"][1][:3] == ["0.7500", "1.0000", "2.0000"]
    assert data["notes"] == []


def test_the_line_runs_through_the_places_where_the_picture_has_its_weights() -> None:
    data = data_of(page(**RUN))
    run, plane = traced(**RUN), scene_of(**RUN).panels[0]
    path = data["lines"][0]["points"]
    (_, x0, y0, *_), (_, x1, y1, *_) = path[0], path[20]
    (a0, b0), (a1, b1) = (run.weights.row(k) or (0, 0) for k in (0, 20))
    # the plane is 3.75 inches wide and high
    scale = 3.75 * 72 / (plane.across.high - plane.across.low)

    assert x1 - x0 == pytest.approx((a1 - a0) * scale, abs=0.02)
    assert y0 - y1 == pytest.approx((b1 - b0) * scale, abs=0.02)


def test_a_page_asks_for_nothing() -> None:
    html = page(**RUN)
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))

    assert "default-src 'none'" in html
    assert not re.findall(r"(?:src|href)=\"(?!#)", html)
    # names of namespaces, which nobody asks for
    assert all(re.match(r"http://(www\.w3\.org|purl\.org|creativecommons\.org)/", a) for a in addresses)


def test_what_a_person_named_cannot_end_the_script() -> None:
    run, scene = traced(**RUN), scene_of(**RUN)
    said = "</script><script>alert(1)</script>"
    named = replace(scene, title=said)
    numbers = replace(trace_numbers(run, run.steps, 4), headings=[(said, said)] * 8)
    html = player(Picture(named, run.steps, lambda steps: numbers))

    assert html.count("<script") == page(**RUN).count("<script")
    assert data_of(html)["headings"][0] == [said, said]


def test_a_long_run_stops_at_a_thousand_steps_and_says_so() -> None:
    run: dict[str, Any] = {"steps": 20_000, "noise": 1.0, "lr": 0.05}
    html = page(**run)
    data = data_of(html)

    assert len(data["steps"]) == 1000
    assert (data["steps"][0], data["steps"][-1]) == (0, 20_000)
    assert data["notes"] == ["1,000 of 20,001 steps are shown"]
    assert len(html) < 1_000_000


def test_the_same_run_gives_the_same_page() -> None:
    first = page(**RUN)
    page.cache_clear()

    assert page(**RUN) == first


needs_browser = pytest.mark.skipif(not BROWSER or not DRIVER, reason="has no Chromium with its driver")


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(1280, 900)
        yield opened


@pytest.fixture
def opened(window: Browser, tmp_path: Path) -> Browser:
    path = tmp_path / "run.html"
    path.write_text(page(**RUN), encoding="utf-8")
    window.open(path)
    return window


def numbers_in(window: Browser) -> list[str]:
    shown: list[str] = window.run("return [...document.querySelectorAll('td')].map(cell => cell.textContent)")
    return shown


def reach(window: Browser) -> float:
    """Return how long the line is that is drawn in the plane."""
    return float(window.run("return document.querySelectorAll('svg > path')[0].getTotalLength()"))


@pytest.mark.browser
@needs_browser
def test_a_step_forward_changes_the_numbers_and_draws_the_path_on(opened: Browser) -> None:
    rows = data_of(page(**RUN))["rows"]
    assert opened.text("#step") == "step 0 of 50"
    assert reach(opened) == 0

    opened.click("#forward")
    assert opened.text("#step") == "step 1 of 50"
    assert numbers_in(opened) == rows[1]
    first = reach(opened)
    opened.click("#forward")
    assert numbers_in(opened) == rows[2] != rows[1]
    assert reach(opened) > first > 0
    opened.click("#back")
    assert numbers_in(opened) == rows[1]
    assert reach(opened) == first


@pytest.mark.browser
@needs_browser
def test_keys_step_and_jump(opened: Browser) -> None:
    opened.press("ArrowRight")
    opened.press("ArrowRight")
    opened.press("ArrowLeft")
    assert opened.text("#step") == "step 1 of 50"
    opened.press("End")
    assert opened.text("#step") == "step 50 of 50"
    opened.press("ArrowRight")
    assert opened.text("#step") == "step 50 of 50"
    opened.press("Home")
    assert opened.text("#step") == "step 0 of 50"


@pytest.mark.browser
@needs_browser
def test_the_slider_goes_to_any_step(opened: Browser) -> None:
    opened.run(
        "const s = document.getElementById('slider'); s.value = 30; s.dispatchEvent(new Event('input'))"
    )

    assert opened.text("#step") == "step 30 of 50"
    assert numbers_in(opened) == data_of(page(**RUN))["rows"][30]


@pytest.mark.browser
@needs_browser
def test_playing_goes_on_until_it_is_paused_and_begins_anew_after_the_end(opened: Browser) -> None:
    opened.run("document.getElementById('play').click()")
    assert opened.text("#play") == "Pause"
    passed = opened.run(
        "return new Promise(done => setTimeout(() => { document.getElementById('play').click();"
        " done(document.getElementById('step').textContent) }, 900))"
    )
    assert 0 < int(passed.split()[1]) < 50
    assert opened.text("#play") == "Play"
    assert opened.text("#step") == passed

    opened.press("End")
    opened.run("document.getElementById('play').click()")
    assert opened.text("#step") == "step 0 of 50"


@pytest.mark.browser
@needs_browser
def test_nothing_is_asked_for_but_the_file_and_nothing_goes_wrong(opened: Browser, tmp_path: Path) -> None:
    asked = [address for address in opened.requested() if not address.startswith(("chrome:", "data:"))]

    assert asked
    assert all(address.startswith("file:") and address.endswith("/run.html") for address in asked)
    assert opened.complaints() == []


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("width", [500, 1280])
def test_nothing_sticks_out_of_a_narrow_window(opened: Browser, width: int) -> None:
    opened.resize(width, 900)

    assert opened.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.run(
        "const [a, b] = [...document.querySelectorAll('section')].map(s => s.getBoundingClientRect());"
        "return a.right <= b.left + 1"
    ) == (width == 1280)


@pytest.mark.browser
@needs_browser
def test_runs_side_by_side_are_played_together(window: Browser, tmp_path: Path) -> None:
    comparison, scene = compared("sgd", "adam"), compared_scene("sgd", "adam")
    path = tmp_path / "compare.html"
    content = player(Picture(scene, range(31), lambda steps: compare_numbers(comparison.traces, steps, 4)))
    path.write_text(content, encoding="utf-8")
    window.open(path)
    window.press("End")

    first, second = (named.trace for named in comparison.traces)
    assert numbers_in(window)[0] == format_number(first.final_loss, 4)
    assert numbers_in(window)[3] == format_number(second.final_loss, 4)
    assert window.run("return document.querySelectorAll('svg > circle').length") == 4
