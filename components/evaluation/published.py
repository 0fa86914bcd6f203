"""Published scores, and whether ours may be compared with them: only where split and counts are the published ones.

The scores are in the encoder catalogue, from the models' cards and the paper (Mysore, Cohan, Hope, NAACL 2022); the
counts are those of the paper and of the released sets.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from components.encoder.catalogue import CATALOGUE
from components.evaluation.results import System
from corpus.judged_sets.model import DataIssueKind, JudgedSet, Pool
from corpus.judged_sets.released import relevant_grade

SPLIT = "test"  # what is published
# (name of a set, facet) → its name in the catalogue.
_CATALOGUE_SETS = {("relish", ""): "RELISH", ("treccovid", ""): "TRECCOVID", ("csfcube", "all"): "CSFCube aggregated"}

RELISH_QUERIES, RELISH_POOL = 3_190, (55, 60)  # both splits; candidates on average, "about 60"
_HALF = (0.45, 0.55)  # of the queries: a split is published as about half
TREC_TOPICS, TREC_TOPIC_QUERIES, TREC_POOL = 50, 50, (8_500, 9_500)  # both splits; at most; "about 9,000"
CSFCUBE_FOLDS = (26, 24)  # queries of the test split, all facets

# Issues of a set that a ranking of it as it is would have counted.
_LEFT_OUT: dict[DataIssueKind, str] = {
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
    """The published scores of an encoder on a set: fractions 0 … 1, by metric ("MAP", "NDCG%20")."""

    encoder: str
    scores: Mapping[str, float]


def published_rows(set_name: str, facet: str) -> list[PublishedRow]:
    """All scores published on a set, in the catalogue's order."""
    rows = [PublishedRow(name, _scores(name, set_name, facet)) for name in CATALOGUE]
    return [row for row in rows if row.scores]


def published_scores(system: System, set_name: str, facet: str) -> Mapping[str, float]:
    """The published scores of a system on a set: fractions, by metric; empty where there are none.

    An encoder counts as a released one by its source, not by the name of a user's folder.
    """
    return _scores(system.source if system.kind == "encoder" else "", set_name, facet)


def not_comparable(judged: JudgedSet, split: str) -> tuple[str, ...]:
    """Why scores on this split may not be compared with published ones, in sentences; empty where they may."""
    if (judged.name, judged.facet) not in _CATALOGUE_SETS:
        label = f"{judged.name} ({judged.facet})" if judged.facet else judged.name
        return (f"Nothing is published here for {label}.",)
    reasons = []
    if judged.origin != "released":
        reasons.append("The set is not the released issue: its papers, pools and split may differ.")
    if judged.relevant_from != (grade := relevant_grade(judged.name)):
        reasons.append(
            f"Relevant here is grade {judged.relevant_from} or more; in the published set, from grade {grade} on."
        )
    if split != SPLIT:
        reasons.append(f"Published scores are on the split {SPLIT!r}, and this is {split!r}.")
    left_out = [
        f"{issue.count:,} {_LEFT_OUT[issue.kind]}"
        for issue in judged.handled
        if issue.kind in _LEFT_OUT and issue.count
    ]
    if left_out:
        reasons.append(f"Left out: {', '.join(left_out)}.")
    check = {"relish": _relish, "treccovid": _treccovid, "csfcube": _csfcube}[judged.name]
    return (*reasons, *check(judged, judged.folds(split)))


def _scores(encoder: str, set_name: str, facet: str) -> dict[str, float]:
    name = _CATALOGUE_SETS.get((set_name, facet))
    scores = CATALOGUE[encoder].scores if encoder in CATALOGUE else ()
    return {score.metric: score.percent / 100 for score in scores if score.set == name}


def _relish(judged: JudgedSet, folds: list[list[Pool]]) -> list[str]:
    reasons, queries = [], sum(map(len, folds))
    if len(judged.pools) != RELISH_QUERIES:
        reasons.append(f"The set has {len(judged.pools):,} queries, and the published one {RELISH_QUERIES:,}.")
    if not _HALF[0] <= queries / RELISH_QUERIES <= _HALF[1]:
        reasons.append(f"The split has {queries:,} queries, and the published one half of {RELISH_QUERIES:,}.")
    return reasons + _pool_sizes(folds, RELISH_POOL, about="60")


def _treccovid(judged: JudgedSet, folds: list[list[Pool]]) -> list[str]:
    topics = Counter(pool.group for pool in judged.pools)
    in_split = {pool.group for pools in folds for pool in pools}
    reasons = []
    if "" in topics:
        reasons.append(f"The topics of queries are not known, so whether there are {TREC_TOPICS} cannot be checked.")
    elif len(topics) != TREC_TOPICS or 2 * len(in_split) != TREC_TOPICS:
        reasons.append(
            f"The set has queries of {len(topics)} topics, {len(in_split)} of them in the split; the published one has "
            f"{TREC_TOPICS}, half of them in each split."
        )
    if "" not in topics and max(topics.values()) > TREC_TOPIC_QUERIES:
        reasons.append(
            f"A topic has {max(topics.values())} queries, and the published ones up to {TREC_TOPIC_QUERIES}."
        )
    return reasons + _pool_sizes(folds, TREC_POOL, about="9,000")


def _csfcube(judged: JudgedSet, folds: list[list[Pool]]) -> list[str]:  # noqa: ARG001  (the signature of all three)
    if (sizes := tuple(map(len, folds))) == CSFCUBE_FOLDS:
        return []
    ours, published = (" and ".join(map(str, counts)) for counts in (sizes, CSFCUBE_FOLDS))
    return [f"The folds have {ours} queries, and the published ones {published}."]


def _pool_sizes(folds: list[list[Pool]], published: tuple[int, int], *, about: str) -> list[str]:
    mean = float(np.mean([len(pool.rows) for pools in folds for pool in pools]))
    if published[0] <= mean <= published[1]:
        return []
    return [f"A pool has {mean:,.0f} candidates on average, and the published ones about {about}."]
