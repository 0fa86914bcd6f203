"""Atlases on disk. Nothing else reads or writes built data.

<home>/<name>/manifest.json  what it is; its rename is the moment at which a build counts
<home>/<name>/<build>/…      papers, vectors, coordinates, regions, distances of random pairs, the index's graph
<home>/<name>/work-<key>/…   a build under way, resumed by the next one with the same key
"""

import secrets
import shutil
from dataclasses import dataclass, field, replace
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
from components.atlas.manifest import (
    FORMAT,
    Checksum,
    EncoderRecord,
    Growth,
    IndexRecord,
    Manifest,
    ManifestDamaged,
    Region,
)
from components.atlas.paths import DEFAULT_ATLAS, FOLDER, MANIFEST, NAME, NoSuchAtlas, atlas_folder, atlas_names
from components.encoder import LEXICAL, LexicalEncoder
from components.index.exact import ExactIndex, Vectors
from components.index.hnsw import HnswIndex, NeighbourIndex
from corpus.errors import CociteAtlasError
from corpus.io.files import ODD_HEADERS, beside, write_array, write_table, write_text
from corpus.io.hashing import sha256_of
from corpus.paper import SCHEMA, Paper, paper_at
from corpus.readers.report import PROBLEMS_SCHEMA

PAPERS, VECTORS, COORDINATES = "papers.parquet", "vectors.npy", "coordinates.npy"
REGIONS, PAIRS, GRAPH = "regions.npy", "pair_distances.npy", "index.hnsw"
FITTED = "encoder.npz"  # the lexical encoder, which is its corpus's own
PROBLEMS = "problems.parquet"  # the records that were left out; atlases from before it was kept lack it


class AtlasDamaged(CociteAtlasError):
    """An atlas with a file that is missing, changed, foreign or out of step with the others; it names the file."""


class FingerprintMismatch(CociteAtlasError):
    """A query encoded by another checkpoint than the atlas: distances between the two would mean nothing."""


@dataclass(frozen=True, slots=True)
class AtlasParts:
    """All that a build hands over to be written: arrays aligned by row, and the records that say how they came about.

    papers: a table with `SCHEMA`, n rows. vectors: float32 (n, d). coordinates: float32 (n, 2).
    region_ids: int16 (n,), −1 between regions. pair_distances: float32, sorted: L2 between random pairs of rows.
    graph: None where the corpus is too small for one. corpus: empty where it is the atlas's own name.
    fitted: the lexical encoder that made the vectors; None where another did.
    problems: the records that were left out, with `PROBLEMS_SCHEMA`; None where nobody knows.
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


class Atlas:
    """An open atlas: row i is paper i, `vectors[i]`, label i in the index and point i on the map."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        papers: pa.Table,
        vectors: Vectors,
        coordinates: NDArray[np.float32],
        region_ids: NDArray[np.int16],
        pair_distances: NDArray[np.float32],
        index: NeighbourIndex,
    ) -> None:
        self.manifest = manifest
        self.papers = papers
        self.vectors = vectors
        self.coordinates = coordinates
        self.region_ids = region_ids
        self.pair_distances = pair_distances
        self.index = index

    @property
    def name(self) -> str:
        """The name that it is opened by."""
        return self.manifest.name

    @property
    def build(self) -> str:
        """The name of this very build, another for every time that it is built. What caches are keyed by."""
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
        """The row of a paper's id; None where the atlas has no such paper."""
        row = pc.index(self.papers["id"], paper_id).as_py()
        return None if row < 0 else int(row)

    def region_of(self, row: int) -> Region | None:
        """The region of the map that a row lies in; None between regions."""
        number = int(self.region_ids[row])
        return None if number < 0 else self.manifest.regions[number]

    def share_of_pairs_farther(self, l2_distance: float) -> float:
        """Which share (0 to 1) of random pairs of this corpus lies farther apart than a distance.

        Never so near to 1 that the pairs that there are could not show it: 15 papers are 105 pairs.
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
        raise NoSuchAtlas(
            f"No atlas is called {name!r} (there are: {known}). Build one: python -m corpus build {how}"
        ) from error
    except (OSError, UnicodeDecodeError, ManifestDamaged) as error:
        raise AtlasDamaged(f"{name}: {error}. {_rebuild_hint(name)}") from error
    if not NAME.fullmatch(manifest.corpus):
        raise AtlasDamaged(f"{name}/manifest.json names a corpus {manifest.corpus!r:.80}. {_rebuild_hint(name)}")
    if manifest.name != name or not FOLDER.fullmatch(manifest.folder):
        raise AtlasDamaged(
            f"{name}/manifest.json belongs to another atlas ({manifest.name!r:.80}). {_rebuild_hint(name)}"
        )
    return manifest


def open_atlas(name: str) -> Atlas:
    """Open an atlas, every file checked against its seal before anything reads it.

    Raises NoSuchAtlas, or AtlasDamaged naming the first file that is not what the manifest says.
    """
    while True:
        manifest = read_manifest(name)
        try:
            return _open(manifest)
        except AtlasDamaged:
            # A build that ended meanwhile took the files away; its own are there now.
            if read_manifest(name).folder == manifest.folder:
                raise


def _open(manifest: Manifest) -> Atlas:
    name = manifest.name
    folder = atlas_folder(name) / manifest.folder
    n, d = manifest.papers, manifest.dimensions
    wanted = {PAPERS, VECTORS, COORDINATES, REGIONS, PAIRS} | ({GRAPH} if manifest.index.ef_search else set())
    wanted |= {FITTED} if manifest.encoder.source == LEXICAL else set()
    if set(manifest.files) - {PROBLEMS} != wanted:
        raise AtlasDamaged(f"{name}: its manifest lists other files than an atlas has. {_rebuild_hint(name)}")
    try:
        for file, seal in manifest.files.items():
            check_file(folder / file, seal, atlas=name)
        papers = pq.read_table(folder / PAPERS)
        if papers.schema.names != SCHEMA.names or papers.num_rows != n:
            raise ValueError(f"{PAPERS} holds {papers.num_rows} rows of {papers.schema.names}")
        papers = papers.cast(SCHEMA)
        vectors = read_array(folder / VECTORS, shape=(n, d), dtype=np.float32)
        coordinates = read_array(folder / COORDINATES, shape=(n, 2), dtype=np.float32)
        region_ids = read_array(folder / REGIONS, shape=(n,), dtype=np.int16)
        pairs = read_array(folder / PAIRS, shape=None, dtype=np.float32)
        if n and not -1 <= int(region_ids.min()) <= int(region_ids.max()) < len(manifest.regions):
            raise ValueError(f"{REGIONS} names a region that the manifest does not have")
        if not np.isfinite(coordinates).all():
            raise ValueError(f"{COORDINATES} holds values that are not finite")
        exact = ExactIndex(vectors)
        ef_search = manifest.index.ef_search
        graph = HnswIndex.load(folder / GRAPH, vectors, ef_search=ef_search) if ef_search else None
    except (ValueError, OSError, EOFError, pa.ArrowException) as error:
        raise AtlasDamaged(f"{name}: {error}. {_rebuild_hint(name)}") from error
    return Atlas(
        manifest,
        papers=papers,
        vectors=vectors,
        coordinates=coordinates,
        region_ids=region_ids,
        pair_distances=pairs,
        index=NeighbourIndex(exact, graph),
    )


def read_problems(manifest: Manifest) -> pa.Table | None:
    """The records that were left out when an atlas was built, with `PROBLEMS_SCHEMA`; None where that was not kept.

    Raises AtlasDamaged.
    """
    if PROBLEMS not in manifest.files:
        return None
    path = atlas_folder(manifest.name) / manifest.folder / PROBLEMS
    check_file(path, manifest.files[PROBLEMS], atlas=manifest.name)
    try:
        return pq.read_table(path).cast(PROBLEMS_SCHEMA)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise AtlasDamaged(f"{manifest.name}: {PROBLEMS}: {error}. {_rebuild_hint(manifest.name)}") from error


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
        if parts.graph is not None:
            with beside(folder / GRAPH) as path:
                parts.graph.save(path)
        if parts.fitted is not None:
            with beside(folder / FITTED) as path:
                parts.fitted.save(path)
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
            corpus=parts.corpus or parts.name,
            title=parts.title,
            growth=parts.growth,
        )
        manifest = replace(manifest, files={path.name: checksum(path) for path in sorted(folder.iterdir())})
        write_text(top / MANIFEST, manifest.to_json())
    except BaseException:
        # An interrupt may come in the very moment after the manifest's rename: then these files are the atlas.
        if parts.name not in atlas_names() or read_manifest(parts.name).folder != build:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    for other in top.iterdir():
        if other.is_dir() and FOLDER.fullmatch(other.name) and other.name != build:
            shutil.rmtree(other, ignore_errors=True)
    return manifest


def checksum(path: Path) -> Checksum:
    """The size and SHA-256 of a file as it is now."""
    return Checksum(bytes=path.stat().st_size, sha256=sha256_of(path))


def check_file(path: Path, expected: Checksum, *, atlas: str) -> None:
    """Raise AtlasDamaged, naming the file, unless it is there and what it was when it was sealed."""
    if not path.is_file():
        raise AtlasDamaged(f"{atlas}: {path.name} is missing. {_rebuild_hint(atlas)}")
    if path.stat().st_size != expected.bytes:
        raise AtlasDamaged(
            f"{atlas}: {path.name} has {path.stat().st_size:,} bytes instead of {expected.bytes:,}. "
            f"{_rebuild_hint(atlas)}"
        )
    if checksum(path).sha256 != expected.sha256:
        raise AtlasDamaged(f"{atlas}: {path.name} has been changed since it was built. {_rebuild_hint(atlas)}")


def read_array(path: Path, *, shape: tuple[int, ...] | None, dtype: type[np.generic]) -> NDArray[Any]:
    """An array in a file, mapped and not read. shape: None where any will do. Raises ValueError for another array."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ODD_HEADERS as error:
        raise ValueError(f"{path.name} has a header that is none") from error
    if not isinstance(array, np.ndarray):  # np.load opens archives too
        raise ValueError(f"{path.name} holds no array")
    if array.dtype != dtype or (shape is not None and array.shape != shape):
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
    return array


def _rebuild_hint(name: str) -> str:
    if name == DEFAULT_ATLAS:
        return f"Assemble it again from the shipped files: python -m corpus build {name} --assemble"
    return f"Build it again (python -m corpus build … --name {name}) or put the file back from a copy."
