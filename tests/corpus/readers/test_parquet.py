"""Parquet: columns of every kind, vectors that are named and not read, and files that lie or are damaged."""

import datetime
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import DamagedFileError, UnknownFormatError, UnsafeFileError
from corpus.identifiers import derived_id
from corpus.io.limits import Limits
from corpus.paper import Paper, to_table
from corpus.readers import preview, read
from corpus.readers.columns import ColumnsNotFound

PAPERS = [
    Paper(
        id=str(number),
        title=f"Title {number}",
        abstract=f"Text {number}.",
        authors=("Noether, Emmy", "Hilbert, David"),
        year=1921,
        venue="Annalen",
        doi="10.1000/x",
        pmid="7",
        url="https://example.org/1",
        topics=("rings", "Ideals, prime"),
    )
    for number in range(3)
]


def written(tmp_path, table, **how):
    path = tmp_path / "library.parquet"
    pq.write_table(table, path, **how)
    return path


def reading_of(path, *, columns=None, **limits):
    reading = read(path, columns=columns, without_abstract="keep", limits=Limits(**limits))
    return list(reading), reading


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zstd"},
        {"compression": "gzip", "use_dictionary": False},
        {"compression": "none", "row_group_size": 1},
        {"version": "1.0", "data_page_version": "2.0"},
    ],
)
def test_papers_come_back_however_they_are_packed(tmp_path, how):
    papers, reading = reading_of(written(tmp_path, to_table(PAPERS), **how))
    assert papers == PAPERS
    assert reading.report.format == "Parquet"
    assert (reading.place, reading.fraction) == ("row 3", 1)


def test_many_row_groups_and_pieces(tmp_path):
    papers = [Paper(id=str(number), title=f"Title {number}", abstract="x") for number in range(1000)]
    found, reading = reading_of(written(tmp_path, to_table(papers), row_group_size=300))
    assert found == papers
    assert reading.place == "row 1000"


@pytest.mark.parametrize(
    ("column", "values", "field", "expected"),
    [
        ("Year", pa.array([1921.0, None]), "year", 1921),
        ("year", pa.array(["1921-05-01", ""]), "year", 1921),
        ("Publication Date", pa.array([datetime.date(1921, 5, 1), None]), "year", 1921),
        ("date", pa.array([datetime.datetime(1921, 5, 1), None], type=pa.timestamp("ns")), "year", 1921),
        ("PubMed ID", pa.array([7, None]), "pmid", "7"),
        ("PubMed ID", pa.array([7.0, float("nan")]), "pmid", "7"),
        ("authors", pa.array(["Noether, Emmy; Hilbert, David", None]), "authors", ("Noether, Emmy", "Hilbert, David")),
        (
            "authors",
            pa.array([[{"authorId": "1", "name": "Emmy Noether"}], None]),
            "authors",
            ("Emmy Noether",),
        ),
        (
            "Keywords",
            pa.array([["rings", None, "rings"], []], type=pa.large_list(pa.large_string())),
            "topics",
            ("rings",),
        ),
        ("Journal", pa.array([{"name": "Annalen"}, None]), "venue", "Annalen"),
        ("Journal", pa.array(["Annalen", None]).dictionary_encode(), "venue", "Annalen"),
        ("Journal", pa.array([b"Ann\xffalen", None], type=pa.binary()), "venue", "Ann\ufffdalen"),
        ("Journal", pa.array([None, None], type=pa.null()), "venue", ""),
        ("Journal", pa.array([True, False]), "venue", ""),
        ("Journal", pa.array([[("a", 1)], None], type=pa.map_(pa.string(), pa.int64())), "venue", ""),
    ],
)
def test_columns_of_every_kind(tmp_path, column, values, field, expected):
    table = pa.table({"Title": pa.array(["A", "B"], type=pa.large_string()), column: values})
    papers, _ = reading_of(written(tmp_path, table))
    assert getattr(papers[0], field) == expected
    assert [paper.title for paper in papers] == ["A", "B"]


def test_columns_can_be_mapped_and_what_fits_nothing_is_named(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(8, np.float32)), 4)
    path = written(tmp_path, pa.table({"t.x": ["A", "B"], "body": ["x", "y"], "emb": vectors, "n": [[1, 2], [3]]}))
    with pytest.raises(
        ColumnsNotFound, match=r'^library\.parquet: none of its columns .* \(it has "t\.x", "body", "emb"'
    ):
        read(path)
    shown = preview(path)
    assert (shown.format, shown.headers, shown.papers) == ("Parquet", ("t.x", "body", "emb", "n"), ())
    assert shown.vector_columns == ("emb",)
    papers, _ = reading_of(path, columns={"title": "t.x", "abstract": "body"})
    assert papers == [
        Paper(id=derived_id(title=t, year=None), title=t, abstract=a) for t, a in (("A", "x"), ("B", "y"))
    ]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 2)])
def test_columns_of_vectors_are_named_and_not_read(tmp_path, kind):
    vectors = pa.array([[np.float16(1), np.float16(2)]] * 3, type=kind)
    path = written(tmp_path, to_table(PAPERS).append_column("vector", vectors))
    shown = preview(path, count=2)
    assert shown.vector_columns == ("vector",)
    assert shown.papers == tuple(PAPERS[:2])
    assert shown.columns["topics"] == "topics"
    # A limit that the vectors would pass alone: they are not unpacked.
    assert reading_of(path)[0] == PAPERS


# Files that lie, or are damaged


def test_a_text_that_a_million_rows_share_is_not_unpacked_for_each(tmp_path):
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 2_000_000]))
    table = pa.table({"title": pa.array(["A"] * 100_000), "abstract": shared})
    path = written(tmp_path, table, compression="zstd")
    assert path.stat().st_size < 100_000
    before = pa.total_allocated_bytes()
    with pytest.raises(UnsafeFileError, match=r"^library\.parquet: 256 of its rows unpack to .* bytes"):
        reading_of(path)
    assert pa.total_allocated_bytes() - before < 2**27


def test_a_list_that_many_rows_share_is_refused_too(tmp_path):
    names = pa.array([["x" * 10_000] * 3] * 600)
    path = written(tmp_path, pa.table({"title": ["A"] * 600, "authors": names}), compression="zstd")
    with pytest.raises(UnsafeFileError, match="rows unpack to"):
        reading_of(path, piece_bytes=5_000_000)


def test_sizes_are_refused_before_anything_is_unpacked(tmp_path):
    table = pa.table({"title": [f"{number:09}" for number in range(20_000)], "abstract": ["x"] * 20_000})
    path = written(tmp_path, table, use_dictionary=False, compression="none")
    with pytest.raises(UnsafeFileError, match="one of its row groups has 20,000 values in"):
        read(path, limits=Limits(row_group_bytes=100_000))
    with pytest.raises(UnsafeFileError, match="unpacks to more than 300,000 bytes"):
        read(path, limits=Limits(unpacked_bytes=300_000))
    with pytest.raises(UnsafeFileError, match="it has 2 columns; at most 1"):
        read(path, limits=Limits(columns=1))
    with pytest.raises(UnsafeFileError, match="more than 10 records"):
        reading_of(path, records=10)
    bomb = written(tmp_path, pa.table({"title": ["x" * 5000] * 5000}), use_dictionary=False, compression="zstd")
    with pytest.raises(UnsafeFileError, match="as bombs do"):
        read(bomb, limits=Limits(ratio_from_bytes=1_000_000))


def test_one_value_too_long_costs_its_record(tmp_path):
    path = written(tmp_path, pa.table({"title": ["A", "x" * 3000, "C"], "abstract": ["a", "b", "c"]}))
    papers, reading = reading_of(path)
    assert [paper.title for paper in papers] == ["A", "C"]
    assert str(reading.report.problems[0]).startswith("library.parquet, row 2: title of 3,000 characters")


def test_a_value_that_cannot_be_read_costs_its_record(tmp_path):
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 2, 3], np.int32)), pa.py_buffer(b"\xff\xfeB")]
    )
    path = written(tmp_path, pa.table({"title": broken, "abstract": ["a", "b"]}))
    papers, reading = reading_of(path)
    assert [paper.title for paper in papers] == ["B"]
    assert reading.report.problems[0].place == "row 1"
    assert "cannot be read" in reading.report.problems[0].reason


def test_a_packed_or_cut_parquet_file_is_said(tmp_path):
    path = written(tmp_path, to_table(PAPERS))
    data = path.read_bytes()
    path.write_bytes(gzip.compress(data))
    with pytest.raises(UnknownFormatError, match="a Parquet file within gzip; unpack it first"):
        read(path)
    path.write_bytes(data[:-9])
    with pytest.raises(DamagedFileError, match=r"^library\.parquet: its Parquet data are damaged"):
        read(path)


def test_a_column_chunk_whose_name_is_no_text_is_damage(tmp_path):
    path = written(tmp_path, to_table(PAPERS))
    data = path.read_bytes()
    refused = 0
    # The name stands in the schema and in each column chunk's own metadata.
    for place in [place for place in range(len(data)) if data.startswith(b"abstract", place)]:
        path.write_bytes(data[:place] + b"\x80" + data[place + 1 :])
        try:
            reading_of(path)
        except DamagedFileError as error:
            assert str(error).startswith("library.parquet: its Parquet data are damaged")
            refused += 1
    assert refused
