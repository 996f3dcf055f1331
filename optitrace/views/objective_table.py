"""What is known of a loss, for a person and for a script."""

from __future__ import annotations

import json
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from optitrace.experiment.landscapes import Landscape
from optitrace.experiment.objective import Objective
from optitrace.text.ascii import to_ascii
from optitrace.views.wording import vector


def objective_table(objective: Objective, *, ascii_only: bool = False) -> RenderableType:
    """Return the formula of a loss, its usual start, its minima, its bounds and its source."""
    spell: Callable[[str], str] = to_ascii if ascii_only else str
    lines = [f"loss = {objective.formula}"]
    if objective.usual_start is not None:
        lines.append(f"usual start: {vector(objective.usual_start)}")
    lines.append(f"minima: {', '.join(map(vector, objective.minima)) or 'none known'}")
    if isinstance(objective, Landscape):
        lines.append(f"usual bounds: {' by '.join(f'{low:g} to {high:g}' for low, high in objective.bounds)}")
        lines.append(f"source: {objective.source}")
    lines += ["", f"'optitrace adam --objective {objective.name}' runs on it"]
    return Group(Text(objective.name, style="bold"), *(Text(spell(line)) for line in lines))


def objective_json(objective: Objective) -> str:
    """Return the same as a JSON object."""
    landscape = objective if isinstance(objective, Landscape) else None
    data = {
        "name": objective.name,
        "formula": objective.formula,
        "usual_start": objective.usual_start,
        "minima": objective.minima,
        "bounds": landscape.bounds if landscape else None,
        "source": landscape.source if landscape else None,
    }
    return json.dumps(data, indent=2) + "\n"
