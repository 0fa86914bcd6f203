"""Export the vectors and the map of an atlas for other programs: Parquet with the papers' ids, or .npy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.atlas.store import Atlas
from corpus.export import parquet_pieces
from corpus.io.files import array_pieces

_ROWS = 4096  # a row group: some 10 MB


@dataclass(frozen=True, slots=True)
class VectorExport:
    """An export format: its label, and the ending of its files."""

    label: str
    ending: str


VECTOR_EXPORTS: Mapping[str, VectorExport] = {
    "vectors-parquet": VectorExport("Vectors and map as Parquet", "vectors.parquet"),
    "vectors-npy": VectorExport("Vectors as .npy", "vectors.npy"),
    "coordinates-npy": VectorExport("Map as .npy", "coordinates.npy"),
}


def vector_pieces(atlas: Atlas, format: str, *, rows: NDArray[np.int64] | None = None) -> Iterator[bytes]:
    """The vectors of an atlas, or of some of its rows in their order, in one of VECTOR_EXPORTS, a piece at a time.

    vectors-parquet: id, title, x, y, region (null between regions) and vector, float32 of a fixed size, a row a paper.
    vectors-npy: float32 (n, d). coordinates-npy: float32 (n, 2). Read back they are the same, bit by bit.
    Raises ValueError for another format.
    """
    if format not in VECTOR_EXPORTS:
        raise ValueError(f"{format!r} is not one of {', '.join(VECTOR_EXPORTS)}")
    if format == "vectors-parquet":
        return parquet_pieces(_tables(atlas, rows), _schema(atlas))
    array = atlas.vectors if format == "vectors-npy" else atlas.coordinates
    return array_pieces(array if rows is None else array[rows])


def _schema(atlas: Atlas) -> pa.Schema:
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("title", pa.string(), nullable=False),
            pa.field("x", pa.float32(), nullable=False),
            pa.field("y", pa.float32(), nullable=False),
            pa.field("region", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), atlas.manifest.dimensions), nullable=False),
        ]
    )


def _tables(atlas: Atlas, rows: NDArray[np.int64] | None) -> Iterator[pa.Table]:
    every = np.arange(len(atlas)) if rows is None else rows
    schema = _schema(atlas)
    names = [region.name for region in atlas.manifest.regions]
    for start in range(0, len(every), _ROWS):
        part = every[start : start + _ROWS]
        papers = atlas.papers.select(["id", "title"]).take(part).combine_chunks()
        vectors = np.ascontiguousarray(atlas.vectors[part]).ravel()
        columns = [
            *(pa.array(papers[name].to_pylist(), pa.string()) for name in ("id", "title")),
            *(pa.array(np.ascontiguousarray(atlas.coordinates[part, axis])) for axis in (0, 1)),
            pa.array([names[i] if i >= 0 else None for i in atlas.region_ids[part].tolist()], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors), type=schema.field("vector").type),
        ]
        yield pa.Table.from_arrays(columns, schema=schema)
