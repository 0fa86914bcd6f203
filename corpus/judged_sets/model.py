"""Judged sets: query papers, a pool of candidates for each, and the grades that people gave them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CociteAtlasError
from corpus.io.limits import DEFAULT_LIMITS
from corpus.text.plain import clean

Origin = Literal["released", "constructed", "own"]

# What a set leaves undefined, or what no ranking can use. Each is handled in one way, and counted.
DataIssueKind = Literal[
    "query_without_text",  # its paper has no title and no abstract, or is not among the texts: left out
    "candidate_without_text",  # the same: left out of the pool
    "title_only",  # a paper with a title and no abstract, or the other way round: ranked by what is there
    "repeated_query",  # judged more than once: the last judgement counts
    "repeated_candidate",  # twice in one pool: kept once, in its first position, with its last grade
    "query_in_its_pool",  # the query's own paper among its candidates: left out of the pool
    "empty_pool",  # no candidate remains: the query is left out
    "pool_under_five",  # kept; 20 % of it is less than one paper, so its NDCG%20 is 0
    "without_positive",  # kept; nothing is relevant, so its average precision is 0
    "split_without_pool",  # a split names a query that has no pool: left out
    "repeated_in_split",  # a split names a query twice: it counts once
    "in_two_splits",  # kept in both
    "query_in_no_split",  # in a set with splits: kept, and counted in no split
    "repeated_paper",  # listed more than once, or the same text twice in one review: one is kept
]


class SetError(CociteAtlasError):
    """A judged set cannot be read, or does not have what was requested."""


@dataclass(frozen=True, slots=True)
class PoolPaper:
    """A paper of a set. The abstract is one text; a list of sentences is joined by spaces."""

    id: str
    title: str
    abstract: str


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A query and its candidates.

    query: its name in the set: the paper's id, with the facet ("123_method") where a set is read with all facets.
    row: of the query's paper among the set's papers. rows: int32 (n,), of the candidates, in the file's order, each
    once and never the query's own. grades: int16 (n,), 0 or more. group: its topic, review or facet, or "".
    """

    query: str
    row: int
    rows: NDArray[np.int32]
    grades: NDArray[np.int16]
    group: str = ""


@dataclass(frozen=True, slots=True)
class DataIssue:
    """How often an issue was found; `DataIssueKind` says how each is handled. examples: up to five names."""

    kind: DataIssueKind
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class JudgedSet:
    """A judged set, or one facet of it.

    name: in lower case (relish, treccovid, csfcube, scidcite, or the user's). facet: "" where it has none. papers:
    those of all pools and queries. splits: name → folds → queries; one fold, except for sets whose scores are means
    over folds. Every query in a split has a pool. relevant_from: the lowest relevant grade. rules: how the set was
    built, with its seed; "" for a set as released. fingerprint: 16 hexadecimal digits of a SHA-256 over texts, pools,
    grades, splits and relevant_from; the order of papers, pools and candidates does not change it.
    """

    name: str
    facet: str
    origin: Origin
    papers: tuple[PoolPaper, ...]
    pools: tuple[Pool, ...]
    splits: Mapping[str, tuple[tuple[str, ...], ...]]
    relevant_from: int
    handled: tuple[DataIssue, ...]
    fingerprint: str
    rules: str = ""

    def folds(self, split: str) -> list[list[Pool]]:
        """The pools of a split, by fold. Raises SetError where the set has no such split, or it is empty."""
        if split not in self.splits:
            known = ", ".join(sorted(self.splits)) or "none"
            raise SetError(f"{self.name} has no split {split!r}. It has: {known}.")
        pool_of = {pool.query: pool for pool in self.pools}
        folds = [[pool_of[query] for query in fold] for fold in self.splits[split]]
        if not any(folds):
            raise SetError(f"The split {split!r} of {self.name} has no query with a pool. Check the set's files.")
        return folds


ALL = "all"  # the only split of a set without splits
MAX_GRADE = 1_000  # known sets grade from 0 to 3; fits int16
MAX_CANDIDATES = 100_000_000  # in all pools, 6 bytes each; TRECCOVID-RF has 11 million
MAX_QUERIES = 500_000  # a hundred times RELISH's; a kilobyte each, without candidates
# More than a corpus accepts: no paper of a set can be refused, and CORD-19 has books of abstracts.
MAX_TITLE_CHARS, MAX_ABSTRACT_CHARS = 20_000, 1_000_000
MAX_GROUP_CHARS = DEFAULT_LIMITS.field_chars
MAX_EXAMPLE_CHARS = 200  # a candidate's id may have any length
_MAX_EXAMPLES = 5
_MIN_POOL = 5  # candidates, of which 20 % are one


@dataclass(frozen=True, slots=True, eq=False)
class RawPool:
    """A query's judgements as a file has them. paper: the id of its paper. grades: one per candidate, 0 or more."""

    query: str
    paper: str
    candidates: Sequence[str]
    grades: Sequence[int]
    group: str = ""


class Tally:
    """Counts issues, with the first names of each."""

    def __init__(self, handled: Iterable[DataIssue] = ()) -> None:
        self._counts: dict[DataIssueKind, tuple[int, tuple[str, ...]]] = {}
        self.extend(handled)

    def add(self, kind: DataIssueKind, *names: str) -> None:
        """Count each of the names."""
        self._add(kind, len(names), names)

    def extend(self, handled: Iterable[DataIssue]) -> None:
        """Add issues that were counted elsewhere."""
        for issue in handled:
            self._add(issue.kind, issue.count, issue.examples)

    def handled(self) -> tuple[DataIssue, ...]:
        """All issues, in the order of DataIssueKind."""
        return tuple(DataIssue(kind, *self._counts[kind]) for kind in get_args(DataIssueKind) if kind in self._counts)

    def _add(self, kind: DataIssueKind, count: int, names: Iterable[str]) -> None:
        if count:
            before, examples = self._counts.get(kind, (0, ()))
            if len(examples) < _MAX_EXAMPLES:
                short = (name[:MAX_EXAMPLE_CHARS] for name in names)
                examples = tuple(dict.fromkeys(chain(examples, short)))[:_MAX_EXAMPLES]
            self._counts[kind] = before + count, examples


def pool_paper(id: str, title: str, abstract: str) -> PoolPaper:
    """A paper with cleaned texts. Raises SetError where one is too long."""
    paper = PoolPaper(clean(id), clean(title), clean(abstract))
    for field, text, limit in (
        ("id", paper.id, DEFAULT_LIMITS.field_chars),
        ("title", paper.title, MAX_TITLE_CHARS),
        ("abstract", paper.abstract, MAX_ABSTRACT_CHARS),
    ):
        if len(text) > limit:
            raise SetError(
                f"paper {paper.id[:40]!r}: its {field} has {len(text):,} characters; the maximum is {limit:,}. "
                "Shorten it."
            )
    return paper


def judged_set(
    *,
    name: str,
    facet: str = "",
    origin: Origin,
    papers: Mapping[str, PoolPaper],
    pools: Iterable[RawPool],
    splits: Mapping[str, Sequence[Sequence[str]]],
    relevant_from: int,
    rules: str = "",
    more_handled: Iterable[DataIssue] = (),
) -> JudgedSet:
    """Build a judged set. Only papers of pools and queries are kept, in the order given.

    papers: by id. pools: read one at a time. splits: name → folds → queries; without any, all queries are the split
    "all". more_handled: issues that the caller has found.
    A candidate counts once per pool that names it, and not in a pool whose query is left out or judged again. A query
    that is left out counts as that only, whatever splits name it. Empty folds are dropped.
    Raises SetError where no query remains, a grade is out of range, or a limit is exceeded.
    """
    if not 1 <= relevant_from <= MAX_GRADE:
        raise SetError(f"{name}: relevant_from is {relevant_from!s:.40}. Use a grade from 1 to {MAX_GRADE:,}.")
    row_of = {paper.id: row for row, paper in enumerate(papers.values()) if paper.title or paper.abstract}
    tally = Tally(more_handled)
    checked_pools: dict[str, tuple[Pool | None, Tally]] = {}
    total = 0
    for raw in pools:
        if raw.query in checked_pools:
            tally.add("repeated_query", raw.query)
            total -= _size(checked_pools[raw.query][0])
        issues = Tally()
        pool = _pool(raw, row_of, issues)
        checked_pools[raw.query] = pool, issues
        total += _size(pool)
        if len(checked_pools) > MAX_QUERIES:
            raise SetError(f"{name} has more than {MAX_QUERIES:,} queries. Split it.")
        if total > MAX_CANDIDATES:
            raise SetError(f"{name} has more than {MAX_CANDIDATES:,} candidates in its pools. Split it.")
    kept = []
    for pool, issues in checked_pools.values():
        tally.extend(issues.handled())
        if pool is not None:
            kept.append(pool)
    if not kept:
        reasons = "; ".join(f"{issue.count:,} × {issue.kind.replace('_', ' ')}" for issue in tally.handled())
        raise SetError(
            f"{name}: none of {len(checked_pools):,} queries can be used{f' ({reasons})' if reasons else ''}. "
            "Check that the texts belong to the judged papers."
        )
    for pool in kept:
        if len(pool.rows) < _MIN_POOL:
            tally.add("pool_under_five", pool.query)
        if not (pool.grades >= relevant_from).any():
            tally.add("without_positive", pool.query)
    texts, compact = _used(list(papers.values()), kept)
    tally.add("title_only", *(paper.id for paper in texts if not (paper.title and paper.abstract)))
    queries = {pool.query: None for pool in kept}
    checked = _splits(
        splits or {ALL: [[pool.query for pool in kept]]}, queries=queries, known=set(checked_pools), tally=tally
    )
    return JudgedSet(
        name=name,
        facet=facet,
        origin=origin,
        papers=texts,
        pools=compact,
        splits=checked,
        relevant_from=relevant_from,
        handled=tally.handled(),
        fingerprint=_fingerprint(texts, compact, checked, relevant_from),
        rules=rules,
    )


def _size(pool: Pool | None) -> int:
    return 0 if pool is None else len(pool.rows)


def _pool(raw: RawPool, row_of: Mapping[str, int], tally: Tally) -> Pool | None:
    """A query's pool over the rows of all papers; None where it is left out. Adds its issues to `tally`."""
    row = row_of.get(raw.paper)
    if row is None:
        tally.add("query_without_text", raw.query)
        return None
    if len(raw.group) > MAX_GROUP_CHARS:
        raise SetError(
            f"query {raw.query!r:.80}: the name of its group has {len(raw.group):,} characters; the maximum is "
            f"{MAX_GROUP_CHARS:,}. Shorten it."
        )
    if len(raw.candidates) != len(raw.grades):
        raise SetError(
            f"query {raw.query!r} has {len(raw.candidates):,} candidates and {len(raw.grades):,} grades. "
            "Give each candidate one grade."
        )
    lowest, highest = min(raw.grades, default=0), max(raw.grades, default=0)
    if lowest < 0 or highest > MAX_GRADE:
        wrong = lowest if lowest < 0 else highest
        raise SetError(f"query {raw.query!r} has a grade of {wrong!s:.40}. Grades are 0 to {MAX_GRADE:,}: correct it.")
    # A dict keeps the first position and the last grade.
    grade_of = dict(zip(raw.candidates, raw.grades, strict=True))
    if len(grade_of) < len(raw.candidates):
        tally.add("repeated_candidate", *_repeated(raw.candidates, set()))
    if grade_of.pop(raw.paper, None) is not None:
        tally.add("query_in_its_pool", raw.query)
    rows = np.fromiter((row_of.get(candidate, -1) for candidate in grade_of), np.int32, len(grade_of))
    grades = np.fromiter(grade_of.values(), np.int16, len(grade_of))
    missing = rows < 0
    if missing.any():
        tally.add(
            "candidate_without_text", *(candidate for candidate, gone in zip(grade_of, missing, strict=True) if gone)
        )
    if missing.all():
        tally.add("empty_pool", raw.query)
        return None
    return Pool(raw.query, row, rows[~missing], grades[~missing], raw.group)


def _used(papers: list[PoolPaper], pools: list[Pool]) -> tuple[tuple[PoolPaper, ...], tuple[Pool, ...]]:
    """The papers that pools use, and the pools over the rows of these."""
    used = np.zeros(len(papers), bool)
    for pool in pools:
        used[pool.row] = True
        used[pool.rows] = True
    new = (np.cumsum(used) - 1).astype(np.int32)
    texts = tuple(paper for paper, kept in zip(papers, used, strict=True) if kept)
    return texts, tuple(replace(pool, row=int(new[pool.row]), rows=new[pool.rows]) for pool in pools)


def _splits(
    splits: Mapping[str, Sequence[Sequence[str]]],
    *,
    queries: Mapping[str, None],
    known: set[str],
    tally: Tally,
) -> dict[str, tuple[tuple[str, ...], ...]]:
    checked: dict[str, tuple[tuple[str, ...], ...]] = {}
    for name, folds in splits.items():
        seen: set[str] = set()
        kept: list[tuple[str, ...]] = []
        for fold in folds:
            tally.add("repeated_in_split", *(query for query in _repeated(fold, seen) if query in queries))
            new = [query for query in dict.fromkeys(fold) if query not in seen]
            seen.update(new)
            tally.add("split_without_pool", *(query for query in new if query not in known))
            kept.append(tuple(query for query in new if query in queries))
        checked[name] = tuple(filter(None, kept))
    # With folds, one fold's test queries are another's dev queries.
    single = [set(folds[0]) for folds in checked.values() if len(folds) == 1]
    shared = [query for i, fold in enumerate(single) for query in sorted(fold & set().union(*single[:i]))]
    tally.add("in_two_splits", *dict.fromkeys(shared))
    named = {query for folds in checked.values() for fold in folds for query in fold}
    tally.add("query_in_no_split", *(query for query in queries if query not in named))
    return checked


def _repeated(names: Sequence[str], before: set[str]) -> list[str]:
    """The names that occurred earlier, in `names` or in `before`, once per repetition."""
    seen = set(before)
    repeated = []
    for name in names:
        if name in seen:
            repeated.append(name)
        seen.add(name)
    return repeated


def _fingerprint(
    papers: Sequence[PoolPaper],
    pools: Sequence[Pool],
    splits: Mapping[str, Sequence[Sequence[str]]],
    relevant_from: int,
) -> str:
    by_id = sorted(range(len(papers)), key=lambda row: papers[row].id)
    position = np.empty(len(papers), np.int32)
    position[by_id] = np.arange(len(papers), dtype=np.int32)
    digest = hashlib.sha256()

    def add(value: object) -> None:
        digest.update(json.dumps(value).encode() + b"\n")

    def add_numbers(numbers: NDArray[np.int32] | NDArray[np.int16], kind: str) -> None:
        digest.update(numbers.astype(kind).tobytes())

    add([relevant_from, len(papers), len(pools)])
    for row in by_id:
        add([papers[row].id, papers[row].title, papers[row].abstract])
    for pool in sorted(pools, key=lambda pool: pool.query):
        order = np.argsort(position[pool.rows])
        add([pool.query, papers[pool.row].id, len(order)])
        add_numbers(position[pool.rows][order], "<i4")
        add_numbers(pool.grades[order], "<i2")
    add({name: [sorted(fold) for fold in folds] for name, folds in sorted(splits.items())})
    return digest.hexdigest()[:16]
