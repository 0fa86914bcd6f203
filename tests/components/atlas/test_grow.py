"""Growing: new papers come after the old ones and near their like, removed ones are gone, all else stays."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.atlas import paths, store
from components.atlas.build import WRITING, NameReserved, build_atlas
from components.atlas.grow import (
    ADDING_STAGES,
    PLACING,
    REMOVING_STAGES,
    CannotGrow,
    NothingLeft,
    add_papers,
    check_can_grow,
    grow_corpus,
    rebuild,
    remove_papers,
)
from components.atlas.manifest import PRECOMPUTED, EncoderRecord
from components.atlas.map_state import rebuild_due
from components.atlas.paths import AtlasBusy, NoSuchAtlas, atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import AtlasDamaged, AtlasParts, open_atlas, write_atlas
from components.atlas.verify import verify_atlas
from components.encoder import LEXICAL, BiEncoder, LexicalEncoder
from components.index.hnsw import GRAPH_FROM
from components.search.search import search, seed_query
from corpus.paper import Paper, to_table
from corpus.progress import Cancelled
from corpus.readers.report import PROBLEMS_SCHEMA
from tests.components.atlas.growing import Watch, check_rows, numbered

Planted = Callable[[int], list[Paper]]
MakeParts = Callable[..., AtlasParts]


# Adding


def test_new_papers_come_after_the_old_ones_and_lie_with_their_topic(
    topics: str, planted: Planted, encoder: BiEncoder
) -> None:
    before = open_atlas(topics)
    held, watch = planted(6), Watch()
    change = add_papers(topics, planted(8), progress=watch)
    assert (change.added, change.already_there, change.removed, change.unknown) == (4, 12, 0, ())
    atlas = check_rows(topics, encoder, tolerance=1e-4)
    assert change.manifest == atlas.manifest
    assert np.array_equal(atlas.vectors[:12], before.vectors)
    assert np.array_equal(atlas.coordinates[:12], before.coordinates)
    assert [atlas.paper(row) for row in range(12)] == held
    assert [atlas.paper(row).id for row in range(12, 16)] == ["heart-6", "galaxy-6", "heart-7", "galaxy-7"]
    topic = np.array([atlas.paper(row).id.startswith("heart") for row in range(16)])
    for row in range(12, 16):
        away = np.linalg.norm(atlas.coordinates[:12] - atlas.coordinates[row], axis=1)
        assert (topic[np.argsort(away)[:4]] == topic[row]).all()
        assert all(topic[hit.row] == topic[row] for hit in search(atlas, seed_query(atlas, [row]), k=6).hits)
    assert watch.stages() == list(ADDING_STAGES)
    assert all(0 <= done <= total for _, done, total in watch.calls)
    assert watch.calls[-1] == (WRITING, 1, 1)
    assert verify_atlas(topics).passed
    assert len(before) == 12  # whoever has it open keeps it
    assert before.index.search(before.vectors[3], k=1).rows.tolist() == [3]
    assert before.build != atlas.build


def test_adding_the_same_twice_adds_nothing_and_writes_nothing(topics: str, planted: Planted) -> None:
    build_before = open_atlas(topics).build
    change = add_papers(topics, to_table([*planted(6), *planted(6)]))
    assert (change.added, change.already_there) == (0, 24)
    assert open_atlas(topics).build == change.manifest.folder == build_before
    assert add_papers(topics, []).added == 0


def test_only_new_papers_are_encoded(topics: str, planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    forward = BiEncoder._forward
    monkeypatch.setattr(
        BiEncoder, "_forward", lambda self, rows, pause: [seen.extend(rows), forward(self, rows, pause)][1]
    )
    add_papers(topics, planted(8))
    assert len(seen) == 4


def test_a_paper_of_another_kind_under_a_known_id_gets_its_own(topics: str) -> None:
    add_papers(topics, [Paper(id="heart-0", title="Soil", abstract="We dug."), Paper("heart-0", "Rain", "It fell.")])
    atlas = open_atlas(topics)
    assert [atlas.paper(row).id for row in (12, 13)] == ["heart-0~2", "heart-0~3"]
    assert atlas.row_of("heart-0") == 0


def test_what_an_atlas_was_is_kept(topics: str, planted: Planted, home: Path) -> None:
    parts = json.loads((home / topics / "manifest.json").read_text())
    parts["title"] = "My library"
    (home / topics / "manifest.json").write_text(json.dumps(parts))
    before = open_atlas(topics).manifest
    left_out = pa.table({name: ["x"] for name in PROBLEMS_SCHEMA.names}, schema=PROBLEMS_SCHEMA)
    told_before = store.read_problems(before).num_rows
    source = {"files": [{"name": "new.ris"}], "reports": [{"file": "new.ris", "read": 3, "kept": 2, "problems": []}]}
    manifest = add_papers(topics, planted(7), source=source, problems=left_out).manifest
    assert manifest == store.read_manifest(topics)
    for name in ("title", "corpus", "encoder", "projection", "versions", "dimensions", "name"):
        assert getattr(manifest, name) == getattr(before, name)
    assert manifest.source["reports"] == before.source["reports"]
    (account,) = manifest.source["additions"]
    assert account["reports"] == source["reports"]
    assert (account["added"], account["already_there"]) == (2, 12)
    assert store.read_problems(manifest).num_rows == told_before + 1
    manifest = remove_papers(topics, ["heart-6"]).manifest
    assert (manifest.title, manifest.source["additions"]) == ("My library", [account])
    manifest = rebuild(topics)
    assert (manifest.title, manifest.source["additions"]) == ("My library", [account])
    assert store.read_problems(manifest).num_rows == told_before + 1
    add_papers(topics, planted(8))
    assert len(store.read_manifest(topics).source["additions"]) == 2


def test_accounts_of_additions_are_bounded(topics: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.atlas import grow

    monkeypatch.setattr(grow, "_MOST_ACCOUNTS", 2)
    for number in range(4):
        add_papers(topics, [numbered(number)], source={"number": number})
    source = store.read_manifest(topics).source
    assert [account["number"] for account in source["additions"]] == [2, 3]
    assert source["additions_left_out"] == 2


def test_a_manifest_with_false_accounts_is_refused(topics: str, home: Path) -> None:
    path = home / topics / "manifest.json"
    good = json.loads(path.read_text())
    for wrong in (
        "x",
        ["x"],
        [{"added": -1}],
        [{"added": True}],
        [{"already_there": "2"}],
        [{"reports": [{"read": "many"}]}],
        [{"reports": {}}],
    ):
        path.write_text(json.dumps({**good, "source": {**good["source"], "additions": wrong}}))
        with pytest.raises(AtlasDamaged):
            store.read_manifest(topics)
    for growth in ({"added": -1, "removed": 0}, {"added": 0}, {"added": 0, "removed": 0, "far": -1}, {"far": "x"}):
        path.write_text(json.dumps({**good, "growth": growth}))
        if growth == {"added": 0}:
            store.read_manifest(topics)
        else:
            with pytest.raises(AtlasDamaged):
                store.read_manifest(topics)


def test_the_lexical_encoder_stays_as_it_was_fitted(topics: str, planted: Planted) -> None:
    name = reencode(topics, encoder=LEXICAL).name
    before = open_atlas(name)
    add_papers(name, [*planted(8), Paper(id="other", title="Quux", abstract="Zyzzyva.")])
    atlas = open_atlas(name)
    assert atlas.manifest.encoder == before.manifest.encoder
    assert np.array_equal(atlas.vectors[:12], before.vectors)
    assert not atlas.vectors[-1].any()  # no word of it is known
    assert verify_atlas(name).passed
    assert len(open_atlas(topics)) == 12
    remove_papers(name, ["heart-7", "other"])
    assert verify_atlas(name).passed
    rebuild(name)
    assert verify_atlas(name).passed
    assert len(open_atlas(name)) == 15


def test_a_graph_comes_with_a_thousand_rows_and_goes_with_them(home: Path, atlas_parts: MakeParts) -> None:
    random = np.random.default_rng(0)
    words = ["".join(letters) for letters in random.choice(list("bdfgklmnprst"), size=(400, 6))]
    papers = [
        Paper(id=f"n{i}", title=f"{words[i % 400]} {i}", abstract=" ".join(random.choice(words, 12)))
        for i in range(GRAPH_FROM + 8)
    ]
    fitted = LexicalEncoder.fit([(paper.title, paper.abstract) for paper in papers])
    n = GRAPH_FROM - 4
    write_atlas(
        replace(
            atlas_parts(graph=False),
            name="many",
            papers=to_table(papers[:n]),
            vectors=fitted.encode([(paper.title, paper.abstract) for paper in papers[:n]]),
            coordinates=random.uniform(-1, 1, (n, 2)).astype(np.float32),
            region_ids=np.full(n, -1, np.int16),
            regions=(),
            encoder=EncoderRecord(LEXICAL, LEXICAL, fitted.fingerprint, True),
            fitted=fitted,
        )
    )
    assert add_papers("many", papers[: n + 2]).manifest.index.ef_search == 0
    assert add_papers("many", papers[: n + 6]).manifest.index.ef_search > 0  # built, where there was none
    manifest = add_papers("many", papers).manifest
    assert manifest.index.ef_search > 0
    assert min(manifest.index.ann_recall_at_10, manifest.index.ann_recall_at_10_outside) >= 0.99
    check_rows("many", fitted)
    assert remove_papers("many", [f"n{i}" for i in range(4)]).manifest.index.ef_search > 0
    check_rows("many", fitted)
    assert remove_papers("many", [f"n{i}" for i in range(100)]).manifest.index.ef_search == 0
    check_rows("many", fitted)


# Removing


def test_removed_papers_are_gone_and_the_others_stay_where_they_were(
    topics: str, planted: Planted, encoder: BiEncoder
) -> None:
    before, watch = open_atlas(topics), Watch()
    gone = {"heart-1", "galaxy-0"}
    change = remove_papers(topics, ["heart-1", "galaxy-0", "nothing"], progress=watch)
    assert (change.removed, change.unknown, change.added) == (2, ("nothing",), 0)
    atlas = check_rows(topics, encoder, tolerance=1e-4)
    kept = [row for row in range(12) if before.paper(row).id not in gone]
    assert [atlas.paper(row) for row in range(10)] == [before.paper(row) for row in kept]
    assert np.array_equal(atlas.vectors, before.vectors[kept])
    assert np.array_equal(atlas.coordinates, before.coordinates[kept])
    assert watch.stages() == list(REMOVING_STAGES)
    assert atlas.row_of("heart-1") is None
    assert len(atlas.pair_distances)
    change = remove_papers(topics, ["nothing"])
    assert (change.removed, change.unknown, change.manifest) == (0, ("nothing",), atlas.manifest)


def test_the_last_paper_stays(topics: str, planted: Planted) -> None:
    ids = [paper.id for paper in planted(6)]
    with pytest.raises(NothingLeft, match="all 12 papers"):
        remove_papers(topics, ids)
    remove_papers(topics, ids[1:])
    with pytest.raises(NothingLeft):
        remove_papers(topics, ids)
    assert len(open_atlas(topics)) == 1
    add_papers(topics, planted(6))
    assert len(open_atlas(topics)) == 12


def test_regions_follow_their_papers(home: Path, atlas_parts: MakeParts) -> None:
    parts = replace(atlas_parts(graph=False), encoder=EncoderRecord("own", PRECOMPUTED, "f" * 64, False))
    write_atlas(parts)  # rows 0, 3, … lie between regions, 1, 4, … in region 0, 2, 5, … in region 1
    manifest = remove_papers("one", [f"0-{row}" for row in range(1, 60, 3)]).manifest
    (region,) = manifest.regions
    assert (region.id, region.name, region.size, region.colour) == (0, "Region 1", 20, 1)
    atlas = open_atlas("one")
    assert atlas.region_ids.tolist() == [-1, 0] * 20
    assert atlas.region_of(1) == region
    assert [region.x, region.y] in atlas.coordinates[atlas.region_ids == 0].astype(float).tolist()
    manifest = remove_papers("one", [f"0-{row}" for row in range(2, 60, 3)]).manifest
    assert manifest.regions == ()
    assert set(open_atlas("one").region_ids.tolist()) == {-1}


# Refused


def test_the_default_atlas_stays_as_it_is(home: Path, atlas_parts: MakeParts) -> None:
    write_atlas(replace(atlas_parts(graph=False), name="medline"))
    for change in (
        lambda: add_papers("medline", [numbered(1)]),
        lambda: remove_papers("medline", ["0-1"]),
        lambda: rebuild("medline"),
        lambda: grow_corpus("medline", add=[numbered(1)]),
        lambda: check_can_grow(store.read_manifest("medline")),
    ):
        with pytest.raises(NameReserved, match="corpus export medline"):
            change()
    assert len(open_atlas("medline")) == 60


def test_an_atlas_without_a_usable_encoder_takes_no_paper(
    home: Path, atlas_parts: MakeParts, tiny_copy: Path, planted_file: Path, tmp_path: Path
) -> None:
    write_atlas(replace(atlas_parts(graph=False), encoder=EncoderRecord("own", PRECOMPUTED, "f" * 64, False)))
    with pytest.raises(CannotGrow, match="came from elsewhere"):
        add_papers("one", [numbered(1)])
    build_atlas("mine", [planted_file], encoder=str(tiny_copy))
    before = open_atlas("mine").build
    (tiny_copy / "vocab.txt").write_text((tiny_copy / "vocab.txt").read_text().replace("star", "moon"))
    for path in tiny_copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CannotGrow, match="is not what it was when the atlas 'mine' was built"):
        add_papers("mine", [numbered(1)])
    shutil.rmtree(tiny_copy)
    with pytest.raises(CannotGrow, match="No paper can be added to 'mine'"):
        add_papers("mine", [numbered(1)])
    assert (open_atlas("mine").build, list(home.rglob("work-*"))) == (before, [])
    remove_papers("mine", ["heart-0"])  # needs no encoder
    rebuild("mine")
    assert len(open_atlas("mine")) == 11


def test_what_is_no_atlas_is_said_and_leaves_no_folder(home: Path) -> None:
    for name in ("none", "../x"):
        with pytest.raises(NoSuchAtlas):
            add_papers(name, [])
        with pytest.raises(NoSuchAtlas):
            remove_papers(name, [])
        with pytest.raises(NoSuchAtlas):
            rebuild(name)
    with pytest.raises(NoSuchAtlas):
        grow_corpus("none", add=[numbered(1)])
    assert not (home / "none").exists()


def test_a_change_beside_a_build_is_refused(topics: str) -> None:
    with paths.build_lock(topics):
        for change in (
            lambda: add_papers(topics, [numbered(1)]),
            lambda: remove_papers(topics, ["heart-0"]),
            lambda: rebuild(topics),
        ):
            with pytest.raises(AtlasBusy):
                change()


def test_a_damaged_atlas_is_not_grown(topics: str, home: Path) -> None:
    path = home / topics / open_atlas(topics).manifest.folder / store.VECTORS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for change in (lambda: add_papers(topics, [numbered(1)]), lambda: remove_papers(topics, ["heart-0"])):
        with pytest.raises(AtlasDamaged, match=r"vectors\.npy"):
            change()


# All atlases of a corpus; the map laid out again


def test_all_atlases_of_a_corpus_grow_and_those_that_cannot_are_told(
    topics: str, planted: Planted, home: Path, atlas_parts: MakeParts
) -> None:
    words = reencode(topics, encoder=LEXICAL).name
    write_atlas(
        replace(
            atlas_parts(graph=False),
            name="topics--own",
            corpus="topics",
            encoder=EncoderRecord("own", PRECOMPUTED, "f" * 64, False),
        )
    )
    grown = {one.name: one for one in grow_corpus("topics", add=planted(7), remove=["heart-0", "0-3"])}
    assert list(grown) == ["topics", "topics--own", words]
    for name in ("topics", words):
        change = grown[name].change
        assert (change.added, change.already_there, change.removed, change.unknown) == (3, 11, 1, ("0-3",))
        assert len(open_atlas(name)) == 14
        assert grown[name].error == ""
    own = grown["topics--own"]
    assert own.change is not None
    assert (own.change.removed, len(open_atlas("topics--own"))) == (1, 59)
    assert "came from elsewhere" in own.error
    ids = [open_atlas(name).papers["id"].to_pylist() for name in ("topics", words)]
    assert ids[0] == ids[1]
    with pytest.raises(Cancelled):
        grow_corpus("topics", add=planted(8), progress=Watch(stop_at=(PLACING, 0)))


def test_a_map_is_laid_out_again_without_encoding(
    topics: str, planted: Planted, encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = add_papers(topics, planted(12)).manifest
    assert (manifest.growth.added, bool(rebuild_due(manifest))) == (12, True)
    before = open_atlas(topics)
    with monkeypatch.context() as patch:
        patch.setattr(BiEncoder, "stream", lambda *_, **__: pytest.fail("it encodes"))
        manifest = rebuild(topics)
    atlas = check_rows(topics, encoder, tolerance=1e-4)
    assert np.array_equal(atlas.vectors, before.vectors)
    assert atlas.papers.equals(before.papers)
    assert (manifest.growth.added, rebuild_due(manifest)) == (0, "")
    heart = np.array([atlas.paper(row).id.startswith("heart") for row in range(24)])
    for row in range(24):
        near = np.argsort(np.linalg.norm(atlas.coordinates - atlas.coordinates[row], axis=1))[:6]
        assert (heart[near] == heart[row]).mean() > 0.5
    assert atlas_names() == [topics]
