"""Work in processes of its own: what breaks a GPU's context, or never ends, costs only itself.

    child = Child(work)            work gives messages, one after the other
    list(child.listen(seconds))    what it has told so far, when it is done or was ended

A process is a fork, so that nothing has to be named or packed on the way in; what made it must not
have opened the GPU.  One that does not even end when it is killed, as a driver's can while its
kernel runs, is left to itself: nothing waits for it.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from typing import Any

PATIENCE = 5.0  # seconds for a killed process to be gone
STEP = 0.01


class Broken(RuntimeError):
    """A child did not come to its end; says why."""


class Child:
    """A process that does some work at once."""

    def __init__(self, work: Callable[[], Iterator[Any]]) -> None:
        self.pipe, end = Pipe(duplex=False)
        with warnings.catch_warnings():
            # Python warns where other threads run: none of ours holds a lock that a child needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.number = os.fork()
        if not self.number:
            self.pipe.close()
            _tell(end, work)
        end.close()
        self.status: int | None = None

    def listen(self, seconds: float) -> Iterator[Any]:
        """Its messages as they come; Broken if it fails, dies, or takes longer than so many."""
        return self._hear(time.monotonic() + seconds, seconds)

    def _hear(self, until: float, seconds: float) -> Iterator[Any]:
        try:
            while True:
                if not self.pipe.poll(max(0.0, until - time.monotonic())):
                    raise Broken(f"ended after {seconds:.0f} seconds")
                try:
                    kind, message = self.pipe.recv()
                except (EOFError, pickle.UnpicklingError):
                    self._wait(PATIENCE)
                    raise Broken(f"its process died ({self.exit_code})") from None
                if kind == "done":
                    return
                if kind == "failed":
                    raise Broken(message)
                yield message
        finally:
            self.end()

    @property
    def exit_code(self) -> int | None:
        """As Python gives it: of a signal, its number below 0."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    def end(self) -> None:
        if not self._wait(10 * STEP):
            os.kill(self.number, signal.SIGKILL)
            self._wait(PATIENCE)
        self.pipe.close()

    def _wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.status is None:
            found, status = os.waitpid(self.number, os.WNOHANG)
            if found:
                self.status = status
            elif time.monotonic() > until:
                return False
            else:
                time.sleep(STEP)
        return True


def _tell(pipe: Any, work: Callable[[], Iterator[Any]]) -> None:
    """Do the work, tell its messages, and be gone without the parent's own endings."""
    status = 1
    try:
        try:
            for message in work():
                pipe.send(("told", message))
            pipe.send(("done", None))
            status = 0
        except Exception as error:  # whatever it is: the others go on
            text = " ".join(str(error).split())[:200] or type(error).__name__
            pipe.send(("failed", text))
        pipe.close()
    finally:
        os._exit(status)
