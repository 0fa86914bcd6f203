"""What is in an archive that anybody may have made: nothing of it is believed before it was checked."""

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.atlas import paths, store
from components.atlas.build import CHUNK, READING
from components.atlas.manifest import PRECOMPUTED, Checksum, EncoderRecord, Manifest, ManifestDamaged, Region
from components.encoder import (
    CATALOGUE,
    LEXICAL,
    EncoderUnavailable,
    LexicalEncoder,
    LexicalFileDamaged,
    find_checkpoint,
    own_checkpoints,
)
from components.encoder.stored import LARGEST_ARCHIVE
from components.index.exact import Vectors
from corpus.errors import CociteAtlasError, UnreadableFileError
from corpus.io.limits import DEFAULT_LIMITS
from corpus.io.streams import ZIP_ERRORS, CappedStream, zip_member_problem
from corpus.paper import SCHEMA, Paper, to_table
from corpus.progress import Progress
from corpus.text.plain import clean, clean_paragraphs

UNPACKING, CHECKING = "Unpacking the archive", "Checking its vectors"

PAPERS = "papers.jsonl.gz"  # in place of the atlas's Parquet, whose readers make room for whatever a file declares
ARRAYS = (store.VECTORS, store.COORDINATES, store.REGIONS)
FILES = frozenset({PAPERS, *ARRAYS})

MOST_DIMENSIONS = 8192
LARGEST_VALUE = 1e6  # of a vector; squares of larger ones leave float32
_LARGEST_MANIFEST = 16 * 2**20  # bytes; the accounts of a hundred files take one
_LONGEST_LINE = 16 * 2**20  # bytes; a paper of 20,000 authors takes one
_LONGEST_NAME = 200  # characters of a region's or an encoder's name, or a term
_DEEPEST = 20  # levels of the accounts of a reading; those that are written have six
_MOST_TERMS, _MOST_VERSIONS = 100, 100
_YEARS = range(1, 10_000)
_PIECE = 2**20  # bytes
_ROWS = 4096  # of vectors looked at in one go
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_WEB = ("https://", "http://")
# Of a zip's end: its record, and before that of a large one a locator and a record of 64 bits.
_END, _LOCATOR, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_DAMAGE = (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError, struct.error)
_LARGEST_DIRECTORY = 4096  # bytes; it has six entries of some 80


class ArchiveRefused(CociteAtlasError):
    """A file that is no archive of an atlas, or one that is not what it says."""


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip of an archive, its members checked. What is wrong with it, here and within, is ArchiveRefused."""
    try:
        with ExitStack() as stack:
            with _reading():
                file = stack.enter_context(path.open("rb"))
                _check_end(file)
                archive = stack.enter_context(zipfile.ZipFile(file))
                _check_members(archive, size=path.stat().st_size)
            yield archive
    except ArchiveRefused as error:
        again = "Make it again, or copy it again: python -m corpus archive ATLAS FILE"
        raise ArchiveRefused(f"{path.name} is refused: {error}. {again}") from error


@contextmanager
def _reading() -> Iterator[None]:
    """What zipfile and the operating system raise of a damaged or hostile file, which is no family, as one error."""
    try:
        yield
    except (*_DAMAGE, *ZIP_ERRORS) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ArchiveRefused(f"it cannot be read ({reason:.200})") from error


def _pieces(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with _reading(), archive.open(name) as member:
        while piece := member.read(_PIECE):
            yield piece


def _check_end(file: Any) -> None:
    """Raise ArchiveRefused where a zip lists more than an archive has: zipfile would read all of the list."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read().rjust(98, b"\0")
    if tail[-22:-18] != _END:
        raise ArchiveRefused("it is no archive of an atlas, or not all of it is there")
    (listed,) = struct.unpack("<L", tail[-10:-6])
    if tail[-42:-38] == _LOCATOR:
        (listed,) = struct.unpack("<Q", tail[-58:-50])
        (at,) = struct.unpack("<Q", tail[-34:-26])
        if tail[-98:-94] != _END64 or at != size - 98:
            raise ArchiveRefused("its list of files is not where it should be")
    if listed > _LARGEST_DIRECTORY:
        raise ArchiveRefused("it lists more files than an archive has")


def _check_members(archive: zipfile.ZipFile, *, size: int) -> None:
    sizes: dict[str, int] = {}
    for info in archive.infolist():
        if reason := zip_member_problem(info, sizes, max_bytes=LARGEST_ARCHIVE):
            raise ArchiveRefused(f"{info.orig_filename!r:.100} in it {reason}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ArchiveRefused(
                f"{info.orig_filename!r:.100} in it is packed; an archive's files are stored as they are"
            )
        sizes[info.filename] = info.file_size
    names = set(sizes)
    if names - {store.FITTED} != FILES | {paths.MANIFEST}:
        raise ArchiveRefused(f"it holds {_named(names)} instead of {_named(FILES | {paths.MANIFEST})}")
    # Members that lie over one another could else unpack to many times the file.
    if sum(sizes.values()) > size:
        raise ArchiveRefused("its files declare more bytes than it has")


def read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """The manifest in an archive; of its numbers and names those are checked that no file in it can contradict."""
    if archive.getinfo(paths.MANIFEST).file_size > _LARGEST_MANIFEST:
        raise ArchiveRefused(f"its {paths.MANIFEST} has more than {_LARGEST_MANIFEST:,} bytes")
    try:
        manifest = Manifest.from_json(b"".join(_pieces(archive, paths.MANIFEST)).decode("utf-8"))
        for name in (manifest.name, manifest.corpus):
            paths.atlas_folder(name)
    except (UnicodeDecodeError, ManifestDamaged, paths.NoSuchAtlas) as error:
        raise ArchiveRefused(str(error).rstrip(".")) from error
    if not 1 <= manifest.papers <= DEFAULT_LIMITS.records or not 1 <= manifest.dimensions <= MOST_DIMENSIONS:
        raise ArchiveRefused(
            f"it speaks of {manifest.papers!s:.40} papers in {manifest.dimensions!s:.40} dimensions; between 1 and "
            f"{DEFAULT_LIMITS.records:,} papers are read, in up to {MOST_DIMENSIONS:,}"
        )
    if set(manifest.files) != set(archive.namelist()) - {paths.MANIFEST}:
        raise ArchiveRefused(f"its manifest lists {_named(set(manifest.files))}, which is not what it holds")
    if _is_deeper(manifest.source, _DEEPEST):
        raise ArchiveRefused("its manifest holds lists or objects nested too deep")
    told = manifest.versions
    if len(told) > _MOST_VERSIONS or not all(isinstance(version, str) for version in told.values()):
        raise ArchiveRefused("its manifest names versions that are none")
    shape = manifest.projection
    if len(shape) > _MOST_VERSIONS or not all(isinstance(value, int | float) for value in shape.values()):
        raise ArchiveRefused("its manifest names settings of the map that are none")
    return replace(
        manifest,
        title=clean(manifest.title),
        regions=tuple(map(_region, manifest.regions)),
        versions={clean(name): clean(version) for name, version in told.items()},
    )


def _is_deeper(value: object, most: int) -> bool:
    """Whether JSON has more than `most` levels: what reads it goes deeper than what writes it again."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most < 0 or any(_is_deeper(part, most - 1) for part in parts)


def _region(region: Region) -> Region:
    name, terms = clean(region.name), tuple(map(clean, region.terms))
    if (
        not 0 < len(name) <= _LONGEST_NAME
        or len(terms) > _MOST_TERMS
        or max(map(len, terms), default=0) > _LONGEST_NAME
    ):
        raise ArchiveRefused(f"region {region.id} has no name, or one that fills a page")
    return replace(region, name=name, terms=terms)


def unpack(archive: zipfile.ZipFile, manifest: Manifest, folder: Path, *, progress: Progress) -> None:
    """Write the files of an archive into a folder, each held against its seal. They take what the archive takes."""
    total, done = sum(archive.getinfo(name).file_size for name in manifest.files), 0
    for name, seal in sorted(manifest.files.items()):
        digest, size = hashlib.sha256(), 0
        # The name is one of ours: _check_members saw to it.
        with (folder / name).open("wb") as file:
            for piece in _pieces(archive, name):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                done += len(piece)
                progress(UNPACKING, done, total)
        if Checksum(size, digest.hexdigest()) != seal:
            raise ArchiveRefused(f"{name} in it is not what its manifest says")


def read_papers(path: Path, *, count: int, progress: Progress) -> pa.Table:
    """The papers of an archive, `count` of them, every field as readers leave it and within their limits."""
    tables: list[pa.Table] = []
    ids: set[str] = set()
    part: list[Paper] = []
    try:
        for number, line in enumerate(_lines(path), start=1):
            try:
                paper = _paper(line)
            except (ValueError, RecursionError) as error:
                raise ArchiveRefused(f"{path.name}, line {number}: {error!s:.200}") from error
            if paper.id in ids:
                raise ArchiveRefused(f"{path.name}, line {number}: the id {paper.id!r:.80} was given before")
            if number > count:
                break
            ids.add(paper.id)
            part.append(paper)
            if len(part) == CHUNK or number == count:
                tables.append(to_table(part))
                part = []
                progress(READING, number, count)
    except UnreadableFileError as error:
        raise ArchiveRefused(f"{path.name}: {error.reason}") from error
    if len(ids) != count or number != count:
        raise ArchiveRefused(f"{path.name} does not hold the {count:,} papers that its manifest speaks of")
    return pa.concat_tables(tables).combine_chunks()


def _lines(path: Path) -> Iterator[bytes]:
    with CappedStream(path, DEFAULT_LIMITS) as stream:
        buffered = io.BufferedReader(stream)
        while line := buffered.readline(_LONGEST_LINE + 1):
            stream.mark()
            if len(line) > _LONGEST_LINE:
                raise ArchiveRefused(f"{path.name} has a line of more than {_LONGEST_LINE:,} bytes")
            yield line


def _paper(line: bytes) -> Paper:
    """The paper of a line. Raises ValueError, RecursionError for one that this app did not write."""
    record = json.loads(line.decode("utf-8"))
    if not isinstance(record, dict) or set(record) != set(SCHEMA.names):
        raise ValueError("it is no paper")
    texts = {name: _text(record[name]) for name in ("id", "title", "venue", "doi", "pmid", "url")}
    lists = {name: tuple(map(_text, _list(record[name]))) for name in ("authors", "topics")}
    abstract, year = record["abstract"], record["year"]
    if not isinstance(abstract, str):
        raise ValueError("its abstract is no text")
    if year is not None and (not isinstance(year, int) or isinstance(year, bool) or year not in _YEARS):
        raise ValueError(f"its year is {year!r:.40}")
    if texts["url"] and not texts["url"].lower().startswith(_WEB):
        raise ValueError(f"its url {texts['url']!r:.40} begins with neither https:// nor http://")
    if not texts["id"]:
        raise ValueError("it has no id")
    paper = Paper(
        id=texts["id"],
        title=texts["title"],
        abstract=clean_paragraphs(abstract),
        authors=lists["authors"],
        year=year,
        venue=texts["venue"],
        doi=texts["doi"],
        pmid=texts["pmid"],
        url=texts["url"],
        topics=lists["topics"],
    )
    if refusal := DEFAULT_LIMITS.refusal(paper):
        raise ValueError(refusal)
    return paper


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is no text")
    return clean(value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.40} is no list")
    return value


def read_arrays(
    folder: Path, manifest: Manifest, *, normalised: bool
) -> tuple[Vectors, NDArray[np.float32], NDArray[np.int16]]:
    """The vectors (mapped), coordinates and region ids of an unpacked archive, each of the shape and within the bounds
    that the manifest and the map set. normalised: whether the vectors must be of length 1.
    """
    n = manifest.papers
    try:
        vectors = store.read_array(folder / store.VECTORS, shape=(n, manifest.dimensions), dtype=np.float32)
        coordinates = store.read_array(folder / store.COORDINATES, shape=(n, 2), dtype=np.float32)
        region_ids = store.read_array(folder / store.REGIONS, shape=(n,), dtype=np.int16)
    except (ValueError, EOFError, OverflowError) as error:
        raise ArchiveRefused(f"{error!s:.200}") from error
    check_vectors(vectors, normalised=normalised)
    # Written so that what is no number (NaN) fails, too.
    if not bool((np.abs(coordinates) <= 1.001).all()):
        raise ArchiveRefused(f"{store.COORDINATES} holds a point that lies outside of the map")
    if not -1 <= int(region_ids.min()) <= int(region_ids.max()) < len(manifest.regions):
        raise ArchiveRefused(f"{store.REGIONS} names a region that the manifest does not have")
    return np.ascontiguousarray(vectors), np.array(coordinates), np.array(region_ids)


def check_vectors(vectors: Vectors, *, normalised: bool) -> None:
    """Raise ArchiveRefused unless float32 (n, d) are numbers that can be searched, of length 1 or 0 if normalised."""
    for start in range(0, len(vectors), _ROWS):
        part = vectors[start : start + _ROWS]
        bad = ~(np.abs(part) <= LARGEST_VALUE).all(axis=1)
        if bad.any():
            raise ArchiveRefused(f"vector {start + int(bad.argmax())} holds a value that is no number of a usual size")
        lengths = np.linalg.norm(part, axis=1)
        odd = normalised & (np.abs(lengths - 1) > 0.02) & (lengths > 0)
        if odd.any():
            raise ArchiveRefused(f"vector {start + int(odd.argmax())} is not of length 1, as its manifest says")


def find_encoder(folder: Path, manifest: Manifest) -> tuple[EncoderRecord, LexicalEncoder | None]:
    """The encoder of an unpacked archive as it can be found here, and the lexical one where that made the vectors.

    A place on another machine says nothing: a checkpoint is found again by its name and fingerprint, or texts are not
    taken.
    """
    told = manifest.encoder
    name = clean(told.name)
    if not 0 < len(name) <= _LONGEST_NAME or not _FINGERPRINT.fullmatch(told.fingerprint):
        raise ArchiveRefused("its manifest names an encoder that is none")
    if (told.source == LEXICAL) != (store.FITTED in manifest.files):
        raise ArchiveRefused(f"{store.FITTED} belongs to an atlas by {LEXICAL}, and to no other")
    if told.source == LEXICAL:
        try:
            fitted = LexicalEncoder.load(folder / store.FITTED)
        except LexicalFileDamaged as error:
            raise ArchiveRefused(str(error)) from error
        if (fitted.fingerprint, fitted.dimensions) != (told.fingerprint, manifest.dimensions):
            raise ArchiveRefused(f"{store.FITTED} is the encoder of another atlas")
        return replace(told, name=LEXICAL, normalised=True, precision="float32"), fitted
    if told.source in CATALOGUE:
        if CATALOGUE[told.source].dimensions != manifest.dimensions:
            raise ArchiveRefused(f"{told.source} makes no vectors of {manifest.dimensions} dimensions")
        return replace(told, name=told.source), None
    return replace(told, name=name, source=_own(name, told.fingerprint)), None


def _own(name: str, fingerprint: str) -> str:
    """Where the user's own checkpoint of a name lies, if it is the very one; else PRECOMPUTED."""
    for choice, path in own_checkpoints().items():
        if name in (path.name, path.stem):
            with suppress(EncoderUnavailable):
                if find_checkpoint(choice, local_files_only=True).fingerprint == fingerprint:
                    return str(path.resolve())
    return PRECOMPUTED


def _named(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"{name:.40}" for name in sorted(names)[:10])
