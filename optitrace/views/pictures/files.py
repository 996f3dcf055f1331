"""A scene as a file of any format of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optitrace.views.formats import STILLS
from optitrace.views.pictures.run_scenes import Numbers
from optitrace.views.pictures.scene import Scene, frame_steps


def picture(
    scene: Scene,
    format: str,
    steps: Sequence[int] = (),
    numbers: Callable[[Sequence[int]], Numbers] | None = None,
) -> bytes:
    """Return a scene as a file.

    Args:
        scene: what to draw.
        format: one of `PICTURES`.
        steps: every step there is, where it is drawn step by step.
        numbers: returns what stands beside some of them.
    """
    if format in STILLS:
        from optitrace.views.pictures.drawing.files import still

        return still(scene, format)
    if format == "gif":
        from optitrace.views.pictures.drawing.files import MOST_FRAMES, moving

        return moving(scene, frame_steps(scene, steps, MOST_FRAMES))
    from optitrace.views.pictures.player import MOST_FRAMES as MOST_STOPS
    from optitrace.views.pictures.player import Page, player

    assert numbers is not None
    stops = frame_steps(scene, steps, MOST_STOPS)
    return player(Page(scene, stops, len(steps), numbers(stops))).encode()
