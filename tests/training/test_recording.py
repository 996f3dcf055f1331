from __future__ import annotations

from collections.abc import Mapping
from threading import Thread
from typing import Any

from optitrace.monitoring.row_recorder import RowRecorder


def test_rows_that_two_threads_read_at_a_time_keep_their_order() -> None:
    readers: list[Thread] = []

    def judge(step: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if step == 1:  # while this row is read, another comes and somebody else asks for all
            recording.add(2, {"loss": 20.0})
            readers.append(Thread(target=recording.read))
            readers[0].start()
            readers[0].join(timeout=0.2)
        return row

    recording = RowRecorder(judge)
    recording.add(1, {"loss": 10.0})
    recording.read()
    readers[0].join()

    steps, columns = recording.whole()
    assert list(steps) == [1, 2]
    assert list(columns["loss"].values) == [10.0, 20.0]
