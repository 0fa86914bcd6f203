"""Run a job: each kind of request by the package that does it. Called in the worker's process."""

from collections.abc import Callable, Sequence
from pathlib import Path

from components.atlas.archive_import import import_archive
from components.atlas.build import NothingToBuild, build_atlas, describe_files, read_files
from components.atlas.corpora import atlases_of
from components.atlas.default import ensure_medline
from components.atlas.grow import Change, GrowResult, grow_corpus, rebuild
from components.atlas.manifest import Manifest
from components.atlas.map_state import rebuild_due
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.precomputed_vectors import build_from_vectors
from components.atlas.reencode import reencode
from components.encoder.catalogue import EMBEDDED
from components.jobs.model import BASELINES, Event, JobRequest
from components.jobs.store import NoSuchRequest, discard, lock_request, read_request
from corpus.errors import CociteAtlasError
from corpus.progress import Progress, no_progress
from corpus.readers.report import WithoutAbstract


class NotAllChanged(CociteAtlasError):
    """Some atlases of a corpus could not be changed."""


def run_job(request: JobRequest, *, progress: Progress = no_progress) -> Event:
    """Do what is requested; returns the event with its result. A stored request is deleted when it is done.

    Resumes what was done before. Raises CociteAtlasError, and what `progress` raises.
    """
    if not request.id:
        return _RUN[request.kind](request, progress)
    with lock_request(request.id):
        result = _RUN[request.kind](read_request(request.id), progress)
    discard(request.id)
    return result


def _encode(request: JobRequest, progress: Progress) -> Event:
    if request.base == MEDLINE:
        ensure_medline(progress=progress)
    manifest = reencode(request.base, encoder=request.encoder, precision=request.precision, progress=progress)
    return Event(built=manifest.name)


def _files(request: JobRequest, progress: Progress) -> Event:
    _check_files(request)
    if not request.vectors:
        return _build(request, request.paths, [file.columns or None for file in request.files], progress)
    manifest = build_from_vectors(
        request.name,
        request.paths[0],
        vector_column=request.vectors,
        encoder=request.encoder or None,
        columns=request.files[0].columns or None,
        title=request.title,
        progress=progress,
    )
    return Event(built=manifest.name, result=f"{manifest.papers:,} papers, with precomputed vectors.")


def _query(request: JobRequest, progress: Progress) -> Event:
    from corpus.sources.fetch import PAPERS, fetch
    from corpus.sources.lookup import SOURCES

    source = SOURCES.get(request.source)
    if source is None:
        raise NoSuchRequest(f"{request.source!r:.80} is not a source of papers. There are: {', '.join(SOURCES)}.")
    report = fetch(source, request.query, request.work, limit=request.limit or None, progress=progress)
    if not report.kept:
        raise NothingToBuild(f"{report.summary()} There are no papers to build a corpus of. Change the query.")
    event = _build(request, [request.work / PAPERS], [None], progress)
    return event.model_copy(update={"result": report.summary()})


def _build(
    request: JobRequest, paths: Sequence[Path], columns: Sequence[dict[str, str] | None], progress: Progress
) -> Event:
    manifest = build_atlas(
        request.name,
        paths,
        encoder=request.encoder or EMBEDDED,
        precision=request.precision,
        columns=columns,
        without_abstract=_without_abstract(request),
        title=request.title,
        progress=progress,
    )
    reports = manifest.source.get("reports", [])
    left_out = sum(report.get(name, 0) for report in reports for name in ("empty", "non_english", "damaged"))
    merged = sum(report.get("duplicate", 0) for report in reports)
    parts = [f"{manifest.papers:,} paper{'s' if manifest.papers != 1 else ''}"]
    parts += [f"{left_out:,} record{'s' if left_out > 1 else ''} left out"] if left_out else []
    parts += [f"{merged:,} repeated and merged"] if merged else []
    return Event(built=manifest.name, result="; ".join(parts) + ".")


def _add(request: JobRequest, progress: Progress) -> Event:
    _check_files(request)
    columns = [file.columns or None for file in request.files]
    without_abstract = _without_abstract(request)
    checksums, kept = describe_files(request.paths, columns=columns, without_abstract=without_abstract)
    read = read_files(
        request.paths,
        columns=columns,
        without_abstract=without_abstract,
        progress=progress,
    )
    source = {"files": checksums, **kept, **read.account}
    grown = grow_corpus(request.name, add=read.papers, source=source, problems=read.problems, progress=progress)
    change = _first_change(grown)
    result = f"{change.added:,} paper{'s' if change.added != 1 else ''} added"
    return _result_of(grown, result + (f"; {change.already_there:,} already there." if change.already_there else "."))


def _remove(request: JobRequest, progress: Progress) -> Event:
    _check_files(request)
    ids = [line for line in request.paths[0].read_text(encoding="utf-8").splitlines() if line]
    grown = grow_corpus(request.name, remove=ids, progress=progress)
    change = _first_change(grown)
    return _result_of(grown, f"{change.removed:,} paper{'s' if change.removed != 1 else ''} removed.")


def _rebuild(request: JobRequest, progress: Progress) -> Event:
    atlases = atlases_of(request.name)
    if not atlases:
        raise NoSuchRequest(f"There is no corpus {request.name!r} any more.")
    due = [manifest for manifest in atlases if rebuild_due(manifest)]
    if not due:
        return Event(built=atlases[0].name, result="It was not due any more.")
    rebuilt = [rebuild(manifest.name, progress=progress) for manifest in due]
    return Event(built=rebuilt[0].name)


def _import(request: JobRequest, progress: Progress) -> Event:
    _check_files(request)
    manifest: Manifest = import_archive(request.paths[0], progress=progress)
    return Event(built=manifest.name, result=f"{manifest.papers:,} papers, by {manifest.encoder.name}.")


def _evaluate(request: JobRequest, progress: Progress) -> Event:
    from components.evaluation.evaluate import SystemSpec, evaluate_and_save
    from components.evaluation.format import summary
    from components.evaluation.sets import read_set

    judged = read_set(request.name, facet=request.facet, progress=progress)
    if request.encoder in BASELINES:
        system = SystemSpec(request.encoder)  # type: ignore[arg-type]
    else:
        system = SystemSpec("encoder", request.encoder, request.precision)
    evaluation, _ = evaluate_and_save(judged, request.split, system, progress=progress)
    return Event(built=evaluation.id, result=summary(evaluation))


def _curve(request: JobRequest, progress: Progress) -> Event:
    from components.atlas.store import open_atlas
    from components.evaluation.index_curve import measure_atlas, summary
    from components.index.benchmark import CurveSettings

    if request.base == MEDLINE:
        ensure_medline(progress=progress)
    curve = measure_atlas(open_atlas(request.base), settings=CurveSettings(), progress=progress)
    return Event(built=request.base, result=summary(curve))


_RUN: dict[str, Callable[[JobRequest, Progress], Event]] = {
    "encode": _encode,
    "files": _files,
    "query": _query,
    "add": _add,
    "remove": _remove,
    "rebuild": _rebuild,
    "import": _import,
    "evaluate": _evaluate,
    "curve": _curve,
}


def _first_change(grown: Sequence[GrowResult]) -> Change:
    """The first change. Raises NotAllChanged where there is none."""
    change = next((atlas.change for atlas in grown if atlas.change is not None), None)
    if change is None:
        raise NotAllChanged(" ".join(atlas.error for atlas in grown) or "There is no atlas to change.")
    return change


def _result_of(grown: Sequence[GrowResult], result: str) -> Event:
    """The result of a change of several atlases. Raises NotAllChanged where some could not be changed."""
    change = _first_change(grown)
    if errors := [f"{atlas.name}: {atlas.error}" for atlas in grown if atlas.error]:
        raise NotAllChanged(f"{result} But not in all atlases. {' '.join(errors)}")
    return Event(built=change.manifest.name, result=result)


def _check_files(request: JobRequest) -> None:
    if not request.files:
        raise NoSuchRequest(f"{request.title or request.name}: no file was chosen.")


def _without_abstract(request: JobRequest) -> WithoutAbstract:
    return "keep" if request.keep_without_abstract else "leave_out"
