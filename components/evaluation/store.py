"""Evaluations on disk. Only this module reads or writes <home>/.evaluations/<id>/.

result.json    the evaluation, whether its scores ascend, and the checksums of the other files
queries.csv    a row per query, safe in a spreadsheet
run.txt.gz     the ranking as trec_eval reads it; of distances the negatives, since a run has the highest score first
"""

import csv
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import filelock
from pydantic import BaseModel, ValidationError

from components.atlas.manifest import Checksum
from components.atlas.paths import FOLDER, home
from components.evaluation import runs
from components.evaluation.ranking import RankedPool, Ranking
from components.evaluation.results import (
    Evaluation,
    QueryScores,
    evaluation_from_json,
    evaluation_to_json,
    scores_from_csv,
    scores_to_csv,
)
from corpus.errors import CociteAtlasError, validation_reason
from corpus.io.files import write_text
from corpus.io.hashing import sha256_of
from corpus.judged_sets.model import JudgedSet

_RESULT, _QUERIES, _RUN, _LOCK = "result.json", "queries.csv", "run.txt.gz", ".lock"
_PARTIAL, _GONE = ".partial", ".gone"  # after the id: a folder that is being written, or deleted
_MAX_RESULT_BYTES, _MAX_QUERIES_BYTES = 2**22, 2**27
_ADVICE = "Delete the evaluation, and evaluate again."


class NoSuchEvaluation(CociteAtlasError):
    """No evaluation has that id, or it has no such query."""


class EvaluationDamaged(CociteAtlasError):
    """An evaluation whose files were changed, or that is of another set than the given one."""


class _Files(BaseModel):
    ascending: bool
    files: dict[str, Checksum]


def save(evaluation: Evaluation, scores: Sequence[QueryScores], ranking: Ranking, judged: JudgedSet) -> Path:
    """Store an evaluation, replacing an earlier one of that id; its folder. Raises OSError."""
    folder = _folder(evaluation.id)
    with _lock():
        work = folder.with_name(f"{folder.name}{_PARTIAL}")
        work.mkdir()
        try:
            write_text(work / _QUERIES, scores_to_csv(scores))
            runs.write_run(
                work / _RUN,
                ((pool.query, pool.rows, -pool.scores if ranking.ascending else pool.scores) for pool in ranking.pools),
                candidates=[paper.id for paper in judged.papers],
                tag=evaluation.system.name,
            )
            files = {
                name: asdict(Checksum((work / name).stat().st_size, sha256_of(work / name)))
                for name in (_QUERIES, _RUN)
            }
            write_text(work / _RESULT, evaluation_to_json(evaluation, ascending=ranking.ascending, files=files))
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
    """All undamaged evaluations, the newest first."""
    found = [evaluation for id in _ids() if (evaluation := _read_if_whole(id)) is not None]
    return sorted(found, key=lambda evaluation: (evaluation.made, evaluation.id), reverse=True)


def damaged() -> list[str]:
    """The ids of damaged evaluations, sorted."""
    return [id for id in _ids() if _read_if_whole(id) is None]


def scores_of(id: str) -> list[QueryScores]:
    """The scores of every query of an evaluation, in the order of its split; long titles are shortened.

    Raises NoSuchEvaluation, EvaluationDamaged.
    """
    path = _checked_path(id, _read(id)[1], _QUERIES)
    with _damage_of(path):
        if path.stat().st_size > _MAX_QUERIES_BYTES:
            raise ValueError(f"it is larger than {_MAX_QUERIES_BYTES:,} bytes")
        with path.open(encoding="utf-8", newline="") as file:
            return scores_from_csv(file)


def ranked_pool_of(id: str, judged: JudgedSet, query: str) -> RankedPool:
    """How the system ranked one query's pool; the run is read only that far. judged: the set of the evaluation.

    Raises NoSuchEvaluation, and EvaluationDamaged, also where the set is another one.
    """
    evaluation, files = _read(id)
    if evaluation.set_fingerprint != judged.fingerprint:
        raise EvaluationDamaged(
            f"The set {evaluation.set_name} has changed since the evaluation {id} "
            f"({judged.fingerprint}, not {evaluation.set_fingerprint}). Evaluate again."
        )
    path = _checked_path(id, files, _RUN)
    with _damage_of(path):
        pool = runs.read_pool(path, query, candidates=[paper.id for paper in judged.papers])
    if pool is not None:
        rows, scores = pool
        return RankedPool(query, rows, -scores if files.ascending else scores)
    raise NoSuchEvaluation(f"The evaluation {id} has no query {query!r:.80}. See its table of queries.")


def run_path(id: str) -> Path:
    """The path of its run file. Raises NoSuchEvaluation, EvaluationDamaged."""
    return _checked_path(id, _read(id)[1], _RUN)


def delete(id: str) -> None:
    """Delete an evaluation, damaged or not. Raises NoSuchEvaluation, OSError."""
    folder = _folder(id)
    if not folder.is_dir():
        raise NoSuchEvaluation(f"No evaluation has the id {id!r:.80}, so there is nothing to delete.")
    gone = folder.with_name(f"{folder.name}{_GONE}")
    with _lock():
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def evaluations_folder() -> Path:
    """The folder of all evaluations."""
    return home() / ".evaluations"  # no atlas's name begins with a dot


def _folder(id: str) -> Path:
    if not FOLDER.fullmatch(id):
        raise NoSuchEvaluation(f"{id!r:.80} cannot be the id of an evaluation: it has 16 digits of 0–9 and a–f.")
    return evaluations_folder() / id


def _ids() -> list[str]:
    folder = evaluations_folder()
    return sorted(path.name for path in folder.iterdir() if FOLDER.fullmatch(path.name)) if folder.is_dir() else []


@contextmanager
def _lock() -> Iterator[None]:
    """Hold the right to change what is stored, and delete what a killed process left."""
    folder = evaluations_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / _LOCK):
        for ending in (_PARTIAL, _GONE):
            for path in folder.glob(f"*{ending}"):
                shutil.rmtree(path, ignore_errors=True)
        yield


def _read_if_whole(id: str) -> Evaluation | None:
    try:
        return read(id)
    except CociteAtlasError:
        return None


def _read(id: str) -> tuple[Evaluation, _Files]:
    path = _folder(id) / _RESULT
    if not path.parent.is_dir():
        raise NoSuchEvaluation(f"No evaluation has the id {id}. See the leaderboard for those that are kept.")
    with _damage_of(path):
        if path.stat().st_size > _MAX_RESULT_BYTES:
            raise ValueError(f"it is larger than {_MAX_RESULT_BYTES:,} bytes")
        content = path.read_bytes()
        evaluation, files = evaluation_from_json(content), _Files.model_validate_json(content, strict=True)
        if evaluation.id != id:
            raise ValueError(f"it is the evaluation {evaluation.id!r:.80}")
    return evaluation, files


def _checked_path(id: str, files: _Files, name: str) -> Path:
    """The path of a file whose checksum is the stored one."""
    path = _folder(id) / name
    with _damage_of(path):
        stored = files.files.get(name)
        if stored is None or path.stat().st_size != stored.bytes or sha256_of(path) != stored.sha256:
            raise ValueError("it has changed since it was written")
    return path


@contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Raise EvaluationDamaged for a file that cannot be read, or whose content is invalid."""
    try:
        yield
    except OSError as error:
        raise EvaluationDamaged(f"{path}: it cannot be read ({error.strerror}). {_ADVICE}") from error
    except (ValueError, csv.Error) as error:
        reason = validation_reason(error) if isinstance(error, ValidationError) else f"{error!s:.200}"
        raise EvaluationDamaged(f"{path}: {reason}. {_ADVICE}") from error
