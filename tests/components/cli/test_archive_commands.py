"""The commands that archive, import and export, and build from vectors: as a person calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas.manifest import PRECOMPUTED
from components.atlas.paths import atlas_names
from components.atlas.store import open_atlas, read_manifest
from components.atlas.vectors_export import VECTOR_EXPORTS
from components.cli.corpus.main import main
from corpus.export import EXPORTS
from corpus.paper import Paper, papers_in, to_table
from corpus.readers import read


class Told:
    """One call: its exit code and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def call(*arguments: object) -> Told:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = exit_.code
        out, err = capsys.readouterr()
        return Told(code, out, err)

    return call


def ids(name: str) -> list[str]:
    return open_atlas(name).papers["id"].to_pylist()


# archive, import


def test_an_atlas_goes_out_and_comes_in(topics: str, tmp_path: Path, call: Callable[..., Told]) -> None:
    told = call("archive", "topics", tmp_path / "a.zip")
    assert (told.code, told.out) == (
        0,
        f"{tmp_path / 'a.zip'}: the archive of topics, {(tmp_path / 'a.zip').stat().st_size / 1e3:.0f} kB.\n",
    )
    told = call("import", tmp_path / "a.zip")
    assert (told.code, told.out) == (0, "topics-2: 12 papers, by all-minilm-l6-v2.\n")
    assert call("verify", "topics-2").code == 0
    assert call("import", tmp_path / "a.zip", "--name", "mine").code == 0
    assert atlas_names() == ["mine", "topics", "topics-2"]
    assert ids("mine") == ids("topics")


def test_programs_are_told_in_json(topics: str, tmp_path: Path, call: Callable[..., Told]) -> None:
    lines = [
        json.loads(line) for line in call("archive", topics, tmp_path / "a", "--progress", "json").out.splitlines()
    ]
    assert lines[-1] == {"written": str(tmp_path / "a"), "bytes": (tmp_path / "a").stat().st_size}
    lines = [json.loads(line) for line in call("import", tmp_path / "a", "--progress", "json").out.splitlines()]
    assert lines[-1] == {"built": "topics-2", "papers": 12}
    assert list(dict.fromkeys(line["stage"] for line in lines[:-1])) == [
        "Unpacking the archive",
        "Reading the papers",
        "Checking its vectors",
        "Indexing",
        "Writing the atlas",
    ]


def test_an_import_without_its_encoder_says_so(written: object, tmp_path: Path, call: Callable[..., Told]) -> None:
    call("archive", "one", tmp_path / "a.zip")
    told = call("import", tmp_path / "a.zip")
    assert told.code == 0
    assert "takes no text" in told.out
    told = call("search", "one-2", "--text", "heart")
    assert (told.code, told.out) == (1, "")
    assert "vectors of its own by enc, which is not on this machine" in told.err
    assert "vectors are its own" in call("verify", "one-2").out


def test_errors_of_archives_are_sentences(topics: str, tmp_path: Path, call: Callable[..., Told]) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    call("archive", topics, tmp_path / "a.zip")
    for arguments, said in (
        (("archive", "none", tmp_path / "n.zip"), "No atlas is called 'none'"),
        (("archive", "topics", tmp_path / "no" / "folder.zip"), f"{tmp_path / 'no'}: there is no such folder"),
        (("import", tmp_path / "x.zip"), "no archive of an atlas"),
        (("import", tmp_path / "missing.zip"), "there is no such file"),
        (("import", tmp_path), "this is a folder"),
        (("import", tmp_path / "a.zip", "--name", "topics"), "called 'topics' already"),
        (("import", tmp_path / "a.zip", "--name", "medline"), "default atlas"),
        (("import", tmp_path / "a.zip", "--name", "../x"), "cannot be the name"),
    ):
        told = call(*arguments)
        assert (told.code, told.out) == (1, "")
        assert told.err.startswith("corpus: ")
        assert told.err.count("\n") == 1
        assert said in told.err
    assert atlas_names() == ["topics"]
    assert not (tmp_path / "n.zip").exists()


# export


@pytest.mark.parametrize("format", EXPORTS)
def test_papers_are_written_and_read_back(topics: str, tmp_path: Path, call: Callable[..., Told], format: str) -> None:
    told = call("export", "topics", "--format", format, "--output", tmp_path / "out")
    assert told.code == 0
    assert told.out.startswith(f"{tmp_path / 'out'}: 12 papers of topics as {format}")
    with read(tmp_path / "out") as reading:
        assert list(reading) == list(papers_in(open_atlas("topics").papers))


def test_vectors_are_written(topics: str, tmp_path: Path, call: Callable[..., Told]) -> None:
    for format in VECTOR_EXPORTS:
        assert call("export", "topics", "--format", format, "--output", tmp_path / format).code == 0
    atlas = open_atlas("topics")
    assert np.array_equal(np.load(tmp_path / "vectors-npy"), atlas.vectors)
    assert np.array_equal(np.load(tmp_path / "coordinates-npy"), atlas.coordinates)
    assert pq.read_table(tmp_path / "vectors-parquet")["id"].to_pylist() == ids("topics")


def test_a_list_of_ids_chooses_and_orders(topics: str, tmp_path: Path, call: Callable[..., Told]) -> None:
    chosen = [ids("topics")[row] for row in (7, 2, 4)]
    (tmp_path / "ids").write_text("\ufeff" + "\r\n".join([*chosen, "", chosen[0], "unknown", "other"]) + "\n")
    told = call("export", "topics", "--format", "jsonl", "--output", tmp_path / "out", "--ids", tmp_path / "ids")
    assert told.code == 0
    assert told.err == "Not in topics: unknown, other\n"
    with read(tmp_path / "out") as reading:
        assert [paper.id for paper in reading] == chosen
    call("export", "topics", "--format", "vectors-npy", "--output", tmp_path / "v", "--ids", tmp_path / "ids")
    assert np.array_equal(np.load(tmp_path / "v"), open_atlas("topics").vectors[[7, 2, 4]])


def test_an_export_can_be_piped(topics: str, home: Path) -> None:
    command = [sys.executable, "-m", "corpus", "export", "topics", "--format", "ris", "--output", "-"]
    environment = {**os.environ, "COCITE_ATLAS_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.count(b"ER  - ") == 12
    assert done.stderr == b""


def test_errors_of_exports_are_sentences_and_leave_no_file(
    topics: str, tmp_path: Path, call: Callable[..., Told]
) -> None:
    (tmp_path / "ids").write_text("unknown\n")
    (tmp_path / "empty").write_text("\n")
    for arguments, said in (
        (("none", "--format", "csv", "--output", tmp_path / "out"), "No atlas is called 'none'"),
        (("topics", "--format", "csv", "--output", tmp_path / "no" / "out"), "there is no such folder"),
        (("topics", "--format", "csv", "--output", tmp_path / "out", "--ids", tmp_path / "ids"), "none of its 1 ids"),
        (("topics", "--format", "csv", "--output", tmp_path / "out", "--ids", tmp_path / "empty"), "it holds no id"),
        (("topics", "--format", "csv", "--output", tmp_path / "out", "--ids", tmp_path / "x"), "cannot be read"),
    ):
        told = call("export", *arguments)
        assert (told.code, told.out) == (1, "")
        assert said in told.err
    assert call("export", "topics", "--format", "pickle", "--output", "x").code == 2
    assert list(tmp_path.glob("out*")) == []


# build --vectors


@pytest.fixture
def vectors_file(home: Path, tmp_path: Path, planted: Callable[[int], list[Paper]]) -> Path:
    vectors = np.random.default_rng(2).normal(size=(12, 5)).astype(np.float32)
    table = to_table(planted(6)).append_column("embedding", pa.array(vectors.tolist()))
    pq.write_table(table, tmp_path / "mine.parquet")
    return tmp_path / "mine.parquet"


def test_an_atlas_of_ones_own_vectors(vectors_file: Path, call: Callable[..., Told]) -> None:
    told = call("build", vectors_file, "--vectors", "embedding")
    assert told.code == 0
    assert told.out.endswith("mine: 12 papers. It takes no text; its map and searching from papers work.\n")
    assert read_manifest("mine").encoder.source == PRECOMPUTED
    told = call("build", vectors_file, "--vectors", "embedding", "--encoder", "all-minilm-l6-v2", "--name", "other")
    assert told.code == 1
    assert "The vectors have 5 dimensions" in told.err
    told = call("build", vectors_file, "--vectors", "vector")
    assert "is no column of vectors" in told.err


def test_wrong_calls_exit_with_2(vectors_file: Path, call: Callable[..., Told]) -> None:
    for arguments in (
        ("--vectors", "embedding"),
        (vectors_file, vectors_file, "--vectors", "embedding"),
        (vectors_file, "--vectors", "embedding", "--precision", "float32"),
        ("--from", "x", "--encoder", "tfidf-svd", "--vectors", "embedding"),
    ):
        assert call("build", *arguments).code == 2
    assert atlas_names() == []
