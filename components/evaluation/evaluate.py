"""Evaluate a system on a split of a judged set: it ranks the pools, and the rankings are scored."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from components.atlas.encoders import choose_encoder
from components.atlas.paths import home_errors
from components.encoder.base import LEARNING, Encoder, Precision
from components.encoder.catalogue import LEXICAL
from components.encoder.lexical import LexicalEncoder
from components.evaluation import store
from components.evaluation.baselines import bm25_system, rank_by_bm25, rank_by_tfidf, tfidf_system
from components.evaluation.encoding import encode_set
from components.evaluation.metrics import MAP, NDCG_20_PERCENT
from components.evaluation.published import SPLIT, not_comparable
from components.evaluation.ranking import Ranking, RankingError, rank_by_vectors
from components.evaluation.results import (
    Evaluation,
    PoolSizes,
    QueryScores,
    System,
    SystemKind,
    by_fold,
    evaluation_id,
    means,
    score,
)
from components.evaluation.runs import read_rankings
from components.evaluation.statistics import bootstrap_interval
from corpus.io.hashing import sha256_of
from corpus.judged_sets.model import JudgedSet, Pool, SetError
from corpus.machine import machine_description, package_versions
from corpus.progress import Progress, no_progress

SCORING, SAVING = "Scoring", "Writing the run"  # stages; a run of ten million lines takes some seconds

_PACKAGES = {
    "encoder": ("numpy", "torch", "transformers", "tokenizers"),
    LEXICAL: ("numpy", "scikit-learn"),
    "tfidf": ("numpy", "scikit-learn"),
    "bm25": ("numpy", "bm25s"),
    "rankings": ("numpy",),
}  # that decide a score, besides ir-measures
_MAX_NAME_CHARS = 100  # of a rankings file
_SMALLEST_CUT_POOL = 5  # 20 % of fewer candidates is none


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """A system to evaluate.

    name: an encoder's name in the catalogue, or the path of its folder or zip; for rankings, the path of their file;
    "" for baselines. precision: of an encoder, as in `load_encoder`.
    """

    kind: SystemKind
    name: str = ""
    precision: Precision | None = None


def default_split(judged: JudgedSet) -> str:
    """The split that scores are published on, or the only one. Raises SetError where there are several others."""
    if SPLIT in judged.splits:
        return SPLIT
    if len(judged.splits) > 1:
        raise SetError(f"{judged.name} has several splits: {', '.join(sorted(judged.splits))}. Name scored: --split S")
    return next(iter(judged.splits))


def evaluate_and_save(
    judged: JudgedSet, split: str, spec: SystemSpec, *, progress: Progress = no_progress
) -> tuple[Evaluation, list[QueryScores]]:
    """`evaluate_set`, and store the result with its run. Raises what `evaluate_set` does."""
    evaluation, scores, ranking = evaluate_set(judged, split, spec, progress=progress)
    progress(SAVING, 0, 1)
    with home_errors():
        store.save(evaluation, scores, ranking, judged)
    return evaluation, scores


def evaluate_set(
    judged: JudgedSet, split: str, spec: SystemSpec, *, progress: Progress = no_progress
) -> tuple[Evaluation, list[QueryScores], Ranking]:
    """Evaluate a system on a split. Only vectors are stored (see `encode_set`).

    Raises SetError where the set has no such split; RankingError, EncoderUnavailable, UnknownEncoder, NoWordsToLearn,
    NoSpaceLeft, CannotWrite; and what `progress` raises.
    """
    folds = judged.folds(split)
    pools = [pool for fold in folds for pool in fold]
    seconds: dict[str, float] = {}
    system, ranking, notes = _rank(judged, pools, spec, seconds, progress)
    with _timed(seconds, "scoring"):
        progress(SCORING, 0, len(pools))
        scores = score(judged, folds, ranking)
        evaluation = _evaluation(judged, split, folds, system, scores, notes)
        progress(SCORING, len(pools), len(pools))
    return replace(evaluation, seconds=seconds), scores, ranking


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the body takes."""
    began = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - began, 3)


def _rank(
    judged: JudgedSet, pools: Sequence[Pool], spec: SystemSpec, seconds: dict[str, float], progress: Progress
) -> tuple[System, Ranking, tuple[str, ...]]:
    """The system, its ranking, and notes on it."""
    if spec.kind == "encoder":
        with _timed(seconds, "loading"):
            encoder, precision, notes = _load(judged, spec, progress)
        with _timed(seconds, "encoding"):
            vectors = encode_set(judged, pools, encoder, progress=progress)
        with _timed(seconds, "ranking"):
            ranking = rank_by_vectors(judged, pools, vectors, progress=progress)
        return System("encoder", encoder.name, encoder.fingerprint, encoder.source, precision), ranking, notes
    if spec.kind == "rankings":
        path = Path(spec.name)
        with _timed(seconds, "reading"):
            ranking, notes = read_rankings(path, judged, pools, progress=progress)
            try:
                fingerprint = sha256_of(path)
            except OSError as error:
                raise RankingError(f"{path.name}: it cannot be read ({error.strerror}). Check the file.") from error
        return System("rankings", path.name[:_MAX_NAME_CHARS], fingerprint), ranking, notes
    system, rank = (tfidf_system(), rank_by_tfidf) if spec.kind == "tfidf" else (bm25_system(), rank_by_bm25)
    with _timed(seconds, "ranking"):
        return system, rank(judged, pools, progress=progress), ()


def _load(judged: JudgedSet, spec: SystemSpec, progress: Progress) -> tuple[Encoder, Precision, tuple[str, ...]]:
    chosen = choose_encoder(spec.name, precision=spec.precision, progress=progress)
    if chosen.loaded is not None:
        return chosen.loaded, chosen.precision, ()
    n = len(judged.papers)
    progress(LEARNING, 0, n)
    texts = [(paper.title, paper.abstract) for paper in judged.papers]
    encoder = LexicalEncoder.fit(texts, progress=progress)
    return encoder, chosen.precision, (f"{LEXICAL} learned its words from the {n:,} papers of this set.",)


def _evaluation(
    judged: JudgedSet,
    split: str,
    folds: Sequence[Sequence[Pool]],
    system: System,
    scores: Sequence[QueryScores],
    notes: tuple[str, ...],
) -> Evaluation:
    sizes = np.array([scored.candidates for scored in scores])
    reasons = not_comparable(judged, split)
    if system.precision not in ("", "float32"):
        reasons += (f"Published scores are of vectors in float32, and these are in {system.precision}.",)
    packages = _PACKAGES[LEXICAL if system.source == LEXICAL else system.kind]
    return Evaluation(
        id=evaluation_id(system, judged, split),
        made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        system=system,
        set_name=judged.name,
        facet=judged.facet,
        split=split,
        origin=judged.origin,
        set_fingerprint=judged.fingerprint,
        rules=judged.rules,
        relevant_from=judged.relevant_from,
        papers=len(judged.papers),
        folds=tuple(len(fold) for fold in folds),
        pool_sizes=PoolSizes(int(sizes.min()), float(np.median(sizes)), float(sizes.mean()), int(sizes.max())),
        means=means(scores, folds),
        intervals={metric: bootstrap_interval(by_fold(scores, metric)) for metric in (MAP, NDCG_20_PERCENT)},
        handled=judged.handled,
        without_positive=sum(scored.relevant == 0 for scored in scores),
        pools_under_five=sum(scored.candidates < _SMALLEST_CUT_POOL for scored in scores),
        not_comparable=reasons,
        seconds={},
        versions=package_versions(*packages, "ir-measures"),
        machine=machine_description(),
        notes=notes,
    )
