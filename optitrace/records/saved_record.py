"""What was saved in a file: a trace, or a training."""

from __future__ import annotations

from typing import TypeAlias

from optitrace.records.file_content import is_training, read_file
from optitrace.records.trace import Trace
from optitrace.records.trace_reader import parse_trace
from optitrace.records.training_reader import SavedTraining, parse_training

Saved: TypeAlias = Trace | SavedTraining


def read_saved(path: str) -> Saved:
    """Read what was saved as JSON or JSONL, whatever its suffix; ``-`` is standard input.

    Raises:
        InputFileError: the file cannot be read, or is neither a trace nor a training; says where and why.
    """
    return read_file(path, _parse)


def _parse(content: bytes) -> Saved:
    return parse_training(content) if is_training(content) else parse_trace(content)
