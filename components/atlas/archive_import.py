"""An atlas from an archive, which anybody may have made: nothing of it is used before it is checked."""

import hashlib
import io
import re
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from components.atlas import paths, store
from components.atlas.archive import PAPERS
from components.atlas.build import CHUNK, READING, assemble
from components.atlas.corpora import atlases_of, taken_names
from components.atlas.manifest import PRECOMPUTED, Checksum, EncoderRecord, Manifest, ManifestDamaged
from components.atlas.paths import DEFAULT_ATLAS, MANIFEST
from components.atlas.store import COORDINATES, FITTED, REGIONS, VECTORS
from components.encoder.base import EncoderUnavailable
from components.encoder.cache import own_checkpoints
from components.encoder.catalogue import CATALOGUE, LEXICAL
from components.encoder.checkpoints import find_checkpoint
from components.encoder.files import MAX_ARCHIVE_BYTES
from components.encoder.lexical import LexicalEncoder, LexicalFileDamaged
from components.index.exact import Vectors
from components.mapping.regions import Region
from corpus.errors import CociteAtlasError, UnreadableFileError, validation_reason
from corpus.io.limits import DEFAULT_LIMITS
from corpus.io.streams import ZIP_ERRORS, CappedStream, zip_member_problem
from corpus.paper import Paper, to_table
from corpus.progress import Progress, no_progress
from corpus.text.plain import clean, clean_paragraphs

UNPACKING, CHECKING = "Unpacking the archive", "Checking its vectors"

_MEMBERS = frozenset({PAPERS, VECTORS, COORDINATES, REGIONS, MANIFEST})

MAX_DIMENSIONS = 8192
MAX_VALUE = 1e6  # of a vector; squares of larger ones leave float32
_MAX_MANIFEST_BYTES = 16 * 2**20  # the reports of a hundred files take 1 MiB
_MAX_LINE_BYTES = 16 * 2**20  # a paper of 20,000 authors takes 1 MiB
_MAX_NAME_CHARS = 200  # of a region, a term or an encoder
_MAX_TERMS, _MAX_SETTINGS = 100, 100
_PIECE = 2**20  # bytes
_ROWS = 4096  # of vectors checked at a time
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
# The end of a zip: its record, and before that of a large zip a locator and a 64-bit record.
_END, _LOCATOR, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_MAX_DIRECTORY_BYTES = 4096  # six entries of some 80 bytes


class ArchiveRefused(CociteAtlasError):
    """A file that is not the archive of an atlas, or not what it claims to be."""


class NameTaken(CociteAtlasError):
    """A name that an atlas or an unfinished build has: an import replaces nothing."""


def import_archive(path: Path, *, name: str | None = None, progress: Progress = no_progress) -> Manifest:
    """Make an atlas of an archive, whose every file is checked; replaces no atlas.

    name: by default the archive's own, with a number where that is taken. Corpus, title, growth, regions and reading
    reports stay; where a corpus of that name has other papers here, or an atlas by the same encoder, the atlas becomes
    a corpus of its own. Without its checkpoint on this machine the atlas takes no text.
    Raises ArchiveRefused, NameTaken, NameReserved, NoSuchAtlas for an invalid name, AtlasBusy, NoSpaceLeft,
    CannotWrite, and what `progress` does; then nothing is left behind.
    """
    if name is not None:
        _check_free(name)
    with paths.home_errors(), _open_archive(path) as archive:
        manifest = _read_manifest(archive)
        if name is None:
            works = (work.parent.name for work in paths.work_folders())
            name = paths.free_name(manifest.name, {*taken_names(), *filter(paths.being_built, works)})
        with paths.build_lock(name) as folder:
            _check_free(name)  # another process may have been quicker
            work = paths.work_folder(name, {"import": True})
            try:
                _unpack(archive, manifest, work, progress=progress)
                papers = _read_papers(work / PAPERS, count=manifest.papers, progress=progress)
                progress(CHECKING, 0, 1)
                encoder, fitted = _find_encoder(work, manifest)
                vectors, coordinates, region_ids = _read_arrays(work, manifest, normalised=encoder.normalised)
                return assemble(
                    name,
                    papers=papers,
                    vectors=vectors,
                    coordinates=coordinates,
                    encoder=encoder,
                    source=manifest.source,
                    corpus=_corpus_of(manifest, name, papers),
                    title=manifest.title,
                    fitted=fitted,
                    regions=(manifest.regions, region_ids),
                    growth=manifest.growth,
                    projection=manifest.projection,
                    versions=manifest.versions,
                    progress=progress,
                )
            finally:
                shutil.rmtree(work, ignore_errors=True)
                with suppress(OSError):
                    if [left.name for left in folder.iterdir()] == [paths.LOCK]:
                        (folder / paths.LOCK).unlink()
                        folder.rmdir()


def _check_free(name: str) -> None:
    paths.check_name(name)
    if name in taken_names():
        raise NameTaken(f"An atlas or an unfinished build is called {name!r} already. Choose another: --name NAME")


def _corpus_of(manifest: Manifest, name: str, papers: pa.Table) -> str:
    """The corpus of an imported atlas: its manifest's, or its own name where that corpus has other papers here.

    Also its own name where the corpus has an atlas by this encoder: it can have only one, and the two would diverge.
    """
    atlases = atlases_of(manifest.corpus)
    if not atlases:
        return name if manifest.corpus == DEFAULT_ATLAS else manifest.corpus
    if manifest.encoder.fingerprint in {atlas.encoder.fingerprint for atlas in atlases}:
        return name
    path = paths.atlas_folder(atlases[0].name) / atlases[0].folder / store.PAPERS
    try:
        ids = pq.read_table(path, columns=["id"])["id"]
    except (OSError, pa.ArrowException):  # damaged: nobody can tell whether they are the same
        return name
    same = len(ids) == papers.num_rows and bool(pc.all(pc.equal(ids.combine_chunks(), papers["id"].combine_chunks())))
    return manifest.corpus if same else name


# The zip


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip of an archive, its members checked. Any ArchiveRefused raised within names the file."""
    try:
        with ExitStack() as stack:
            with _zip_errors():
                file = stack.enter_context(path.open("rb"))
                _check_end(file)
                archive = stack.enter_context(zipfile.ZipFile(file))
                _check_members(archive, size=path.stat().st_size)
            yield archive
    except ArchiveRefused as error:
        again = "Make it again, or copy it again: cocite archive ATLAS FILE"
        raise ArchiveRefused(f"{path.name} is refused: {error}. {again}") from error


# What zipfile and the operating system raise for a damaged file, beside ZIP_ERRORS.
_DAMAGE = (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError, struct.error)


@contextmanager
def _zip_errors() -> Iterator[None]:
    """Turn whatever zipfile and the operating system raise for a damaged or hostile file into ArchiveRefused."""
    try:
        yield
    except (*_DAMAGE, *ZIP_ERRORS) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ArchiveRefused(f"it cannot be read ({reason:.200})") from error


def _check_end(file: IO[bytes]) -> None:
    """Raise ArchiveRefused where a zip's directory is larger than an archive's: zipfile would read all of it."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read().rjust(98, b"\0")
    if tail[-22:-18] != _END:
        raise ArchiveRefused("it is not the archive of an atlas, or it is incomplete")
    (directory_bytes,) = struct.unpack("<L", tail[-10:-6])
    if tail[-42:-38] == _LOCATOR:
        (directory_bytes,) = struct.unpack("<Q", tail[-58:-50])
        (offset,) = struct.unpack("<Q", tail[-34:-26])
        if tail[-98:-94] != _END64 or offset != size - 98:
            raise ArchiveRefused("its list of files is not where it should be")
    if directory_bytes > _MAX_DIRECTORY_BYTES:
        raise ArchiveRefused("it lists more files than an archive has")


def _check_members(archive: zipfile.ZipFile, *, size: int) -> None:
    sizes: dict[str, int] = {}
    for info in archive.infolist():
        if reason := zip_member_problem(info, sizes, max_bytes=MAX_ARCHIVE_BYTES):
            raise ArchiveRefused(f"{info.orig_filename!r:.100} in it {reason}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ArchiveRefused(f"{info.orig_filename!r:.100} in it is compressed; an archive's files are stored")
        sizes[info.filename] = info.file_size
    if set(sizes) - {FITTED} != _MEMBERS:
        raise ArchiveRefused(f"it holds {_listed(set(sizes))} instead of {_listed(_MEMBERS)}")
    # Overlapping members could unpack to many times the file.
    if sum(sizes.values()) > size:
        raise ArchiveRefused("its files declare more bytes than it has")


def _listed(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"{name:.40}" for name in sorted(names)[:10])


def _pieces(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with _zip_errors(), archive.open(name) as member:
        while piece := member.read(_PIECE):
            yield piece


def _unpack(archive: zipfile.ZipFile, manifest: Manifest, folder: Path, *, progress: Progress) -> None:
    """Write the files of an archive into a folder, and compare each with its checksum."""
    total, done = sum(archive.getinfo(name).file_size for name in manifest.files), 0
    for name, expected in sorted(manifest.files.items()):
        digest, size = hashlib.sha256(), 0
        with (folder / name).open("wb") as file:  # _check_members allows our own names alone
            for piece in _pieces(archive, name):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                done += len(piece)
                progress(UNPACKING, done, total)
        if Checksum(size, digest.hexdigest()) != expected:
            raise ArchiveRefused(f"{name} in it is not what its manifest says")


# What is in it


def _read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """The manifest in an archive, within the limits of an import, its texts cleaned."""
    if archive.getinfo(MANIFEST).file_size > _MAX_MANIFEST_BYTES:
        raise ArchiveRefused(f"its {MANIFEST} has more than {_MAX_MANIFEST_BYTES:,} bytes")
    try:
        manifest = Manifest.from_json(b"".join(_pieces(archive, MANIFEST)).decode("utf-8"))
    except (UnicodeDecodeError, ManifestDamaged) as error:
        raise ArchiveRefused(str(error).rstrip(".")) from error
    if not 1 <= manifest.papers <= DEFAULT_LIMITS.records or manifest.dimensions > MAX_DIMENSIONS:
        raise ArchiveRefused(
            f"it has {manifest.papers:,} papers in {manifest.dimensions:,} dimensions; between 1 and "
            f"{DEFAULT_LIMITS.records:,} papers are read, in up to {MAX_DIMENSIONS:,}"
        )
    if set(manifest.files) != set(archive.namelist()) - {MANIFEST}:
        raise ArchiveRefused(f"its manifest lists {_listed(set(manifest.files))}, which is not what it holds")
    if max(len(manifest.versions), len(manifest.projection)) > _MAX_SETTINGS:
        raise ArchiveRefused("its manifest has too many versions or settings")
    return replace(
        manifest,
        title=clean(manifest.title),
        regions=tuple(map(_clean_region, manifest.regions)),
        versions={clean(name): clean(version) for name, version in manifest.versions.items()},
    )


def _clean_region(region: Region) -> Region:
    name, terms = clean(region.name), tuple(map(clean, region.terms))
    if not name or len(terms) > _MAX_TERMS or max(map(len, (name, *terms))) > _MAX_NAME_CHARS:
        raise ArchiveRefused(f"region {region.id} has no name, or too long a name or list of terms")
    return replace(region, name=name, terms=terms)


def _check_url(url: str) -> str:
    if url and not url.lower().startswith(("https://", "http://")):
        raise ValueError(f"{url!r:.40} begins with neither https:// nor http://")
    return url


_Text = Annotated[str, AfterValidator(clean)]


class _Record(BaseModel):
    """A line of PAPERS: the fields of a `Paper`, all of them and no others."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: Annotated[_Text, Field(min_length=1)]
    title: _Text
    abstract: Annotated[str, AfterValidator(clean_paragraphs)]
    authors: tuple[_Text, ...]
    year: Annotated[int, Field(ge=1, le=9999)] | None
    venue: _Text
    doi: _Text
    pmid: _Text
    url: Annotated[_Text, AfterValidator(_check_url)]
    topics: tuple[_Text, ...]


def _read_papers(path: Path, *, count: int, progress: Progress) -> pa.Table:
    """The papers of an archive, `count` of them, cleaned and within the limits of readers."""
    tables: list[pa.Table] = []
    ids: set[str] = set()
    chunk: list[Paper] = []
    number = 0
    try:
        for number, line in enumerate(_lines(path), start=1):
            try:
                paper = Paper(**dict(_Record.model_validate_json(line)))
                reason = DEFAULT_LIMITS.refusal(paper) or (
                    f"id {paper.id!r:.80} is repeated" if paper.id in ids else ""
                )
            except ValidationError as error:
                reason = validation_reason(error)
            if reason:
                raise ArchiveRefused(f"{path.name}, line {number}: {reason}")
            if number > count:
                break
            ids.add(paper.id)
            chunk.append(paper)
            if len(chunk) == CHUNK or number == count:
                tables.append(to_table(chunk))
                chunk = []
                progress(READING, number, count)
    except UnreadableFileError as error:
        raise ArchiveRefused(f"{path.name}: {error.reason}") from error
    if number != count:
        raise ArchiveRefused(f"{path.name} does not hold the {count:,} papers that its manifest lists")
    return pa.concat_tables(tables).combine_chunks()


def _lines(path: Path) -> Iterator[bytes]:
    with CappedStream(path, DEFAULT_LIMITS) as stream:
        buffered = io.BufferedReader(stream)
        while line := buffered.readline(_MAX_LINE_BYTES + 1):
            stream.mark()
            if len(line) > _MAX_LINE_BYTES:
                raise ArchiveRefused(f"{path.name} has a line of more than {_MAX_LINE_BYTES:,} bytes")
            yield line


def _read_arrays(
    folder: Path, manifest: Manifest, *, normalised: bool
) -> tuple[Vectors, NDArray[np.float32], NDArray[np.int16]]:
    """The vectors (memory-mapped), coordinates and region ids of an unpacked archive, shapes and values checked."""
    n = manifest.papers
    try:
        vectors = store.read_array(folder / VECTORS, shape=(n, manifest.dimensions), dtype=np.float32)
        coordinates = store.read_array(folder / COORDINATES, shape=(n, 2), dtype=np.float32)
        region_ids = store.read_array(folder / REGIONS, shape=(n,), dtype=np.int16)
        store.check_region_ids(region_ids, manifest)
    except (ValueError, EOFError, OverflowError) as error:
        raise ArchiveRefused(f"{error!s:.200}") from error
    for start in range(0, n, _ROWS):
        part = vectors[start : start + _ROWS]
        invalid = ~(np.abs(part) <= MAX_VALUE).all(axis=1)  # NaN, too
        if invalid.any():
            raise ArchiveRefused(
                f"vector {start + int(invalid.argmax())} holds a value that is not finite or too large"
            )
        lengths = np.linalg.norm(part, axis=1)
        odd = normalised & (np.abs(lengths - 1) > 0.02) & (lengths > 0)
        if odd.any():
            raise ArchiveRefused(f"vector {start + int(odd.argmax())} is not of length 1, as its manifest says")
    if not bool((np.abs(coordinates) <= 1.001).all()):  # NaN, too
        raise ArchiveRefused(f"{COORDINATES} holds a point outside the map")
    return np.ascontiguousarray(vectors), np.array(coordinates), np.array(region_ids)


def _find_encoder(folder: Path, manifest: Manifest) -> tuple[EncoderRecord, LexicalEncoder | None]:
    """The encoder of an unpacked archive as this machine has it, and the lexical one where that made the vectors.

    A checkpoint is found by its name and fingerprint, never by a path; otherwise the atlas takes no text.
    """
    record = manifest.encoder
    name = clean(record.name)
    if not 0 < len(name) <= _MAX_NAME_CHARS or not _FINGERPRINT.fullmatch(record.fingerprint):
        raise ArchiveRefused("its manifest names an invalid encoder")
    if (record.source == LEXICAL) != (FITTED in manifest.files):
        raise ArchiveRefused(f"{FITTED} belongs to an atlas by {LEXICAL}, and to no other")
    if record.source == LEXICAL:
        try:
            fitted = LexicalEncoder.load(folder / FITTED)
        except LexicalFileDamaged as error:
            raise ArchiveRefused(str(error)) from error
        if (fitted.fingerprint, fitted.dimensions) != (record.fingerprint, manifest.dimensions):
            raise ArchiveRefused(f"{FITTED} is the encoder of another atlas")
        return replace(record, name=LEXICAL, normalised=True, precision="float32"), fitted
    if record.source in CATALOGUE:
        if CATALOGUE[record.source].dimensions != manifest.dimensions:
            raise ArchiveRefused(f"{record.source} makes no vectors of {manifest.dimensions} dimensions")
        return replace(record, name=record.source), None
    for own_name, path in own_checkpoints().items():
        if name in (path.name, path.stem):
            with suppress(EncoderUnavailable):
                if find_checkpoint(own_name, local_files_only=True).fingerprint == record.fingerprint:
                    return replace(record, name=name, source=str(path.resolve())), None
    return replace(record, name=name, source=PRECOMPUTED), None
