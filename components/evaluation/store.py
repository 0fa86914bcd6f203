"""Evaluations on disk. Nothing else reads or writes <home>/.evaluations/<id>/."""

import csv
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock

from components.atlas.manifest import Checksum
from components.atlas.paths import FOLDER, home
from components.evaluation import trec
from components.evaluation.results import (
    Evaluation,
    QueryScores,
    RankedPool,
    Ranking,
    from_json,
    queries_csv,
    read_queries_csv,
    to_json,
)
from corpus.errors import CociteAtlasError
from corpus.io.files import write_text
from corpus.io.hashing import sha256_of
from corpus.judged_sets.model import JudgedSet

EVALUATIONS = ".evaluations"  # in the home of atlases; no atlas's name begins with a dot
_RESULT, _QUERIES, _RUN, _LOCK = "result.json", "queries.csv", "run.txt.gz", ".lock"
_PARTIAL, _GONE = ".partial", ".gone"  # after the id: a folder that is being written, or deleted
_LARGEST_RESULT, _LARGEST_QUERIES = 2**22, 2**27  # bytes that are read of one
_AGAIN = "Delete the evaluation, and evaluate again."


class NoSuchEvaluation(CociteAtlasError):
    """No evaluation of that id, or an id that none can have; or it has no such query."""


class EvaluationDamaged(CociteAtlasError):
    """An evaluation whose files are not what was written, or that is of another set than the one given."""


def save(evaluation: Evaluation, scores: Sequence[QueryScores], ranking: Ranking, judged: JudgedSet) -> Path:
    """Write an evaluation, in place of the one of that id where there is one; its folder.

    result.json: what it is and what came of it. queries.csv: a row a query, safe in a spreadsheet. run.txt.gz: the
    ranking as trec_eval reads it (see `trec`); of distances it holds their negatives, because there the highest is
    first. Raises OSError.
    """
    folder = _folder(evaluation.id)
    with _lock():
        _clear_torn()
        work = folder.with_name(f"{folder.name}{_PARTIAL}")
        work.mkdir()
        try:
            write_text(work / _QUERIES, queries_csv(scores))
            trec.write_run(
                work / _RUN,
                ((pool.query, pool.rows, -pool.scores if ranking.ascending else pool.scores) for pool in ranking.pools),
                candidates=[paper.id for paper in judged.papers],
                tag=evaluation.system.name,
            )
            seals = {name: Checksum((work / name).stat().st_size, sha256_of(work / name)) for name in (_QUERIES, _RUN)}
            more = {"ascending": ranking.ascending, "files": {name: asdict(seal) for name, seal in seals.items()}}
            write_text(work / _RESULT, to_json(evaluation, more=more))
            gone = folder.with_name(f"{folder.name}{_GONE}")
            if folder.exists():
                folder.rename(gone)
            work.rename(folder)
            shutil.rmtree(gone, ignore_errors=True)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return folder


def read(id: str) -> Evaluation:
    """The evaluation of an id. Raises NoSuchEvaluation, EvaluationDamaged."""
    return _read(id)[0]


def evaluations() -> list[Evaluation]:
    """All evaluations that are kept and whole, the newest first."""
    found = [evaluation for id in _ids() if (evaluation := _whole(id)) is not None]
    return sorted(found, key=lambda evaluation: (evaluation.made, evaluation.id), reverse=True)


def damaged() -> list[str]:
    """The ids of what lies among the evaluations and is none, sorted."""
    return [id for id in _ids() if _whole(id) is None]


def scores_of(id: str) -> list[QueryScores]:
    """The scores of every query of an evaluation, in the order of its split; of long titles the beginning.

    Raises NoSuchEvaluation, EvaluationDamaged.
    """
    _, raw = _read(id)
    path = _sealed(id, raw, _QUERIES)
    if path.stat().st_size > _LARGEST_QUERIES:
        raise EvaluationDamaged(f"{path}: this is more than {_LARGEST_QUERIES // 2**20} MB. {_AGAIN}")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return read_queries_csv(file)
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise EvaluationDamaged(f"{path}: it does not hold what it must ({error!s:.200}). {_AGAIN}") from error


def ranking_of(id: str, judged: JudgedSet) -> Ranking:
    """How an evaluation's system ranked. judged: the set that it was on.

    Raises NoSuchEvaluation, EvaluationDamaged; both where the set is another one, too.
    """
    with _ranked(id, judged) as (pools, ascending):
        return Ranking(pools=tuple(pools), ascending=ascending)


def ranked_pool_of(id: str, judged: JudgedSet, query: str) -> RankedPool:
    """How it ranked one query's pool: the file is read that far only. Raises as `ranking_of` does."""
    with _ranked(id, judged) as (pools, _):
        for pool in pools:
            if pool.query == query:
                return pool
    raise NoSuchEvaluation(f"The evaluation {id} has no query {query!r:.80}. See its table of queries.")


def run_path(id: str) -> Path:
    """Where its run file lies, gzip. Raises NoSuchEvaluation, EvaluationDamaged."""
    return _sealed(id, _read(id)[1], _RUN)


def delete(id: str) -> None:
    """Take an evaluation away, damaged or not. Raises NoSuchEvaluation; OSError where it may not be removed."""
    folder = _folder(id)
    if not folder.is_dir():
        raise NoSuchEvaluation(f"No evaluation has the id {id!r:.80}, so there is nothing to delete.")
    gone = folder.with_name(f"{folder.name}{_GONE}")
    with _lock():
        _clear_torn()
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def evaluations_folder() -> Path:
    """Where evaluations lie."""
    return home() / EVALUATIONS


def _folder(id: str) -> Path:
    if not FOLDER.fullmatch(id):
        raise NoSuchEvaluation(f"{id!r:.80} cannot be the id of an evaluation: it has 16 digits of 0–9 and a–f.")
    return evaluations_folder() / id


def _ids() -> list[str]:
    folder = evaluations_folder()
    return sorted(one.name for one in folder.iterdir() if FOLDER.fullmatch(one.name)) if folder.is_dir() else []


@contextmanager
def _lock() -> Iterator[None]:
    """Hold the right to change what is kept; for milliseconds, unless a run of millions of lines is written."""
    evaluations_folder().mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(evaluations_folder() / _LOCK):
        yield


def _clear_torn() -> None:
    """Throw away what a process left that was killed as it wrote or deleted one. Only whoever holds the lock may."""
    for ending in (_PARTIAL, _GONE):
        for path in evaluations_folder().glob(f"*{ending}"):
            shutil.rmtree(path, ignore_errors=True)


def _whole(id: str) -> Evaluation | None:
    try:
        return read(id)
    except CociteAtlasError:
        return None


def _read(id: str) -> tuple[Evaluation, dict[str, Any]]:
    path = _folder(id) / _RESULT
    try:
        if path.stat().st_size > _LARGEST_RESULT:
            raise EvaluationDamaged(f"{path}: this is more than {_LARGEST_RESULT // 2**20} MB. {_AGAIN}")
        evaluation, raw = from_json(path.read_text(encoding="utf-8"))
        if evaluation.id != id:
            raise ValueError(f"it is the evaluation {evaluation.id!r:.80}")
        return evaluation, raw
    except FileNotFoundError as error:
        if path.parent.is_dir():
            raise EvaluationDamaged(f"{path}: it is not there. {_AGAIN}") from error
        raise NoSuchEvaluation(f"No evaluation has the id {id}. See those that are kept in the leaderboard.") from error
    except OSError as error:
        raise EvaluationDamaged(f"{path}: it cannot be read ({error.strerror}). {_AGAIN}") from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise EvaluationDamaged(f"{path}: it does not hold what it must ({error!s:.200}). {_AGAIN}") from error


def _sealed(id: str, raw: dict[str, Any], name: str) -> Path:
    """The path of a file of an evaluation that is what it was when it was written."""
    path = _folder(id) / name
    try:
        seal = raw["files"][name]
        if path.stat().st_size != seal["bytes"] or sha256_of(path) != seal["sha256"]:
            raise EvaluationDamaged(f"{path}: it is not what was written. {_AGAIN}")
    except (KeyError, TypeError) as error:
        raise EvaluationDamaged(f"{path}: nothing says what it must be. {_AGAIN}") from error
    except OSError as error:
        raise EvaluationDamaged(f"{path}: it cannot be read ({error.strerror}). {_AGAIN}") from error
    return path


@contextmanager
def _ranked(id: str, judged: JudgedSet) -> Iterator[tuple[Iterator[RankedPool], bool]]:
    """The ranked pools of an evaluation, one after the other, and whether their scores ascend."""
    evaluation, raw = _read(id)
    if evaluation.set_fingerprint != judged.fingerprint:
        raise EvaluationDamaged(
            f"The evaluation {id} is of another {evaluation.set_name} than the set that is here now "
            f"({evaluation.set_fingerprint}, not {judged.fingerprint}). Evaluate again."
        )
    path, ascending = _sealed(id, raw, _RUN), raw.get("ascending") is True
    found = trec.read_own_run(path, candidates=[paper.id for paper in judged.papers])
    try:
        yield (RankedPool(query, rows, -scores if ascending else scores) for query, rows, scores in found), ascending
    except ValueError as error:
        raise EvaluationDamaged(f"{path}: {error}. {_AGAIN}") from error
