"""An experiment as the command that traces it."""

from __future__ import annotations

import shlex

from optitrace.experiment.experiment import Experiment
from optitrace.experiment.text import parse_text, text_of


def command_line(experiment: Experiment) -> str:
    """Return the shortest command that traces an experiment.

    >>> from optitrace.experiment.experiment import design
    >>> command_line(design("sgd", {"momentum": 0.9, "nesterov": True}, start=(-1, 1), steps=100))
    'optitrace sgd --momentum 0.9 --nesterov --steps 100 --start=-1,1'
    >>> command_line(design("sgd", schedule="MultiStepLR:milestones=3;6,gamma=0.5"))
    "optitrace sgd --schedule 'MultiStepLR:milestones=3;6,gamma=0.5'"
    """
    text = parse_text(text_of(experiment))
    switches = {h.name for h in experiment.entry.hyperparameters if h.type is bool}
    words = ["optitrace", text.name]
    for name, value in text.settings.items():
        value = str(experiment.schedule) if name == "schedule" else value.replace(";", ",")
        option = f"--{name.replace('_', '-')}"
        if name in switches:
            words.append(option if value == "true" else f"--no-{option.removeprefix('--')}")
        elif value.startswith("-"):
            words.append(f"{option}={value}")
        else:
            words += [option, value]
    return shlex.join(words)
