"""The process of a background job: `python -m components.jobs.worker`, a JobRequest as the first line of its input.

It writes Events as JSON lines, and stops when its standard input closes. Exit codes: 0 done, 1 failed, 130 stopped.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path

from components.jobs.model import MAX_MESSAGE_CHARS, Event, JobRequest
from components.jobs.run_job import run_job
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled, Throttled

STOPPED = 130


def main() -> int:
    """Run the job; returns the exit code."""
    _lower_priority()
    request = JobRequest.model_validate_json(sys.stdin.buffer.readline())
    closed = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(closed,), daemon=True, name="standard-input").start()
    events, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not come between two events

    def report(event: Event) -> None:
        try:
            print(event.model_dump_json(), file=events, flush=True)
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), events.fileno())  # else Python would write again at exit
            raise Cancelled("The app has ended.") from error

    report_progress = Throttled(lambda stage, done, total: report(Event(stage=stage, done=done, total=total)))

    def progress(stage: str, done: int, total: int) -> None:
        if closed.is_set():
            raise Cancelled("The job was stopped.")
        report_progress(stage, done, total)

    try:
        report(run_job(request, progress=progress))
    except (Cancelled, KeyboardInterrupt):
        return STOPPED
    except CociteAtlasError as error:
        report(Event(error=str(error)[:MAX_MESSAGE_CHARS]))
        return 1
    return 0


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
