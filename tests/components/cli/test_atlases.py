"""Verbs of atlases: what they print, and their exit codes."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas import default, store
from components.atlas.manifest import Manifest
from components.atlas.paths import atlas_folder, atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import open_atlas, read_manifest, write_atlas
from components.cli.output import count_papers
from components.encoder.bi_encoder import BiEncoder
from components.encoder.catalogue import LEXICAL
from corpus.export import write_jsonl
from corpus.io.files import write_array
from corpus.paper import Paper, to_table
from tests.components.cli.conftest import Cocite

Planted = Callable[[int], list[Paper]]
HEART = "Heart attack survivors\n\nPatients with coronary disease were given a new drug after cardiac arrest."


@pytest.fixture
def file(tmp_path: Path, planted: Planted) -> Path:
    """Six planted papers and one without an abstract."""
    path = tmp_path / "My Library.jsonl"
    write_jsonl(planted(3), path)
    with path.open("a", encoding="utf-8") as lines:
        lines.write('{"id": "7", "title": "No abstract"}\n')
    return path


@pytest.fixture
def words(topics: str) -> str:
    """The name of the lexical atlas of `topics`, which grows quickly."""
    return reencode(topics, encoder=LEXICAL).name


@pytest.fixture
def more(tmp_path: Path, planted: Planted) -> Path:
    """A file of the twelve papers of `topics` and four others."""
    write_jsonl(planted(8), tmp_path / "more.jsonl")
    return tmp_path / "more.jsonl"


# -- build ------------------------------------------------------------------------------------------------------------


def test_build_names_the_atlas_after_its_file_and_reports_what_was_left_out(
    home: Path, file: Path, cocite: Cocite
) -> None:
    result = cocite("build", file, "--encoder", LEXICAL)
    assert result.code == 0
    assert atlas_names() == ["my-library"]
    lines = result.out.splitlines()
    assert lines[0] == "My Library.jsonl: 6 of 7 records kept"
    assert lines[1].startswith("  line 7: no abstract")
    assert lines[2] == "my-library: 6 papers. Search it: cocite search my-library --text …"
    again = cocite("build", file, "--encoder", LEXICAL)
    assert "my-library exists: 6 papers, by tfidf-svd." in again.err
    built = cocite("build", "--from", "my-library", "--encoder", LEXICAL, "--name", "copy", "--json")
    assert built.json == {"built": "copy", "papers": 6, "encoder": LEXICAL}


def test_build_reads_a_table_with_its_own_headers(home: Path, tmp_path: Path, cocite: Cocite) -> None:
    path = tmp_path / "table.csv"
    path.write_text("Titel,Inhalt\nHearts,About hearts.\nGalaxies,\n", encoding="utf-8")
    cocite("build", path).assert_error('"Titel", "Inhalt"')
    columns = ("--column", "title=Titel", "--column", "abstract=Inhalt", "--keep-without-abstract")
    result = cocite("build", path, *columns)
    assert result.out.splitlines()[0] == "table.csv: 2 of 2 records kept (1 without an abstract)"


@pytest.mark.parametrize(
    ("name", "atlas"),
    [("Ünïcode.jsonl", "n-code"), ("__.jsonl", "corpus"), (".jsonl", "corpus"), ("x" * 90 + ".jsonl.gz", "x" * 64)],
)
def test_every_file_name_gives_an_atlas_name(
    home: Path, tmp_path: Path, planted: Planted, cocite: Cocite, name: str, atlas: str
) -> None:
    write_jsonl(planted(1), tmp_path / name)
    assert cocite("build", tmp_path / name).code == 0
    assert atlas_names() == [atlas]


def test_errors_of_builds_are_sentences(home: Path, file: Path, tmp_path: Path, cocite: Cocite) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    for arguments, parts in (
        ((tmp_path / "absent",), ("absent", "no such file")),
        ((tmp_path,), ("is a folder",)),
        ((file, "--name", "../x"), ("../x",)),
        ((file, "--name", "medline"), ("'medline'", "--name")),
        ((file, "--encoder", "bert"), ("No encoder is called 'bert'", "specter")),
        (("medline", "--name", "other"), ("default atlas",)),
        ((tmp_path / "empty.jsonl",), ("empty.jsonl", "empty")),
        ((file, "--assemble"), ("build medline --assemble",)),
        (("medline", "--encoder", "specter", "--assemble"), ("default atlas",)),
    ):
        cocite("build", *arguments).assert_error(*parts)
    assert atlas_names() == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a.csv", "--from", "b"),
        ("--from", "x"),
        ("--vectors", "embedding"),
        ("a.parquet", "b.parquet", "--vectors", "embedding"),
        ("a.parquet", "--vectors", "embedding", "--precision", "float32"),
        ("a.csv", "--precision", "float8"),
    ],
)
def test_options_of_build_that_exclude_each_other_exit_with_2(
    home: Path, cocite: Cocite, arguments: tuple[str, ...]
) -> None:
    cocite("build", *arguments).assert_wrong_call()


@pytest.mark.parametrize("column", ["titel=Titel", "title"])
def test_a_column_that_is_no_field_exits_with_2(home: Path, file: Path, cocite: Cocite, column: str) -> None:
    cocite("build", file, "--column", column).assert_wrong_call()


def test_a_home_that_cannot_be_written_is_an_error(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cocite: Cocite
) -> None:
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(tmp_path / "plain"))
    cocite("build", file).assert_error("COCITE_ATLAS_HOME")
    cocite("info", "medline").assert_error("COCITE_ATLAS_HOME")
    assert cocite("list", "--json").json == []


def test_an_interrupted_build_resumes(home: Path, file: Path, monkeypatch: pytest.MonkeyPatch, cocite: Cocite) -> None:
    def interrupt(vectors: np.ndarray, **settings: object) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("components.atlas.build.fit_projection", interrupt)
        result = cocite("build", file)
    assert (result.code, result.out) == (130, "")
    assert "the same command resumes" in result.err
    assert atlas_names() == []
    assert cocite("build", file).code == 0


def test_a_damaged_default_atlas_names_the_command_that_repairs_it(
    medline_home: Path, home: Path, cocite: Cocite, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(medline_home, home)
    (home / "medline" / read_manifest("medline").folder / "vectors.npy").write_bytes(b"x")
    result = cocite("search", "medline", "--text", "heart")
    result.assert_error("vectors.npy", "cocite build medline --assemble")
    repair = Mock(return_value=read_manifest("medline"))
    monkeypatch.setattr(default, "rebuild_medline", repair)
    assert cocite(*result.err.rpartition("cocite ")[2].split()).code == 0
    repair.assert_called_once()


@pytest.mark.slow
def test_the_default_atlas_is_repaired_without_encoding(
    medline_home: Path, home: Path, cocite: Cocite, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(medline_home, home)
    (home / "medline" / read_manifest("medline").folder / "vectors.npy").write_bytes(b"x")
    monkeypatch.setattr(BiEncoder, "_forward", None)
    assert cocite("build", "medline", "--assemble").code == 0
    assert len(open_atlas("medline")) == read_manifest("medline").papers > 18_000


def test_an_atlas_of_precomputed_vectors(home: Path, tmp_path: Path, planted: Planted, cocite: Cocite) -> None:
    vectors = np.random.default_rng(2).normal(size=(12, 5)).astype(np.float32)
    file = tmp_path / "mine.parquet"
    pq.write_table(to_table(planted(6)).append_column("embedding", pa.array(vectors.tolist())), file)
    result = cocite("build", file, "--vectors", "embedding")
    assert result.out.endswith("mine: 12 papers. It takes no text; its map and searching from papers work.\n")
    cocite("build", file, "--vectors", "vector").assert_error("'vector'")
    other = cocite("build", file, "--vectors", "embedding", "--encoder", "all-minilm-l6-v2", "--name", "other")
    other.assert_error("5 dimensions")


# -- add, remove, rebuild ---------------------------------------------------------------------------------------------


def test_add_reports_what_is_new(words: str, more: Path, cocite: Cocite) -> None:
    result = cocite("add", words, more)
    assert result.code == 0
    assert result.out.startswith(
        f"more.jsonl: 16 of 16 records kept\n{words}: 4 added, 12 already there, 16 papers now.\n"
    )
    assert result.out.endswith(f"Lay it out again: cocite rebuild {words}\n")
    assert f"{words}: 16 already there, 16 papers now." in cocite("add", words, more).out
    rebuilt = cocite("rebuild", words)
    assert rebuilt.out.startswith(f"{words}: the map was laid out with all 16 papers: ")
    assert len(open_atlas("topics")) == 12


def test_remove_by_ids_and_by_file(words: str, tmp_path: Path, cocite: Cocite) -> None:
    result = cocite("remove", words, "heart-0", "zzz")
    assert result.out == f"{words}: 1 removed, 1 unknown, 11 papers now.\n  no paper has the id 'zzz'\n"
    path = tmp_path / "gone.txt"
    path.write_text("\ufeffheart-1\r\n\r\n galaxy-1 \r\n" + "".join(f"x{i}\r\n" for i in range(7)), encoding="utf-8")
    result = cocite("remove", words, "--file", path)
    assert result.out.startswith(f"{words}: 2 removed, 7 unknown, 9 papers now.\n")
    assert "… and 2 more unknown ids" in result.out
    assert open_atlas(words).row_of("heart-1") is None


def test_all_atlases_of_a_corpus_change_together_and_refusals_fail_the_call(
    words: str, more: Path, cocite: Cocite, atlas_parts: Callable[..., store.AtlasParts]
) -> None:
    result = cocite("add", words, more, "--all-encoders")
    assert result.code == 0
    assert "topics: 4 added" in result.out and f"{words}: 4 added" in result.out
    parts = atlas_parts(graph=False)
    write_atlas(replace(parts, name="own", corpus="topics", encoder=replace(parts.encoder, source="own-vectors")))
    result = cocite("add", words, more, "--all-encoders", "--json")
    assert result.code == 1
    changes = {change["changed"]: change for change in result.json}
    assert changes["own"]["error"] and f"cocite: own: {changes['own']['error']}" in result.err
    assert {key: changes[words][key] for key in ("papers", "added", "already_there", "error")} == {
        "papers": 16, "added": 0, "already_there": 16, "error": ""
    }  # fmt: skip


def test_changes_as_json(words: str, more: Path, cocite: Cocite) -> None:
    (change,) = cocite("add", words, more, "--json").json
    assert change.pop("rebuild_due")
    assert change == {
        "changed": words, "papers": 16, "added": 4, "already_there": 12, "removed": 0, "unknown": [], "error": ""
    }  # fmt: skip
    (change,) = cocite("remove", words, "heart-7", "x", "--json").json
    assert (change["removed"], change["unknown"], change["papers"]) == (1, ["x"], 15)
    (change,) = cocite("rebuild", words, "--json").json
    assert (change["changed"], change["papers"], change["rebuild_due"]) == (words, 15, "")


def test_papers_without_an_abstract_are_added_on_request(words: str, tmp_path: Path, cocite: Cocite) -> None:
    path = tmp_path / "bare.jsonl"
    path.write_text('{"id": "bare", "title": "Cardiac surgery without words"}\n')
    assert cocite("add", words, path).code == 1
    assert cocite("add", words, path, "--keep-without-abstract").code == 0
    assert open_atlas(words).row_of("bare") == 12


def test_errors_of_changes_are_sentences(words: str, more: Path, tmp_path: Path, cocite: Cocite) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for arguments, part in (
        (("add", "none", more), "No atlas is called 'none'"),
        (("add", "../x", more), "../x"),
        (("add", words, tmp_path / "absent.ris"), "there is no such file"),
        (("remove", words, "--file", tmp_path / "absent.txt"), "cannot be read"),
        (("remove", words, "--file", tmp_path / "empty.txt"), "holds no id"),
        (("remove", words, "--file", tmp_path / "binary.txt"), "not text in UTF-8"),
        (("add", "medline", more), "cocite export medline"),
        (("remove", "medline", "1", "--all-encoders"), "cocite export medline"),
        (("rebuild", "none"), "No atlas is called 'none'"),
        (("remove", words, *open_atlas(words).papers["id"].to_pylist()), "delete the atlas"),
    ):
        cocite(*arguments).assert_error(part)
    cocite("add", "x").assert_wrong_call()
    cocite("remove", "x").assert_wrong_call()
    cocite("remove", "x", "1", "--file", "y").assert_wrong_call()


# -- list, info, verify -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "text"), [(1, "1 paper"), (2, "2 papers"), (1200, "1,200 papers")])
def test_numbers_of_papers(count: int, text: str) -> None:
    assert count_papers(count) == text


def test_list(topics: str, home: Path, cocite: Cocite) -> None:
    shutil.copytree(home / "topics", home / "broken")
    broken, good = cocite("list", "--json").json
    assert set(broken) == {"name", "error"}
    assert (good["name"], good["papers"], good["encoder"]) == ("topics", 12, "all-minilm-l6-v2")
    folder = home / "topics" / read_manifest("topics").folder
    assert good["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    lines = cocite("list").out.splitlines()
    assert lines[0].startswith("broken: ")
    assert lines[1].startswith("topics: 12 papers, all-minilm-l6-v2, ")


def test_list_of_nothing(home: Path, cocite: Cocite) -> None:
    assert cocite("list", "--json").json == []
    assert "There is no atlas yet" in cocite("list").out


def test_info(topics: str, cocite: Cocite) -> None:
    assert Manifest.from_json(cocite("info", "topics", "--json").out) == read_manifest("topics")
    text = cocite("info", "topics").out
    for part in ("topics\n", "12\n", "all-minilm-l6-v2, 384 dimensions", "exact"):
        assert part in text


def test_info_of_the_default_atlas(medline_home: Path, monkeypatch: pytest.MonkeyPatch, cocite: Cocite) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))
    assert "hnswlib, M 16" in cocite("info", "medline").out
    assert len(cocite("search", "medline", "--text", HEART, "-k", "200", "--json").json) == 200


@pytest.mark.parametrize("verb", [("info",), ("verify",), ("search", "--text", "heart")])
def test_a_missing_atlas_is_an_error(topics: str, cocite: Cocite, verb: tuple[str, ...]) -> None:
    cocite(verb[0], "none", *verb[1:]).assert_error("No atlas is called 'none'", "topics")
    cocite(verb[0], "../x", *verb[1:]).assert_error("../x")


@pytest.mark.parametrize("verb", [("verify",), ("search", "--text", "heart")])
def test_a_damaged_atlas_is_an_error(topics: str, home: Path, cocite: Cocite, verb: tuple[str, ...]) -> None:
    (home / "topics" / read_manifest("topics").folder / "vectors.npy").write_bytes(b"x")
    cocite(verb[0], "topics", *verb[1:]).assert_error("vectors.npy")


def test_verify_passes_or_exits_with_3(topics: str, cocite: Cocite) -> None:
    result = cocite("verify", "topics", "--rows", "4", "--json")
    assert (result.code, result.json["passed"], result.json["rows"]) == (0, True, 4)
    atlas = open_atlas("topics")
    folder = atlas_folder("topics") / atlas.manifest.folder
    write_array(folder / "vectors.npy", np.roll(atlas.vectors, 1, axis=0))
    manifest = json.loads((folder.parent / "manifest.json").read_text())
    checksum = store.checksum(folder / "vectors.npy")
    manifest["files"]["vectors.npy"] = {"bytes": checksum.bytes, "sha256": checksum.sha256}
    (folder.parent / "manifest.json").write_text(json.dumps(manifest))
    assert cocite("verify", "topics").code == 3


# -- search, compare --------------------------------------------------------------------------------------------------


def test_search(topics: str, cocite: Cocite, monkeypatch: pytest.MonkeyPatch) -> None:
    hits = cocite("search", "topics", "--text", HEART, "-k", "6", "--json").json
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert all(set(hit) == {"rank", "row", "id", "title", "l2_distance"} for hit in hits)
    assert all(hit["id"].startswith("heart-") for hit in hits)
    assert [hit["l2_distance"] for hit in hits] == sorted(hit["l2_distance"] for hit in hits)
    atlas = open_atlas("topics")
    assert all(atlas.paper(hit["row"]).id == hit["id"] for hit in hits)
    text = cocite("search", "topics", "--text", HEART, "-k", "6").out
    assert [line.split()[2] for line in text.splitlines()] == [hit["id"] for hit in hits]
    monkeypatch.setattr(sys, "stdin", io.StringIO(HEART))
    assert cocite("search", "topics", "--text", "-", "-k", "6", "--json").json == hits


def test_search_filters(topics: str, cocite: Cocite) -> None:
    def ids(*options: str) -> set[str]:
        return {hit["id"] for hit in cocite("search", "topics", "--text", HEART, "--json", *options).json}

    assert ids("--topic", "galaxy", "--venue", "Journal of galaxy 0") == {"galaxy-0", "galaxy-3"}
    venues = ("--venue", "Journal of galaxy 0", "--venue", "Journal of heart 1")
    assert ids(*venues, "--years", "2001-2003") == {"galaxy-3", "heart-1"}
    assert ids("--years", "2005") == {"heart-5", "galaxy-5"}
    assert ids("--years", "1900-1950") == set()


def test_search_leaves_the_text_itself_out_and_says_so(topics: str, cocite: Cocite) -> None:
    paper = open_atlas("topics").paper(4)
    result = cocite("search", "topics", "--text", f"{paper.title}\n\n{paper.abstract}", "-k", "12")
    assert len(result.out.splitlines()) == 11
    assert f"Left out, because it is the text itself: {paper.title}" in result.err


def test_wrong_searches(topics: str, cocite: Cocite) -> None:
    for text in ("", "  \n ", "<p></p>"):
        cocite("search", "topics", "--text", text).assert_error("is empty")
    for k in ("0", "-5", "201"):
        cocite("search", "topics", "--text", "heart", f"-k{k}").assert_error("1 to 200")
    for arguments in ((), ("--text", "x", "-k", "ten"), ("--text", "x", "--years", "2020-soon")):
        cocite("search", "topics", *arguments).assert_wrong_call()


def test_compare(words: str, cocite: Cocite) -> None:
    result = cocite("compare", "topics", words, "--text", HEART, "-k", "4")
    assert result.code == 0
    assert "\ntopics\n" in result.out and f"\n{words}\n" in result.out
    assert "of 4 papers are in both lists" in result.out
    answer = cocite("compare", "topics", words, "-k", "4", "--json").json
    assert set(answer) == {"agreement", "query"} and answer["query"] is None
    cocite("compare", "topics", "topics", "--sample", "0").assert_error("at least one paper")
