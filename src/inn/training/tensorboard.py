"""TensorBoard's file format, where TensorBoard is installed; everything in it is in `metrics.jsonl` too.

Written without `torch.utils.tensorboard`, whose file names carry the host name of the machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from inn.system.files import RUN, writing


class TensorBoardWriter:
    """Scalars for TensorBoard in `RUN/tensorboard/`; does nothing where TensorBoard is not installed.

    Args:
        run: the run directory; None writes nothing.
        step: where this sitting starts; what an earlier one wrote beyond it is to be forgotten.
    """

    def __init__(self, run: Path | None, step: int):
        if run is None:
            self._writer = None
            return
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            self._writer = None
            return
        self._events: Any = event_pb2  # these modules make their names when imported: no type checker sees them
        self._summaries: Any = summary_pb2
        now = time.time()
        # One file per sitting; TensorBoard reads them in the order of their names.
        self._path = run / "tensorboard" / f"events.out.tfevents.{now:017.6f}.inn"
        with writing(self._path, RUN):
            self._path.parent.mkdir(exist_ok=True)
            self._writer = RecordWriter(self._path.open("wb"))
        self._write(wall_time=now, file_version="brain.Event:2")
        if step:
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            self._write(wall_time=now, step=step + 1, session_log=start)

    def scalars(self, step: int, **values: float | None) -> None:
        """Write one value per curve at a step; None is left out."""
        if self._writer is None:
            return
        make = self._summaries.Summary
        points = [make.Value(tag=tag, simple_value=v) for tag, v in values.items() if v is not None]
        self._write(wall_time=time.time(), step=step, summary=make(value=points))

    def _write(self, **fields: Any) -> None:
        assert self._writer is not None
        with writing(self._path, RUN):
            self._writer.write(self._events.Event(**fields).SerializeToString())
            self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            with writing(self._path, RUN):
                self._writer.close()
