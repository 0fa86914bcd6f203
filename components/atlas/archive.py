"""Archives: an atlas as one file.

A zip, its members stored uncompressed: papers.jsonl.gz, vectors.npy, coordinates.npy, regions.npy, encoder.npz for the
lexical encoder, and manifest.json with the checksum of each. The index is not in it: hnswlib crashes on a hostile file,
so the graph is built again on import.
"""

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pyarrow as pa

from components.atlas import paths, store
from components.atlas.build import CHUNK
from components.atlas.manifest import PRECOMPUTED, Checksum, Manifest
from components.atlas.paths import MANIFEST
from components.atlas.store import COORDINATES, FITTED, GRAPH, PAIRS, REGIONS, VECTORS, Atlas
from components.encoder.catalogue import CATALOGUE
from corpus.io.disk import disk_errors
from corpus.io.files import BufferedSink, array_pieces, beside
from corpus.progress import Progress, no_progress

PACKING = "Packing the atlas"
PAPERS = "papers.jsonl.gz"  # instead of Parquet, whose readers allocate whatever a file declares


def write_archive(name: str, target: Path | IO[bytes], *, progress: Progress = no_progress) -> None:
    """Write the archive of an atlas: to a path whole or not at all, or to a stream, which need not be seekable.

    progress: (PACKING, bytes done, about how many). Raises NoSuchAtlas, AtlasDamaged, CannotWrite, NoSpaceLeft, and
    what `progress` does.
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

    Raises AtlasDamaged, before the first piece, where the file of its lexical encoder was changed.
    """
    manifest = atlas.manifest
    members: dict[str, Iterator[bytes]] = {
        PAPERS: _packed(atlas.papers),
        VECTORS: array_pieces(atlas.vectors),
        COORDINATES: array_pieces(atlas.coordinates),
        REGIONS: array_pieces(atlas.region_ids),
    }
    if expected := manifest.files.get(FITTED):
        path = paths.atlas_folder(atlas.name) / atlas.build / FITTED
        store.check_file(path, expected, atlas=atlas.name)
        members[FITTED] = iter([path.read_bytes()])
    total = sum(file.bytes for name, file in manifest.files.items() if name not in (GRAPH, PAIRS))
    return _zipped(members, manifest, lambda done: progress(PACKING, min(done, total), total))


def _zipped(
    members: dict[str, Iterator[bytes]], manifest: Manifest, on_progress: Callable[[int], None]
) -> Iterator[bytes]:
    sink = BufferedSink()
    files: dict[str, Checksum] = {}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in members.items():
            digest, size = hashlib.sha256(), 0
            # A ZipInfo has a constant date, so that archives do not depend on the clock.
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    digest.update(piece)
                    size += len(piece)
                    on_progress(sink.written)
                    yield sink.take()
            files[name] = Checksum(size, digest.hexdigest())
        encoder = manifest.encoder
        if encoder.source not in CATALOGUE:  # a path of this machine is private
            encoder = replace(encoder, source=PRECOMPUTED)
        archive.writestr(zipfile.ZipInfo(MANIFEST), replace(manifest, encoder=encoder, files=files).to_json())
    yield sink.take()


def _packed(papers: pa.Table) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=5, fileobj=buffer, mtime=0) as packed:
        for batch in papers.to_batches(max_chunksize=CHUNK):
            for record in batch.to_pylist():
                packed.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
