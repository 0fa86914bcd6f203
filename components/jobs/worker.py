"""The process of a background job: `python -m components.jobs.worker`, a JobRequest as the first line of its input.

It writes Events as JSON lines, and stops when its standard input closes. Exit codes: 0 done, 1 failed, 130 stopped.
"""

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

from components.jobs.model import MAX_MESSAGE_CHARS, Event, JobRequest
from components.jobs.run_job import run_job
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled

_SECONDS_BETWEEN_EVENTS = 0.2  # a page does not draw faster
STOPPED = 130


def main() -> int:
    """Run the job; returns the exit code."""
    _lower_priority()
    request = JobRequest.model_validate_json(sys.stdin.buffer.readline())
    closed = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(closed,), daemon=True, name="standard-input").start()
    stage_now, next_time = "", 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal stage_now, next_time
        if closed.is_set():
            raise Cancelled("The job was stopped.")
        now = time.monotonic()
        if stage != stage_now or done >= total or now >= next_time:
            stage_now, next_time = stage, now + _SECONDS_BETWEEN_EVENTS
            _report(Event(stage=stage, done=done, total=total))

    try:
        _report(run_job(request, progress=progress))
    except (Cancelled, KeyboardInterrupt):
        return STOPPED
    except CociteAtlasError as error:
        _report(Event(error=str(error)[:MAX_MESSAGE_CHARS]))
        return 1
    return 0


def _report(event: Event) -> None:
    """Write an event. Raises Cancelled where the app has ended."""
    try:
        sys.stdout.write(event.model_dump_json() + "\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python would write again at exit
        raise Cancelled("The app has ended.") from error


def _wait_for_end_of_input(closed: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while os.read(sys.stdin.fileno(), 4096):  # unbuffered: a buffer's lock would still be held at exit
            pass
    closed.set()


def _lower_priority() -> None:
    """Let every other program run first, as far as the system allows it."""
    if sys.platform == "win32":
        import ctypes

        below_normal = 0x4000
        ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), below_normal)
        return
    with contextlib.suppress(OSError):
        os.nice(19)
    if sys.platform == "linux":
        # Linux keeps both per thread, and libraries have started theirs.
        for thread in Path("/proc/self/task").glob("*"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)
                os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    sys.exit(main())
