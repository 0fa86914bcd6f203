"""Papers → atlas: read, encode, project, name the regions, index, write. Resumable, atomic, with progress."""

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.atlas import paths, store
from components.atlas.corpora import note_request
from components.atlas.encoders import ChosenEncoder, choose_encoder
from components.atlas.manifest import EncoderRecord, IndexRecord, Manifest
from components.atlas.paths import home_errors
from components.encoder import LEXICAL, Encoder, LexicalEncoder, Precision
from components.index.exact import Vectors
from components.index.hnsw import HnswIndex, HnswSettings, tuned_graph
from components.mapping.palette import REGION_COLOURS
from components.mapping.projection import ProjectionSettings, fit_projection
from components.mapping.regions import find_regions, name_regions, region_colours
from corpus.dedup import Merger
from corpus.errors import CociteAtlasError, UnreadableFileError
from corpus.io.files import write_array, write_table, write_text
from corpus.progress import Cancelled, Progress, no_progress
from corpus.readers import read
from corpus.readers.columns import Columns
from corpus.readers.report import WithoutAbstract, problems_table

READING, ENCODING, PROJECTING = "Reading the papers", "Encoding papers", "Drawing the map"
NAMING, INDEXING, WRITING = "Naming regions", "Indexing", "Writing the atlas"
FETCHING, LEARNING = "Fetching the encoder", "Learning vocabulary"
STAGES = (READING, ENCODING, PROJECTING, NAMING, INDEXING, WRITING)
LEXICAL_STAGES = (READING, LEARNING, *STAGES[1:])  # of the lexical encoder, which is fitted first

CHUNK = 1024  # rows a file of vectors in the work folder: what a kill can cost, a minute at most on two cores
RANDOM_PAIRS = 100_000  # "closer than 99.99 % of pairs" rests on ten of them
_PAIRS_SEED = 7


_BETWEEN = 1024  # papers between two words of progress


class NothingToBuild(CociteAtlasError):
    """Files that hold no paper with a title and an abstract."""


@dataclass(frozen=True, slots=True)
class Papers:
    """What was read. papers: a table with `SCHEMA`. account: for the manifest's source. problems: all left out."""

    papers: pa.Table
    account: dict[str, Any]
    problems: pa.Table


def read_files(
    files: Sequence[Path],
    *,
    columns: Sequence[Columns | None] | None = None,
    without_abstract: WithoutAbstract = "leave_out",
    on_progress: Callable[[int, int], None],
) -> Papers:
    """The papers of some files, merged.

    columns: for each file, which headers its fields stand under; without_abstract: see `corpus.readers.read`.
    on_progress: told how much is read, in thousandths of a file, and of how much; may raise to stop.
    Raises NothingToBuild, TooManyPapers, UnreadableFileError.
    """
    merger = Merger()
    reports = []
    for number, (path, mapping) in enumerate(zip(files, columns or [None] * len(files), strict=True)):
        with read(path, columns=mapping, without_abstract=without_abstract) as reading:
            for paper in reading:
                merger.add(paper, report=reading.report, place=reading.place)
                if reading.report.kept % _BETWEEN == 0:
                    on_progress(round(1000 * (number + reading.fraction)), 1000 * len(files))
        on_progress(1000 * (number + 1), 1000 * len(files))
        reports.append(reading.report)
    if not len(merger):
        wanted = "a title and an abstract" if without_abstract == "leave_out" else "a title"
        bare = any(report.empty for report in reports) and without_abstract == "leave_out"
        raise NothingToBuild(
            f"{', '.join(path.name for path in files)}: no record has {wanted}, so there is nothing to search in. "
            f"{' '.join(report.summary() for report in reports)}"
            f"{' To keep records that have a title alone: --keep-without-abstract' if bare else ''}"
        )
    return Papers(
        papers=pa.concat_tables(merger.tables()).combine_chunks(),
        account={"reports": [report.to_dict() for report in reports], "merged": merger.merged},
        problems=problems_table(reports),
    )


def describe_files(
    files: Sequence[Path], *, columns: Sequence[Columns | None] | None, without_abstract: WithoutAbstract
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is recorded of files and of how they are read: for each what it was, and what is so for all of them.

    Raises UnreadableFileError where one cannot be read.
    """
    sealed = [
        describe_file(path) | ({"columns": dict(mapping)} if mapping else {})
        for path, mapping in zip(files, columns or [None] * len(files), strict=True)
    ]
    return sealed, {"without_abstract": without_abstract} if without_abstract != "leave_out" else {}


def describe_file(path: Path) -> dict[str, Any]:
    """What is recorded of a file of papers. Raises UnreadableFileError where it cannot be read."""
    try:
        return {"name": path.name, **asdict(store.checksum(path))}
    except OSError as error:
        unreadable = UnreadableFileError(
            f"it cannot be read ({error.strerror})", advice="Check the path, and who may read it."
        )
        unreadable.locate(file=path.name)
        raise unreadable from error


class NameReserved(CociteAtlasError):
    """A name that another atlas has a right to: the default one, whose repair would put it back, or the base."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """The settings of every stage of a build; a build with others starts afresh."""

    projection: ProjectionSettings = field(default_factory=ProjectionSettings)
    index: HnswSettings = field(default_factory=HnswSettings)


def build_atlas(
    name: str,
    files: Sequence[Path],
    *,
    encoder: str,
    precision: Precision | None = None,
    columns: Sequence[Columns | None] | None = None,
    without_abstract: WithoutAbstract = "leave_out",
    title: str = "",
    settings: BuildSettings = BuildSettings(),
    progress: Progress = no_progress,
) -> Manifest:
    """Build the atlas `name` from files of papers. Until it is done, the atlas of that name stays what it was.

    encoder: a catalogue name, or a folder or zip; fetched where it is not here. precision: as in `load_encoder`.
    columns: for each file, which headers its fields stand under (see `read`). without_abstract: as in `read`.
    A build that was stopped or killed is taken up where it was when the files, how they are read, the encoder and the
    settings are the same.
    Raises NameReserved, NothingToBuild, TooManyPapers, AtlasBusy, NoSpaceLeft, CannotWrite, EncoderUnavailable,
    UnreadableFileError, and what `progress` does.
    """
    paths.atlas_folder(name)  # a bad name is said before minutes of work
    if name == paths.DEFAULT_ATLAS:
        raise NameReserved(f"{name!r} is the name of the default atlas. Give yours another one: --name NAME")
    chosen = choose_encoder(encoder, precision=precision, on_fetch=lambda done, total: progress(FETCHING, done, total))
    sealed, kept = describe_files(files, columns=columns, without_abstract=without_abstract)
    with home_errors(), paths.build_lock(name):
        work = work_folder(name, files=[*sealed, kept], fingerprint=chosen.work_key, settings=settings)
        note_request(work, corpus=name, base="", encoder=chosen.source, precision=chosen.precision)
        found = _papers(work, files, progress, columns=columns, without_abstract=without_abstract)
        return build_from(
            work,
            found.papers,
            name=name,
            corpus=name,
            base="",
            chosen=chosen,
            source={"files": sealed, **kept, **found.account},
            problems=found.problems,
            title=title,
            settings=settings,
            progress=progress,
        )


def build_from(
    work: Path,
    papers: pa.Table,
    *,
    name: str,
    corpus: str,
    base: str,
    chosen: ChosenEncoder,
    source: dict[str, Any],
    problems: pa.Table | None = None,
    title: str = "",
    settings: BuildSettings,
    progress: Progress,
) -> Manifest:
    """The atlas `name` of papers that were read, from encoding on; the work folder goes when it is written.

    base: the atlas that the papers are of, empty where they come from files. problems: as in `AtlasParts`.
    The caller holds the build lock.
    """
    n = papers.num_rows
    note_request(work, corpus=corpus, base=base, encoder=chosen.source, precision=chosen.precision, papers=n)
    if chosen.source == LEXICAL:
        progress(LEARNING, 0, n)
    encoder = chosen.ready(work, papers, on_progress=lambda done: progress(LEARNING, done, n))
    vectors = encode_resumably(work, papers, encoder, progress)
    coordinates = project_resumably(work, vectors, settings.projection, progress)
    record = EncoderRecord(
        name=encoder.name,
        source=encoder.source,
        fingerprint=encoder.fingerprint,
        normalised=encoder.normalised,
        precision=chosen.precision,
    )
    manifest = assemble(
        name,
        papers=papers,
        vectors=vectors,
        coordinates=coordinates,
        encoder=record,
        source=source,
        settings=settings,
        progress=progress,
        corpus=corpus,
        fitted=encoder if isinstance(encoder, LexicalEncoder) else None,
        problems=problems,
        title=title,
    )
    shutil.rmtree(work, ignore_errors=True)
    return manifest


def assemble(
    name: str,
    *,
    papers: pa.Table,
    vectors: Vectors,
    coordinates: NDArray[np.float32],
    encoder: EncoderRecord,
    source: dict[str, Any],
    settings: BuildSettings,
    progress: Progress,
    corpus: str = "",
    fitted: LexicalEncoder | None = None,
    problems: pa.Table | None = None,
    title: str = "",
) -> Manifest:
    """Make and write an atlas of papers that have their vectors (n, d) and coordinates (n, 2); n ≥ 1.

    corpus: empty where it is the atlas's own name. fitted: the lexical encoder, where it made the vectors.
    The caller holds the atlas's build lock.
    """
    progress(NAMING, 0, 1)
    region_ids = find_regions(coordinates)
    found = name_regions(region_ids, papers["title"].to_pylist(), papers["topics"].to_pylist(), coordinates=coordinates)
    colours = region_colours(found, n_colours=REGION_COLOURS)
    regions = [replace(region, colour=colour) for region, colour in zip(found, colours, strict=True)]
    graph, record = tuned_index(vectors, settings.index, progress)
    progress(WRITING, 0, 1)
    manifest = store.write_atlas(
        store.AtlasParts(
            name=name,
            papers=papers,
            vectors=vectors,
            coordinates=coordinates,
            region_ids=region_ids.astype(np.int16),
            regions=tuple(regions),
            pair_distances=random_pair_distances(vectors),
            graph=graph,
            encoder=encoder,
            index=record,
            projection=asdict(settings.projection),
            source=source,
            versions=versions(),
            corpus=corpus,
            fitted=fitted,
            problems=problems,
            title=title,
        )
    )
    progress(WRITING, 1, 1)
    return manifest


def random_pair_distances(vectors: Vectors, *, pairs: int = RANDOM_PAIRS) -> NDArray[np.float32]:
    """L2 distances between random pairs of different rows, sorted: float32 (pairs,); empty for fewer than two rows."""
    n = len(vectors)
    if n < 2:
        return np.empty(0, dtype=np.float32)
    rng = np.random.default_rng(_PAIRS_SEED)
    first = rng.integers(0, n, size=pairs)
    second = (first + rng.integers(1, n, size=pairs)) % n  # never the same row
    found = np.empty(pairs, dtype=np.float32)
    for start in range(0, pairs, 4096):
        part = slice(start, start + 4096)
        found[part] = np.linalg.norm(vectors[first[part]] - vectors[second[part]], axis=1)
    found.sort()
    return found


def work_folder(name: str, *, files: list[dict[str, Any]], fingerprint: str, settings: BuildSettings) -> Path:
    """Where a build of these very files, by this encoder and with these settings, keeps what it has done so far."""
    key = {"files": files, "fingerprint": fingerprint, "settings": asdict(settings), "chunk": CHUNK}
    return paths.work_folder(name, key)


def _papers(
    work: Path,
    files: Sequence[Path],
    progress: Progress,
    *,
    columns: Sequence[Columns | None] | None,
    without_abstract: WithoutAbstract,
) -> Papers:
    """What was read of all files; kept in the work folder, and taken from there where it is."""
    table_path, report_path, problems_path = work / store.PAPERS, work / "reading.json", work / store.PROBLEMS
    if table_path.is_file() and report_path.is_file():
        return Papers(
            papers=pq.read_table(table_path),
            account=json.loads(report_path.read_text(encoding="utf-8")),
            problems=pq.read_table(problems_path),
        )
    try:
        found = read_files(
            files,
            columns=columns,
            without_abstract=without_abstract,
            on_progress=lambda done, total: progress(READING, done, total),
        )
    except CociteAtlasError as error:
        if not isinstance(error, Cancelled):  # the files are at fault: there is nothing to go on with
            shutil.rmtree(work, ignore_errors=True)
        raise
    write_table(table_path, found.papers)
    write_table(problems_path, found.problems)
    write_text(report_path, json.dumps(found.account))
    return found


def encode_papers(papers: pa.Table, encoder: Encoder, *, on_progress: Callable[[int], None] | None = None) -> Vectors:
    """The vectors of a table of papers, row by row: float32 (n, d)."""
    texts = list(zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True))
    return encoder.encode(texts, on_progress=on_progress)


def encode_resumably(work: Path, papers: pa.Table, encoder: Encoder, progress: Progress) -> Vectors:
    """All vectors, in files of `CHUNK` rows in the work folder, those that are there not encoded again."""
    n = papers.num_rows
    vectors = np.empty((n, encoder.dimensions), dtype=np.float32)
    there = 0
    while there < n and (path := _chunk_path(work, there)).is_file():
        rows = slice(there, min(there + CHUNK, n))
        vectors[rows] = np.load(path, allow_pickle=False)
        there = rows.stop
    progress(ENCODING, there, n)
    start = there
    rest = _texts(papers.slice(there))
    for part in encoder.stream(rest, chunk=CHUNK, on_progress=lambda done: progress(ENCODING, there + done, n)):
        vectors[start : start + len(part)] = part
        write_array(_chunk_path(work, start), part)
        start += len(part)
    return vectors


def _chunk_path(work: Path, start: int) -> Path:
    return work / f"vectors-{start:09d}.npy"


def _texts(papers: pa.Table) -> Iterator[tuple[str, str]]:
    """Titles and abstracts, a chunk of them at a time as Python's own strings."""
    for batch in papers.select(["title", "abstract"]).to_batches(max_chunksize=CHUNK):
        yield from zip(batch["title"].to_pylist(), batch["abstract"].to_pylist(), strict=True)


def project_resumably(
    work: Path, vectors: Vectors, settings: ProjectionSettings, progress: Progress
) -> NDArray[np.float32]:
    """The map coordinates of all vectors, from the work folder where they are."""
    path = work / store.COORDINATES
    progress(PROJECTING, 0, 1)
    if path.is_file():
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return found
    coordinates = fit_projection(
        vectors, settings=settings, on_progress=lambda done, total: progress(PROJECTING, done, total)
    )
    write_array(path, coordinates)
    return coordinates


def tuned_index(
    vectors: Vectors, settings: HnswSettings, progress: Progress, *, grown: HnswIndex | None = None
) -> tuple[HnswIndex | None, IndexRecord]:
    """A tuned graph, or none where exact search serves: for few rows, or where no ef_search reaches the target.

    grown: a graph over the first rows of `vectors`, to take in the others.
    """
    n = len(vectors)
    progress(INDEXING, 0, n)
    m, ef_construction = settings.m, settings.ef_construction
    found = tuned_graph(vectors, settings=settings, grown=grown, on_progress=lambda done: progress(INDEXING, done, n))
    if found is None:
        return None, IndexRecord(m=m, ef_construction=ef_construction, ef_search=0, ann_recall_at_10=1.0, sample=0)
    graph, tuning = found
    return graph, IndexRecord(m=m, ef_construction=ef_construction, **asdict(tuning))


def versions() -> dict[str, str]:
    """The versions of what made the atlas, for whoever must make it again."""
    packages = ("numpy", "torch", "transformers", "tokenizers", "hnswlib", "umap-learn", "scikit-learn", "pyarrow")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
