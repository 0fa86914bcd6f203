"""Pairing: citing sentences, ready pairs and a corpus → contexts and the pairs in them."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from corpus.cocitations.contexts import ContextFilter, ContextReport, ContextRules
from corpus.cocitations.full_text import CitingSentence, Reference
from corpus.cocitations.joining import Joiner
from corpus.cocitations.pairs import PairsError, Rows, TrainingPairs
from corpus.cocitations.pairs_folder import CONTEXTS_SCHEMA, write_pairs
from corpus.cocitations.splits import SplitRules, split_pairs
from corpus.paper import Paper

_UNKNOWN_KEPT = 1_000  # ready pairs with an unknown id that are kept with their place
_BATCH = 4_096  # contexts that lie as Python objects, before they go into arrow's memory
_BETWEEN = 1_024  # sentences between two words of progress


@dataclass(slots=True)
class ReadyReport:
    """What became of ready pairs. unknown: with an id that no paper has, in `places` the first 1,000 of them.

    same: whose two ids are one paper's.
    """

    pairs: int = 0
    unknown: int = 0
    same: int = 0
    places: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The numbers, and the places."""
        return {"pairs": self.pairs, "unknown": self.unknown, "same": self.same, "unknown_places": self.places}


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found. contexts: with `CONTEXTS_SCHEMA` but for split; every one of the papers is cited in one."""

    papers: pa.Table
    contexts: pa.Table
    report: ContextReport
    ready: ReadyReport
    joined: dict[str, Any]


class Pairing:
    """From sentences to contexts, in three passes: all sentences, then all papers, then `found`.

    What passes the filters that need no corpus waits in a file without a name, which is gone when the process is.
    folder: where it lies. missing: counts what no paper was found for; see `Joiner`.
    """

    def __init__(
        self,
        rules: ContextRules,
        *,
        folder: Path,
        by_title: bool = False,
        titles_alone: bool = False,
        missing: Counter[str] | None = None,
    ) -> None:
        self.rules = rules
        self.ready = ReadyReport()
        self._filter = ContextFilter(rules)
        self._joiner = Joiner(by_title=by_title, titles_alone=titles_alone, missing=missing)
        self._spool: IO[str] = tempfile.TemporaryFile("w+", encoding="ascii", dir=folder)  # noqa: SIM115 (closed with this)
        self._waiting = 0

    def __enter__(self) -> "Pairing":
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    @property
    def report(self) -> ContextReport:
        """What the filters dropped so far."""
        return self._filter.report

    def add_sentences(self, sentences: Iterable[CitingSentence]) -> None:
        """Take in citing sentences. Raises what taking them raises, and OSError."""
        for sentence in sentences:
            if self._filter.may_be_context(sentence):
                self._wait("", sentence)

    def add_ready(self, pairs: Iterable[tuple[str, CitingSentence]]) -> None:
        """Take in ready pairs, each with its place; no filter drops one."""
        for place, pair in pairs:
            self.ready.pairs += 1
            self._wait(place, pair)

    def _wait(self, place: str, sentence: CitingSentence) -> None:
        cited = [[one.identifiers, one.title, one.year] for one in sentence.cited]
        self._spool.write(json.dumps([place, sentence.citing, sentence.sentence, cited]) + "\n")
        self._waiting += 1
        for reference in sentence.cited:
            self._joiner.need(reference)

    def add_papers(self, papers: Iterable[Paper]) -> None:
        """Take in papers with a title and an abstract, of which those are kept that a sentence cites."""
        for paper in papers:
            self._joiner.offer(paper)

    def found(self, *, progress: Callable[[int, int], None]) -> Found:
        """The contexts, and their papers. Raises PairsError where ready pairs were given and every id is unknown."""
        citing, sentences, cited = [], [], []
        parts: list[pa.Table] = []
        for number, (one, sentence, rows) in enumerate(self._contexts(progress)):
            citing.append(one)
            sentences.append(sentence)
            cited.append(rows)
            if number % _BATCH == _BATCH - 1:
                parts.append(_table(citing, sentences, cited))
                citing, sentences, cited = [], [], []
        parts.append(_table(citing, sentences, cited))
        ready = self.ready
        if ready.pairs and ready.unknown == ready.pairs:
            raise PairsError(
                f"{ready.places[0]}. None of {ready.pairs:,} pairs has both its papers in the corpus. Check that the "
                "pairs and --papers (or --atlas) call papers by the same ids."
            )
        papers, contexts = _used(self._joiner.papers(), pa.concat_tables(parts))
        return Found(papers, contexts, self.report, ready, self._joiner.as_json())

    def _contexts(self, progress: Callable[[int, int], None]) -> Iterator[tuple[str, str, list[int]]]:
        self._spool.seek(0)
        for number, line in enumerate(self._spool):
            if number % _BETWEEN == 0:
                progress(number, self._waiting)
            place, citing, sentence, told = json.loads(line)
            references = [Reference(tuple(names), title, year) for names, title, year in told]
            found = [self._joiner.row_of(reference) for reference in references]
            rows = list(dict.fromkeys(row for row in found if row is not None))
            if place:
                if self._is_pair(place, references, found, rows):
                    yield citing, sentence, rows
            elif self._filter.is_context(citing, sentence, rows):
                yield citing, sentence, rows
        progress(self._waiting, self._waiting)

    def _is_pair(self, place: str, references: list[Reference], found: list[int | None], rows: list[int]) -> bool:
        if None in found:
            self.ready.unknown += 1
            if len(self.ready.places) < _UNKNOWN_KEPT:
                lost = [one.identifiers[-1] for one, row in zip(references, found, strict=True) if row is None]
                names = " and ".join(repr(name.removeprefix("id:"))[:80] for name in lost)
                self.ready.places.append(f"{place}: no paper of the corpus has the id {names}")
            return False
        self.ready.same += len(rows) < 2
        return len(rows) == 2


def write_found(folder: Path, found: Found, *, rules: SplitRules, told: dict[str, Any]) -> TrainingPairs:
    """Split the pairs of contexts and write them into a new folder; how they were split is told, too.

    Raises PairsError, which says what the filters dropped where nothing is left; OSError.
    """
    pairs, of_context = _pairs_in(found.contexts)
    if not len(pairs):
        raise PairsError(_nothing_left(found))
    names = found.contexts["citing"].to_pylist()
    citing = [names[context] for context in of_context.tolist()]
    split = split_pairs(pairs, citing, ids=found.papers["id"].to_pylist(), rules=rules)
    first = np.searchsorted(of_context, np.arange(found.contexts.num_rows))
    labels = pa.array([split.name_of(pair) for pair in first.tolist()], pa.string())
    contexts = found.contexts.append_column(CONTEXTS_SCHEMA.field("split"), labels)
    return write_pairs(
        folder,
        papers=found.papers,
        train=split.train,
        dev=split.dev,
        test=split.test,
        contexts=contexts,
        told=told | {"splits": split.told},
    )


def _nothing_left(found: Found) -> str:
    report = found.report
    if not report.sentences and not found.ready.pairs:
        return (
            "There is neither a citing sentence nor a ready pair in what was given. See that the files are the right "
            "ones."
        )
    if report.sentences and not report.kept and report.unknown:
        why = "Their cited papers are not in the corpus: give --papers that hold them, with a title and an abstract."
    else:
        why = "Give more full texts or pairs, or ask for less: --most-cited, --most-words."
    return f"No pair is left of {report.sentences:,} citing sentences and {found.ready.pairs:,} ready pairs. {why}"


def _table(citing: list[str], sentences: list[str], cited: list[list[int]]) -> pa.Table:
    columns = {"citing": citing, "sentence": sentences, "cited": cited}
    arrays = [pa.array(columns[name], CONTEXTS_SCHEMA.field(name).type) for name in _COLUMNS]
    return pa.Table.from_arrays(arrays, schema=pa.schema([CONTEXTS_SCHEMA.field(name) for name in _COLUMNS]))


_COLUMNS = ("citing", "sentence", "cited")


def _used(papers: pa.Table, contexts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The papers that contexts cite, and the contexts over their rows."""
    lists = contexts["cited"].combine_chunks()
    rows = lists.values.to_numpy()
    used = np.zeros(papers.num_rows, bool)
    used[rows] = True
    new = (np.cumsum(used) - 1).astype(np.int32)
    renumbered = pa.ListArray.from_arrays(lists.offsets, pa.array(new[rows], pa.int32()))
    place = contexts.schema.get_field_index("cited")
    return papers.filter(pa.array(used)), contexts.set_column(place, CONTEXTS_SCHEMA.field("cited"), renumbered)


def _pairs_in(contexts: pa.Table) -> tuple[Rows, Rows]:
    """The pairs of contexts, int32 (n, 2), and of each its context, int32 (n,), rising."""
    pairs: list[Rows] = []
    of: list[Rows] = []
    for number, rows in enumerate(contexts["cited"].to_pylist()):
        found = np.array(list(combinations(rows, 2)), np.int32)
        pairs.append(found)
        of.append(np.full(len(found), number, np.int32))
    empty = np.zeros((0, 2), np.int32)
    return np.concatenate([empty, *pairs]), np.concatenate([empty[:, 0], *of])
