"""Archives: an atlas as one file to carry elsewhere, and an atlas again from a file that anybody may have made.

A zip, its files stored as they are: papers.jsonl.gz, vectors.npy, coordinates.npy, regions.npy, encoder.npz where the
encoder is the lexical one, and manifest.json with a seal of each. The index is not in it: hnswlib crashes on a hostile
file, so the graph is built again.
"""

import gzip
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.atlas import archive_checks as checks
from components.atlas import paths, store
from components.atlas.archive_checks import CHECKING, UNPACKING, ArchiveRefused
from components.atlas.build import (
    CHUNK,
    INDEXING,
    READING,
    WRITING,
    BuildSettings,
    NameReserved,
    random_pair_distances,
    tuned_index,
)
from components.atlas.corpora import atlases_of, being_built, unfinished
from components.atlas.manifest import PRECOMPUTED, Checksum, Manifest
from components.atlas.paths import home_errors
from components.atlas.store import Atlas
from components.encoder import CATALOGUE
from corpus.errors import CociteAtlasError
from corpus.io.disk import disk_errors
from corpus.io.files import BufferedSink, array_pieces, beside
from corpus.progress import Progress, no_progress

__all__ = [
    "IMPORT_STAGES",
    "PACKING",
    "ArchiveRefused",
    "NameTaken",
    "archive_pieces",
    "import_archive",
    "write_archive",
]

PACKING = "Packing the atlas"
IMPORT_STAGES = (UNPACKING, READING, CHECKING, INDEXING, WRITING)

_LONGEST_NAME = 64


class NameTaken(CociteAtlasError):
    """A name that an atlas or an unfinished build has: an import takes no place but a free one."""


# Out


def write_archive(name: str, target: Path | IO[bytes], *, progress: Progress = no_progress) -> None:
    """Write the archive of an atlas: to a path whole or not at all, or onto a stream, which need not be seekable.

    progress: (PACKING, bytes done, about how many); may raise to stop. Raises NoSuchAtlas, AtlasDamaged, CannotWrite,
    NoSpaceLeft.
    """
    atlas = store.open_atlas(name)
    if not isinstance(target, Path):
        for piece in archive_pieces(atlas, progress=progress):
            target.write(piece)
        return
    with disk_errors(target.parent), beside(target) as partial, partial.open("wb") as file:
        for piece in archive_pieces(atlas, progress=progress):
            file.write(piece)


def archive_pieces(atlas: Atlas, *, progress: Progress = no_progress) -> Iterator[bytes]:
    """The archive of an open atlas, a piece at a time, in little memory. The same build gives the same bytes.

    Raises AtlasDamaged, before the first piece, where the file of its lexical encoder is not what it was.
    """
    files: dict[str, Iterator[bytes]] = {
        checks.PAPERS: _packed(atlas.papers),
        store.VECTORS: array_pieces(atlas.vectors),
        store.COORDINATES: array_pieces(atlas.coordinates),
        store.REGIONS: array_pieces(atlas.region_ids),
    }
    if seal := atlas.manifest.files.get(store.FITTED):
        path = paths.atlas_folder(atlas.name) / atlas.build / store.FITTED
        store.check_file(path, seal, atlas=atlas.name)
        files[store.FITTED] = iter([path.read_bytes()])
    total = sum(seal.bytes for name, seal in atlas.manifest.files.items() if name not in (store.GRAPH, store.PAIRS))
    return _zipped(files, atlas.manifest, lambda done: progress(PACKING, min(done, total), total))


def _zipped(
    files: dict[str, Iterator[bytes]], manifest: Manifest, on_progress: Callable[[int], None]
) -> Iterator[bytes]:
    sink = BufferedSink()
    seals: dict[str, Checksum] = {}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in files.items():
            digest, size = hashlib.sha256(), 0
            # ZipInfo has a date of its own, always the same; by name it would be that of the moment.
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    digest.update(piece)
                    size += len(piece)
                    on_progress(sink.written)
                    yield sink.take()
            seals[name] = Checksum(size, digest.hexdigest())
        encoder = manifest.encoder
        if encoder.source not in CATALOGUE:  # a place on this machine is nobody else's business
            encoder = replace(encoder, source=PRECOMPUTED)
        # Last, for it has the seals of the others.
        archive.writestr(zipfile.ZipInfo(paths.MANIFEST), replace(manifest, encoder=encoder, files=seals).to_json())
    yield sink.take()


def _packed(papers: pa.Table) -> Iterator[bytes]:
    held = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=5, fileobj=held, mtime=0) as packed:
        for batch in papers.to_batches(max_chunksize=CHUNK):
            for record in batch.to_pylist():
                packed.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            yield held.getvalue()
            held.seek(0)
            held.truncate()
    yield held.getvalue()


# In


def import_archive(path: Path, *, name: str | None = None, progress: Progress = no_progress) -> Manifest:
    """Make an atlas of an archive, every file of which is held against its seal and checked; no old atlas goes.

    name: by default the archive's own, with a number where that is taken. Corpus, title, growth, regions and the
    accounts of the reading stay what they were; where a corpus of that name has other papers here, or an atlas by the
    same encoder, the atlas is of a corpus of its own. A checkpoint that is not here leaves an atlas that takes no text.
    progress: by IMPORT_STAGES; may raise to stop, and then nothing is left.
    Raises ArchiveRefused, NameTaken, NameReserved, NoSuchAtlas for what can be no name, AtlasBusy, NoSpaceLeft,
    CannotWrite.
    """
    if name is not None:
        _check_free(name)
    with home_errors(), checks.open_archive(path) as archive:
        manifest = checks.read_manifest(archive)
        name = name or _free_name(manifest.name)
        with paths.build_lock(name):
            _check_free(name)  # another process may have been quicker
            work = paths.work_folder(name, {"import": True})
            try:
                checks.unpack(archive, manifest, work, progress=progress)
                return _assemble(name, manifest, work, progress)
            finally:
                shutil.rmtree(work, ignore_errors=True)
                _leave_no_folder(work.parent)


def _assemble(name: str, manifest: Manifest, work: Path, progress: Progress) -> Manifest:
    papers = checks.read_papers(work / checks.PAPERS, count=manifest.papers, progress=progress)
    progress(CHECKING, 0, 1)
    encoder, fitted = checks.find_encoder(work, manifest)
    vectors, coordinates, region_ids = checks.read_arrays(work, manifest, normalised=encoder.normalised)
    sizes = np.bincount(region_ids[region_ids >= 0], minlength=len(manifest.regions))
    regions = [replace(region, size=int(size)) for region, size in zip(manifest.regions, sizes, strict=True)]
    settings = BuildSettings()
    graph, record = tuned_index(vectors, settings.index, progress)
    progress(WRITING, 0, 1)  # the last word: a stop behind the writing would leave an atlas, and its import to do again
    return store.write_atlas(
        store.AtlasParts(
            name=name,
            papers=papers,
            vectors=vectors,
            coordinates=coordinates,
            region_ids=region_ids,
            regions=tuple(regions),
            pair_distances=random_pair_distances(vectors),
            graph=graph,
            encoder=encoder,
            index=record,
            projection=manifest.projection,
            source=manifest.source,
            versions=manifest.versions,
            corpus=_corpus(manifest, name, papers),
            fitted=fitted,
            title=manifest.title,
            growth=manifest.growth,
        )
    )


def _leave_no_folder(folder: Path) -> None:
    """Take away an atlas's folder in which there is nothing but the lock, which is held."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [paths.LOCK]:
            (folder / paths.LOCK).unlink()
            folder.rmdir()


def _corpus(manifest: Manifest, name: str, papers: pa.Table) -> str:
    """The corpus of an imported atlas: that of its manifest, unless here that is one of other papers.

    Nor where it has an atlas by this encoder already: a corpus has one by each, and the two would grow apart.
    """
    there = atlases_of(manifest.corpus)
    if not there:
        return name if manifest.corpus == paths.DEFAULT_ATLAS else manifest.corpus
    if manifest.encoder.fingerprint in {one.encoder.fingerprint for one in there}:
        return name
    path = paths.atlas_folder(there[0].name) / there[0].folder / store.PAPERS
    try:
        ids = pq.read_table(path, columns=["id"])["id"]
    except (OSError, pa.ArrowException):  # damaged: whether they are the same cannot be told
        return name
    same = len(ids) == papers.num_rows and bool(pc.all(pc.equal(ids.combine_chunks(), papers["id"].combine_chunks())))
    return manifest.corpus if same else name


def _free_name(wanted: str) -> str:
    """The name, with the first number behind it that makes it one which nobody has."""
    taken = _taken()
    number, name = 1, wanted
    while name in taken or being_built(name):
        number += 1
        end = f"-{number}"
        name = f"{wanted[: _LONGEST_NAME - len(end)]}{end}"
    return name


def _check_free(name: str) -> None:
    paths.atlas_folder(name)  # a bad name is said before anything is read
    if name == paths.DEFAULT_ATLAS:
        raise NameReserved(f"{name!r} is the name of the default atlas. Give this one another name: --name NAME")
    if name in _taken():
        raise NameTaken(
            f"An atlas, or a build that was stopped, is called {name!r} already. Give this one another: --name NAME"
        )


def _taken() -> set[str]:
    return {paths.DEFAULT_ATLAS, *paths.atlas_names(), *(build.name for build in unfinished())}
