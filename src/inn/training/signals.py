"""Ctrl-C and SIGTERM as a wish to stop, granted between two steps."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any


class StopSignals:
    """While entered, SIGINT and SIGTERM set `requested` to the signal's name; a second Ctrl-C interrupts at once.

    Handlers belong to the main thread: entered in another one, this does nothing.

    >>> with StopSignals() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.requested
    'SIGTERM'
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # None: the handler was not set from Python, and Python cannot set it again.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name


def stop_when_let_go(held: Connection) -> None:
    """Prepare a worker: when the process that started it ends, or closes its end of `held`, the worker stops too.

    A run under way is stopped as by SIGTERM, with a checkpoint. Ctrl-C reaches the starter, which lets go.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        held.poll(None)
        while True:  # the first one may be a run's sign to write its checkpoint; one of the next ends the process
            if os.name == "nt":  # os.kill would end the process at once there
                signal.raise_signal(signal.SIGTERM)
            else:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
