"""Rankings that others made, read to be scored: TREC run files, and JSON of {query: [[candidate, score], …]}.

A TREC run is ordered by score, the highest first, equal scores as `TieOrder` says: that is what trec_eval makes of it.
Of JSON, the order of each list is the ranking. Both may be gzip. Ids may stand escaped as `trec` writes them.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.evaluation.ranking import RankingError, TieOrder
from components.evaluation.results import RankedPool, Ranking
from components.evaluation.trec import unescaped
from corpus.io.decoding import head_text, text_lines
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Progress, no_progress
from corpus.readers.json_values import BrokenJson, JsonValues
from corpus.readers.report import UnreadableFileError
from corpus.text.plain import clean

READING = "Reading the rankings"  # the stage's name

_GIB = 2**30
# A run of TRECCOVID-RF has ten million lines, half a GiB; of equal fields it packs well.
_LIMITS = Limits(file_bytes=4 * _GIB, unpacked_bytes=16 * _GIB, unpacked_ratio=300)
_LONGEST_POOL = 64 * 2**20  # characters of one query's list: a million candidates
_HEAD = 4096
_FIELDS = 6  # of a line of a TREC run
_LONGEST_RANK = 10  # digits; what is longer is none
_LARGEST = float(np.finfo(np.float32).max)  # score
_MOST_OTHERS = 1_000_000  # queries that nobody asked for, which are counted
_MOST_CANDIDATES = 100_000_000  # lines that are kept, 8 bytes each
_FORM = "Give every query a list of [candidate, score], the best first"

Ranked = tuple[NDArray[np.int32], NDArray[np.float32]]  # rows of the set's papers (-1: not in it), and their scores


def read_rankings(
    path: Path, judged: JudgedSet, pools: Sequence[Pool], *, progress: Progress = no_progress
) -> tuple[Ranking, tuple[str, ...]]:
    """The rankings of these pools in a file, and what was met in it, in sentences.

    A ranking must be of all of a pool: RankingError says how much is missing. Queries and candidates that nobody asked
    for are left out, of a candidate that is there twice the first place counts, of a query that is there twice in JSON
    the last list: each is counted. Where a JSON file's scores are not in the order of its lists, ranks stand for them.
    Raises RankingError, too, where the file is neither form or holds what is no score.
    """
    reader = _Reader(path, judged, pools)
    try:
        with CappedStream(path, _LIMITS) as stream:
            is_json = head_text(stream.head(_HEAD)).lstrip().startswith(("{", "["))
            found = reader.of_json(stream, progress=progress) if is_json else reader.of_trec(stream, progress=progress)
    except UnreadableFileError as error:
        error.locate(file=path.name)
        raise RankingError(str(error)) from error
    return reader.ranking(found, by_score=not is_json)


class _Reader:
    """One file, on its way to a ranking of the pools that were asked for."""

    def __init__(self, path: Path, judged: JudgedSet, pools: Sequence[Pool]) -> None:
        self._name = path.name
        self._judged = judged
        self._pools = {pool.query: pool for pool in pools}  # a query may be in two folds
        self._row_of = {paper.id: row for row, paper in enumerate(judged.papers)}
        # A file of one facet may call its queries by their papers alone.
        papers = Counter(judged.papers[pool.row].id for pool in self._pools.values())
        self._by_paper = {
            id: pool.query
            for pool in self._pools.values()
            if papers[id := judged.papers[pool.row].id] == 1 and id not in self._pools
        }
        self._other_queries: set[int] = set()  # hashes: names may be long
        self._counts: Counter[str] = Counter()
        self._ranks: Counter[bool] = Counter()  # of lines after each other: whether rank and score rise together

    def of_json(self, stream: CappedStream, *, progress: Progress) -> dict[str, Ranked]:
        """What the file ranks of the queries that were asked for, in its own order."""
        values = JsonValues(text_lines(stream), most=_LONGEST_POOL)
        found: dict[str, Ranked] = {}
        try:
            for name in values.keys_of_object():
                query, entries = self._query(name), values.value()
                if query is None:
                    continue
                self._counts["repeated queries"] += query in found
                found[query] = self._entries(query, entries)
                progress(READING, len(found), len(self._pools))
            if values.next():
                raise BrokenJson("something follows the object")
        except BrokenJson as error:
            raise self._error(
                f"it is no JSON object of {{query: [[candidate, score], …]}} ({error}). Write it again"
            ) from error
        return found

    def of_trec(self, stream: CappedStream, *, progress: Progress) -> dict[str, Ranked]:
        """What the file ranks of the queries that were asked for, in its own order."""
        found: dict[str, tuple[array[int], array[float]]] = {}
        name, lists, kept, before = "", None, 0, (0, 0.0)
        for number, fields in self._lines(stream):
            if len(fields) != _FIELDS:
                raise self._error(
                    f"line {number:,} has {len(fields)} fields; a run has query, Q0, candidate, rank, score and tag. "
                    "Correct it, or give JSON of {query: [[candidate, score], …]}"
                )
            if fields[0] != name or not found:
                name, query = fields[0], self._query(fields[0])
                lists = None if query is None else found.setdefault(query, (array("i"), array("f")))
                progress(READING, len(found), len(self._pools))
                before = (0, 0.0)
            if lists is None:
                continue
            kept += 1
            if kept > _MOST_CANDIDATES:
                raise self._error(
                    f"it has more than {_MOST_CANDIDATES:,} lines of these queries. Give the split's queries alone"
                )
            try:
                score = float(fields[4])
            except ValueError:
                score = math.nan
            lists[0].append(self._row(fields[2]))
            lists[1].append(self._checked(score, f"line {number:,}", fields[4]))
            rank = int(fields[3]) if fields[3].isdecimal() and len(fields[3]) < _LONGEST_RANK else 0
            if rank > before[0] > 0 and score != before[1]:
                self._ranks[score > before[1]] += 1
            before = (rank, score)
        return {
            query: (np.array(rows, np.int32), np.array(scores, np.float32)) for query, (rows, scores) in found.items()
        }

    def ranking(self, found: dict[str, Ranked], *, by_score: bool) -> tuple[Ranking, tuple[str, ...]]:
        """All pools, ranked, and the notes."""
        if by_score:  # the first place of what is there twice is that of its highest score
            found = {query: _sorted(*lists) for query, lists in found.items()}
        ranked = [self._pool(pool, *found[query]) for query, pool in self._pools.items() if query in found]
        self._check_missing(ranked)
        notes = [f"{self._name}: {count:,} {what}." for what, count in self._told() if count]
        ties = TieOrder(self._judged)
        if by_score:
            if self._ranks[True] and not self._ranks[False]:
                notes.append(
                    f"{self._name}: its ranks say the opposite of its scores. A run is ordered by score, the highest "
                    "first; if these are distances, give their negatives."
                )
            pools = [ties.ranked(pool.query, pool.rows, pool.scores, ascending=False) for pool in ranked]
            return Ranking(tuple(pools), ascending=False), tuple(notes)
        for ascending in (False, True):
            if all(_in_order(pool, ties, ascending=ascending) for pool in ranked):
                return Ranking(tuple(ranked), ascending=ascending), tuple(notes)
        # Only so does the run file that is kept say what the lists do.
        notes.append(
            f"{self._name}: its scores do not give the order of its lists (they are in another, or some are equal), so "
            "ranks stand for them."
        )
        pools = [replace(pool, scores=np.arange(len(pool.rows), 0, -1, dtype=np.float32)) for pool in ranked]
        return Ranking(tuple(pools), ascending=False), tuple(notes)

    def _lines(self, stream: CappedStream) -> Iterator[tuple[int, list[str]]]:
        """The fields of each line that has any, with its number. A line of over 64 Ki characters is refused."""
        number, cut = 1, False
        for line in text_lines(stream):
            if cut:
                raise self._error(f"line {number:,} has more than 65,536 characters. Give a run file, or JSON")
            if fields := line.split():
                yield number, fields
            cut = not line.endswith("\n")  # in pieces, because it is long; or the file's last
            number += not cut

    def _entries(self, query: str, entries: object) -> Ranked:
        if not isinstance(entries, list):
            raise self._error(f"the query {query!r:.80} has no list but {entries!r:.40}. {_FORM}")
        rows, scores = np.empty(len(entries), np.int32), np.empty(len(entries), np.float32)
        for at, entry in enumerate(entries):
            place = f"entry {at + 1:,} of the query {query!r:.80}"
            if not isinstance(entry, list) or len(entry) != 2:
                raise self._error(f"{place} is {entry!r:.40}, not [candidate, score]. {_FORM}")
            candidate, score = entry
            if not isinstance(candidate, str | int) or isinstance(candidate, bool):
                raise self._error(f"{place} names {candidate!r:.40}, which is no id. {_FORM}")
            if not isinstance(score, int | float) or isinstance(score, bool):
                raise self._error(f"{place} has {score!r:.40} for a score, which is no number. {_FORM}")
            rows[at] = self._row(str(candidate))
            scores[at] = self._checked(score, place, score)
        return rows, scores

    def _query(self, name: str) -> str | None:
        """The query that a name in the file is of; None where nobody asked for it."""
        for known in _forms(name):
            if known in self._pools:
                return known
            if known in self._by_paper:
                return self._by_paper[known]
        self._other_queries.add(hash(name))
        if len(self._other_queries) > _MOST_OTHERS:
            raise self._error(
                f"it ranks more than {_MOST_OTHERS:,} queries that were not asked for. Give the split's queries alone"
            )
        return None

    def _row(self, candidate: str) -> int:
        row = self._row_of.get(candidate)
        if row is not None:
            return row
        return next((self._row_of[form] for form in _forms(candidate) if form in self._row_of), -1)

    def _checked(self, score: float, place: str, written: object) -> float:
        if not abs(score) <= _LARGEST:  # of NaN, too, this is false
            told = f"{place} has the score {written!s:.40}, which is no finite number of 32 bits"
            raise self._error(f"{told}. Correct it")
        return float(score)

    def _pool(self, pool: Pool, rows: NDArray[np.int32], scores: NDArray[np.float32]) -> RankedPool:
        """What a file ranks of one pool, each candidate once, in the order given."""
        asked = np.isin(rows, pool.rows)
        self._counts["candidates"] += int((~asked).sum())
        rows, scores = rows[asked], scores[asked]
        _, first = np.unique(rows, return_index=True)
        self._counts["repeated candidates"] += len(rows) - len(first)
        first.sort()
        return RankedPool(pool.query, rows[first], scores[first])

    def _check_missing(self, ranked: Sequence[RankedPool]) -> None:
        there = {pool.query for pool in ranked}
        queries = [query for query in self._pools if query not in there]
        short = [pool for pool in ranked if len(pool.rows) < len(self._pools[pool.query].rows)]
        told = []
        if queries:
            told.append(f"it does not rank {len(queries):,} of {len(self._pools):,} queries ({queries[0]!s:.80} first)")
        if short:
            count = sum(len(self._pools[pool.query].rows) - len(pool.rows) for pool in short)
            missing = np.setdiff1d(self._pools[short[0].query].rows, short[0].rows)[0]
            told.append(
                f"it lacks {count:,} candidates in the pools of {len(short):,} queries "
                f"({self._judged.papers[missing].id!s:.80} of {short[0].query!s:.80} first)"
            )
        if told:
            raise self._error(f"{', and '.join(told)}. A ranking of a pool must rank all of it: complete the file")

    def _told(self) -> Iterator[tuple[str, int]]:
        yield "queries that were not asked for were left out", len(self._other_queries)
        yield "candidates that are not in their query's pool were left out", self._counts["candidates"]
        yield "candidates were there twice or more; their first places count", self._counts["repeated candidates"]
        yield "queries were there twice; their last lists count", self._counts["repeated queries"]

    def _error(self, reason: str) -> RankingError:
        return RankingError(f"{self._name}: {reason}.")


def _sorted(rows: NDArray[np.int32], scores: NDArray[np.float32]) -> Ranked:
    """Both, the highest score first."""
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order]


def _forms(name: str) -> tuple[str, ...]:
    """What may be meant by a name: itself, what was escaped to it, and both as sets keep their ids."""
    return name, unescaped(name), clean(name), clean(unescaped(name))


def _in_order(pool: RankedPool, ties: TieOrder, *, ascending: bool) -> bool:
    """Whether the scores of a list, and the order of equal ones, give the list's order."""
    return bool((ties.ranked(pool.query, pool.rows, pool.scores, ascending=ascending).rows == pool.rows).all())
