"""How a person stops a training: a signal asks for it, a second one is obeyed at once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from components.cli.corpus.shared import StopWithStdin
from components.training.trainer import is_main
from corpus.progress import Cancelled, no_progress

_ASKED = "Stopping, once what was done is written down. Again, and it stops at once."


@contextlib.contextmanager
def stopping(say: Callable[[str], None], *, with_stdin: bool) -> Iterator[Callable[[], bool]]:
    """Whether to stop: after one Ctrl-C or SIGTERM, or at the end of standard input. A second one stops at once."""
    asked = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if is_main():
            # It may have come while the very stream was being written to, which cannot be written to within that.
            with contextlib.suppress(RuntimeError):
                say(_ASKED)

    ended = StopWithStdin(no_progress) if with_stdin else no_progress

    def stop() -> bool:
        try:
            ended("", 0, 0)
        except Cancelled:
            asked.set()
        return asked.is_set()

    # Only the main thread of a program may have signals.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
