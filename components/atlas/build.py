"""Papers → atlas: read, encode, project, name the regions, index, write. Resumable, atomic, with progress."""

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Iterator, Sequence
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
from components.atlas.manifest import EncoderRecord, Growth, IndexRecord, Manifest
from components.atlas.map_state import recount_regions
from components.encoder.base import ENCODING, LEARNING, Encoder, Precision
from components.encoder.catalogue import LEXICAL
from components.encoder.lexical import LexicalEncoder
from components.index.exact import Vectors
from components.index.hnsw import HnswIndex, HnswSettings, tuned_graph
from components.mapping.palette import REGION_COLOURS
from components.mapping.projection import PROJECTING, ProjectionSettings, fit_projection
from components.mapping.regions import Region, find_regions, name_regions, region_colours
from corpus.dedup import Merger
from corpus.errors import CociteAtlasError, UnreadableFileError
from corpus.io.files import write_array, write_table, write_text
from corpus.progress import Cancelled, Progress, no_progress
from corpus.readers import read
from corpus.readers.columns import Columns
from corpus.readers.report import WithoutAbstract, problems_table

READING = "Reading the papers"
NAMING, INDEXING, WRITING = "Naming regions", "Indexing", "Writing the atlas"

CHUNK = 1024  # rows per file of vectors in the work folder: what a kill can cost, a minute at most on two cores
RANDOM_PAIRS = 100_000  # "closer than 99.99 % of pairs" rests on ten of them
_PAIRS_SEED = 7


class NothingToBuild(CociteAtlasError):
    """Files that hold no paper with a title and an abstract."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """The settings of the map and the index. Work of a stopped build is only resumed with the same settings."""

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

    encoder: a catalogue name, or a folder or zip; downloaded if needed. precision: as in `load_encoder`.
    columns: for each file, the headers of its fields; without_abstract: see `corpus.readers.read`.
    A build that was stopped or killed is resumed when the files, how they are read, the encoder and the settings are
    the same. Raises NameReserved, NothingToBuild, TooManyPapers, AtlasBusy, NoSpaceLeft, CannotWrite,
    EncoderUnavailable, UnreadableFileError, and what `progress` does.
    """
    paths.check_name(name)
    chosen = choose_encoder(encoder, precision=precision, progress=progress)
    described, options = describe_files(files, columns=columns, without_abstract=without_abstract)
    with paths.home_errors(), paths.build_lock(name):
        work = work_folder(name, files=[*described, options], fingerprint=chosen.work_key, settings=settings)
        note_request(work, corpus=name, base="", encoder=chosen.source, precision=chosen.precision)
        read = _read_resumably(work, files, progress, columns=columns, without_abstract=without_abstract)
        return build_from(
            work,
            read.papers,
            name=name,
            corpus=name,
            base="",
            chosen=chosen,
            source={"files": described, **options, **read.account},
            problems=read.problems,
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
    """The atlas `name` of papers that were read, from encoding on; deletes the work folder at the end.

    base: the atlas that the papers are from, "" for files. The caller holds the build lock.
    """
    n = papers.num_rows
    note_request(work, corpus=corpus, base=base, encoder=chosen.source, precision=chosen.precision, papers=n)
    if chosen.source == LEXICAL:
        progress(LEARNING, 0, n)
    encoder = chosen.ready(work, papers, progress=progress)
    vectors = encode_resumably(work, papers, encoder, progress)
    manifest = assemble(
        name,
        papers=papers,
        vectors=vectors,
        coordinates=project_resumably(work, vectors, settings.projection, progress),
        encoder=EncoderRecord(
            name=encoder.name,
            source=encoder.source,
            fingerprint=encoder.fingerprint,
            normalised=encoder.normalised,
            precision=chosen.precision,
        ),
        source=source,
        settings=settings,
        corpus=corpus,
        title=title,
        fitted=encoder if isinstance(encoder, LexicalEncoder) else None,
        problems=problems,
        progress=progress,
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
    settings: BuildSettings = BuildSettings(),
    corpus: str = "",
    title: str = "",
    fitted: LexicalEncoder | None = None,
    problems: pa.Table | None = None,
    regions: tuple[Sequence[Region], NDArray[np.int16]] | None = None,
    growth: Growth = Growth(),  # noqa: B008
    grown: HnswIndex | None = None,
    projection: dict[str, Any] | None = None,
    versions: dict[str, str] | None = None,
    progress: Progress,
) -> Manifest:
    """Index and write an atlas of papers that have their vectors (n, d) and coordinates (n, 2); n ≥ 1.

    regions: those of an earlier map and the region of each row, int16 (n,); None finds and names new ones.
    grown: a graph over the first rows of `vectors`, to be extended. projection, versions: of an earlier build.
    corpus: "" for the atlas's own name. fitted, problems: as in `AtlasParts`. The caller holds the build lock.
    """
    if regions is None:
        progress(NAMING, 0, 1)
        ids = find_regions(coordinates)
        named = name_regions(ids, papers["title"].to_pylist(), papers["topics"].to_pylist(), coordinates=coordinates)
        colours = region_colours(named, n_colours=REGION_COLOURS)
        names = tuple(replace(region, colour=colour) for region, colour in zip(named, colours, strict=True))
        region_ids = ids.astype(np.int16)
    else:
        names, region_ids = recount_regions(*regions, coordinates=coordinates)
    n = len(vectors)
    progress(INDEXING, 0, n)
    m, ef_construction = settings.index.m, settings.index.ef_construction
    tuned = tuned_graph(
        vectors, settings=settings.index, grown=grown, on_progress=lambda done: progress(INDEXING, done, n)
    )
    if tuned is None:  # exact search serves: few rows, or no ef_search reaches the target
        graph, index = None, IndexRecord(m, ef_construction, ef_search=0, ann_recall_at_10=1.0, sample=0)
    else:
        graph, index = tuned[0], IndexRecord(m, ef_construction, **asdict(tuned[1]))
    # The last progress call before the atlas is there: a Cancelled after it would come too late.
    progress(WRITING, 0, 1)
    return store.write_atlas(
        store.AtlasParts(
            name=name,
            papers=papers,
            vectors=vectors,
            coordinates=coordinates,
            region_ids=region_ids,
            regions=names,
            pair_distances=random_pair_distances(vectors),
            graph=graph,
            encoder=encoder,
            index=index,
            projection=asdict(settings.projection) if projection is None else projection,
            source=source,
            versions=package_versions() if versions is None else versions,
            corpus=corpus,
            fitted=fitted,
            problems=problems,
            title=title,
            growth=growth,
        )
    )


def random_pair_distances(vectors: Vectors, *, pairs: int = RANDOM_PAIRS) -> NDArray[np.float32]:
    """L2 distances between random pairs of different rows, sorted: float32 (pairs,); empty for fewer than two rows."""
    n = len(vectors)
    if n < 2:
        return np.empty(0, dtype=np.float32)
    rng = np.random.default_rng(_PAIRS_SEED)
    first = rng.integers(0, n, size=pairs)
    second = (first + rng.integers(1, n, size=pairs)) % n  # never the same row
    distances = np.empty(pairs, dtype=np.float32)
    for start in range(0, pairs, 4096):
        part = slice(start, start + 4096)
        distances[part] = np.linalg.norm(vectors[first[part]] - vectors[second[part]], axis=1)
    distances.sort()
    return distances


def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that shape an atlas."""
    packages = ("numpy", "torch", "transformers", "tokenizers", "hnswlib", "umap-learn", "scikit-learn", "pyarrow")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


# Reading


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
    progress: Progress = no_progress,
) -> Papers:
    """The papers of some files, merged; columns and without_abstract as in `build_atlas`.

    progress: READING, in thousandths of a file. Raises NothingToBuild, TooManyPapers, UnreadableFileError.
    """
    merger = Merger()
    reports = []
    total = 1000 * len(files)
    for number, (path, mapping) in enumerate(zip(files, columns or [None] * len(files), strict=True)):
        with read(path, columns=mapping, without_abstract=without_abstract) as reading:
            for paper in reading:
                merger.add(paper, report=reading.report, place=reading.place)
                if reading.report.kept % 1024 == 0:
                    progress(READING, round(1000 * (number + reading.fraction)), total)
        progress(READING, 1000 * (number + 1), total)
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
    """What the manifest says of each file, and of how all are read. Raises UnreadableFileError."""
    described = [
        describe_file(path) | ({"columns": dict(mapping)} if mapping else {})
        for path, mapping in zip(files, columns or [None] * len(files), strict=True)
    ]
    return described, {"without_abstract": without_abstract} if without_abstract != "leave_out" else {}


def describe_file(path: Path) -> dict[str, Any]:
    """Name, size and SHA-256 of a file of papers. Raises UnreadableFileError."""
    try:
        return {"name": path.name, **asdict(store.checksum(path))}
    except OSError as error:
        unreadable = UnreadableFileError(
            f"it cannot be read ({error.strerror})", advice="Check the path, and who may read it."
        )
        unreadable.locate(file=path.name)
        raise unreadable from error


# Stages that are resumed from the work folder


def work_folder(name: str, *, files: list[dict[str, Any]], fingerprint: str, settings: BuildSettings) -> Path:
    """Where a build of these files, by this encoder and with these settings, keeps its work."""
    key = {"files": files, "fingerprint": fingerprint, "settings": asdict(settings), "chunk": CHUNK}
    return paths.work_folder(name, key)


def _read_resumably(
    work: Path,
    files: Sequence[Path],
    progress: Progress,
    *,
    columns: Sequence[Columns | None] | None,
    without_abstract: WithoutAbstract,
) -> Papers:
    papers_path, account_path, problems_path = work / store.PAPERS, work / "reading.json", work / store.PROBLEMS
    if papers_path.is_file() and account_path.is_file():
        account = json.loads(account_path.read_text(encoding="utf-8"))
        return Papers(pq.read_table(papers_path), account, pq.read_table(problems_path))
    try:
        papers = read_files(files, columns=columns, without_abstract=without_abstract, progress=progress)
    except CociteAtlasError as error:
        if not isinstance(error, Cancelled):  # the files are at fault: nothing to resume
            shutil.rmtree(work, ignore_errors=True)
        raise
    write_table(papers_path, papers.papers)
    write_table(problems_path, papers.problems)
    write_text(account_path, json.dumps(papers.account))
    return papers


def encode_resumably(work: Path, papers: pa.Table, encoder: Encoder, progress: Progress) -> Vectors:
    """All vectors, float32 (n, d), kept in the work folder as files of `CHUNK` rows; what is there is not redone."""

    def chunk_path(start: int) -> Path:
        return work / f"vectors-{start:09d}.npy"

    n = papers.num_rows
    vectors = np.empty((n, encoder.dimensions), dtype=np.float32)
    done = 0
    while done < n and (path := chunk_path(done)).is_file():
        rows = slice(done, min(done + CHUNK, n))
        vectors[rows] = np.load(path, allow_pickle=False)
        done = rows.stop
    progress(ENCODING, done, n)
    start = done
    texts = _texts(papers.slice(done))
    for part in encoder.stream(texts, chunk=CHUNK, progress=lambda stage, more, _: progress(stage, done + more, n)):
        vectors[start : start + len(part)] = part
        write_array(chunk_path(start), part)
        start += len(part)
    return vectors


def _texts(papers: pa.Table) -> Iterator[tuple[str, str]]:
    """Titles and abstracts, a chunk at a time as Python strings."""
    for batch in papers.select(["title", "abstract"]).to_batches(max_chunksize=CHUNK):
        yield from zip(batch["title"].to_pylist(), batch["abstract"].to_pylist(), strict=True)


def encode_papers(papers: pa.Table, encoder: Encoder) -> Vectors:
    """The vectors of a table of papers: float32 (n, d)."""
    return encoder.encode(list(_texts(papers)))


def project_resumably(
    work: Path, vectors: Vectors, settings: ProjectionSettings, progress: Progress
) -> NDArray[np.float32]:
    """The map coordinates of all vectors, float32 (n, 2), kept in the work folder."""
    path = work / store.COORDINATES
    progress(PROJECTING, 0, 1)
    if path.is_file():
        kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return kept
    coordinates = fit_projection(vectors, settings=settings, progress=progress)
    write_array(path, coordinates)
    return coordinates
