"""The picture of one run."""

from __future__ import annotations

from optitrace.analysis.loss_grid import LossGrid
from optitrace.records.trace import NamedTrace, Trace
from optitrace.views.pictures.charts import loss_chart, lr_chart, norm_charts
from optitrace.views.pictures.scene import Scene
from optitrace.views.pictures.weight_plane import plane
from optitrace.views.wording import ending, subtitle, title


def trace_scene(trace: Trace, terrain: LossGrid | None, precision: int = 4) -> Scene:
    """Return the picture of a run: its path over the loss, if that can be drawn, and its loss.

    Args:
        trace: the run.
        terrain: the loss around it; None if it has more than two coordinates.
        precision: decimals of the numbers that are told below.
    """
    runs = [NamedTrace("", trace)]
    panels = [plane(runs, terrain)] if terrain else []
    panels.append(loss_chart(runs))
    if not terrain:
        panels += norm_charts(runs)
    if trace.experiment.schedule is not None:
        panels.append(lr_chart(runs))
    notes = tuple(ending(trace, precision))
    return Scene(title(trace.experiment), subtitle(trace.experiment), tuple(panels), notes)
