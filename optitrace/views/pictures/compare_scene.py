"""The picture of several runs, in the order of their ranking."""

from __future__ import annotations

from optitrace.analysis.comparison import Comparison
from optitrace.analysis.loss_grid import LossGrid
from optitrace.text.number_format import counted
from optitrace.views.compare_table import BEST, closing_lines, learning_rates
from optitrace.views.pictures.charts import loss_chart, norm_charts
from optitrace.views.pictures.scene import Scene
from optitrace.views.pictures.weight_plane import plane
from optitrace.views.wording import subtitle


def compare_scene(comparison: Comparison, terrain: LossGrid | None) -> Scene:
    """Return the picture of a comparison: all paths over one loss, if that can be drawn, and the losses.

    Args:
        comparison: the runs; line k of each panel is run k of the ranking.
        terrain: the loss around them; None if they have more than two coordinates, or not one loss.
    """
    runs = comparison.traces
    panels = [plane(runs, terrain)] if terrain else []
    panels.append(loss_chart(runs))
    if not terrain:
        panels += norm_charts(runs)
    rates, said = learning_rates(comparison), subtitle(runs[0].trace.experiment)
    # several rates are too long for a title
    is_short = len({repr(s.experiment.hyperparameters.get("lr")) for s in comparison.summaries}) == 1
    return Scene(
        f"{counted(len(runs), 'run')}, {rates}" if is_short else counted(len(runs), "run"),
        said if is_short else f"{said}, {rates}",
        tuple(panels),
        tuple(line for line in closing_lines(comparison) if not line.startswith(BEST)),
    )
