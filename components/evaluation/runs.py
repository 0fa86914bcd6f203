"""Rankings in files: those of other systems, read to be scored, and TREC runs of ours.

A TREC run has a line per candidate, `query Q0 candidate rank score tag`, and is ordered by score, the highest first,
equal scores as `TieOrder` does, as trec_eval reads it. JSON of {query: [[candidate, score], …]} is ordered by its
lists. Both may be gzip.

In our runs, white space, control characters, lone surrogates, quotation marks and percent signs in ids are
percent-escaped (UTF-8), and an empty id is a single "%". Scores have as many digits as float32 needs to be read back.
"""

import gzip
import re
import urllib.parse
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, Strict, StrictInt, StrictStr, TypeAdapter, ValidationError

from components.evaluation.ranking import RankedPool, Ranking, RankingError, TieOrder
from corpus.errors import UnreadableFileError
from corpus.io.decoding import head_text, text_lines
from corpus.io.files import beside
from corpus.io.json_values import BrokenJson, JsonValues
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Progress, no_progress
from corpus.text.plain import clean

READING = "Reading the rankings"  # the stage's name

_GIB = 2**30
# A run of TRECCOVID-RF has ten million lines, half a GiB, whose equal fields compress well.
_LIMITS = Limits(file_bytes=4 * _GIB, unpacked_bytes=16 * _GIB, unpacked_ratio=300)
_MAX_LIST_CHARS = 64 * 2**20  # of one query's JSON list: a million candidates
_MAX_RANK_DIGITS = 9
_MAX_LINES = 100_000_000  # of the set's queries; 8 bytes each
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_Score = Annotated[FiniteFloat, Field(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)]
_SCORE = TypeAdapter(_Score)  # of a text
_ENTRIES = TypeAdapter(list[tuple[StrictStr | StrictInt, Annotated[_Score, Strict()]]])
_HEAD = 4096  # bytes that tell JSON from a run

_COLUMNS = ("query", "Q0", "candidate", "rank", "score", "tag")
_SCHEMA = pa.schema([(name, {"rank": pa.int32(), "score": pa.float32()}.get(name, pa.string())) for name in _COLUMNS])
_TO_ESCAPE = re.compile(r"""[\s%"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff]""")
_GZIP_LEVEL = 1  # a run of ten million lines is written in seconds, a tenth larger than it could be

# Rows among the set's papers (-1: not in it), and their scores.
_List = tuple[NDArray[np.int32], NDArray[np.float32]]


# Rankings of other systems


def read_rankings(
    path: Path, judged: JudgedSet, pools: Sequence[Pool], *, progress: Progress = no_progress
) -> tuple[Ranking, tuple[str, ...]]:
    """Read the rankings of these pools from a file, with notes on what was left out.

    A ranking must be of the whole pool: RankingError says how much is missing. Other queries and candidates are left
    out; of a repeated candidate the first position counts, of a repeated query in JSON the last list: each is counted.
    Where a JSON file's scores are not in the order of its lists, ranks replace them.
    Raises RankingError, too, where the file is in neither form or has an invalid score.
    """
    reader = _Reader(path, judged, pools)
    try:
        with CappedStream(path, _LIMITS) as stream:
            is_json = head_text(stream.head(_HEAD)).lstrip().startswith(("{", "["))
            lists = reader.read_json(stream, progress) if is_json else reader.read_trec(stream, progress)
    except UnreadableFileError as error:
        error.locate(file=path.name)
        raise RankingError(str(error)) from error
    return reader.ranking(lists, by_score=not is_json)


class _Reader:
    """Reads one file of rankings."""

    def __init__(self, path: Path, judged: JudgedSet, pools: Sequence[Pool]) -> None:
        self._name = path.name
        self._judged = judged
        self._pools = {pool.query: pool for pool in pools}  # a query may be in two folds
        self._row_of = {paper.id: row for row, paper in enumerate(judged.papers)}
        # A file of one facet may name its queries by their papers alone.
        query_papers = Counter(judged.papers[pool.row].id for pool in self._pools.values())
        self._by_paper = {
            id: pool.query
            for pool in self._pools.values()
            if query_papers[id := judged.papers[pool.row].id] == 1 and id not in self._pools
        }
        self._other_queries = self._repeated_queries = self._other_candidates = self._repeated_candidates = 0
        self._rank_agrees: Counter[bool] = Counter()  # of successive lines: whether the score falls as the rank rises

    def read_json(self, stream: CappedStream, progress: Progress) -> dict[str, _List]:
        """The list of each of the set's queries, in the file's order."""
        values = JsonValues(text_lines(stream), max_chars=_MAX_LIST_CHARS)
        lists: dict[str, _List] = {}
        try:
            for name in values.keys_of_object():
                query, entries = self._query(name), values.value()
                if query is not None:
                    self._repeated_queries += query in lists
                    lists[query] = self._entries(query, entries)
                    progress(READING, len(lists), len(self._pools))
            if values.next():
                raise BrokenJson("something follows the object")
        except BrokenJson as error:
            raise self._error(
                f"it is not a JSON object of {{query: [[candidate, score], …]}} ({error}). Write it again"
            ) from error
        return lists

    def read_trec(self, stream: CappedStream, progress: Progress) -> dict[str, _List]:
        """The lines of each of the set's queries, in the file's order."""
        lists: dict[str, tuple[array[int], array[float]]] = {}
        name, lines, count, previous = "", None, 0, (0, 0.0)
        for number, line in enumerate(text_lines(stream), start=1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != len(_COLUMNS):
                raise self._error(
                    f"line {number:,} has {len(fields)} fields; a run has query, Q0, candidate, rank, score and tag. "
                    "Correct it, or give JSON of {query: [[candidate, score], …]}"
                )
            if fields[0] != name or not lists:
                name, query = fields[0], self._query(fields[0])
                lines = None if query is None else lists.setdefault(query, (array("i"), array("f")))
                progress(READING, len(lists), len(self._pools))
                previous = (0, 0.0)
            if lines is None:
                continue
            count += 1
            if count > _MAX_LINES:
                raise self._error(f"it has more than {_MAX_LINES:,} lines of these queries. Give only the split's")
            try:
                score = _SCORE.validate_python(fields[4])
            except ValidationError as error:
                raise self._error(
                    f"line {number:,} has the score {fields[4]:.40}, which is not a finite 32-bit number. Correct it"
                ) from error
            lines[0].append(self._row(fields[2]))
            lines[1].append(score)
            rank = int(fields[3]) if fields[3].isdecimal() and len(fields[3]) <= _MAX_RANK_DIGITS else 0
            if rank > previous[0] > 0 and score != previous[1]:
                self._rank_agrees[score < previous[1]] += 1
            previous = (rank, score)
        return {
            query: (np.array(rows, np.int32), np.array(scores, np.float32)) for query, (rows, scores) in lists.items()
        }

    def ranking(self, lists: dict[str, _List], *, by_score: bool) -> tuple[Ranking, tuple[str, ...]]:
        """All pools, ranked, and the notes."""
        if by_score:  # of a repeated candidate, its highest score counts
            for query, (rows, scores) in lists.items():
                order = np.argsort(-scores, kind="stable")
                lists[query] = rows[order], scores[order]
        pools = [self._pool(pool, *lists[query]) for query, pool in self._pools.items() if query in lists]
        self._check_complete(pools)
        counts = {
            "queries that were not asked for were left out": self._other_queries,
            "candidates that are not in their query's pool were left out": self._other_candidates,
            "candidates were repeated; their first positions count": self._repeated_candidates,
            "queries were repeated; their last lists count": self._repeated_queries,
        }
        notes = [f"{self._name}: {count:,} {what}." for what, count in counts.items() if count]
        ties = TieOrder(self._judged)
        if by_score:
            if self._rank_agrees[False] and not self._rank_agrees[True]:
                notes.append(
                    f"{self._name}: its ranks contradict its scores. A run is ordered by score, the highest first; if "
                    "these are distances, give their negatives."
                )
            pools = [ties.ranked(pool.query, pool.rows, pool.scores, ascending=False) for pool in pools]
            return Ranking(tuple(pools), ascending=False), tuple(notes)
        for ascending in (False, True):
            if all(
                (ties.ranked(pool.query, pool.rows, pool.scores, ascending=ascending).rows == pool.rows).all()
                for pool in pools
            ):
                return Ranking(tuple(pools), ascending=ascending), tuple(notes)
        # With ranks, the stored run gives the order of the lists.
        notes.append(
            f"{self._name}: its scores do not give the order of its lists (they are in another order, or some are "
            "equal), so ranks replace them."
        )
        pools = [replace(pool, scores=np.arange(len(pool.rows), 0, -1, dtype=np.float32)) for pool in pools]
        return Ranking(tuple(pools), ascending=False), tuple(notes)

    def _entries(self, query: str, value: object) -> _List:
        try:
            entries = _ENTRIES.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            entry = f", entry {int(first['loc'][0]) + 1:,}" if first["loc"] else ""
            raise self._error(
                f"the query {query!r:.80}{entry}: {first['msg']}. Give every query a list of "
                "[candidate, score], the best first, with ids and finite 32-bit numbers"
            ) from error
        rows = np.array([self._row(str(candidate)) for candidate, _ in entries], np.int32)
        return rows, np.array([score for _, score in entries], np.float32)

    def _query(self, name: str) -> str | None:
        """The set's query that a name in the file means; None for another one."""
        for form in _forms(name):
            if form in self._pools:
                return form
            if form in self._by_paper:
                return self._by_paper[form]
        self._other_queries += 1
        return None

    def _row(self, candidate: str) -> int:
        row = self._row_of.get(candidate)
        if row is not None:
            return row
        return next((self._row_of[form] for form in _forms(candidate) if form in self._row_of), -1)

    def _pool(self, pool: Pool, rows: NDArray[np.int32], scores: NDArray[np.float32]) -> RankedPool:
        """The file's ranking of one pool, each candidate once, in the given order."""
        in_pool = np.isin(rows, pool.rows)
        rows, scores = rows[in_pool], scores[in_pool]
        _, first = np.unique(rows, return_index=True)
        self._other_candidates += int((~in_pool).sum())
        self._repeated_candidates += len(rows) - len(first)
        first.sort()
        return RankedPool(pool.query, rows[first], scores[first])

    def _check_complete(self, pools: Sequence[RankedPool]) -> None:
        ranked = {pool.query for pool in pools}
        queries = [query for query in self._pools if query not in ranked]
        short = [pool for pool in pools if len(pool.rows) < len(self._pools[pool.query].rows)]
        problems = []
        if queries:
            problems.append(
                f"it does not rank {len(queries):,} of {len(self._pools):,} queries ({queries[0]!s:.80} first)"
            )
        if short:
            count = sum(len(self._pools[pool.query].rows) - len(pool.rows) for pool in short)
            missing = np.setdiff1d(self._pools[short[0].query].rows, short[0].rows)[0]
            problems.append(
                f"it lacks {count:,} candidates in the pools of {len(short):,} queries "
                f"({self._judged.papers[missing].id!s:.80} of {short[0].query!s:.80} first)"
            )
        if problems:
            raise self._error(f"{', and '.join(problems)}. A ranking must rank the whole pool: complete the file")

    def _error(self, reason: str) -> RankingError:
        return RankingError(f"{self._name}: {reason}.")


def _forms(name: str) -> tuple[str, ...]:
    """What a name may mean: itself, the id that was escaped to it, and both cleaned as sets clean their ids."""
    return name, unescape(name), clean(name), clean(unescape(name))


# TREC runs of ours


def escape(name: str) -> str:
    """An id as one field of a run file.

    >>> escape("a b"), escape("50%"), escape(""), unescape(escape("a b%20"))
    ('a%20b', '50%25', '%', 'a b%20')
    """
    if not name:
        return "%"
    return _TO_ESCAPE.sub(lambda match: urllib.parse.quote(match[0], safe="", errors="surrogatepass"), name)


def unescape(field: str) -> str:
    """The inverse of `escape`; a field that it cannot have made is returned as it is."""
    if field == "%":
        return ""
    try:
        return urllib.parse.unquote(field, errors="surrogatepass")
    except UnicodeDecodeError:
        return field


def write_run(
    path: Path,
    pools: Iterable[tuple[str, NDArray[np.int32], NDArray[np.float32]]],
    *,
    candidates: Sequence[str],
    tag: str,
) -> None:
    """Write a run file, gzip, atomically; the same content gives the same bytes.

    pools: the name of each query, the rows of its candidates, best first, and their scores, the highest first.
    candidates: the ids by row. tag: the system's name. Raises OSError.
    """
    names = pa.array([escape(name) for name in candidates], type=pa.string())
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    with (
        beside(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=_GZIP_LEVEL, mtime=0) as packed,
        pyarrow.csv.CSVWriter(packed, _SCHEMA, write_options=options) as writer,
    ):
        for query, rows, scores in pools:
            n = len(rows)
            columns = [
                pa.repeat(escape(query), n),
                pa.repeat("Q0", n),
                names.take(pa.array(rows)),
                pa.array(np.arange(1, n + 1, dtype=np.int32)),
                pa.array(scores + np.float32(0.0)),  # writes a distance of 0 as 0, not as -0
                pa.repeat(escape(tag), n),
            ]
            writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))


def read_pool(path: Path, query: str, *, candidates: Sequence[str]) -> _List | None:
    """The rows and scores of one query's pool in a file of `write_run`; None where it has no such query.

    The file is read only that far. Raises ValueError where it is not such a file, or has another candidate; OSError.
    """
    prefix = f"{escape(query)} ".encode()
    row_of = {escape(name): row for row, name in enumerate(candidates)}
    rows, scores = array("i"), array("f")
    try:
        with gzip.open(path) as file:
            for line in file:
                if line.startswith(prefix):
                    _, _, candidate, _, score, _ = line.decode().split(" ")
                    rows.append(row_of[candidate])
                    scores.append(float(score))
                elif rows:
                    break
    except (EOFError, KeyError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"it is not a run of this set ({error!s:.200})") from error
    return (np.array(rows, np.int32), np.array(scores, np.float32)) if rows else None
