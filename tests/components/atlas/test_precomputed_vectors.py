"""Papers that come with their vectors: what was planted is what is searched, and what is no vector is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas import build
from components.atlas.archive import write_archive
from components.atlas.archive_import import import_archive
from components.atlas.build import NothingToBuild
from components.atlas.encoders import TakesNoText, encoder_of
from components.atlas.manifest import PRECOMPUTED
from components.atlas.paths import NameReserved, atlas_names
from components.atlas.precomputed_vectors import NoVectors, VectorsDiffer, build_from_vectors, vector_columns
from components.atlas.reencode import reencode
from components.atlas.store import open_atlas, read_manifest
from components.atlas.verify import verify_atlas
from components.encoder.bi_encoder import BiEncoder
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.search.search import search, seed_query
from corpus.errors import CociteAtlasError
from corpus.paper import Paper, to_table
from corpus.progress import Cancelled

Planted = Callable[[int], list[Paper]]
FLOATS = pa.list_(pa.float32())


def two_crowds(n: int, d: int = 6) -> np.ndarray:
    """Rows that take turns between two places far apart."""
    random = np.random.default_rng(4)
    centres = random.normal(size=(2, d)) * 5
    return (centres[np.arange(n) % 2] + 0.8 * random.normal(size=(n, d))).astype(np.float32)


def save(path: Path, papers: list[Paper], vectors: Any, *, kind: pa.DataType = FLOATS, name: str = "embedding") -> Path:
    """The papers and their vectors as Parquet. vectors: an array, or a list with a list, or None, for each paper."""
    rows = vectors.tolist() if isinstance(vectors, np.ndarray) else vectors
    table = to_table(papers).append_column(name, pa.array(rows, type=kind))
    pq.write_table(table, path, row_group_size=max(1, len(papers) // 2))
    return path


@pytest.fixture
def file(home: Path, tmp_path: Path, planted: Planted) -> Path:
    """Twelve planted papers, each topic at a place of its own."""
    return save(tmp_path / "mine.parquet", planted(6), two_crowds(12))


@pytest.mark.parametrize(
    "kind",
    [
        FLOATS,
        pa.list_(pa.float32(), 6),
        pa.large_list(pa.float64()),
        pa.list_(pa.float64()),
        pa.list_(pa.float64(), 6),
    ],
)
def test_the_vectors_are_those_of_the_file_row_by_row(
    home: Path, tmp_path: Path, planted: Planted, kind: pa.DataType
) -> None:
    vectors = two_crowds(12)
    manifest = build_from_vectors("mine", save(tmp_path / "a.parquet", planted(6), vectors, kind=kind))
    atlas = open_atlas("mine")
    assert np.array_equal(atlas.vectors, vectors)
    assert [atlas.paper(row) for row in range(12)] == planted(6)
    assert (manifest.encoder.source, manifest.encoder.normalised) == (PRECOMPUTED, False)
    # Papers near a paper are those of its topic, for so the vectors were planted.
    assert {atlas.paper(row).id.split("-")[0] for row in search(atlas, seed_query(atlas, [0]), k=5).rows} == {"heart"}
    assert manifest.source["reports"][0]["kept"] == 12
    assert not list(home.glob("mine/work-*"))


def test_half_precision_and_integers(home: Path, tmp_path: Path, planted: Planted) -> None:
    half = two_crowds(12).astype(np.float16)
    build_from_vectors("half", save(tmp_path / "a.parquet", planted(6), list(half), kind=pa.list_(pa.float16())))
    assert np.array_equal(open_atlas("half").vectors, half.astype(np.float32))
    whole = np.arange(72, dtype=np.int8).reshape(12, 6)
    build_from_vectors("whole", save(tmp_path / "b.parquet", planted(6), whole, kind=pa.list_(pa.int8())))
    assert np.array_equal(open_atlas("whole").vectors, whole.astype(np.float32))


def test_normalised_vectors_are_recognised(home: Path, tmp_path: Path, planted: Planted) -> None:
    unit = two_crowds(12)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert build_from_vectors("mine", save(tmp_path / "a.parquet", planted(6), unit)).encoder.normalised


def test_a_stopped_build_is_resumed(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def stop(stage: str, *_: int) -> None:
        calls.append(stage)
        if stage == "Naming regions":
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        build_from_vectors("mine", file, progress=stop)
    assert atlas_names() == []
    assert list(dict.fromkeys(calls))[:2] == ["Reading the papers", "Checking the vectors"]

    def drawn_again(*_: object, **__: object) -> None:
        raise AssertionError("the map was laid out again")

    monkeypatch.setattr(build, "fit_projection", drawn_again)
    assert build_from_vectors("mine", file).papers == 12


# What such an atlas can do, and what not


def test_such_an_atlas_takes_no_text(file: Path, tmp_path: Path) -> None:
    manifest = build_from_vectors("mine", file)
    with pytest.raises(TakesNoText, match=r"'mine' has vectors of its own, so no text .* build another atlas"):
        encoder_of(manifest)
    report = verify_atlas("mine")
    assert report.passed
    assert "none of them can be encoded again" in report.summary()
    again = reencode("mine", encoder=LEXICAL)
    assert (again.corpus, again.papers, again.encoder.source) == ("mine", 12, LEXICAL)
    write_archive("mine", tmp_path / "a.zip")
    other = import_archive(tmp_path / "a.zip")
    assert other.encoder == manifest.encoder


# With an encoder


@pytest.fixture
def encoded(home: Path, tmp_path: Path, planted: Planted, encoder: BiEncoder) -> Callable[..., Path]:
    """encoded(change): the planted papers with the embedded encoder's vectors of them, changed."""
    papers = planted(6)
    vectors = encoder.encode([(paper.title, paper.abstract) for paper in papers])
    return lambda change=lambda found: found: save(tmp_path / "mine.parquet", papers, change(vectors.copy()))


def test_a_named_encoder_that_made_them_takes_text(encoded: Callable[..., Path]) -> None:
    manifest = build_from_vectors("mine", encoded(), encoder=EMBEDDED)
    assert manifest.encoder.takes_text
    assert manifest.encoder.source == EMBEDDED
    assert verify_atlas("mine").largest_error < 1e-5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda vectors: vectors[:, :-1], "383 dimensions"),
        (lambda vectors: np.roll(vectors, 1, axis=0), "makes other vectors"),
        (lambda vectors: vectors * 2, "makes other vectors"),
        (lambda vectors: np.zeros_like(vectors), "makes other vectors"),
        (lambda vectors: np.concatenate([vectors[:5], vectors[6:7], vectors[6:]]), "of 12 that were encoded again, 1"),
    ],
)
def test_vectors_of_another_encoder_are_refused(
    encoded: Callable[..., Path], change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    with pytest.raises(VectorsDiffer, match=said):
        build_from_vectors("mine", encoded(change), encoder=EMBEDDED)
    assert atlas_names() == []
    assert not build_from_vectors("mine", encoded(change)).encoder.takes_text


def test_reserved_names_are_refused(file: Path) -> None:
    with pytest.raises(NameReserved):
        build_from_vectors("medline", file)


def test_the_lexical_encoder_cannot_have_made_vectors(file: Path) -> None:
    with pytest.raises(VectorsDiffer, match="learns from the papers"):
        build_from_vectors("mine", file, encoder=LEXICAL)


# Columns and rows


def test_the_column_is_the_only_one_or_is_named(home: Path, tmp_path: Path, planted: Planted) -> None:
    path = tmp_path / "a.parquet"
    table = pq.read_table(save(path, planted(6), two_crowds(12)))
    assert vector_columns(path) == ("embedding",)
    pq.write_table(table.append_column("second", pa.array((-two_crowds(12)).tolist())), path)
    with pytest.raises(NoVectors, match="'embedding', 'second'"):
        build_from_vectors("mine", path)
    for name in ("title", "none", "authors"):
        with pytest.raises(NoVectors, match="is no column of vectors"):
            build_from_vectors("mine", path, vector_column=name)
    build_from_vectors("mine", path, vector_column="second")
    assert np.array_equal(open_atlas("mine").vectors, -two_crowds(12))


def test_columns_can_be_mapped_by_hand(home: Path, tmp_path: Path, planted: Planted) -> None:
    papers = planted(6)
    table = pa.table(
        {"heading": [p.title for p in papers], "n": list(range(12)), "v": pa.array(two_crowds(12).tolist())}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    build_from_vectors("mine", tmp_path / "a.parquet", columns={"title": "heading", "id": "n"})
    atlas = open_atlas("mine")
    assert atlas.paper(5).title == papers[5].title  # without an abstract, too
    assert atlas.paper(5).id == "5"


def test_rows_without_a_vector_are_reported(home: Path, tmp_path: Path, planted: Planted) -> None:
    rows: list[Any] = two_crowds(12).tolist()
    rows[1], rows[2], rows[3] = None, [], rows[3][:-1]
    rows[4] = [*rows[4][:-1], None]
    rows[5] = [float("nan"), *rows[5][1:]]
    rows[6] = [float("inf"), *rows[6][1:]]
    rows[7] = [1e30, *rows[7][1:]]
    manifest = build_from_vectors("mine", save(tmp_path / "a.parquet", planted(6), rows))
    report = manifest.source["reports"][0]
    assert (report["read"], report["kept"], report["damaged"]) == (12, 5, 7)
    assert [problem["place"] for problem in report["problems"]] == [f"row {row}" for row in range(2, 9)]
    assert "no vector of 6 finite numbers" in report["problems"][0]["reason"]
    atlas = open_atlas("mine")
    kept = [0, 8, 9, 10, 11]
    assert [atlas.paper(row) for row in range(5)] == [planted(6)[row] for row in kept]
    assert np.array_equal(atlas.vectors, two_crowds(12)[kept])


def test_rows_without_a_paper_lose_their_vectors(home: Path, tmp_path: Path, planted: Planted) -> None:
    papers = planted(6)
    papers[0] = Paper(id="x", title="", abstract="")
    papers[3] = papers[2]
    manifest = build_from_vectors("mine", save(tmp_path / "a.parquet", papers, two_crowds(12)))
    report = manifest.source["reports"][0]
    assert (report["kept"], report["empty"], report["duplicate"]) == (10, 1, 1)
    assert np.array_equal(open_atlas("mine").vectors, two_crowds(12)[[1, 2, *range(4, 12)]])


@pytest.mark.parametrize("count", [1, 2])
def test_few_papers_are_enough(home: Path, tmp_path: Path, planted: Planted, count: int) -> None:
    build_from_vectors("mine", save(tmp_path / "a.parquet", planted(6)[:count], two_crowds(count)))
    atlas = open_atlas("mine")
    assert len(search(atlas, seed_query(atlas, [0]), k=5).hits) == count - 1


def test_files_without_papers_or_vectors_are_refused(home: Path, tmp_path: Path, planted: Planted) -> None:
    for papers, vectors, error in (
        (planted(6), [None] * 12, NoVectors),
        ([], [], NoVectors),
        (planted(6), [[float("nan")] * 3] * 12, NothingToBuild),
        ([Paper(id=str(i), title="", abstract="") for i in range(12)], two_crowds(12), NothingToBuild),
    ):
        with pytest.raises(error):
            build_from_vectors("mine", save(tmp_path / "a.parquet", papers, vectors))
    assert atlas_names() == []


# Hostile files


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(40) + b"PAR1", b"title,vector\na,1\n"])
def test_other_files_are_refused(home: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(NoVectors, match=r"a\.parquet: it cannot be read as Parquet"):
        build_from_vectors("mine", tmp_path / "a.parquet")
    with pytest.raises(NoVectors):
        build_from_vectors("mine", tmp_path / "none.parquet")


def test_compression_bombs_are_refused(home: Path, tmp_path: Path) -> None:
    flat = np.zeros(20_000_000, np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(flat), 8000)
    titles = pa.array(["t"] * len(lists))
    pq.write_table(pa.table({"title": titles, "v": lists}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 1_000_000
    with pytest.raises(NoVectors, match="more than such a file can hold"):
        build_from_vectors("mine", tmp_path / "a.parquet")


def test_too_many_dimensions_are_refused(home: Path, tmp_path: Path, planted: Planted) -> None:
    path = save(tmp_path / "a.parquet", planted(1), np.ones((2, 9000), np.float32))
    with pytest.raises(NoVectors, match="9,000 dimensions"):
        build_from_vectors("mine", path)


def test_damaged_files_are_refused(file: Path, home: Path) -> None:
    data = bytearray(file.read_bytes())
    random = np.random.default_rng(1)
    for at in random.integers(4, len(data) - 8, 25).tolist():
        changed = bytearray(data)
        changed[at] ^= 0xFF
        file.write_bytes(changed)
        try:
            build_from_vectors("mine", file)
        except CociteAtlasError as error:
            assert "\n" not in str(error)
    assert all(read_manifest(name).papers <= 12 for name in atlas_names())
