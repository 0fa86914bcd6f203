"""Growing: new papers come after the old ones and near their like, removed ones are gone, everything else stays."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.atlas import build, grow, paths, store
from components.atlas.build import ENCODING, INDEXING, WRITING, build_atlas
from components.atlas.corpora import discard_unfinished, unfinished
from components.atlas.grow import (
    COMPARING,
    PLACING,
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
from components.atlas.paths import AtlasBusy, NameReserved, NoSuchAtlas, atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import AtlasDamaged, AtlasParts, open_atlas, write_atlas
from components.atlas.verify import verify_atlas
from components.encoder.bi_encoder import BiEncoder
from components.encoder.catalogue import LEXICAL
from components.encoder.lexical import LexicalEncoder
from components.index.hnsw import GRAPH_FROM
from components.search.search import search, seed_query
from corpus.paper import Paper, to_table
from corpus.progress import Cancelled
from corpus.readers.report import PROBLEMS_SCHEMA
from tests.components.atlas.growing import Watch, check_rows, encoded_texts, numbered

Planted = Callable[[int], list[Paper]]
MakeParts = Callable[..., AtlasParts]
PRECOMPUTED_RECORD = EncoderRecord("own", PRECOMPUTED, "f" * 64, normalised=False)


# Adding


def test_new_papers_come_after_the_old_ones_and_lie_with_their_topic(
    topics: str, planted: Planted, encoder: BiEncoder
) -> None:
    before, watch = open_atlas(topics), Watch()
    change = add_papers(topics, planted(8), progress=watch)
    assert (change.added, change.already_there, change.removed, change.unknown) == (4, 12, 0, ())
    atlas = check_rows(topics, encoder, tolerance=1e-4)
    assert change.manifest == atlas.manifest
    assert np.array_equal(atlas.vectors[:12], before.vectors)
    assert np.array_equal(atlas.coordinates[:12], before.coordinates)
    assert [atlas.paper(row) for row in range(12)] == planted(6)
    assert [atlas.paper(row).id for row in range(12, 16)] == ["heart-6", "galaxy-6", "heart-7", "galaxy-7"]
    topic = np.array([atlas.paper(row).id.startswith("heart") for row in range(16)])
    for row in range(12, 16):
        away = np.linalg.norm(atlas.coordinates[:12] - atlas.coordinates[row], axis=1)
        assert (topic[np.argsort(away)[:4]] == topic[row]).all()
        assert all(topic[hit.row] == topic[row] for hit in search(atlas, seed_query(atlas, [row]), k=6).hits)
    assert watch.stages() == [COMPARING, ENCODING, PLACING, INDEXING, WRITING]
    assert all(0 <= done <= total for _, done, total in watch.calls)
    assert before.index.search(before.vectors[3], k=1).rows.tolist() == [3]  # still usable where it is open


def test_only_new_papers_are_encoded_and_known_ones_write_nothing(
    mine: str, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_before = open_atlas(mine).build
    change = add_papers(mine, to_table([*planted(6), *planted(6)]))
    assert (change.added, change.already_there) == (0, 24)
    assert add_papers(mine, []).added == 0
    assert open_atlas(mine).build == change.manifest.folder == build_before
    seen = encoded_texts(monkeypatch)
    add_papers(mine, planted(8))
    assert len(seen) == 4


def test_another_paper_with_a_known_id_gets_its_own(mine: str) -> None:
    add_papers(mine, [Paper(id="heart-0", title="Soil", abstract="We dug."), Paper("heart-0", "Rain", "It fell.")])
    atlas = open_atlas(mine)
    assert [atlas.paper(row).id for row in (12, 13)] == ["heart-0~2", "heart-0~3"]
    assert atlas.row_of("heart-0") == 0


def test_everything_else_in_the_manifest_stays(
    mine: str, planted: Planted, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / mine / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "title": "My library"}))
    before = open_atlas(mine).manifest
    left_out = pa.table({name: ["x"] for name in PROBLEMS_SCHEMA.names}, schema=PROBLEMS_SCHEMA)
    problems_before = store.read_problems(before).num_rows
    source = {"files": [{"name": "new.ris"}], "reports": [{"file": "new.ris", "read": 3, "kept": 2, "problems": []}]}
    manifest = add_papers(mine, planted(7), source=source, problems=left_out).manifest
    assert manifest == store.read_manifest(mine)
    for name in ("title", "corpus", "encoder", "projection", "versions", "dimensions", "name"):
        assert getattr(manifest, name) == getattr(before, name)
    assert manifest.source["reports"] == before.source["reports"]
    (account,) = manifest.source["additions"]
    assert account["reports"] == source["reports"]
    assert (account["added"], account["already_there"]) == (2, 12)
    for change in (lambda: remove_papers(mine, ["heart-6"]).manifest, lambda: rebuild(mine)):
        manifest = change()
        assert (manifest.title, manifest.source["additions"]) == ("My library", [account])
        assert store.read_problems(manifest).num_rows == problems_before + 1
    monkeypatch.setattr(grow, "_MAX_ACCOUNTS", 2)
    for number in range(3):
        add_papers(mine, [numbered(number)], source={"number": number})
    source = store.read_manifest(mine).source
    assert [account["number"] for account in source["additions"]] == [1, 2]
    assert source["additions_left_out"] == 2


def test_the_lexical_encoder_stays_as_it_was_fitted(mine: str, planted: Planted) -> None:
    name = reencode(mine, encoder=LEXICAL).name
    before = open_atlas(name)
    add_papers(name, [*planted(8), Paper(id="other", title="Quux", abstract="Zyzzyva.")])
    atlas = open_atlas(name)
    assert atlas.manifest.encoder == before.manifest.encoder
    assert np.array_equal(atlas.vectors[:12], before.vectors)
    assert not atlas.vectors[-1].any()  # it knows none of these words
    assert verify_atlas(name).passed
    remove_papers(name, ["heart-7", "other"])
    rebuild(name)
    assert verify_atlas(name).passed
    assert (len(open_atlas(name)), len(open_atlas(mine))) == (15, 12)


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
            encoder=EncoderRecord(LEXICAL, LEXICAL, fitted.fingerprint, normalised=True),
            fitted=fitted,
        )
    )
    assert add_papers("many", papers[: n + 2]).manifest.index.ef_search == 0
    assert add_papers("many", papers[: n + 6]).manifest.index.ef_search > 0  # built
    manifest = add_papers("many", papers).manifest  # extended
    assert manifest.index.ef_search > 0
    assert min(manifest.index.ann_recall_at_10, manifest.index.ann_recall_at_10_outside) >= 0.99
    check_rows("many", fitted)
    assert remove_papers("many", [f"n{i}" for i in range(4)]).manifest.index.ef_search > 0
    check_rows("many", fitted)
    assert remove_papers("many", [f"n{i}" for i in range(100)]).manifest.index.ef_search == 0


# Removing


def test_removed_papers_are_gone_and_the_others_stay_where_they_were(mine: str) -> None:
    before, watch = open_atlas(mine), Watch()
    change = remove_papers(mine, ["heart-1", "galaxy-0", "nothing"], progress=watch)
    assert (change.removed, change.unknown, change.added) == (2, ("nothing",), 0)
    atlas = open_atlas(mine)
    kept = [row for row in range(12) if before.paper(row).id not in ("heart-1", "galaxy-0")]
    assert [atlas.paper(row) for row in range(10)] == [before.paper(row) for row in kept]
    assert np.array_equal(atlas.vectors, before.vectors[kept])
    assert np.array_equal(atlas.coordinates, before.coordinates[kept])
    assert watch.stages() == [INDEXING, WRITING]
    change = remove_papers(mine, ["nothing"])
    assert (change.removed, change.unknown, change.manifest) == (0, ("nothing",), atlas.manifest)


def test_the_last_paper_stays(mine: str, planted: Planted) -> None:
    ids = [paper.id for paper in planted(6)]
    with pytest.raises(NothingLeft, match="all 12 papers"):
        remove_papers(mine, ids)
    remove_papers(mine, ids[1:])
    with pytest.raises(NothingLeft):
        remove_papers(mine, ids)
    add_papers(mine, planted(6))
    assert len(open_atlas(mine)) == 12


def test_regions_follow_their_papers(home: Path, atlas_parts: MakeParts) -> None:
    # Rows 0, 3, … lie between regions, 1, 4, … in region 0, 2, 5, … in region 1.
    write_atlas(replace(atlas_parts(graph=False), encoder=PRECOMPUTED_RECORD))
    (region,) = remove_papers("one", [f"0-{row}" for row in range(1, 60, 3)]).manifest.regions
    assert (region.id, region.name, region.size, region.colour) == (0, "Region 1", 20, 1)
    atlas = open_atlas("one")
    assert atlas.region_ids.tolist() == [-1, 0] * 20
    assert [region.x, region.y] in atlas.coordinates[atlas.region_ids == 0].astype(float).tolist()
    assert remove_papers("one", [f"0-{row}" for row in range(2, 60, 3)]).manifest.regions == ()
    assert set(open_atlas("one").region_ids.tolist()) == {-1}


# Stopped and resumed


@pytest.mark.parametrize("point", [(COMPARING, 0), (ENCODING, 4), (PLACING, 0), (WRITING, 0)])
def test_a_stopped_addition_is_resumed(
    mine: str, planted: Planted, point: tuple[str, int], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(build, "CHUNK", 4)
    more = [*planted(6), *(numbered(i) for i in range(7))]
    with pytest.raises(Cancelled):
        add_papers(mine, more, progress=Watch(stop_at=point))
    assert len(open_atlas(mine)) == 12
    chunks = len(list(home.rglob("vectors-*.npy")))
    stopped = [(one.kind, one.name, one.base, one.corpus, one.papers, one.rows_done) for one in unfinished()]
    done = min(4 * chunks, 7)
    assert stopped == ([] if point == (COMPARING, 0) else [("add", mine, mine, mine, 7, done)])
    remove_papers(mine, ["heart-0"])  # the work is that of the new texts, whatever becomes of the old rows
    watch = Watch()
    assert add_papers(mine, more[1:], progress=watch).added == 7
    assert next(rows for stage, rows, _ in watch.calls if stage == ENCODING) == done
    assert unfinished() == []
    assert list(home.rglob("work-*")) == []


def test_unfinished_additions_are_cleared_up(mine: str) -> None:
    with pytest.raises(Cancelled):
        add_papers(mine, [numbered(1)], progress=Watch(stop_at=(PLACING, 0)))
    discard_unfinished(mine)
    assert (unfinished(), len(open_atlas(mine))) == ([], 12)
    with pytest.MonkeyPatch.context() as patch:  # as if killed just after the last rename
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        add_papers(mine, [numbered(1)])
    assert [one.kind for one in unfinished()] == ["add"]
    assert add_papers(mine, [numbered(1)]).already_there == 1
    assert unfinished() == []


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
        with pytest.raises(NameReserved, match="cocite export medline"):
            change()
    assert len(open_atlas("medline")) == 60


def test_an_atlas_without_a_usable_encoder_takes_no_paper(
    home: Path, atlas_parts: MakeParts, tiny_copy: Path, planted_file: Path
) -> None:
    write_atlas(replace(atlas_parts(graph=False), encoder=PRECOMPUTED_RECORD))
    with pytest.raises(CannotGrow, match="precomputed vectors"):
        add_papers("one", [numbered(1)])
    build_atlas("mine", [planted_file], encoder=str(tiny_copy))
    before = open_atlas("mine").build
    (tiny_copy / "vocab.txt").write_text((tiny_copy / "vocab.txt").read_text().replace("star", "moon"))
    for path in tiny_copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CannotGrow, match="has changed since the atlas 'mine' was built"):
        add_papers("mine", [numbered(1)])
    shutil.rmtree(tiny_copy)
    with pytest.raises(CannotGrow, match="No paper can be added to 'mine'"):
        add_papers("mine", [numbered(1)])
    assert (open_atlas("mine").build, list(home.rglob("work-*"))) == (before, [])
    remove_papers("mine", ["heart-0"])  # needs no encoder
    rebuild("mine")
    assert len(open_atlas("mine")) == 11


def test_unknown_busy_and_damaged_atlases_are_refused(mine: str, home: Path) -> None:
    def changes(name: str) -> tuple[Callable[[], object], ...]:
        return (
            lambda: add_papers(name, [numbered(1)]),
            lambda: remove_papers(name, ["heart-0"]),
            lambda: rebuild(name),
        )

    for change in (*changes("none"), *changes("../x"), lambda: grow_corpus("none", add=[numbered(1)])):
        with pytest.raises(NoSuchAtlas):
            change()
    assert not (home / "none").exists()
    with paths.build_lock(mine):
        for change in changes(mine):
            with pytest.raises(AtlasBusy):
                change()
    path = home / mine / open_atlas(mine).build / store.VECTORS
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    for change in changes(mine):
        with pytest.raises(AtlasDamaged, match=r"vectors\.npy"):
            change()


# All atlases of a corpus; the map laid out again


def test_all_atlases_of_a_corpus_grow_and_failures_are_reported(
    mine: str, planted: Planted, atlas_parts: MakeParts
) -> None:
    words = reencode(mine, encoder=LEXICAL).name
    write_atlas(
        replace(atlas_parts(graph=False), name="mine--own", corpus=mine, encoder=PRECOMPUTED_RECORD),
    )
    results = {one.name: one for one in grow_corpus(mine, add=planted(7), remove=["heart-0", "0-3"])}
    assert list(results) == [mine, "mine--own", words]
    for name in (mine, words):
        change = results[name].change
        assert (change.added, change.already_there, change.removed, change.unknown) == (3, 11, 1, ("0-3",))
        assert (len(open_atlas(name)), results[name].error) == (14, "")
    own = results["mine--own"]
    assert (own.change.removed, len(open_atlas("mine--own"))) == (1, 59)
    assert "precomputed vectors" in own.error
    ids = [open_atlas(name).papers["id"].to_pylist() for name in (mine, words)]
    assert ids[0] == ids[1]
    with pytest.raises(Cancelled):
        grow_corpus(mine, add=planted(8), progress=Watch(stop_at=(PLACING, 0)))


def test_a_map_is_laid_out_again_without_encoding(
    topics: str, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = add_papers(topics, planted(12)).manifest
    assert (manifest.growth.added, bool(rebuild_due(manifest))) == (12, True)
    before = open_atlas(topics)
    monkeypatch.setattr(BiEncoder, "stream", lambda *_, **__: pytest.fail("it encodes"))
    manifest = rebuild(topics)
    atlas = open_atlas(topics)
    assert np.array_equal(atlas.vectors, before.vectors)
    assert atlas.papers.equals(before.papers)
    assert (manifest.growth.added, rebuild_due(manifest)) == (0, "")
    heart = np.array([atlas.paper(row).id.startswith("heart") for row in range(24)])
    for row in range(24):
        near = np.argsort(np.linalg.norm(atlas.coordinates - atlas.coordinates[row], axis=1))[:6]
        assert (heart[near] == heart[row]).mean() > 0.5
    assert atlas_names() == [topics]
