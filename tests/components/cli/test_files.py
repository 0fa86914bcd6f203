"""Verbs that write an atlas to files and read one back."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.atlas.paths import atlas_names
from components.atlas.store import open_atlas
from components.atlas.vectors_export import VECTOR_EXPORTS
from components.cli.files import ExportFormat
from corpus.export import EXPORTS
from corpus.paper import papers_in
from corpus.readers import read
from tests.components.cli.conftest import Cocite


def ids(name: str) -> list[str]:
    return open_atlas(name).papers["id"].to_pylist()


def test_an_atlas_is_archived_and_imported(topics: str, tmp_path: Path, cocite: Cocite) -> None:
    file = tmp_path / "a.zip"
    assert cocite("archive", "topics", file).out.startswith(f"{file}: the archive of topics, ")
    assert cocite("archive", "topics", file, "--json").json == {"written": str(file), "bytes": file.stat().st_size}
    assert cocite("import", file).out == "topics-2: 12 papers, by all-minilm-l6-v2.\n"
    assert cocite("verify", "topics-2").code == 0
    assert cocite("import", file, "--name", "mine", "--json").json == {"built": "mine", "papers": 12}
    assert atlas_names() == ["mine", "topics", "topics-2"]
    assert ids("mine") == ids("topics")


def test_an_import_without_its_encoder_says_so(written: object, tmp_path: Path, cocite: Cocite) -> None:
    cocite("archive", "one", tmp_path / "a.zip")
    assert "takes no text" in cocite("import", tmp_path / "a.zip").out
    cocite("search", "one-2", "--text", "heart").assert_error("one-2")


def test_errors_of_archives_are_sentences(topics: str, tmp_path: Path, cocite: Cocite) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    cocite("archive", "topics", tmp_path / "a.zip")
    for arguments, part in (
        (("archive", "none", tmp_path / "n.zip"), "No atlas is called 'none'"),
        (("archive", "topics", tmp_path / "no" / "folder.zip"), str(tmp_path / "no")),
        (("import", tmp_path / "x.zip"), "x.zip"),
        (("import", tmp_path / "missing.zip"), "there is no such file"),
        (("import", tmp_path), "is a folder"),
        (("import", tmp_path / "a.zip", "--name", "topics"), "'topics'"),
        (("import", tmp_path / "a.zip", "--name", "medline"), "default atlas"),
        (("import", tmp_path / "a.zip", "--name", "../x"), "../x"),
    ):
        cocite(*arguments).assert_error(part)
    assert atlas_names() == ["topics"]
    assert not (tmp_path / "n.zip").exists()


def test_every_export_format_is_an_option() -> None:
    assert set(ExportFormat.__args__) == {*EXPORTS, *VECTOR_EXPORTS}  # type: ignore[attr-defined]


@pytest.mark.parametrize("format", EXPORTS)
def test_exported_papers_are_read_back(topics: str, tmp_path: Path, cocite: Cocite, format: str) -> None:
    result = cocite("export", "topics", "--format", format, "--output", tmp_path / "out")
    assert result.out.startswith(f"{tmp_path / 'out'}: 12 papers of topics as {format}")
    with read(tmp_path / "out") as reading:
        assert list(reading) == list(papers_in(open_atlas("topics").papers))


def test_exported_vectors_are_exact(topics: str, tmp_path: Path, cocite: Cocite) -> None:
    for format in VECTOR_EXPORTS:
        assert cocite("export", "topics", "--format", format, "--output", tmp_path / format).code == 0
    atlas = open_atlas("topics")
    assert np.array_equal(np.load(tmp_path / "vectors-npy"), atlas.vectors)
    assert np.array_equal(np.load(tmp_path / "coordinates-npy"), atlas.coordinates)
    assert pq.read_table(tmp_path / "vectors-parquet")["id"].to_pylist() == ids("topics")


def test_a_list_of_ids_selects_and_orders(topics: str, tmp_path: Path, cocite: Cocite) -> None:
    chosen = [ids("topics")[row] for row in (7, 2, 4)]
    (tmp_path / "ids").write_text("\ufeff" + "\r\n".join([*chosen, "", chosen[0], "unknown", "other"]) + "\n")
    selected = ("--ids", tmp_path / "ids")
    result = cocite("export", "topics", "--format", "jsonl", "--output", tmp_path / "out", *selected, "--json")
    assert result.json["papers"] == 3
    assert result.err == "cocite: not in topics: unknown, other\n"
    with read(tmp_path / "out") as reading:
        assert [paper.id for paper in reading] == chosen
    cocite("export", "topics", "--format", "vectors-npy", "--output", tmp_path / "v", *selected)
    assert np.array_equal(np.load(tmp_path / "v"), open_atlas("topics").vectors[[7, 2, 4]])


def test_errors_of_exports_leave_no_file(topics: str, tmp_path: Path, cocite: Cocite) -> None:
    (tmp_path / "ids").write_text("unknown\n")
    (tmp_path / "empty").write_text("\n")
    for name, output, options, part in (
        ("none", "out", (), "No atlas is called 'none'"),
        ("topics", "no/out", (), str(tmp_path / "no")),
        ("topics", "out", ("--ids", tmp_path / "ids"), "none of its 1 ids"),
        ("topics", "out", ("--ids", tmp_path / "empty"), "holds no id"),
        ("topics", "out", ("--ids", tmp_path / "x"), "cannot be read"),
    ):
        result = cocite("export", name, "--format", "csv", "--output", tmp_path / output, *options)
        result.assert_error(part)
    cocite("export", "topics", "--format", "pickle", "--output", "x").assert_wrong_call()
    assert list(tmp_path.glob("out*")) == []
