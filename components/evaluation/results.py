"""What one system reached on one split of one judged set, query by query, and how it ranked; as JSON and CSV, too."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from corpus.judged_sets.model import Handled, HandledKind, JudgedSet
from corpus.readers.cells import guarded, unguarded

SystemKind = Literal["encoder", "tfidf", "bm25", "rankings"]
_SIZES = {"smallest", "median", "mean", "largest"}
MAP, NDCG_20_PERCENT = "MAP", "NDCG%20"  # the two that the paper reports; all others are called as ir-measures does

FORMAT = 1
_LONGEST_TITLE = 500  # characters of a query's title that a table holds; the set has all of it
_FACTS = ("query", "paper", "title", "group", "fold", "candidates", "relevant")  # the first columns of such a table


@dataclass(frozen=True, slots=True)
class System:
    """What ranked. name: as it stands in tables. fingerprint: the encoder's; a hash of a peer's settings, or of a file.

    source: what loads the encoder again (a catalogue name, or the path of a folder or zip); "" for others.
    precision: of an encoder ("float32", "bfloat16"); "" for others.
    """

    kind: SystemKind
    name: str
    fingerprint: str
    source: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RankedPool:
    """One query's pool, best first.

    rows: int32 (n,), of the candidates among the set's papers. scores: float32 (n,).
    """

    query: str
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """All pools that were ranked. ascending: the scores are distances, smallest first; else the highest is first."""

    pools: tuple[RankedPool, ...]
    ascending: bool


@dataclass(frozen=True, slots=True)
class QueryScores:
    """One query's scores, as fractions 0 … 1. fold: from 0. group: as in its pool.

    metrics: MAP's part (its average precision) under "MAP", "NDCG%20", and the usual ones under ir-measures' names.
    """

    query: str
    paper: str
    title: str
    group: str
    fold: int
    candidates: int
    relevant: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one system reached on one split of one set. All scores are fractions 0 … 1; papers print percent.

    id: 16 hexadecimal digits of a SHA-256 over system, set and split: doing the same again replaces it.
    made: the time in UTC, as 2026-11-22T21:40:00Z. folds: number of queries of each. pool_sizes: of the candidates.
    means: of each metric, the mean over a fold's queries, and over folds where there are two. intervals: 95 %
    bootstrap intervals of MAP and NDCG%20. handled: what was met in the set. without_positive, pools_under_five: among
    the queries that were scored. not_comparable: why the figures may not be set beside published ones; empty where
    they may. seconds: by stage. versions: of Python and of the packages that decide a figure.
    notes: what was met in a file of rankings.
    """

    id: str
    made: str
    system: System
    set_name: str
    facet: str
    split: str
    origin: str
    set_fingerprint: str
    rules: str
    relevant_from: int
    papers: int
    folds: tuple[int, ...]
    pool_sizes: Mapping[Literal["smallest", "median", "mean", "largest"], float]
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    handled: tuple[Handled, ...]
    without_positive: int
    pools_under_five: int
    not_comparable: tuple[str, ...]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    machine: str
    notes: tuple[str, ...] = ()

    @property
    def queries(self) -> int:
        """How many queries count."""
        return sum(self.folds)

    @property
    def comparable(self) -> bool:
        """Whether the figures may be set beside the published ones."""
        return not self.not_comparable


# As text


def evaluation_id(system: System, judged: JudgedSet, split: str) -> str:
    """The id of what a system reaches on a split of a set: 16 hexadecimal digits."""
    key = {
        "system": [system.kind, system.name, system.fingerprint, system.precision],
        "set": [judged.name, judged.facet, judged.fingerprint, judged.relevant_from],
        "split": split,
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def to_json(evaluation: Evaluation, *, more: Mapping[str, Any]) -> str:
    """An evaluation as JSON text, indented, its fields in their order, then those of `more`."""
    content = {"format": FORMAT, **asdict(evaluation), **more}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> tuple[Evaluation, dict[str, Any]]:
    """An evaluation from what `to_json` gave, and all of its object.

    Raises ValueError, TypeError, KeyError or RecursionError, saying what is wrong, for anything else.
    """
    raw = json.loads(text, parse_constant=_refuse)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ValueError(f"it is no object of format {FORMAT}")
    system, handled = raw["system"], raw["handled"]
    kind: SystemKind = system["kind"]
    if kind not in get_args(SystemKind) or any(one["kind"] not in get_args(HandledKind) for one in handled):
        raise ValueError("it has a kind that is not known")
    facts: dict[str, Any] = {name: _text(raw[name]) for name in _TEXTS}
    facts |= {name: _count(raw[name]) for name in _COUNTS}
    facts |= {name: _numbers(raw[name]) for name in ("pool_sizes", "means", "seconds")}
    published = {MAP, NDCG_20_PERCENT}
    if not (published <= facts["means"].keys() & raw["intervals"].keys() and facts["pool_sizes"].keys() >= _SIZES):
        raise ValueError("it lacks a mean, an interval or a size")
    evaluation = Evaluation(
        **facts,
        system=System(kind, *(_text(system[name]) for name in ("name", "fingerprint", "source", "precision"))),
        folds=tuple(_count(fold) for fold in raw["folds"]),
        intervals={_text(name): (_number(low), _number(high)) for name, (low, high) in raw["intervals"].items()},
        handled=tuple(Handled(one["kind"], _count(one["count"]), _texts(one["examples"])) for one in handled),
        not_comparable=_texts(raw["not_comparable"]),
        versions={_text(name): _text(value) for name, value in raw["versions"].items()},
        notes=_texts(raw["notes"]),
    )
    return evaluation, raw


_TEXTS = (
    "id", "made", "set_name", "facet", "split", "origin", "set_fingerprint", "rules", "machine",
)  # fmt: skip
_COUNTS = ("relevant_from", "papers", "without_positive", "pools_under_five")


def queries_csv(scores: Sequence[QueryScores]) -> str:
    """A row a query, with a column of every metric (fractions); no cell is run as a formula by a spreadsheet."""
    text = io.StringIO(newline="")
    metrics = list(scores[0].metrics) if scores else []
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow((*_FACTS, *metrics))
    for one in scores:
        names = (one.query, one.paper, one.title[:_LONGEST_TITLE], one.group)
        # What is no text (half of a surrogate pair) could not be written.
        cells = [guarded(name.encode("utf-8", "replace").decode()) for name in names]
        writer.writerow((*cells, one.fold, one.candidates, one.relevant, *(one.metrics[name] for name in metrics)))
    return text.getvalue()


def read_queries_csv(lines: Iterable[str]) -> list[QueryScores]:
    """What `queries_csv` wrote, titles as far as it holds them.

    lines: of a file opened with newline="". Raises csv.Error, KeyError, TypeError or ValueError for anything else.
    """
    found = []
    for row in csv.DictReader(lines, strict=True):
        names = {name: unguarded(row[name]) for name in _FACTS[:4]}
        counts = {name: _count(int(row[name])) for name in _FACTS[4:]}
        metrics = {name: _number(float(value)) for name, value in row.items() if name not in _FACTS}
        if not {MAP, NDCG_20_PERCENT} <= metrics.keys():
            raise ValueError("it lacks a metric")
        found.append(QueryScores(**names, **counts, metrics=metrics))  # type: ignore[arg-type]  # two kinds of fields
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is no text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r:.80} is no list")
    return tuple(_text(value) for value in values)


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"{value!r:.80} is no number")
    return value


def _numbers(values: Mapping[object, object]) -> dict[str, float]:
    return {_text(name): _number(value) for name, value in values.items()}


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise TypeError(f"{value!r:.80} is no count")
    return value
