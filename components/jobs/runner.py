"""Run jobs in the background: one process of low priority at a time, which every session can watch and stop.

A process of its own, so that laying out a map never delays a search, and so that a job ends with the app: the worker
stops when its standard input closes. What it has done is kept, as with any build that is stopped.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

from pydantic import ValidationError

from components.jobs.model import MAX_MESSAGE_CHARS, Event, JobRequest, JobState, JobStatus
from corpus.errors import CociteAtlasError

_PROJECT = Path(__file__).resolve().parents[2]
_MAX_STOP_SECONDS = 60.0  # before a stopping job is killed: a pass of a large model takes some
_STOPPED = 130  # exit code of a job that was stopped


class JobRunning(CociteAtlasError):
    """Another job is running: two would share the processor, and both be slow."""


class BackgroundJob:
    """One job, as a process."""

    def __init__(self, request: JobRequest) -> None:
        self._request = request
        self._changed = threading.Lock()
        self._event = Event(stage="Starting")
        self._since = (time.monotonic(), 0)  # when this stage began to count, and from what
        self._stop_requested = False
        self._built, self._result, self._error = "", "", ""
        self._last_lines: list[str] = []  # of standard error, for a crash
        self._process = subprocess.Popen(
            [sys.executable, "-m", "components.jobs.worker"],
            cwd=_PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert self._process.stdin is not None
        self._process.stdin.write(request.model_dump_json() + "\n")
        self._process.stdin.flush()
        self._readers = [
            threading.Thread(target=read, daemon=True, name="background-job")
            for read in (self._read_events, self._read_errors)
        ]
        for reader in self._readers:
            reader.start()

    def status(self) -> JobStatus:
        """Where the job is now."""
        code = self._process.poll()
        if code is not None:
            for reader in self._readers:  # the last lines may still be in the pipe
                reader.join(5)
        with self._changed:
            state: JobState = "stopping" if self._stop_requested else "running"
            if code is not None:
                stopped = code == _STOPPED or self._stop_requested
                state = "done" if code == 0 else "stopped" if stopped else "failed"
            done, total = self._event.done, self._event.total
            began, first = self._since
            seconds = time.monotonic() - began
            seconds_per_unit = seconds / (done - first) if done > first else None
            return JobStatus(
                request=self._request,
                state=state,
                stage=self._event.stage,
                done=done,
                total=total,
                seconds=seconds,
                seconds_left=None if seconds_per_unit is None else seconds_per_unit * (total - done),
                rate=1 / seconds_per_unit if seconds_per_unit else None,
                built=self._built,
                result=self._result,
                message=(self._error or self._crash_message(code)) if state == "failed" else "",
            )

    def stop(self) -> None:
        """Ask the job to stop and keep what it has done. It is killed where it does not stop within a minute."""
        with self._changed:
            if self._stop_requested or self._process.poll() is not None:
                return
            self._stop_requested = True
        assert self._process.stdin is not None
        self._process.stdin.close()
        threading.Thread(target=self._kill_late, daemon=True, name="stop-background-job").start()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the job's end. Raises TimeoutError."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self._request.words}: still running after {seconds} seconds") from error

    def _kill_late(self) -> None:
        try:
            self._process.wait(_MAX_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = Event.model_validate_json(line)
            except ValidationError:  # the torn last line of a killed worker
                continue
            with self._changed:
                if event.error:
                    self._error = event.error
                elif event.built:
                    self._built, self._result = event.built, event.result
                else:
                    if event.stage != self._event.stage:
                        self._since = (time.monotonic(), event.done)
                    self._event = event

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                with self._changed:
                    self._last_lines = [*self._last_lines[-40:], line.rstrip()[:MAX_MESSAGE_CHARS]]

    def _crash_message(self, code: int | None) -> str:
        last = f" Its last line: {self._last_lines[-1]}" if self._last_lines else ""
        return f"The job ended without an error message (exit code {code}).{last}"


_lock = threading.Lock()
_latest: BackgroundJob | None = None


def start(request: JobRequest) -> BackgroundJob:
    """Start a job, or resume it where it was stopped. Raises JobRunning while another one runs.

    OSError where this machine cannot start another process.
    """
    global _latest
    with _lock:
        if _latest is not None and not (status := _latest.status()).over:
            raise JobRunning(
                f"Another job is running: {status.request.words}. Wait for it or cancel it; what it has done is kept."
            )
        _latest = BackgroundJob(request)
        return _latest


def latest() -> JobStatus | None:
    """The status of the job that was started last in this process, ended or not; None before the first."""
    job = _latest
    return None if job is None else job.status()


def stop() -> None:
    """Ask the running job to stop."""
    if (job := _latest) is not None:
        job.stop()


def forget() -> None:
    """Drop a job that has ended: its end has been seen."""
    global _latest
    with _lock:
        if _latest is not None and _latest.status().over:
            _latest = None
