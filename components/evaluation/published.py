"""Published figures, and when ours may be set beside them: only where split and counts are the published ones.

The figures are the catalogue's, from the models' cards and the paper (Mysore, Cohan, Hope, NAACL 2022); the counts are
those of the paper and of the released sets.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from components.encoder import CATALOGUE
from components.evaluation.results import System
from corpus.judged_sets.model import HandledKind, JudgedSet, Pool
from corpus.judged_sets.released import relevant_grade

SPLIT = "test"  # what is reported on
# (name of a set, facet) → what the catalogue calls it.
_CALLED = {("relish", ""): "RELISH", ("treccovid", ""): "TRECCOVID", ("csfcube", "all"): "CSFCube aggregated"}

RELISH_QUERIES, RELISH_POOL = 3_190, (55, 60)  # both splits; candidates on average, "about 60"
_HALF = (0.45, 0.55)  # of the queries: what is published of a split is that it is about half
TREC_TOPICS, TREC_QUERIES_A_TOPIC, TREC_POOL = 50, 50, (8_500, 9_500)  # both splits; at most; about 9,000
CSF_FOLDS = {"background": (8, 8), "method": (9, 8), "result": (9, 8), "all": (26, 24)}  # of the test split

# What was left out of a set, and would have counted for whoever ranked it as it is.
_LEFT_OUT: dict[HandledKind, str] = {
    "query_without_text": "queries without a text",
    "candidate_without_text": "candidates without a text",
    "repeated_candidate": "candidates that were twice in a pool",
    "query_in_its_pool": "queries that were in their own pool",
    "empty_pool": "queries without a candidate",
    "split_without_pool": "queries that a split names and that have no pool",
    "query_in_no_split": "queries that no split names",
}


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """What was published of an encoder on a set: fractions 0 … 1, by metric ("MAP", "NDCG%20")."""

    encoder: str
    figures: Mapping[str, float]


def published_rows(set_name: str, facet: str) -> list[PublishedRow]:
    """All that is published on a set, in the catalogue's order."""
    rows = [PublishedRow(name, _figures(name, set_name, facet)) for name in CATALOGUE]
    return [row for row in rows if row.figures]


def published_figures(system: System, set_name: str, facet: str) -> Mapping[str, float]:
    """What is published of a system on a set: fractions, by metric; empty where nothing is.

    An encoder is taken for a released one by where it came from, never by the name of somebody's folder.
    """
    return _figures(system.source if system.kind == "encoder" else "", set_name, facet)


def not_comparable(judged: JudgedSet, split: str) -> tuple[str, ...]:
    """Why no figure on this split of this set may be set beside published ones, in sentences; empty where they may."""
    called = f"{judged.name} ({judged.facet})" if judged.facet else judged.name
    if (judged.name, judged.facet) not in _CALLED:
        return (f"Nothing is published here for {called}.",)
    reasons = []
    if judged.origin != "released":
        reasons.append("The set is not the released one: its papers, pools and split may be others.")
    if judged.relevant_from != (grade := relevant_grade(judged.name)):
        reasons.append(
            f"Relevant here is grade {judged.relevant_from} or more; as published, it is from grade {grade} on."
        )
    if split != SPLIT:
        reasons.append(f"Published figures are on the split {SPLIT!r}, and this is {split!r}.")
    left_out = [f"{one.count:,} {_LEFT_OUT[one.kind]}" for one in judged.handled if one.kind in _LEFT_OUT and one.count]
    if left_out:
        reasons.append(f"Left out: {', '.join(left_out)}.")
    folds = judged.folds(split)
    reasons += {"relish": _relish, "treccovid": _treccovid, "csfcube": _csfcube}[judged.name](judged, folds)
    return tuple(reasons)


def _figures(name: str, set_name: str, facet: str) -> Mapping[str, float]:
    called = _CALLED.get((set_name, facet))
    scores = CATALOGUE[name].scores if name in CATALOGUE else ()
    return MappingProxyType({score.metric: score.percent / 100 for score in scores if score.set == called})


def _relish(judged: JudgedSet, folds: list[list[Pool]]) -> list[str]:
    reasons, asked = [], sum(map(len, folds))
    if len(judged.pools) != RELISH_QUERIES:
        reasons.append(f"The set has {len(judged.pools):,} queries, and the published one {RELISH_QUERIES:,}.")
    if not _HALF[0] <= asked / RELISH_QUERIES <= _HALF[1]:
        reasons.append(f"The split has {asked:,} queries, and the published one half of {RELISH_QUERIES:,}.")
    return reasons + _pool_sizes(folds, RELISH_POOL, about="60")


def _treccovid(judged: JudgedSet, folds: list[list[Pool]]) -> list[str]:
    topics = Counter(pool.group for pool in judged.pools)
    asked = {pool.group for pools in folds for pool in pools}
    reasons = []
    if "" in topics:
        reasons.append(f"Which topic a query is of is not told, so that there are {TREC_TOPICS} cannot be checked.")
    elif len(topics) != TREC_TOPICS or 2 * len(asked) != TREC_TOPICS:
        reasons.append(
            f"The set has queries of {len(topics)} topics, {len(asked)} of them in the split; the published one has "
            f"{TREC_TOPICS}, half of them in each split."
        )
    if "" not in topics and max(topics.values()) > TREC_QUERIES_A_TOPIC:
        reasons.append(
            f"A topic has {max(topics.values())} queries, and the published ones up to {TREC_QUERIES_A_TOPIC}."
        )
    return reasons + _pool_sizes(folds, TREC_POOL, about="9,000")


def _csfcube(judged: JudgedSet, folds: list[list[Pool]]) -> list[str]:
    wanted, found = CSF_FOLDS[judged.facet], tuple(map(len, folds))
    if found == wanted:
        return []
    told = [" and ".join(map(str, sizes)) for sizes in (found, wanted)]
    return [f"The folds have {told[0]} queries, and the published ones {told[1]}."]


def _pool_sizes(folds: list[list[Pool]], wanted: tuple[int, int], *, about: str) -> list[str]:
    mean = float(np.mean([len(pool.rows) for pools in folds for pool in pools]))
    if wanted[0] <= mean <= wanted[1]:
        return []
    return [f"A pool has {mean:,.0f} candidates on average, and the published ones about {about}."]
