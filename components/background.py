"""Builds in the background: each a process of low priority, which every session can watch and stop.

A process of its own, so that laying out a map never makes a search wait, and so that a build ends with the app: it
stops when its standard input does. What it has done is kept, as with any build that is stopped.
"""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.encoder import Precision
from corpus.errors import CociteAtlasError

State = Literal["running", "stopping", "done", "stopped", "failed"]

_PROJECT = Path(__file__).resolve().parents[1]
_PATIENCE = 60.0  # seconds from asking a build to stop to ending it: a pass of a large model takes some
_STOPPED = 130  # exit code of a build that was asked to stop
_LONGEST_WORD = 2_000  # characters kept of what a build says when it fails


class BuildUnderWay(CociteAtlasError):
    """Another build is running: two would take turns on the same processor, and both be late."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a build is. done, total: within its stage, in the stage's own unit (0 or 1: it does not count).

    seconds: that the stage has taken so far; seconds_left: that it will take yet, where it counts.

    told: why it failed, in the build's own words; empty otherwise.
    """

    base: str
    encoder: str
    precision: Precision
    state: State
    stage: str
    done: int
    total: int
    seconds: float
    seconds_left: float | None
    told: str

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "stopped", "failed")


class BackgroundBuild:
    """One build: the papers of an atlas, by another encoder."""

    def __init__(self, base: str, *, encoder: str, precision: Precision = "float32") -> None:
        self._base, self._encoder, self._precision = base, encoder, precision
        self._changed = threading.Lock()
        self._stage, self._done, self._total = "Starting", 0, 0
        self._since = (time.monotonic(), 0)  # when this stage began to count, and from what
        self._asked_to_stop = False
        self._process = subprocess.Popen(  # noqa: S603  (no shell; names that were checked by the command itself)
            [
                sys.executable, "-m", "corpus", "build", "--from", base, "--encoder", encoder,
                "--precision", precision, "--progress", "json", "--low-priority", "--stop-with-stdin",
            ],
            cwd=_PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )  # fmt: skip
        self._told: list[str] = []
        self._readers = [
            threading.Thread(target=work, daemon=True, name="background-build")
            for work in (self._read_progress, self._read_words)
        ]
        for reader in self._readers:
            reader.start()

    def progress(self) -> Progress:
        """Where it is now."""
        code = self._process.poll()
        if code is not None:
            for reader in self._readers:  # what it said last may still be in the pipe
                reader.join(5)
        with self._changed:
            state: State = "stopping" if self._asked_to_stop else "running"
            if code is not None:
                stopped = code == _STOPPED or self._asked_to_stop
                state = "done" if code == 0 else "stopped" if stopped else "failed"
            began, first = self._since
            seconds = time.monotonic() - began
            per = seconds / (self._done - first) if self._done > first else None
            return Progress(
                base=self._base,
                encoder=self._encoder,
                precision=self._precision,
                state=state,
                stage=self._stage,
                done=self._done,
                total=self._total,
                seconds=seconds,
                seconds_left=None if per is None else per * (self._total - self._done),
                told=_reason("\n".join(self._told), code) if state == "failed" else "",
            )

    def stop(self) -> None:
        """Ask it to stop; it keeps what it has done. It is ended where it does not within a minute."""
        with self._changed:
            if self._asked_to_stop or self._process.poll() is not None:
                return
            self._asked_to_stop = True
        assert self._process.stdin is not None
        self._process.stdin.close()
        threading.Thread(target=self._insist, daemon=True, name="stop-background-build").start()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for its end. Raises TimeoutError where it has not come by then."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the build by {self._encoder} goes on after {seconds} seconds") from error

    def _insist(self) -> None:
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _read_progress(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                said = json.loads(line)
                stage, done, total = str(said["stage"]), int(said["done"]), int(said["total"])
            except (ValueError, KeyError, TypeError):  # its last line, or what a library printed
                continue
            with self._changed:
                if stage != self._stage:
                    self._since = (time.monotonic(), done)
                self._stage, self._done, self._total = stage, done, total

    def _read_words(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self._told = [*self._told[-40:], line.rstrip()[:_LONGEST_WORD]]


def _reason(words: str, code: int | None) -> str:
    """Why a build failed: what the command line says under its own name, else the last line, else its exit code."""
    lines = [line for line in words.splitlines() if line.strip()]
    said = [line.removeprefix("corpus: ") for line in lines if line.startswith("corpus: ")]
    if said:
        return said[-1]
    last = f" It said last: {lines[-1]}" if lines else ""
    return f"The build ended without a word of its own (exit code {code}).{last}"


_lock = threading.Lock()
_last: BackgroundBuild | None = None


def start(base: str, *, encoder: str, precision: Precision = "float32") -> BackgroundBuild:
    """Begin to build an atlas of `base`'s papers by another encoder, or go on where such a build was stopped.

    encoder: a catalogue name, or the path of a folder or zip. Raises BuildUnderWay while another one runs.
    """
    global _last
    with _lock:
        if _last is not None and not (now := _last.progress()).over:
            raise BuildUnderWay(
                f"An atlas by {now.encoder} is being built. Wait for it or cancel it; what it has done is kept."
            )
        _last = BackgroundBuild(base, encoder=encoder, precision=precision)
        return _last


def latest() -> Progress | None:
    """Where the build is that was begun last in this process, over or not; None before the first."""
    build = _last
    return None if build is None else build.progress()


def stop() -> None:
    """Ask the build that runs, if one does, to stop."""
    if (build := _last) is not None:
        build.stop()


def forget() -> None:
    """Let go of a build that is over: its end has been seen."""
    global _last
    with _lock:
        if _last is not None and _last.progress().over:
            _last = None
