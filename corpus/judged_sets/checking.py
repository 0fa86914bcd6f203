"""Judged sets, checked: what no ranking can use is handled in one way and counted, and a set gets its fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from corpus.io.limits import DEFAULT_LIMITS
from corpus.judged_sets.judged import Handled, HandledKind, JudgedSet, Origin, Pool, PoolPaper, SetError
from corpus.text.plain import clean

ALL = "all"  # the one split of a set that has none
HIGHEST_GRADE = 1_000  # grades are 0 to 3 in every set known; int16 holds this
MOST_CANDIDATES = 100_000_000  # of all pools together, 6 bytes each; TRECCOVID-RF has 11 million
MOST_QUERIES = 500_000  # a hundred times RELISH's; each takes a kilobyte, its candidates apart
# Characters. More than a corpus takes: of a set no paper can be refused, and CORD-19 has books of abstracts.
LONGEST_TITLE, LONGEST_ABSTRACT = 20_000, 1_000_000
LONGEST_GROUP = DEFAULT_LIMITS.field_chars
LONGEST_EXAMPLE = 200  # characters: an id that no paper has may be of any length
_EXAMPLES = 5
_FEW = 5  # candidates of which the top 20 % are one


@dataclass(frozen=True, slots=True, eq=False)
class RawPool:
    """A query's judgements as a file has them. paper: the id of its paper. grades: one a candidate, 0 or more."""

    query: str
    paper: str
    candidates: Sequence[str]
    grades: Sequence[int]
    group: str = ""


class Tally:
    """How often each thing was met, and the first names of each."""

    def __init__(self, handled: Iterable[Handled] = ()) -> None:
        self._found: dict[HandledKind, tuple[int, tuple[str, ...]]] = {}
        self.extend(handled)

    def add(self, kind: HandledKind, *names: str) -> None:
        """Count each of the names."""
        self._add(kind, len(names), names)

    def extend(self, handled: Iterable[Handled]) -> None:
        """Add what was counted elsewhere."""
        for one in handled:
            self._add(one.kind, one.count, one.examples)

    def handled(self) -> tuple[Handled, ...]:
        """All that was met, in the order in which HandledKind names it."""
        return tuple(Handled(kind, *self._found[kind]) for kind in get_args(HandledKind) if kind in self._found)

    def _add(self, kind: HandledKind, count: int, names: Iterable[str]) -> None:
        if count:
            before, examples = self._found.get(kind, (0, ()))
            if len(examples) < _EXAMPLES:
                short = (name[:LONGEST_EXAMPLE] for name in names)
                examples = tuple(dict.fromkeys(chain(examples, short)))[:_EXAMPLES]
            self._found[kind] = before + count, examples


def pool_paper(id: str, title: str, abstract: str) -> PoolPaper:
    """A paper with its texts as this project keeps them. Raises SetError where one is longer than any paper's."""
    paper = PoolPaper(clean(id), clean(title), clean(abstract))
    for what, text, most in (
        ("id", paper.id, DEFAULT_LIMITS.field_chars),
        ("title", paper.title, LONGEST_TITLE),
        ("abstract", paper.abstract, LONGEST_ABSTRACT),
    ):
        if len(text) > most:
            told = f"{what} of {len(text):,} characters; at most {most:,} are read"
            raise SetError(f"paper {paper.id[:40]!r} has {told}. Shorten it.")
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
    more_handled: Iterable[Handled] = (),
) -> JudgedSet:
    """A judged set of what files hold. Only papers that are in a pool, or ask, are kept, in the order given.

    papers: by id. pools: taken one at a time. splits: name → folds → queries; where there is none, all queries are the
    split "all". more_handled: what the caller has met.
    Counts: candidates once for each pool that names them, and none of a pool whose query is left out or judged again;
    a query that a split names and that is left out is counted as that alone. A fold that is left empty is dropped.
    Raises SetError where no query is left, a grade is out of bounds, or there are more than MOST_CANDIDATES.
    """
    if not 1 <= relevant_from <= HIGHEST_GRADE:
        raise SetError(
            f"{name}: a paper would be relevant from grade {relevant_from!s:.40}. Give 1 to {HIGHEST_GRADE:,}."
        )
    row_of = {paper.id: row for row, paper in enumerate(papers.values()) if paper.title or paper.abstract}
    tally = Tally(more_handled)
    found: dict[str, tuple[Pool | None, Tally]] = {}
    total = 0
    for raw in pools:
        if raw.query in found:
            tally.add("repeated_query", raw.query)
            total -= _size(found[raw.query][0])
        met = Tally()
        pool = _pool(raw, row_of, met)
        found[raw.query] = pool, met
        total += _size(pool)
        if len(found) > MOST_QUERIES:
            raise SetError(f"{name} has more than {MOST_QUERIES:,} queries. Split it.")
        if total > MOST_CANDIDATES:
            raise SetError(f"{name} has more than {MOST_CANDIDATES:,} candidates in its pools. Split it.")
    kept = []
    for pool, met in found.values():
        tally.extend(met.handled())
        if pool is not None:
            kept.append(pool)
    if not kept:
        told = "; ".join(f"{one.count:,} × {one.kind.replace('_', ' ')}" for one in tally.handled())
        raise SetError(
            f"{name}: no query is left of {len(found):,}{f' ({told})' if told else ''}. "
            "Check that the texts are those of the papers that were judged."
        )
    for pool in kept:
        if len(pool.rows) < _FEW:
            tally.add("pool_under_five", pool.query)
        if not (pool.grades >= relevant_from).any():
            tally.add("without_positive", pool.query)
    texts, compact = _used(list(papers.values()), kept)
    tally.add("title_only", *(paper.id for paper in texts if not (paper.title and paper.abstract)))
    queries = {pool.query: None for pool in kept}
    checked = _splits(splits or {ALL: [[pool.query for pool in kept]]}, queries=queries, known=set(found), tally=tally)
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


def _pool(raw: RawPool, row_of: Mapping[str, int], met: Tally) -> Pool | None:
    """A query's pool over the rows of all papers; None where it is left out. What was met of it goes to `met`."""
    row = row_of.get(raw.paper)
    if row is None:
        met.add("query_without_text", raw.query)
        return None
    if len(raw.group) > LONGEST_GROUP:
        raise SetError(
            f"query {raw.query!r:.80} is of a group with a name of {len(raw.group):,} characters; at most "
            f"{LONGEST_GROUP:,} are read. Shorten it."
        )
    if len(raw.candidates) != len(raw.grades):
        raise SetError(
            f"query {raw.query!r} has {len(raw.candidates):,} candidates and {len(raw.grades):,} grades. "
            "Give each candidate one."
        )
    lowest, highest = min(raw.grades, default=0), max(raw.grades, default=0)
    if lowest < 0 or highest > HIGHEST_GRADE:
        wrong = lowest if lowest < 0 else highest
        raise SetError(
            f"query {raw.query!r} has a grade of {wrong!s:.40}. Grades are 0 to {HIGHEST_GRADE:,}: correct it."
        )
    # The first place, the last grade.
    grade_of = dict(zip(raw.candidates, raw.grades, strict=True))
    if len(grade_of) < len(raw.candidates):
        met.add("repeated_candidate", *_again(raw.candidates, set()))
    if grade_of.pop(raw.paper, None) is not None:
        met.add("query_in_its_pool", raw.query)
    rows = np.fromiter((row_of.get(one, -1) for one in grade_of), np.int32, len(grade_of))
    grades = np.fromiter(grade_of.values(), np.int16, len(grade_of))
    lost = rows < 0
    if lost.any():
        met.add("candidate_without_text", *(one for one, gone in zip(grade_of, lost, strict=True) if gone))
    if lost.all():
        met.add("empty_pool", raw.query)
        return None
    return Pool(raw.query, row, rows[~lost], grades[~lost], raw.group)


def _used(papers: list[PoolPaper], pools: list[Pool]) -> tuple[tuple[PoolPaper, ...], tuple[Pool, ...]]:
    """The papers that pools name, and the pools over their rows."""
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
            tally.add("repeated_in_split", *(query for query in _again(fold, seen) if query in queries))
            new = [query for query in dict.fromkeys(fold) if query not in seen]
            seen.update(new)
            tally.add("split_without_pool", *(query for query in new if query not in known))
            kept.append(tuple(query for query in new if query in queries))
        checked[name] = tuple(filter(None, kept))
    # Where there are folds, what one is tested on is what another is developed on.
    alone = [set(folds[0]) for folds in checked.values() if len(folds) == 1]
    both = [query for i, one in enumerate(alone) for query in sorted(one & set().union(*alone[:i]))]
    tally.add("in_two_splits", *dict.fromkeys(both))
    named = {query for folds in checked.values() for fold in folds for query in fold}
    tally.add("query_in_no_split", *(query for query in queries if query not in named))
    return checked


def _again(names: Sequence[str], before: set[str]) -> list[str]:
    """The names that came before, among them or in `before`, once for each time."""
    seen = set(before)
    again = []
    for name in names:
        if name in seen:
            again.append(name)
        seen.add(name)
    return again


def _fingerprint(
    papers: Sequence[PoolPaper],
    pools: Sequence[Pool],
    splits: Mapping[str, Sequence[Sequence[str]]],
    relevant_from: int,
) -> str:
    by_id = sorted(range(len(papers)), key=lambda row: papers[row].id)
    place = np.empty(len(papers), np.int32)
    place[by_id] = np.arange(len(papers), dtype=np.int32)
    digest = hashlib.sha256()

    def add(value: object) -> None:
        digest.update(json.dumps(value).encode() + b"\n")

    def add_numbers(numbers: NDArray[np.int32] | NDArray[np.int16], kind: str) -> None:
        digest.update(numbers.astype(kind).tobytes())

    add([relevant_from, len(papers), len(pools)])
    for row in by_id:
        add([papers[row].id, papers[row].title, papers[row].abstract])
    for pool in sorted(pools, key=lambda pool: pool.query):
        order = np.argsort(place[pool.rows])
        add([pool.query, papers[pool.row].id, len(order)])
        add_numbers(place[pool.rows][order], "<i4")
        add_numbers(pool.grades[order], "<i2")
    add({name: [sorted(fold) for fold in folds] for name, folds in sorted(splits.items())})
    return digest.hexdigest()[:16]
