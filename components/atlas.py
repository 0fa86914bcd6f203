"""Atlases on disk. Nothing else reads or writes built data.

<home>/<name>/manifest.json  what it is; its rename is the moment at which a build counts
<home>/<name>/<build>/…      papers, vectors, coordinates, regions, distances of random pairs, the index's graph
<home>/<name>/work-<key>/…   a build under way, resumed by the next one with the same key
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.encoder import LEXICAL, LexicalEncoder
from components.facets import Facets
from components.files import beside, write_array, write_table, write_text
from components.index import ExactIndex, HnswIndex, NeighbourIndex, Vectors
from components.manifest import FORMAT, EncoderRecord, FileSeal, Growth, IndexRecord, Manifest, ManifestDamaged, Region
from corpus.errors import CociteAtlasError
from corpus.hashing import sha256_of
from corpus.paper import SCHEMA, Paper, paper_at

HOME_VARIABLE = "COCITE_ATLAS_HOME"
DEFAULT_ATLAS = "medline"  # assembled from shipped files: no build of other files may take its name
_DEFAULT_HOME = Path(__file__).resolve().parents[1] / "corpus" / "built"

# Names are typed by people and come in links: this pattern is what keeps them from being paths.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FOLDER = re.compile(r"[0-9a-f]{16}")

PAPERS, VECTORS, COORDINATES = "papers.parquet", "vectors.npy", "coordinates.npy"
REGIONS, PAIRS, GRAPH = "regions.npy", "pair_distances.npy", "index.hnsw"
FITTED = "encoder.npz"  # the lexical encoder, which is its corpus's own
MANIFEST, LOCK = "manifest.json", ".lock"


class NoSuchAtlas(CociteAtlasError):
    """No atlas of that name, or a name that no atlas can have."""


class AtlasDamaged(CociteAtlasError):
    """An atlas with a file that is missing, changed, foreign or out of step with the others; it names the file."""


class FingerprintMismatch(CociteAtlasError):
    """A query encoded by another checkpoint than the atlas: distances between the two would mean nothing."""


class AtlasBusy(CociteAtlasError):
    """Another process is building the atlas of that name."""


@dataclass(frozen=True, slots=True)
class AtlasParts:
    """All that a build hands over to be written: arrays aligned by row, and the records that say how they came about.

    papers: a table with `SCHEMA`, n rows. vectors: float32 (n, d). coordinates: float32 (n, 2).
    region_ids: int16 (n,), −1 between regions. pair_distances: float32, sorted: L2 between random pairs of rows.
    graph: None where the corpus is too small for one. corpus: empty where it is the atlas's own name.
    fitted: the lexical encoder that made the vectors; None where another did.
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
        """Which share (0 to 1) of random pairs of this corpus lies farther apart than a distance."""
        if len(self.pair_distances) == 0:
            return 0.0
        nearer = np.searchsorted(self.pair_distances, l2_distance, side="right")
        return float(1 - nearer / len(self.pair_distances))

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise FingerprintMismatch unless vectors of that fingerprint can be compared with this atlas's."""
        if fingerprint != self.manifest.encoder.fingerprint:
            raise FingerprintMismatch(
                f"The atlas {self.name!r} was encoded by {self.manifest.encoder.name}; this query was encoded by "
                "another checkpoint, so their distances mean nothing. Encode the query with the atlas's own encoder, "
                f"or build the atlas again with this one."
            )


def home() -> Path:
    """The folder that holds all atlases: $COCITE_ATLAS_HOME, by default corpus/built/ in the project."""
    return Path(os.environ.get(HOME_VARIABLE) or _DEFAULT_HOME).expanduser()


def atlas_names() -> list[str]:
    """The names of all atlases that have a manifest, sorted."""
    if not home().is_dir():
        return []
    return sorted(
        folder.name for folder in home().iterdir() if _NAME.fullmatch(folder.name) and (folder / MANIFEST).is_file()
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
    if not _NAME.fullmatch(manifest.corpus):
        raise AtlasDamaged(f"{name}/manifest.json names a corpus {manifest.corpus!r:.80}. {_rebuild_hint(name)}")
    if manifest.name != name or not _FOLDER.fullmatch(manifest.folder):
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
    if set(manifest.files) != wanted:
        raise AtlasDamaged(f"{name}: its manifest lists other files than an atlas has. {_rebuild_hint(name)}")
    try:
        for file, seal in manifest.files.items():
            check_seal(folder / file, seal, atlas=name)
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
        manifest = replace(manifest, files={path.name: seal(path) for path in sorted(folder.iterdir())})
        write_text(top / MANIFEST, manifest.to_json())
    except BaseException:
        # An interrupt may come in the very moment after the manifest's rename: then these files are the atlas.
        if parts.name not in atlas_names() or read_manifest(parts.name).folder != build:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    for other in top.iterdir():
        if other.is_dir() and _FOLDER.fullmatch(other.name) and other.name != build:
            shutil.rmtree(other, ignore_errors=True)
    return manifest


@contextmanager
def build_lock(name: str) -> Iterator[Path]:
    """Hold the right to build the atlas of a name; gives its folder. Raises AtlasBusy where another process holds it.

    The operating system lets go of it when the process ends, however it ends.
    """
    folder = atlas_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    # Not at once: whoever looks whether a build is under way holds it for a moment.
    lock = filelock.FileLock(folder / LOCK, timeout=0.3)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise AtlasBusy(f"The atlas {name!r} is being built by another process. Wait for it, or stop it.") from error
    try:
        yield folder
    finally:
        lock.release()


def work_folder(name: str, settings: dict[str, Any]) -> Path:
    """Where a build with these settings keeps what it has done so far. Work on other settings is thrown away."""
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    wanted = atlas_folder(name) / f"work-{key}"
    for other in atlas_folder(name).glob("work-*"):
        if other != wanted:
            shutil.rmtree(other, ignore_errors=True)
    wanted.mkdir(parents=True, exist_ok=True)
    for torn in wanted.glob("*.partial"):
        torn.unlink(missing_ok=True)
    return wanted


def work_folders(name: str | None = None) -> list[Path]:
    """The work folders of the builds of an atlas, or of all; those of builds under way among them."""
    tops = [atlas_folder(name)] if name is not None else sorted(home().glob("*")) if home().is_dir() else []
    return [work for top in tops if _NAME.fullmatch(top.name) for work in sorted(top.glob("work-*")) if work.is_dir()]


def atlas_folder(name: str) -> Path:
    """The folder of a name, there or not. Raises NoSuchAtlas for what cannot be a name."""
    if not _NAME.fullmatch(name):
        raise NoSuchAtlas(
            f"{name!r:.80} cannot be the name of an atlas: use up to 64 of a–z, 0–9, '.', '_' and '-', "
            "the first a letter or a digit."
        )
    return home() / name


def seal(path: Path) -> FileSeal:
    """The size and SHA-256 of a file as it is now."""
    return FileSeal(bytes=path.stat().st_size, sha256=sha256_of(path))


def check_seal(path: Path, expected: FileSeal, *, atlas: str) -> None:
    """Raise AtlasDamaged, naming the file, unless it is there and what it was when it was sealed."""
    if not path.is_file():
        raise AtlasDamaged(f"{atlas}: {path.name} is missing. {_rebuild_hint(atlas)}")
    if path.stat().st_size != expected.bytes:
        raise AtlasDamaged(
            f"{atlas}: {path.name} has {path.stat().st_size:,} bytes instead of {expected.bytes:,}. "
            f"{_rebuild_hint(atlas)}"
        )
    if seal(path).sha256 != expected.sha256:
        raise AtlasDamaged(f"{atlas}: {path.name} has been changed since it was built. {_rebuild_hint(atlas)}")


def read_array(path: Path, *, shape: tuple[int, ...] | None, dtype: type[np.generic]) -> NDArray[Any]:
    """An array in a file, mapped and not read. shape: None where any will do. Raises ValueError for another array."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):  # np.load opens archives too
        raise ValueError(f"{path.name} holds no array")
    if array.dtype != dtype or (shape is not None and array.shape != shape):
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
    return array


def _rebuild_hint(name: str) -> str:
    if name == DEFAULT_ATLAS:
        return f"Assemble it again from the shipped files: python -m corpus build {name} --assemble"
    return f"Build it again (python -m corpus build … --name {name}) or put the file back from a copy."
