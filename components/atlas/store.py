"""Atlases on disk. Only this module reads or writes built data.

<home>/<name>/manifest.json  what it is; its rename is the moment when a build counts
<home>/<name>/<build>/…      papers, vectors, coordinates, regions, distances of random pairs, the index's graph
<home>/<name>/work-<key>/…   a build in progress, resumed by the next one with the same key
"""

import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.atlas.facets import Facets
from components.atlas.manifest import FORMAT, Checksum, EncoderRecord, Growth, IndexRecord, Manifest, ManifestDamaged
from components.atlas.paths import DEFAULT_ATLAS, FOLDER, MANIFEST, NoSuchAtlas, atlas_folder, atlas_names
from components.encoder.catalogue import LEXICAL
from components.encoder.lexical import LexicalEncoder
from components.index.exact import ExactIndex, Vectors
from components.index.hnsw import HnswIndex, NeighbourIndex
from components.mapping.regions import Region
from corpus.errors import CociteAtlasError
from corpus.io.files import ODD_HEADERS, beside, write_array, write_table, write_text
from corpus.io.hashing import sha256_of
from corpus.paper import SCHEMA, Paper, paper_at
from corpus.readers.report import PROBLEMS_SCHEMA

PAPERS, VECTORS, COORDINATES = "papers.parquet", "vectors.npy", "coordinates.npy"
REGIONS, PAIRS, GRAPH = "regions.npy", "pair_distances.npy", "index.hnsw"
FITTED = "encoder.npz"  # the lexical encoder, fitted on this corpus
PROBLEMS = "problems.parquet"  # the records that were left out; older atlases lack it


class AtlasDamaged(CociteAtlasError):
    """An atlas with a file that is missing, changed, foreign or not aligned with the others; names the file."""


class FingerprintMismatch(CociteAtlasError):
    """A query encoded by another checkpoint than the atlas: distances between the two would mean nothing."""


@dataclass(frozen=True, slots=True)
class AtlasParts:
    """What `write_atlas` writes: arrays aligned by row, and the records that go into the manifest.

    papers: a table with `SCHEMA`, n rows. vectors: float32 (n, d). coordinates: float32 (n, 2).
    region_ids: int16 (n,), −1 between regions. pair_distances: float32, sorted: L2 between random pairs of rows.
    graph: None where search is exact. corpus: "" for the atlas's own name. fitted: the lexical encoder, if that made
    the vectors. problems: the records that were left out, with `PROBLEMS_SCHEMA`; None if unknown.
    """

    name: str
    papers: pa.Table
    vectors: Vectors
    coordinates: NDArray[np.float32]
    region_ids: NDArray[np.int16]
    regions: tuple[Region, ...]
    pair_distances: NDArray[np.float32]
    graph: HnswIndex | None
    encoder: EncoderRecord
    index: IndexRecord
    projection: dict[str, Any]
    source: dict[str, Any]
    versions: dict[str, str]
    corpus: str = ""
    fitted: LexicalEncoder | None = None
    problems: pa.Table | None = None
    title: str = ""
    growth: Growth = field(default_factory=Growth)


@dataclass(eq=False)
class Atlas:
    """An open atlas: row i is paper i, `vectors[i]`, label i in the index and point i on the map."""

    manifest: Manifest
    papers: pa.Table
    vectors: Vectors
    coordinates: NDArray[np.float32]
    region_ids: NDArray[np.int16]
    pair_distances: NDArray[np.float32]
    index: NeighbourIndex

    @property
    def name(self) -> str:
        """The name that opens it."""
        return self.manifest.name

    @property
    def build(self) -> str:
        """The id of this build, new at every build: the key for caches."""
        return self.manifest.folder

    def __len__(self) -> int:
        return self.manifest.papers

    @cached_property
    def facets(self) -> Facets:
        """Years, venues and topics, to filter by."""
        return Facets(self.papers)

    def paper(self, row: int) -> Paper:
        """The paper of a row. Raises IndexError outside 0 ≤ row < n."""
        return paper_at(self.papers, row)

    def titles(self, rows: NDArray[np.int64] | list[int]) -> list[str]:
        """The titles of some rows, in their order."""
        return cast(list[str], self.papers["title"].take(pa.array(rows, type=pa.int64())).to_pylist())

    def row_of(self, paper_id: str) -> int | None:
        """The row of a paper's id; None if there is none."""
        row = pc.index(self.papers["id"], paper_id).as_py()
        return None if row < 0 else int(row)

    def region_of(self, row: int) -> Region | None:
        """The region of the map that a row lies in; None between regions."""
        number = int(self.region_ids[row])
        return None if number < 0 else self.manifest.regions[number]

    def share_of_pairs_farther(self, l2_distance: float) -> float:
        """The share (0 to 1) of random pairs of this corpus that lie farther apart than a distance.

        At most what the number of pairs can show: 15 papers are 105 pairs.
        """
        if len(self.pair_distances) == 0:
            return 0.0
        nearer = np.searchsorted(self.pair_distances, l2_distance, side="right")
        pairs = len(self) * (len(self) - 1) // 2
        return min(float(1 - nearer / len(self.pair_distances)), 1 - 1 / max(pairs, 1))

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise FingerprintMismatch unless vectors of that fingerprint can be compared with this atlas's."""
        if fingerprint != self.manifest.encoder.fingerprint:
            raise FingerprintMismatch(
                f"The atlas {self.name!r} was encoded by {self.manifest.encoder.name}; this query was encoded by "
                "another checkpoint, so their distances mean nothing. Encode the query with the atlas's own encoder, "
                f"or build the atlas again with this one."
            )


def read_manifest(name: str) -> Manifest:
    """The manifest of an atlas. Raises NoSuchAtlas, AtlasDamaged."""
    path = atlas_folder(name) / MANIFEST
    try:
        manifest = Manifest.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(atlas_names()) or "none yet"
        how = f"{DEFAULT_ATLAS} --assemble" if name == DEFAULT_ATLAS else f"FILE --name {name}"
        raise NoSuchAtlas(f"No atlas is called {name!r} (there are: {known}). Build one: cocite build {how}") from error
    except (OSError, UnicodeDecodeError, ManifestDamaged) as error:
        raise _damaged(name, str(error)) from error
    if manifest.name != name:
        raise _damaged(name, f"manifest.json belongs to another atlas ({manifest.name!r:.80})")
    return manifest


def open_atlas(name: str) -> Atlas:
    """Open an atlas; every file is checked against its checksum before anything reads it.

    Raises NoSuchAtlas, or AtlasDamaged naming the first file that is not what the manifest says.
    """
    while True:
        manifest = read_manifest(name)
        try:
            return _open(manifest)
        except AtlasDamaged:
            # A build that ended meanwhile deleted these files; the new ones are there now.
            if read_manifest(name).folder == manifest.folder:
                raise


def _open(manifest: Manifest) -> Atlas:
    name, n, d = manifest.name, manifest.papers, manifest.dimensions
    folder = atlas_folder(name) / manifest.folder
    wanted = {PAPERS, VECTORS, COORDINATES, REGIONS, PAIRS}
    wanted |= {GRAPH} if manifest.index.ef_search else set()
    wanted |= {FITTED} if manifest.encoder.source == LEXICAL else set()
    if set(manifest.files) - {PROBLEMS} != wanted:
        raise _damaged(name, "its manifest lists other files than an atlas has")
    try:
        for file, expected in manifest.files.items():
            check_file(folder / file, expected, atlas=name)
        papers = pq.read_table(folder / PAPERS)
        if papers.schema.names != SCHEMA.names or papers.num_rows != n:
            raise ValueError(f"{PAPERS} holds {papers.num_rows} rows of {papers.schema.names}")
        papers = papers.cast(SCHEMA)
        vectors = read_array(folder / VECTORS, shape=(n, d), dtype=np.float32)
        coordinates = read_array(folder / COORDINATES, shape=(n, 2), dtype=np.float32)
        region_ids = read_array(folder / REGIONS, shape=(n,), dtype=np.int16)
        pairs = read_array(folder / PAIRS, shape=None, dtype=np.float32)
        check_region_ids(region_ids, manifest)
        if not np.isfinite(coordinates).all():
            raise ValueError(f"{COORDINATES} holds values that are not finite")
        exact = ExactIndex(vectors)
        ef_search = manifest.index.ef_search
        graph = HnswIndex.load(folder / GRAPH, vectors, ef_search=ef_search) if ef_search else None
    except (ValueError, OSError, EOFError, pa.ArrowException) as error:
        raise _damaged(name, str(error)) from error
    return Atlas(manifest, papers, vectors, coordinates, region_ids, pairs, NeighbourIndex(exact, graph))


def read_problems(manifest: Manifest) -> pa.Table | None:
    """The records that were left out of an atlas, with `PROBLEMS_SCHEMA`; None if unknown. Raises AtlasDamaged."""
    if PROBLEMS not in manifest.files:
        return None
    path = atlas_folder(manifest.name) / manifest.folder / PROBLEMS
    check_file(path, manifest.files[PROBLEMS], atlas=manifest.name)
    try:
        return pq.read_table(path).cast(PROBLEMS_SCHEMA)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise _damaged(manifest.name, f"{PROBLEMS}: {error}") from error


def write_atlas(parts: AtlasParts) -> Manifest:
    """Write an atlas and make it the one of its name. Until the last rename the old one, if any, stays whole.

    Raises OSError where the disk is full; ValueError where the parts are not aligned.
    """
    n = parts.papers.num_rows
    if not len(parts.vectors) == len(parts.coordinates) == len(parts.region_ids) == n:
        raise ValueError("papers, vectors, coordinates and regions are not of one length")
    if (parts.encoder.source == LEXICAL) != (parts.fitted is not None):
        raise ValueError("an atlas of the lexical encoder needs it as it was fitted, and no other has one")
    top = atlas_folder(parts.name)
    build = secrets.token_hex(8)
    folder = top / build
    folder.mkdir(parents=True)
    try:
        write_table(folder / PAPERS, parts.papers)
        write_array(folder / VECTORS, parts.vectors)
        write_array(folder / COORDINATES, parts.coordinates)
        write_array(folder / REGIONS, parts.region_ids)
        write_array(folder / PAIRS, parts.pair_distances)
        if parts.problems is not None:
            write_table(folder / PROBLEMS, parts.problems)
        for file, saved in ((GRAPH, parts.graph), (FITTED, parts.fitted)):
            if saved is not None:
                with beside(folder / file) as path:
                    saved.save(path)
        manifest = Manifest(
            format=FORMAT,
            name=parts.name,
            folder=build,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            papers=n,
            dimensions=parts.vectors.shape[1],
            encoder=parts.encoder,
            index=parts.index,
            projection=parts.projection,
            regions=parts.regions,
            source=parts.source,
            versions=parts.versions,
            files={path.name: checksum(path) for path in sorted(folder.iterdir())},
            corpus=parts.corpus or parts.name,
            title=parts.title,
            growth=parts.growth,
        )
        write_text(top / MANIFEST, manifest.to_json())
    except BaseException:
        # An interrupt may come just after the manifest's rename: then these files are the atlas.
        if parts.name not in atlas_names() or read_manifest(parts.name).folder != build:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    for other in top.iterdir():
        if other.is_dir() and FOLDER.fullmatch(other.name) and other.name != build:
            shutil.rmtree(other, ignore_errors=True)
    return manifest


def checksum(path: Path) -> Checksum:
    """The size and SHA-256 of a file."""
    return Checksum(bytes=path.stat().st_size, sha256=sha256_of(path))


def check_file(path: Path, expected: Checksum, *, atlas: str) -> None:
    """Raise AtlasDamaged, naming the file, unless it is there and has its checksum."""
    if not path.is_file():
        raise _damaged(atlas, f"{path.name} is missing")
    size = path.stat().st_size
    if size != expected.bytes:
        raise _damaged(atlas, f"{path.name} has {size:,} bytes instead of {expected.bytes:,}")
    if checksum(path) != expected:
        raise _damaged(atlas, f"{path.name} has been changed since it was built")


def read_array(path: Path, *, shape: tuple[int, ...] | None, dtype: type[np.generic]) -> NDArray[Any]:
    """An array in a file, memory-mapped. shape: None for any. Raises ValueError, OSError or EOFError for another."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ODD_HEADERS as error:
        raise ValueError(f"{path.name} has an invalid header") from error
    if not isinstance(array, np.ndarray):  # np.load opens archives too
        raise ValueError(f"{path.name} holds no array")
    if array.dtype != dtype or (shape is not None and array.shape != shape):
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
    return array


def check_region_ids(region_ids: NDArray[np.int16], manifest: Manifest) -> None:
    """Raise ValueError where a row is in a region that the manifest does not have."""
    if len(region_ids) and not -1 <= int(region_ids.min()) <= int(region_ids.max()) < len(manifest.regions):
        raise ValueError(f"{REGIONS} names a region that the manifest does not have")


def _damaged(name: str, reason: str) -> AtlasDamaged:
    if name == DEFAULT_ATLAS:
        advice = f"Assemble it again from the shipped files: cocite build {name} --assemble"
    else:
        advice = f"Build it again (cocite build … --name {name}) or put the file back from a copy."
    return AtlasDamaged(f"{name}: {reason}. {advice}")
