"""Queries to files: all papers of a query as JSON Lines in a folder, page by page, stopped and taken up at will.

A page's papers are appended to papers.jsonl and flushed to the disk; then the state file, renamed into place, says how
long papers.jsonl is and where to go on. A kill between the two leaves lines that the state does not know of: they are
cut off, and that one page is asked for again. So no paper is ever lost or written twice.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from corpus.readers.report import Problem
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import BadAnswer, SourceError
from corpus.sources.pace import watched
from corpus.sources.source import Page, Source
from corpus.text.plain import clean

PAPERS, STATE, _LOCK = "papers.jsonl", "fetch.json", "fetch.lock"
_FORMAT = 1
_PROBLEMS_KEPT = 500
_MOST_STATE_BYTES = 8 * 2**20
_BARREN_PAGES = 5  # in a row that bring nothing new: the service turns in a circle
_MORE_THAN_COUNTED = 10_000  # records beyond twice the count: the service does not end
# (done, total): papers kept, and how many are expected. Raises to stop the fetch, which can be taken up again.
Progress = Callable[[int, int], None]


@dataclass(kw_only=True)
class FetchReport:
    """The account of a fetch: what of the `total` records became of each.

    total: what the source counted last. kept papers are in `path`; repeated ones were kept before; those left out are
    counted by kind ("empty": no title or no abstract). problems: the first 500 of those. notes: sentences on what the
    source cannot give. complete: whether the source had no more to give; else `most` was reached.
    """

    source: str
    title: str
    query: str
    path: Path
    total: int = 0
    kept: int = 0
    repeated: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = False

    @property
    def seen(self) -> int:
        """How many records came."""
        return self.kept + self.repeated + sum(self.left_out.values())

    def summary(self) -> str:
        """One or two sentences for the person who asked."""
        words = {"empty": "without a title or an abstract", "non_english": "not in English", "damaged": "damaged"}
        reasons = [f"{count:,} {words.get(kind, kind)}" for kind, count in self.left_out.items() if count]
        if self.repeated:
            reasons.append(f"{self.repeated:,} given twice")
        left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
        told = f"{self.title}: {self.kept:,} papers of {self.total:,} records{left_out}."
        if self.complete and self.seen < self.total:
            told += f" It counted {self.total - self.seen:,} more than it gave."
        return " ".join((told, *self.notes))

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON holds it."""
        return {**asdict(self), "path": self.path.name, "problems": [asdict(problem) for problem in self.problems]}


def fetch(
    source: Source,
    query: str,
    folder: Path,
    *,
    most: int | None = None,
    progress: Progress = lambda _done, _total: None,
    client: Client | None = None,
) -> FetchReport:
    """Fetch the papers of a query to `folder`/papers.jsonl, or go on with what is there of the same query.

    most: so many papers at most. Raises SourceError where the source fails or the folder holds another query's papers,
    and what `progress` raises; all that was done until then is kept. Costs memory for the ids of all papers.
    """
    if most is not None and most < 1:
        raise SourceError(f"{most} papers: ask for at least one.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            return _Fetch(source, query, folder, most=most, progress=progress, client=client or shared_client()).run()
    except Timeout as error:
        raise SourceError(f"{folder}: another fetch is writing here. Wait for it, or choose another folder.") from error
    except OSError as error:
        raise SourceError(
            f"{folder}: papers cannot be written here ({error.strerror or error}). Make room, or choose another folder."
        ) from error


class _Fetch:
    def __init__(
        self,
        source: Source,
        query: str,
        folder: Path,
        *,
        most: int | None,
        progress: Progress,
        client: Client,
    ):
        self._source = source
        self._query = clean(query)
        self._folder = folder
        self._most = most
        self._progress = progress
        self._client = client
        self._cursor = ""
        self._barren = 0
        self._ids: set[str] = set()
        self._report = FetchReport(source=source.name, title=source.title, query=self._query, path=folder / PAPERS)

    def run(self) -> FetchReport:
        self._take_up()
        report = self._report
        if report.complete or self._enough():
            return report
        with watched(self._tell), report.path.open("ab") as file:
            if not report.total:
                report.total = self._source.count(self._query, client=self._client)
            self._tell()
            wanted = None if self._most is None else self._most - report.kept
            for page in self._source.pages(self._query, client=self._client, cursor=self._cursor, most=wanted):
                if self._check(page):
                    report.complete = True
                    self._save(file.tell(), None)
                    break
                whole = self._append(page, file)
                self._save(file.tell(), page if whole else None)
                self._tell()
                if not whole or self._enough():
                    break
        return report

    def _enough(self) -> bool:
        return self._most is not None and self._report.kept >= self._most

    def _tell(self) -> None:
        total = max(self._report.total, self._report.kept)
        self._progress(self._report.kept, total if self._most is None else min(total, self._most))

    def _append(self, page: Page, file: Any) -> bool:
        """Write a page's new papers; False where `most` was reached within it, and it is not to be counted as done."""
        report = self._report
        repeated = 0
        lines: list[bytes] = []
        for paper in page.papers:
            if paper.id in self._ids:
                repeated += 1
            elif self._most is not None and report.kept + len(lines) >= self._most:
                break
            else:
                self._ids.add(paper.id)
                # backslashreplace turns a lone surrogate into JSON's own escape for it.
                lines.append(json.dumps(asdict(paper), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        else:
            self._barren = 0 if lines or page.problems else self._barren + 1
            report.repeated += repeated
            for problem in page.problems:
                report.left_out[problem.kind] = report.left_out.get(problem.kind, 0) + 1
            report.problems.extend(page.problems[: _PROBLEMS_KEPT - len(report.problems)])
            report.notes.extend(note for note in page.notes if note not in report.notes)
            report.total = page.total
            self._write(file, lines)
            report.kept += len(lines)
            return True
        self._write(file, lines)
        report.kept += len(lines)
        return False

    def _write(self, file: Any, lines: list[bytes]) -> None:
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())

    def _check(self, page: Page) -> bool:
        """Refuse to go on with a service that never ends; True where it has given all that it counts nevertheless."""
        title, report = self._source.title, self._report
        if page.cursor and page.cursor == self._cursor:
            raise BadAnswer(f"{title} gives the same page again and again. Try again later, or narrow the query.")
        if self._barren >= _BARREN_PAGES:
            if report.kept + sum(report.left_out.values()) >= page.total:
                return True
            raise BadAnswer(f"{title} gives nothing new any more, without an end. Narrow the query.")
        if report.seen > 2 * max(page.total, report.total) + _MORE_THAN_COUNTED:
            raise BadAnswer(f"{title} gives many more records than it counts. Narrow the query.")
        return False

    # The state file

    def _save(self, size: int, page: Page | None) -> None:
        """Say what is done. page: None where it is to be asked for again, when more papers are wanted."""
        report = self._report
        if page is not None:
            self._cursor = page.cursor
            report.complete = not page.cursor
        state = {
            "format": _FORMAT,
            "source": report.source,
            "query": self._query,
            "query_sha256": _query_hash(report.source, self._query),
            "cursor": self._cursor,
            "bytes": size,
            "complete": report.complete,
            "total": report.total,
            "kept": report.kept,
            "repeated": report.repeated,
            "left_out": report.left_out,
            "problems": [asdict(problem) for problem in report.problems],
            "notes": report.notes,
        }
        path = self._folder / STATE
        part = path.with_name(path.name + ".partial")
        with part.open("w", encoding="utf-8") as file:
            json.dump(state, file, ensure_ascii=True)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def _take_up(self) -> None:
        """Go on where the state file says; begin anew where there is none, or papers are missing."""
        path, papers = self._folder / STATE, self._report.path
        if not path.exists():
            if papers.exists() and papers.stat().st_size:
                raise SourceError(f"{papers} is there already, and of no fetch. Choose another folder.")
            self._begin()
            return
        state = _state_in(path)
        if state is None:
            raise SourceError(f"{path} cannot be read. Delete the folder {self._folder}, and start the fetch again.")
        if state["query_sha256"] != _query_hash(self._source.name, self._query):
            raise SourceError(
                f"{self._folder} holds papers of another query ({state['source']}: {str(state['query'])[:80]!r}). "
                "Choose another folder."
            )
        with suppress(FileNotFoundError):
            if papers.stat().st_size >= state["bytes"]:
                os.truncate(papers, state["bytes"])
                self._ids = _ids_in(papers)
                self._restore(state)
                return
        self._begin()

    def _begin(self) -> None:
        # The state comes first in all that follows: papers that it does not know of are nobody's.
        with self._report.path.open("wb"):
            pass
        self._save(0, None)

    def _restore(self, state: Mapping[str, Any]) -> None:
        report = self._report
        self._cursor = state["cursor"]
        report.complete = state["complete"]
        report.total, report.kept, report.repeated = state["total"], state["kept"], state["repeated"]
        report.left_out = dict(state["left_out"])
        report.problems = [Problem(**problem) for problem in state["problems"]]
        report.notes = list(state["notes"])


def _state_in(path: Path) -> dict[str, Any] | None:
    """What a state file says; None where it is not as one is written here."""
    kinds: dict[str, type] = {
        "format": int,
        "source": str,
        "query": str,
        "query_sha256": str,
        "cursor": str,
        "bytes": int,
        "complete": bool,
        "total": int,
        "kept": int,
        "repeated": int,
        "left_out": dict,
        "problems": list,
        "notes": list,
    }
    try:
        state = json.loads(path.read_bytes()[:_MOST_STATE_BYTES])
        if state["format"] != _FORMAT or any(not isinstance(state[name], kind) for name, kind in kinds.items()):
            return None
        for problem in state["problems"]:
            Problem(**problem)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return dict(state)


def _ids_in(path: Path) -> set[str]:
    with path.open("rb") as file:
        return {json.loads(line)["id"] for line in file}


def _query_hash(source: str, query: str) -> str:
    return sha256(f"{source}\x00{query}".encode("utf-8", "backslashreplace")).hexdigest()
