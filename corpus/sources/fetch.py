"""Fetch all papers of a query as JSON Lines into a folder, page by page; a stopped fetch can be resumed.

A page's papers are appended to papers.jsonl and flushed to disk; then the state file, renamed into place, records the
length of papers.jsonl and the next cursor. A kill between the two leaves lines that the state does not cover: they are
cut off, and that page is fetched again. So no paper is lost or written twice.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, Field

from corpus.io.files import write_text
from corpus.paper import Paper
from corpus.progress import Progress, no_progress
from corpus.readers.report import Problem
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import BadAnswer, SourceError
from corpus.sources.pace import during_waits
from corpus.sources.source import Page, Source
from corpus.text.plain import clean

FETCHING = "Fetching the papers"  # the stage; done: papers kept, total: how many are expected
PAPERS, STATE, _LOCK = "papers.jsonl", "fetch.json", "fetch.lock"
_MAX_PROBLEMS = 500
_MAX_STATE_BYTES = 8 * 2**20
_MAX_BARREN_PAGES = 5  # in a row without a new paper: the service repeats itself
_MAX_UNCOUNTED = 10_000  # records beyond twice the count: the service does not end


class FetchReport(BaseModel):
    """What became of each of the `total` records of a fetch; with `cursor` and `bytes`, the state on disk.

    total: the source's last count. kept papers are in papers.jsonl; repeated ones were kept before; left_out counts by
    kind ("empty": no title or no abstract). problems: the first 500 of those. notes: sentences on what the source
    cannot give. complete: the source has no more; else `limit` was reached. cursor: the next page. bytes: the length of
    papers.jsonl.
    """

    format: Literal[1] = 1
    source: str
    title: str
    query: str
    cursor: str = ""
    bytes: int = 0
    complete: bool = False
    total: int = 0
    kept: int = 0
    repeated: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    problems: list[Problem] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many records came."""
        return self.kept + self.repeated + sum(self.left_out.values())

    def summary(self) -> str:
        """One or two sentences for a person."""
        words = {"empty": "without a title or an abstract", "non_english": "not in English"}
        reasons = [f"{count:,} {words.get(kind, kind)}" for kind, count in self.left_out.items() if count]
        if self.repeated:
            reasons.append(f"{self.repeated:,} repeated")
        left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
        summary = f"{self.title}: {self.kept:,} papers of {self.total:,} records{left_out}."
        if self.complete and self.seen < self.total:
            summary += f" The service counted {self.total - self.seen:,} more than it gave."
        return " ".join((summary, *self.notes))


def fetch(
    source: Source,
    query: str,
    folder: Path,
    *,
    limit: int | None = None,
    progress: Progress = no_progress,
    client: Client | None = None,
) -> FetchReport:
    """Fetch the papers of a query to `folder`/papers.jsonl, or resume what is there of the same query.

    limit: the maximum number of papers. Raises SourceError where the source fails or the folder holds another query's
    papers, and what `progress` raises; what was fetched until then is kept. Holds the ids of all papers in memory.
    """
    if limit is not None and limit < 1:
        raise SourceError(f"{limit} papers: ask for at least one.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            return _Fetch(source, query, folder, limit, progress, client or shared_client()).run()
    except Timeout as error:
        raise SourceError(f"{folder}: another fetch is writing here. Wait for it, or choose another folder.") from error
    except OSError as error:
        raise SourceError(
            f"{folder}: papers cannot be written here ({error.strerror or error}). Make room, or choose another folder."
        ) from error


class _Fetch:
    def __init__(self, source: Source, query: str, folder: Path, limit: int | None, progress: Progress, client: Client):
        self._source = source
        self._folder = folder
        self._limit = limit
        self._progress = progress
        self._client = client
        self._barren_pages = 0
        self._ids: set[str] = set()
        self._report = self._resume(clean(query))

    def run(self) -> FetchReport:
        report, query = self._report, self._report.query
        if report.complete or self._enough():
            return report
        with during_waits(self._show_progress), (self._folder / PAPERS).open("ab") as file:
            if not report.total:
                report.total = self._source.count(query, client=self._client)
            self._show_progress()
            wanted = None if self._limit is None else self._limit - report.kept
            for page in self._source.pages(query, client=self._client, cursor=report.cursor, limit=wanted):
                if self._has_ended(page):
                    report.complete = True
                    self._save(file)
                    break
                if self._append(page, file):
                    report.cursor, report.complete = page.cursor, not page.cursor
                self._save(file)
                self._show_progress()
                if self._enough():
                    break
        return report

    def _enough(self) -> bool:
        return self._limit is not None and self._report.kept >= self._limit

    def _show_progress(self) -> None:
        total = max(self._report.total, self._report.kept)
        self._progress(FETCHING, self._report.kept, total if self._limit is None else min(total, self._limit))

    def _append(self, page: Page, file: IO[bytes]) -> bool:
        """Write a page's new papers. False where `limit` was reached within it: the page is fetched again later."""
        report = self._report
        new: list[Paper] = []
        repeated = 0
        whole = True
        for paper in page.papers:
            if paper.id in self._ids:
                repeated += 1
            elif self._limit is not None and report.kept + len(new) >= self._limit:
                whole = False
                break
            else:
                self._ids.add(paper.id)
                new.append(paper)
        # backslashreplace turns a lone surrogate into JSON's own escape for it.
        lines = (json.dumps(asdict(paper), ensure_ascii=False).encode("utf-8", "backslashreplace") for paper in new)
        file.write(b"".join(line + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
        report.kept += len(new)
        if whole:
            self._barren_pages = 0 if new or page.problems else self._barren_pages + 1
            report.total = page.total
            report.repeated += repeated
            for problem in page.problems:
                report.left_out[problem.kind] = report.left_out.get(problem.kind, 0) + 1
            report.problems.extend(page.problems[: _MAX_PROBLEMS - len(report.problems)])
            report.notes.extend(note for note in page.notes if note not in report.notes)
        return whole

    def _has_ended(self, page: Page) -> bool:
        """Whether a service that repeats itself has given all that it counts. Raises BadAnswer where it never ends."""
        title, report = self._source.title, self._report
        if page.cursor and page.cursor == report.cursor:
            raise BadAnswer(f"{title} gives the same page again and again. Try again later, or narrow the query.")
        if self._barren_pages >= _MAX_BARREN_PAGES:
            if report.kept + sum(report.left_out.values()) >= page.total:
                return True
            raise BadAnswer(f"{title} gives no new papers any more and does not end. Narrow the query.")
        if report.seen > 2 * max(page.total, report.total) + _MAX_UNCOUNTED:
            raise BadAnswer(f"{title} gives many more records than it counts. Narrow the query.")
        return False

    def _save(self, file: IO[bytes]) -> None:
        self._report.bytes = file.tell()
        self._write(self._report)

    def _write(self, report: FetchReport) -> None:
        write_text(self._folder / STATE, json.dumps(report.model_dump()))  # ASCII: a query may hold a lone surrogate

    def _resume(self, query: str) -> FetchReport:
        """The report of the state file; a new one where there is none, or where its papers are missing."""
        path, papers = self._folder / STATE, self._folder / PAPERS
        report = FetchReport(source=self._source.name, title=self._source.title, query=query)
        if path.exists():
            try:
                state = FetchReport.model_validate(json.loads(path.read_bytes()[:_MAX_STATE_BYTES]))
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{path} cannot be read. Delete {self._folder} and start the fetch again.") from error
            if (state.source, state.query) != (report.source, report.query):
                raise SourceError(
                    f"{self._folder} holds papers of another query ({state.source}: {state.query[:80]!r}). "
                    "Choose another folder."
                )
            with suppress(FileNotFoundError):
                if papers.stat().st_size >= state.bytes:
                    os.truncate(papers, state.bytes)
                    with papers.open("rb") as file:
                        self._ids = {json.loads(line)["id"] for line in file}
                    return state
        elif papers.exists() and papers.stat().st_size:
            raise SourceError(f"{papers} exists and belongs to no fetch. Choose another folder.")
        # The state file comes first: papers that it does not cover are cut off.
        papers.write_bytes(b"")
        self._write(report)
        return report
