"""Doing what waits to be done: each kind of request by the part of the system that does it, step after step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.atlas.archive import import_archive
from components.atlas.build import NothingToBuild, build_atlas, describe_files, read_files
from components.atlas.corpora import atlases_of
from components.atlas.grow import Change, GrowResult, grow_corpus, rebuild
from components.atlas.manifest import Manifest
from components.atlas.map_state import rebuild_due
from components.atlas.precomputed_vectors import build_from_vectors
from components.encoder import EMBEDDED, Precision
from components.jobs.store import NoSuchStaged, Staged, discard, held, staged
from corpus.errors import CociteAtlasError
from corpus.progress import Progress, no_progress
from corpus.readers import WithoutAbstract
from corpus.sources.fetch import PAPERS, fetch
from corpus.sources.lookup import SOURCES

FETCHING_PAPERS = "Fetching the papers"


class NotAll(CociteAtlasError):
    """A change of a corpus that some of its atlases did not take."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request: the atlas to show for it, and a sentence or two."""

    manifest: Manifest
    told: str


def carry_out(staging: str, *, progress: Progress = no_progress) -> Outcome:
    """Do what waits under an id; it is thrown away when all went well, and goes on waiting where it did not.

    What was done of it before is taken up. Raises NoSuchStaged, StagedBusy, whatever the parts that do it raise, and
    what `progress` does.
    """
    with held(staging):
        asked = staged(staging)
        found = _WORK[asked.kind](asked, progress)
    discard(staging)
    return found


def _files(asked: Staged, progress: Progress) -> Outcome:
    _check_files(asked)
    if asked.vectors:
        file = asked.files[0]
        manifest = build_from_vectors(
            asked.name,
            asked.paths[0],
            vector_column=asked.vectors,
            encoder=asked.encoder or None,
            columns=file.columns or None,
            title=asked.title,
            progress=progress,
        )
        return Outcome(manifest, f"{manifest.papers:,} papers, by their own vectors.")
    return _built(asked, asked.paths, [file.columns or None for file in asked.files], progress)


def _query(asked: Staged, progress: Progress) -> Outcome:
    source = SOURCES.get(asked.source)
    if source is None:
        raise NoSuchStaged(f"{asked.source!r:.80} is no source of papers. There are: {', '.join(SOURCES)}.")
    report = fetch(
        source,
        asked.query,
        asked.work,
        limit=asked.most or None,
        progress=lambda _, done, total: progress(FETCHING_PAPERS, done, total),
    )
    if not report.kept:
        raise NothingToBuild(f"{report.summary()} So there is nothing to build a corpus of. Ask for something else.")
    outcome = _built(asked, [asked.work / PAPERS], [None], progress)
    return Outcome(outcome.manifest, report.summary())


def _built(asked: Staged, paths: Sequence[Path], columns: Sequence[Any], progress: Progress) -> Outcome:
    manifest = build_atlas(
        asked.name,
        paths,
        encoder=asked.encoder or EMBEDDED,
        precision=_precision(asked),
        columns=columns,
        without_abstract=_without_abstract(asked),
        title=asked.title,
        progress=progress,
    )
    left_out = sum(
        report.get(name, 0)
        for report in manifest.source.get("reports", [])
        for name in ("empty", "non_english", "damaged")
    )
    merged = sum(report.get("duplicate", 0) for report in manifest.source.get("reports", []))
    told = [f"{manifest.papers:,} paper{'s' if manifest.papers != 1 else ''}"]
    told += [f"{left_out:,} record{'s' if left_out > 1 else ''} left out"] if left_out else []
    told += [f"{merged:,} given twice and merged"] if merged else []
    return Outcome(manifest, "; ".join(told) + ".")


def _add(asked: Staged, progress: Progress) -> Outcome:
    _check_files(asked)
    columns = [file.columns or None for file in asked.files]
    sealed, kept = describe_files(asked.paths, columns=columns, without_abstract=_without_abstract(asked))
    found = read_files(
        asked.paths,
        columns=columns,
        without_abstract=_without_abstract(asked),
        progress=progress,
    )
    source = {"files": sealed, **kept, **found.account}
    grown = grow_corpus(asked.name, add=found.papers, source=source, problems=found.problems, progress=progress)
    change = _first(grown)
    told = f"{change.added:,} paper{'s' if change.added != 1 else ''} added"
    return _of_all(grown, told + (f"; {change.already_there:,} there already." if change.already_there else "."))


def _remove(asked: Staged, progress: Progress) -> Outcome:
    _check_files(asked)
    ids = [line for line in asked.paths[0].read_text(encoding="utf-8").splitlines() if line]
    grown = grow_corpus(asked.name, remove=ids, progress=progress)
    change = _first(grown)
    return _of_all(grown, f"{change.removed:,} paper{'s' if change.removed != 1 else ''} removed.")


def _rebuild(asked: Staged, progress: Progress) -> Outcome:
    manifests = [
        rebuild(manifest.name, progress=progress) for manifest in atlases_of(asked.name) if rebuild_due(manifest)
    ]
    if not manifests:
        there = atlases_of(asked.name)
        if not there:
            raise NoSuchStaged(f"No corpus is called {asked.name!r} any more.")
        return Outcome(there[0], "It was not due any more.")
    return Outcome(manifests[0], "")


def _import(asked: Staged, progress: Progress) -> Outcome:
    _check_files(asked)
    manifest = import_archive(asked.paths[0], progress=progress)
    return Outcome(manifest, f"{manifest.papers:,} papers, by {manifest.encoder.name}.")


_WORK: dict[str, Callable[[Staged, Progress], Outcome]] = {
    "files": _files,
    "query": _query,
    "add": _add,
    "remove": _remove,
    "rebuild": _rebuild,
    "import": _import,
}


def _first(grown: Sequence[GrowResult]) -> Change:
    """What became of the first atlas that was changed. Raises NotAll where none was."""
    change = next((one.change for one in grown if one.change is not None), None)
    if change is None:
        raise NotAll(" ".join(one.error for one in grown) or "There is no atlas to change.")
    return change


def _of_all(grown: Sequence[GrowResult], told: str) -> Outcome:
    """The outcome of a change of several atlases. Raises NotAll where some did not take it, saying why."""
    change = _first(grown)
    if errors := [f"{one.name}: {one.error}" for one in grown if one.error]:
        raise NotAll(f"{told} But not in all atlases. {' '.join(errors)}")
    return Outcome(change.manifest, told)


def _check_files(asked: Staged) -> None:
    if not asked.files:
        raise NoSuchStaged(f"{asked.called}: no file was chosen.")


def _precision(asked: Staged) -> Precision:
    return "bfloat16" if asked.precision == "bfloat16" else "float32"


def _without_abstract(asked: Staged) -> WithoutAbstract:
    return "keep" if asked.keep_without_abstract else "leave_out"
