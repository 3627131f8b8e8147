"""Work in processes of its own: what breaks a GPU's context, or never ends, costs only itself.

    child = Child(work)            work gives messages, one after the other
    list(child.listen(seconds))    what it has told so far, when it is done or was ended

A process is a fork, so that nothing has to be named or packed on the way in; what made it must not
have opened the GPU.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any


class Broken(RuntimeError):
    """A child did not come to its end; says why."""


class Child:
    """A process that does some work at once."""

    def __init__(self, work: Callable[[], Iterator[Any]]) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, end = context.Pipe(duplex=False)
        self.process = context.Process(target=_tell, args=(end, work), daemon=True)
        self.process.start()
        end.close()

    def listen(self, seconds: float) -> Iterator[Any]:
        """Its messages as they come; Broken if it fails, dies, or takes longer than so many."""
        until = time.monotonic() + seconds
        try:
            while True:
                if not self.pipe.poll(max(0.0, until - time.monotonic())):
                    raise Broken(f"ended after {seconds:.0f} seconds")
                try:
                    kind, message = self.pipe.recv()
                except EOFError:
                    self.process.join(1)
                    raise Broken(f"its process died ({self.process.exitcode})") from None
                if kind == "done":
                    return
                if kind == "failed":
                    raise Broken(message)
                yield message
        finally:
            self.end()

    def end(self) -> None:
        if self.process.is_alive():
            self.process.join(0.1)
            self.process.kill()
        self.process.join()
        self.pipe.close()


def _tell(pipe: Any, work: Callable[[], Iterator[Any]]) -> None:
    try:
        for message in work():
            pipe.send(("told", message))
        pipe.send(("done", None))
    except Exception as error:  # whatever it is: the others go on
        text = " ".join(str(error).split())[:200] or type(error).__name__
        pipe.send(("failed", text))
    finally:
        pipe.close()
