"""One evaluation: a system ranks the pools of a split of a judged set, and its rankings are scored."""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from components.atlas.encoders import LEARNING, choose_encoder
from components.encoder import LEXICAL, Encoder, LexicalEncoder, Precision
from components.evaluation.baselines import bm25_system, rank_by_bm25, rank_by_tfidf, tfidf_system
from components.evaluation.encoding import encode_set
from components.evaluation.published import not_comparable
from components.evaluation.ranking import RankingError, rank_by_vectors
from components.evaluation.results import (
    MAP,
    NDCG_20_PERCENT,
    Evaluation,
    QueryScores,
    Ranking,
    System,
    SystemKind,
    evaluation_id,
)
from components.evaluation.runs import read_rankings
from components.evaluation.scoring import by_fold, means, score
from components.evaluation.statistics import bootstrap_interval
from corpus.io.hashing import sha256_of
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.machine import machine_description
from corpus.progress import Progress, no_progress

SCORING = "Scoring"  # the stage's name

_PACKAGES = {
    "encoder": ("numpy", "torch", "transformers", "tokenizers"),
    "tfidf": ("numpy", "scikit-learn"),
    "bm25": ("numpy", "bm25s"),
    "rankings": ("numpy",),
}
_LEXICAL_PACKAGES = ("numpy", "scikit-learn")
_MEASURES = "ir-measures"
_LONGEST_NAME = 100  # characters of a file's name
_TOP_20_PERCENT_OF = 5  # candidates: of fewer, it is none


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to rank. name: an encoder's name in the catalogue, or the path of its folder or zip; of rankings, the
    path of their file; empty for peers. precision: of an encoder, as in `load_encoder`.
    """

    kind: SystemKind
    name: str = ""
    precision: Precision | None = None


def evaluate_set(
    judged: JudgedSet, split: str, choice: Choice, *, progress: Progress = no_progress
) -> tuple[Evaluation, list[QueryScores], Ranking]:
    """What the chosen system reaches on a split; nothing of it is kept but vectors (see `encode_set`).

    Raises SetError where the set has no such split; RankingError, EncoderUnavailable, UnknownEncoder, NoWordsToLearn,
    NoSpaceLeft, CannotWrite; and what `progress` does.
    """
    folds = judged.folds(split)
    pools = [pool for fold in folds for pool in fold]
    clock = _Clock()
    system, ranking, notes = _ranked(judged, pools, choice, clock, progress)
    with clock.stage("scoring"):
        progress(SCORING, 0, len(pools))
        scores = score(judged, folds, ranking)
        evaluation = _evaluation(judged, split, folds, system, scores, notes)
        progress(SCORING, len(pools), len(pools))
    return replace(evaluation, seconds=clock.seconds), scores, ranking


def versions(system: System) -> dict[str, str]:
    """Of Python, and of the packages that decide a figure of such a system."""
    names = (*(_LEXICAL_PACKAGES if system.source == LEXICAL else _PACKAGES[system.kind]), _MEASURES)
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


class _Clock:
    """How long each stage took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - began, 3)


def _ranked(
    judged: JudgedSet, pools: Sequence[Pool], choice: Choice, clock: _Clock, progress: Progress
) -> tuple[System, Ranking, tuple[str, ...]]:
    """What ranked, its ranking, and what there is to say of it."""
    if choice.kind == "encoder":
        with clock.stage("loading"):
            encoder, precision, notes = _loaded(judged, choice, progress)
        with clock.stage("encoding"):
            vectors = encode_set(judged, pools, encoder, progress=progress)
        with clock.stage("ranking"):
            ranking = rank_by_vectors(judged, pools, vectors, progress=progress)
        return System("encoder", encoder.name, encoder.fingerprint, encoder.source, precision), ranking, notes
    if choice.kind == "rankings":
        path = Path(choice.name)
        with clock.stage("reading"):
            ranking, notes = read_rankings(path, judged, pools, progress=progress)
            try:
                fingerprint = sha256_of(path)
            except OSError as error:
                raise RankingError(f"{path.name}: it cannot be read ({error.strerror}). Check the file.") from error
        return System("rankings", path.name[:_LONGEST_NAME], fingerprint), ranking, notes
    rank: Callable[..., Ranking] = rank_by_tfidf if choice.kind == "tfidf" else rank_by_bm25
    with clock.stage("ranking"):
        ranking = rank(judged, pools, progress=progress)
    return (tfidf_system() if choice.kind == "tfidf" else bm25_system()), ranking, ()


def _loaded(judged: JudgedSet, choice: Choice, progress: Progress) -> tuple[Encoder, Precision, tuple[str, ...]]:
    chosen = choose_encoder(choice.name, precision=choice.precision, progress=progress)
    if chosen.loaded is not None:
        return chosen.loaded, chosen.precision, ()
    n = len(judged.papers)
    progress(LEARNING, 0, n)
    texts = [(paper.title, paper.abstract) for paper in judged.papers]
    fitted = LexicalEncoder.fit(texts, on_progress=lambda done: progress(LEARNING, done, n))
    return fitted, chosen.precision, (f"{LEXICAL} learned its words from the {n:,} papers of this set.",)


def _evaluation(
    judged: JudgedSet,
    split: str,
    folds: Sequence[Sequence[Pool]],
    system: System,
    scores: Sequence[QueryScores],
    notes: tuple[str, ...],
) -> Evaluation:
    sizes = np.array([one.candidates for one in scores])
    reasons = not_comparable(judged, split)
    if system.precision not in ("", "float32"):
        reasons += (f"Published figures are of vectors in float32, and these are in {system.precision}.",)
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
        pool_sizes={
            "smallest": int(sizes.min()),
            "median": float(np.median(sizes)),
            "mean": float(sizes.mean()),
            "largest": int(sizes.max()),
        },
        means=means(scores, folds),
        intervals={name: bootstrap_interval(by_fold(scores, name)) for name in (MAP, NDCG_20_PERCENT)},
        handled=judged.handled,
        without_positive=sum(one.relevant == 0 for one in scores),
        pools_under_five=sum(one.candidates < _TOP_20_PERCENT_OF for one in scores),
        not_comparable=reasons,
        seconds={},
        versions=versions(system),
        machine=machine_description(),
        notes=notes,
    )
