"""Jobs in the background: each a process of low priority, which every session can watch and stop.

A process of its own, so that laying out a map never makes a search wait, and so that a job ends with the app: it
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
from components.jobs.store import Staged, StagedKind
from corpus.errors import CociteAtlasError

State = Literal["running", "stopping", "done", "stopped", "failed"]
EvaluationKind = Literal["evaluate", "curve"]
JobKind = Literal["encode"] | EvaluationKind | StagedKind

_PROJECT = Path(__file__).resolve().parents[2]
_PATIENCE = 60.0  # seconds from asking a job to stop to ending it: a pass of a large model takes some
_STOPPED = 130  # exit code of a job that was asked to stop
_OWN_WORDS = ("corpus: ", "evaluation: ")  # what begins a line in which a command line says what is wrong
_LONGEST_WORD = 2_000  # characters kept of what a job says when it fails


class JobUnderWay(CociteAtlasError):
    """Another job is running: two would take turns on the same processor, and both be late."""


@dataclass(frozen=True, slots=True)
class Job:
    """One call of `python -m corpus build` or of `python -m components.evaluation`, and what it is about.

    title: what people call the corpus or the judged set. base: the atlas whose papers are encoded again, or whose index
    is measured; empty for others. encoder: a catalogue name, or the path of a folder or zip; of "evaluate", what ranks;
    empty where the job has none to choose. staged: the id of what waits to be built; of uploads alone. options: of
    "evaluate", the other arguments of its command line.
    """

    kind: JobKind
    title: str
    encoder: str = ""
    base: str = ""
    precision: Precision = "float32"
    staged: str = ""
    options: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The command line, as `python -m` runs it."""
        return "components.evaluation" if self.kind in ("evaluate", "curve") else "corpus"

    @property
    def arguments(self) -> tuple[str, ...]:
        """Those of the command line, `python -m` and its module aside."""
        if self.kind == "encode":
            return ("build", "--from", self.base, "--encoder", self.encoder, "--precision", self.precision)
        if self.kind == "evaluate":
            return self.options
        if self.kind == "curve":
            return ("index", "--atlas", self.base)
        return ("build", "--staged", self.staged)

    @property
    def words(self) -> str:
        """What is being done, as it stands on the page: building an atlas by specter."""
        return _WORDS[self.kind].format(title=self.title, encoder=self.encoder)


_WORDS: dict[JobKind, str] = {
    "encode": "building an atlas by {encoder}",
    "files": "building {title}",
    "query": "building {title}",
    "add": "adding papers to {title}",
    "remove": "removing papers from {title}",
    "rebuild": "laying out the map of {title} again",
    "import": "importing {title}",
    "evaluate": "evaluating {encoder} on {title}",
    "curve": "measuring the index of {title}",
}
PEERS = ("tfidf", "bm25")  # what ranks by words alone, as the command line of evaluations calls them


def encode_job(base: str, *, encoder: str, precision: Precision = "float32", title: str = "") -> Job:
    """The job of an atlas of `base`'s papers by another encoder; one that was stopped is taken up again.

    encoder: a catalogue name, or the path of a folder or zip. title: of the corpus; by default the name of the base.
    """
    return Job(kind="encode", title=title or base, encoder=encoder, base=base, precision=precision)


def staged_job(staged: Staged) -> Job:
    """The job of what waits to be built."""
    return Job(kind=staged.kind, title=staged.called, encoder=staged.encoder, staged=staged.id)


def evaluate_job(
    name: str, *, system: str, split: str, facet: str = "", precision: Precision = "float32", called: str = ""
) -> Job:
    """The job of ranking a judged set's pools and scoring them.

    system: one of PEERS, or an encoder as a catalogue name or the path of a folder or zip. called: the system, for
    people; by default its name.
    """
    # Joined by "=": a split is named by a file, and might be called like an option.
    asked = [f"--set={name}", f"--split={split}"]
    if facet:
        asked.append(f"--facet={facet}")
    asked += [f"--peer={system}"] if system in PEERS else [f"--encoder={system}", f"--precision={precision}"]
    title = f"{name} ({facet})" if facet else name
    return Job(kind="evaluate", title=title, encoder=called or system, precision=precision, options=tuple(asked))


def curve_job(atlas: str, *, title: str = "") -> Job:
    """The job of measuring what an atlas's neighbour index finds, and how fast. title: of its corpus."""
    return Job(kind="curve", title=title or atlas, base=atlas)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job is. done, total: within its stage, in the stage's own unit (0 or 1: it does not count).

    seconds: that the stage has taken so far; seconds_left: that it will take yet, and rate: units a second, where it
    counts. built: the atlas or the evaluation that it has made, and result: a sentence of what came of it, both known
    at its end.
    told: why it failed, in its own words; empty otherwise.
    """

    job: Job
    state: State
    stage: str
    done: int
    total: int
    seconds: float
    seconds_left: float | None
    rate: float | None
    built: str
    result: str
    told: str

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "stopped", "failed")


class BackgroundJob:
    """One job, as a process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._changed = threading.Lock()
        self._stage, self._done, self._total = "Starting", 0, 0
        self._since = (time.monotonic(), 0)  # when this stage began to count, and from what
        self._asked_to_stop = False
        self._built, self._result = "", ""
        self._process = subprocess.Popen(  # noqa: S603  (no shell; names that were checked by the command itself)
            [
                sys.executable, "-m", job.module, *job.arguments,
                "--progress", "json", "--low-priority", "--stop-with-stdin",
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
            threading.Thread(target=work, daemon=True, name="background-job")
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
                job=self._job,
                state=state,
                stage=self._stage,
                done=self._done,
                total=self._total,
                seconds=seconds,
                seconds_left=None if per is None else per * (self._total - self._done),
                rate=1 / per if per else None,
                built=self._built,
                result=self._result,
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
        threading.Thread(target=self._insist, daemon=True, name="stop-background-job").start()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for its end. Raises TimeoutError where it has not come by then."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self._job.words}: it goes on after {seconds} seconds") from error

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
                if "built" in said:
                    self._built, self._result = str(said["built"]), str(said.get("result", ""))[:_LONGEST_WORD]
                    continue
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
    """Why a job failed: what the command line says under its own name, else the last line, else its exit code."""
    lines = [line for line in words.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(_OWN_WORDS)]
    if said:
        return said[-1].partition(": ")[2]
    last = f" It said last: {lines[-1]}" if lines else ""
    return f"It ended without a word of its own (exit code {code}).{last}"


_lock = threading.Lock()
_last: BackgroundJob | None = None


def start(job: Job) -> BackgroundJob:
    """Begin a job, or go on with it where it was stopped. Raises JobUnderWay while another one runs.

    OSError where this machine starts no more processes.
    """
    global _last
    with _lock:
        if _last is not None and not (now := _last.progress()).over:
            raise JobUnderWay(
                f"Something else is under way: {now.job.words}. Wait for it or cancel it; what it has done is kept."
            )
        _last = BackgroundJob(job)
        return _last


def latest() -> Progress | None:
    """Where the job is that was begun last in this process, over or not; None before the first."""
    job = _last
    return None if job is None else job.progress()


def stop() -> None:
    """Ask the job that runs, if one does, to stop."""
    if (job := _last) is not None:
        job.stop()


def forget() -> None:
    """Let go of a job that is over: its end has been seen."""
    global _last
    with _lock:
        if _last is not None and _last.progress().over:
            _last = None
