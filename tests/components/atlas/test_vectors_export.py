"""Vectors and coordinates as files: read back, they are the same bits."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas import vectors_export
from components.atlas.store import AtlasParts, open_atlas, write_atlas
from components.atlas.vectors_export import VECTOR_EXPORTS, vector_pieces


def whole(pieces: Iterator[bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join(pieces))


@pytest.mark.parametrize("group", [7, 4096])
@pytest.mark.parametrize("rows", [None, [3], [59, 0, 17, 17]])
def test_parquet_holds_each_paper_with_its_place_and_its_vector(
    written: AtlasParts, monkeypatch: pytest.MonkeyPatch, group: int, rows: list[int] | None
) -> None:
    monkeypatch.setattr(vectors_export, "_ROWS", group)
    atlas = open_atlas("one")
    chosen = None if rows is None else np.array(rows, dtype=np.int64)
    table = pq.read_table(whole(vector_pieces(atlas, "vectors-parquet", rows=chosen)))
    assert table.schema.names == ["id", "title", "x", "y", "region", "vector"]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 8)
    expected = list(range(60)) if rows is None else rows
    assert table.num_rows == len(expected)
    for record, row in zip(table.to_pylist(), expected, strict=True):
        region = atlas.region_of(row)
        assert (record["id"], record["title"]) == (atlas.paper(row).id, atlas.paper(row).title)
        assert record["region"] == (None if region is None else region.name)
        assert np.float32([record["x"], record["y"]]).tobytes() == atlas.coordinates[row].tobytes()
        assert np.float32(record["vector"]).tobytes() == atlas.vectors[row].tobytes()


def test_npy_is_the_very_array(written: AtlasParts) -> None:
    atlas = open_atlas("one")
    for format, array in (("vectors-npy", atlas.vectors), ("coordinates-npy", atlas.coordinates)):
        found = np.load(whole(vector_pieces(atlas, format)), allow_pickle=False)
        assert found.dtype == np.float32
        assert found.tobytes() == np.array(array).tobytes()
        some = np.load(whole(vector_pieces(atlas, format, rows=np.array([5, 2]))), allow_pickle=False)
        assert np.array_equal(some, array[[5, 2]])


def test_a_large_array_comes_in_pieces(home: object, atlas_parts: Callable[..., AtlasParts]) -> None:
    write_atlas(atlas_parts(n=1200))
    atlas = open_atlas("one")
    atlas.vectors = np.random.default_rng(1).normal(size=(3000, 512)).astype(np.float32)
    pieces = list(vector_pieces(atlas, "vectors-npy"))
    assert max(map(len, pieces)) <= 2**21
    assert np.array_equal(np.load(io.BytesIO(b"".join(pieces))), atlas.vectors)


def test_there_is_no_other_format(written: AtlasParts) -> None:
    with pytest.raises(ValueError, match="vectors-parquet"):
        vector_pieces(open_atlas("one"), "pickle")
    assert set(VECTOR_EXPORTS) == {"vectors-parquet", "vectors-npy", "coordinates-npy"}
