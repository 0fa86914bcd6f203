"""Corpora and their atlases: names, lists, builds that were stopped, and taking an atlas away."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.atlas import paths, store
from components.atlas.build import build_atlas
from components.atlas.corpora import (
    AtlasKept,
    BadTitle,
    atlas_name_for,
    atlases_of,
    corpora,
    delete_atlas,
    delete_corpus,
    discard_unfinished,
    disk_use,
    free_name,
    rename_corpus,
    unfinished,
)
from components.atlas.paths import AtlasBusy, NoSuchAtlas, atlas_names, being_built, build_lock
from components.atlas.reencode import reencode
from components.atlas.store import AtlasParts, open_atlas, write_atlas
from components.encoder.catalogue import CATALOGUE, LEXICAL
from corpus.progress import Cancelled

MakeParts = Callable[..., AtlasParts]


# Names


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
    st.one_of(st.sampled_from(sorted(CATALOGUE)), st.text(min_size=1)),
    st.sampled_from(["float32", "bfloat16"]),
)
def test_every_corpus_and_encoder_make_a_name(corpus: str, encoder: str, precision: str) -> None:
    name = atlas_name_for(corpus, encoder, precision=precision)
    assert paths.atlas_folder(name).name == name  # raises for what cannot be one
    assert len(name) <= 64
    assert name not in (corpus, paths.DEFAULT_ATLAS)


def test_names_tell_encoders_and_corpora_apart() -> None:
    long = "x" * 64
    names = [
        atlas_name_for(corpus, encoder, precision=precision)
        for corpus in ("medline", long, f"{long[:-1]}y")
        for encoder in (*CATALOGUE, "/a/model", "/b/model", "/a/Model", "/a/model.zip", "/", "/ü")
        for precision in ("float32", "bfloat16")
    ]
    assert len(set(names)) == len(names)
    assert atlas_name_for("mine", "specter") == "mine--specter"


# Lists


def test_atlases_are_listed_by_corpus(home: Path, atlas_parts: MakeParts) -> None:
    parts = atlas_parts(graph=False)
    assert corpora() == []
    for name, corpus in (("one--b", "one"), ("one", ""), ("one--a", "one"), ("a", "one"), ("two", "")):
        write_atlas(replace(parts, name=name, corpus=corpus))
    assert corpora() == ["one", "two"]
    assert [manifest.name for manifest in atlases_of("one")] == ["one", "a", "one--a", "one--b"]
    assert [manifest.name for manifest in atlases_of("two")] == ["two"]
    assert atlases_of("none") == []
    (home / "one--a" / "manifest.json").write_text("{")  # one that is damaged hides no other
    assert [manifest.name for manifest in atlases_of("one")] == ["one", "a", "one--b"]


def test_disk_use_is_the_bytes_of_all_its_files(written: AtlasParts, home: Path) -> None:
    assert disk_use("none") == 0
    files = [path for path in (home / "one").rglob("*") if path.is_file()]
    assert disk_use("one") == sum(len(path.read_bytes()) for path in files)
    (home / "one" / "work-0").mkdir()
    (home / "one" / "work-0" / "vectors-0.npy").write_bytes(b"x" * 1000)
    assert disk_use("one") == sum(len(path.read_bytes()) for path in files) + 1000


# Deleting


def test_a_deleted_atlas_is_gone_and_stays_usable_where_open(written: AtlasParts, home: Path) -> None:
    atlas = open_atlas("one")
    (home / "one" / "work-0").mkdir()
    delete_atlas("one")
    assert atlas_names() == []
    assert [path.name for path in (home / "one").iterdir()] == [paths.LOCK]
    assert atlas.paper(59).id == "0-59"
    assert atlas.index.search(atlas.vectors[9], k=3).rows[0] == 9
    with pytest.raises(NoSuchAtlas):
        delete_atlas("one")
    write_atlas(written)
    assert atlas_names() == ["one"]


def test_what_may_not_be_deleted(written: AtlasParts, home: Path) -> None:
    write_atlas(replace(written, name="medline"))
    with pytest.raises(AtlasKept, match="default atlas"):
        delete_atlas("medline")
    for name in ("none", "../one", ""):
        with pytest.raises(NoSuchAtlas):
            delete_atlas(name)
    with build_lock("one"), pytest.raises(AtlasBusy):
        delete_atlas("one")
    assert atlas_names() == ["medline", "one"]
    assert not (home / "none").exists()


def test_an_interrupted_deletion_leaves_no_half_atlas(written: AtlasParts, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            delete_atlas("one")
    assert atlas_names() == []
    write_atlas(written)  # tidies up what was left
    assert len([path for path in paths.atlas_folder("one").iterdir() if path.is_dir()]) == 1


# Unfinished builds


@pytest.fixture
def stopped(home: Path, planted_file: Path, small_chunks: None) -> str:
    """The name of a build of twelve papers that was stopped before its last four were kept."""

    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("Encoding papers", 12):
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        build_atlas("mine", [planted_file], encoder=LEXICAL, progress=stop)
    return "mine"


def test_a_stopped_build_is_listed_until_it_is_done(stopped: str, planted_file: Path) -> None:
    (build,) = unfinished()
    expected = {
        "name": "mine",
        "corpus": "mine",
        "base": "",
        "encoder": LEXICAL,
        "precision": "float32",
        "kind": "build",
    }
    assert build.model_dump(exclude={"started"}) == expected | {"rows_done": 8, "papers": 12}
    assert timedelta(0) <= datetime.now(UTC) - build.started < timedelta(minutes=10)
    with build_lock("mine"):
        assert being_built("mine")
        assert unfinished() == []  # under way, and not stopped
    assert not being_built("mine")
    build_atlas("mine", [planted_file], encoder=LEXICAL)
    assert unfinished() == []


def test_an_unfinished_build_can_be_discarded(stopped: str, home: Path, planted_file: Path) -> None:
    with build_lock("mine"), pytest.raises(AtlasBusy):
        discard_unfinished("mine")
    assert len(unfinished()) == 1
    discard_unfinished("mine")
    assert unfinished() == []
    assert list((home / "mine").glob("work-*")) == []
    discard_unfinished("mine")
    with pytest.raises(NoSuchAtlas):
        discard_unfinished("none")
    build_atlas("mine", [planted_file], encoder=LEXICAL)
    discard_unfinished("mine")
    assert len(open_atlas("mine")) == 12


def test_nothing_is_unfinished_in_an_empty_home(home: Path) -> None:
    assert unfinished() == []
    assert not being_built("one")
    assert not home.exists()


WRONG_REQUESTS: list[object] = [
    "{",
    "[" * 100_000,
    b"\xff\xfe",
    " " * 100_000,
    [],
    {},
    *(
        {key: value}
        for key, value in (
            ("corpus", "../x"),
            ("corpus", 7),
            ("base", "/etc"),
            ("encoder", None),
            ("precision", "float16"),
            ("started", "soon"),
            ("started", "2026-01-01T00:00:00"),
            ("papers", -1),
            ("papers", True),
            ("papers", 10**30),
            ("papers", "12"),
        )
    ),
]


@pytest.mark.parametrize("content", WRONG_REQUESTS, ids=lambda content: str(content)[:20])
def test_invalid_requests_are_not_listed(stopped: str, home: Path, content: object) -> None:
    (path,) = home.rglob("request.json")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content)
    else:
        good = json.loads(path.read_text())
        path.write_text(json.dumps({**good, **content} if content else content))
    assert unfinished() == []
    discard_unfinished("mine")
    assert list(home.rglob("work-*")) == []


def test_other_files_in_a_work_folder_do_not_count(stopped: str, home: Path) -> None:
    (work,) = home.rglob("work-*")
    (work / "vectors-000000004.npy").write_bytes(b"x")
    (work / "vectors-000000008.npy").write_text("")
    assert [build.rows_done for build in unfinished()] == [4]
    (home / "file").write_text("")
    (home / "Not-A-Name" / "work-1").mkdir(parents=True)
    assert len(unfinished()) == 1


# Titles, names and whole corpora


def test_free_names(mine: str, home: Path) -> None:
    assert free_name("Mine") == "mine-2"
    assert free_name("medline") == "medline-2"
    assert free_name("Mine", taken=["mine-2"]) == "mine-3"
    (home / "begun" / "work-1").mkdir(parents=True)
    assert free_name("Begun") == "begun-2"


@given(st.text(max_size=300))
def test_any_title_gives_a_valid_name(title: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", "/nowhere")
        name = free_name(title)
    assert paths.atlas_folder(name).name == name
    assert "--" not in name  # what parts a corpus from an encoder


def test_a_corpus_is_renamed_in_all_its_atlases(mine: str) -> None:
    reencode(mine, encoder="tfidf-svd")
    before = {manifest.name: manifest for manifest in atlases_of(mine)}
    rename_corpus(mine, "  Hearts &\n galaxies\x00 ")
    after = {manifest.name: manifest for manifest in atlases_of(mine)}
    assert {manifest.display_title for manifest in after.values()} == {"Hearts & galaxies"}
    assert {name: replace(manifest, title="") for name, manifest in after.items()} == before
    assert len(store.open_atlas(mine)) == 12
    for bad in ("", " \n", "x" * 201):
        with pytest.raises(BadTitle):
            rename_corpus(mine, bad)
    with pytest.raises(NoSuchAtlas):
        rename_corpus("none", "x")
    with pytest.raises(AtlasKept):
        rename_corpus("medline", "x")


def test_a_corpus_is_renamed_whole_or_not_at_all(mine: str, home: Path) -> None:
    reencode(mine, encoder="tfidf-svd")
    with filelock.FileLock(home / "mine--tfidf-svd" / ".lock"), pytest.raises(AtlasBusy):
        rename_corpus(mine, "Other")
    assert {manifest.title for manifest in atlases_of(mine)} == {""}


def test_a_corpus_is_deleted_and_the_default_one_kept(mine: str) -> None:
    reencode(mine, encoder="tfidf-svd")
    with pytest.raises(AtlasKept):
        delete_corpus("medline")
    delete_corpus(mine)
    assert atlases_of(mine) == []
    assert corpora() == []
    with pytest.raises(NoSuchAtlas):
        delete_corpus(mine)
