"""Building an atlas: planted papers come out searchable, a stopped build is resumed, and errors say what is wrong."""

import errno
import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.atlas import build, paths, store
from components.atlas.build import (
    INDEXING,
    NAMING,
    READING,
    WRITING,
    BuildSettings,
    NothingToBuild,
    build_atlas,
    encode_papers,
    random_pair_distances,
)
from components.atlas.corpora import unfinished
from components.atlas.manifest import EncoderRecord
from components.atlas.paths import AtlasBusy, NameReserved, atlas_names
from components.atlas.store import open_atlas
from components.atlas.verify import verify_atlas
from components.encoder.base import ENCODING, LEARNING, EncoderUnavailable, UnknownEncoder
from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.mapping.projection import PROJECTING, ProjectionSettings
from components.search.search import search, seed_query, text_query
from corpus.errors import UnreadableFileError
from corpus.export import write_jsonl
from corpus.io.disk import CannotWrite, NoSpaceLeft
from corpus.paper import Paper, to_table
from corpus.progress import Cancelled, no_progress
from corpus.readers.columns import ColumnsNotFound
from corpus.readers.report import problems_csv
from tests.components.atlas.growing import Watch, encoded_texts

Planted = Callable[[int], list[Paper]]
pytestmark = pytest.mark.usefixtures("small_chunks")


# What comes out


def test_row_i_is_paper_i_everywhere(home: Path, planted_file: Path, planted: Planted, encoder: BiEncoder) -> None:
    watch = Watch()
    manifest = build_atlas("planted", [planted_file], encoder=EMBEDDED, progress=watch)
    atlas = open_atlas("planted")
    papers = planted(6)
    assert [atlas.paper(row) for row in range(12)] == papers
    again = np.concatenate([encoder.encode([(paper.title, paper.abstract)]) for paper in papers])
    assert np.abs(atlas.vectors - again).max() < 1e-5
    assert manifest.encoder == EncoderRecord(EMBEDDED, EMBEDDED, encoder.fingerprint, normalised=True)
    assert (manifest.papers, manifest.dimensions) == (12, 384)
    assert manifest.index.ef_search == 0  # so few rows are searched exactly
    assert manifest.source["files"][0]["sha256"] == store.checksum(planted_file).sha256
    assert manifest.source["reports"][0]["kept"] == 12
    assert manifest.versions["hnswlib"]
    assert list((home / "planted").glob("work-*")) == []
    stages = [READING, ENCODING, PROJECTING, NAMING, INDEXING, WRITING]
    assert watch.stages() == stages
    order = [stages.index(stage) for stage, _, _ in watch.calls]
    assert order == sorted(order)
    assert all(0 <= done <= total for _, done, total in watch.calls)
    assert [done for stage, done, _ in watch.calls if stage == ENCODING][-1] == 12


def test_hits_and_map_follow_the_topics(home: Path, tmp_path: Path, planted: Planted, encoder: BiEncoder) -> None:
    write_jsonl(planted(20), tmp_path / "more.jsonl.gz")
    build_atlas("more", [tmp_path / "more.jsonl.gz"], encoder=EMBEDDED)
    atlas = open_atlas("more")
    topics = np.array([atlas.paper(row).id.startswith("heart") for row in range(40)])
    for heart, title, abstract in (
        (True, "Heart attack survivors", "Patients with coronary disease who were given a new drug."),
        (False, "Star formation", "We map the light of distant quasars with a telescope."),
    ):
        assert (topics[search(atlas, text_query(encoder, title, abstract), k=6).rows] == heart).all()
    for row in range(40):
        near = np.argsort(np.linalg.norm(atlas.coordinates - atlas.coordinates[row], axis=1))[:6]
        assert (topics[near] == topics[row]).mean() > 0.5
    for region in atlas.manifest.regions:
        assert region.size == (atlas.region_ids == region.id).sum()


@pytest.mark.parametrize("encoder", [EMBEDDED, LEXICAL])
@pytest.mark.parametrize("count", [1, 2, 15])
def test_corpora_of_few_papers(home: Path, tmp_path: Path, planted: Planted, encoder: str, count: int) -> None:
    write_jsonl(planted(8)[:count], tmp_path / "few.jsonl")
    build_atlas("few", [tmp_path / "few.jsonl"], encoder=encoder)
    atlas = open_atlas("few")
    assert len(atlas) == count
    assert np.isfinite(atlas.coordinates).all()
    assert len(search(atlas, seed_query(atlas, [0]), k=10).hits) == min(10, count - 1)


def test_a_thousand_rows_get_a_tuned_graph(home: Path) -> None:
    random = np.random.default_rng(1)
    vectors = (random.normal(size=(12, 16))[np.arange(1200) % 12] + 0.5 * random.normal(size=(1200, 16))).astype("f4")
    manifest = build.assemble(
        "many",
        papers=to_table(Paper(id=str(i), title="t", abstract="a") for i in range(1200)),
        vectors=vectors,
        coordinates=random.uniform(-1, 1, (1200, 2)).astype(np.float32),
        encoder=EncoderRecord("own", "own", "f" * 64, normalised=False),
        source={},
        regions=((), np.full(1200, -1, np.int16)),
        progress=no_progress,
    )
    assert open_atlas("many").index.graph is not None
    assert (manifest.index.ann_recall_at_10 >= 0.99, manifest.index.sample) == (True, 1000)
    assert manifest.index.ef_search >= 11


def test_pair_distances_are_those_of_pairs_of_different_rows() -> None:
    vectors = np.eye(50, dtype=np.float32)
    assert random_pair_distances(vectors, pairs=5000) == pytest.approx(np.full(5000, np.sqrt(2)), rel=1e-6)
    line = np.arange(1000, dtype=np.float32)[:, None]
    distances = random_pair_distances(line, pairs=20_000)
    assert (np.diff(distances) >= 0).all()
    assert distances.mean() == pytest.approx(1000 / 3, rel=0.03)  # of two numbers drawn evenly from 0 to 1000
    for n in (0, 1):
        assert len(random_pair_distances(line[:n])) == 0


# What goes in


def test_repeats_between_files_are_merged(home: Path, tmp_path: Path, planted: Planted) -> None:
    papers = planted(6)
    write_jsonl(papers[:8], tmp_path / "a.jsonl")
    stranger = Paper(id=papers[3].id, title="Another title", abstract="Another text.")
    write_jsonl([*papers[6:], stranger], tmp_path / "b.jsonl")
    manifest = build_atlas("both", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], encoder=LEXICAL)
    atlas = open_atlas("both")
    assert [atlas.paper(row) for row in range(len(atlas))] == [*papers, replace(stranger, id=f"{stranger.id}~2")]
    assert manifest.source["merged"] == 2
    assert [report["kept"] for report in manifest.source["reports"]] == [8, 5]
    problems = store.read_problems(manifest)
    assert problems is not None
    assert [row["place"] for row in problems.to_pylist()] == ["line 1", "line 2"]
    assert problems["reason"][0].as_py() == "repeats a.jsonl, line 7 (title and year). The two are merged."


def test_columns_and_missing_abstracts(home: Path, tmp_path: Path, planted: Planted) -> None:
    papers = planted(2)
    rows = "".join(f"{paper.title};{paper.abstract}\n" for paper in papers)
    (tmp_path / "a.csv").write_text(f"Titel;Inhalt\n{rows}A title alone;\n")
    with pytest.raises(ColumnsNotFound, match=r'^a\.csv: none of its columns .*"Titel", "Inhalt"'):
        build_atlas("table", [tmp_path / "a.csv"], encoder=LEXICAL)
    columns = {"title": "Titel", "abstract": "Inhalt"}
    manifest = build_atlas("table", [tmp_path / "a.csv"], encoder=LEXICAL, columns=[columns])
    atlas = open_atlas("table")
    assert [atlas.paper(row).title for row in range(len(atlas))] == [paper.title for paper in papers]
    assert manifest.source["files"][0]["columns"] == columns
    assert manifest.source["reports"][0]["empty"] == 1
    manifest = build_atlas("table", [tmp_path / "a.csv"], encoder=LEXICAL, columns=[columns], without_abstract="keep")
    assert (manifest.papers, manifest.source["without_abstract"]) == (5, "keep")
    assert manifest.source["reports"][0]["without_abstract"] == 1


def test_the_problems_file_is_whole_and_checked(home: Path, tmp_path: Path, planted: Planted) -> None:
    write_jsonl(planted(2), tmp_path / "a.jsonl")
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"title": "No abstract"}\n' * 60)
    manifest = build_atlas("bare", [tmp_path / "a.jsonl"], encoder=LEXICAL)
    problems = store.read_problems(manifest)
    assert problems is not None
    assert (problems.num_rows, problems_csv(problems).count(b"no abstract")) == (60, 60)
    assert manifest.source["reports"][0]["problems_left_out"] == 35
    path = home / "bare" / manifest.folder / store.PROBLEMS
    path.write_bytes(path.read_bytes()[:-1])
    for use in (lambda: store.read_problems(manifest), lambda: open_atlas("bare")):
        with pytest.raises(store.AtlasDamaged, match=r"problems\.parquet"):
            use()


# Stopped and resumed


@pytest.mark.parametrize("point", [(ENCODING, 8), (PROJECTING, 0), (WRITING, 0)])
def test_a_cancelled_build_is_resumed(
    home: Path, planted_file: Path, tiny: Path, point: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cancelled):
        build_atlas("planted", [planted_file], encoder=str(tiny), progress=Watch(stop_at=point))
    assert atlas_names() == []
    chunks = len(list(home.rglob("vectors-*.npy")))
    seen, watch = encoded_texts(monkeypatch), Watch()
    build_atlas("planted", [planted_file], encoder=str(tiny), progress=watch)
    assert len(seen) == 12 - 4 * chunks
    assert READING not in watch.stages()
    assert len(open_atlas("planted")) == 12


def test_the_fitted_lexical_encoder_is_resumed_unless_damaged(
    home: Path, planted_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_and_go() -> list[str]:
        with pytest.raises(Cancelled):
            build_atlas("words", [planted_file], encoder=LEXICAL, progress=Watch(stop_at=(ENCODING, 8)))
        watch = Watch()
        build_atlas("words", [planted_file], encoder=LEXICAL, progress=watch)
        assert verify_atlas("words").passed
        return watch.stages()

    assert stop_and_go() == [LEARNING, ENCODING, PROJECTING, NAMING, INDEXING, WRITING]
    with pytest.raises(Cancelled):
        build_atlas("words", [planted_file], encoder=LEXICAL, progress=Watch(stop_at=(ENCODING, 8)))
    (damaged,) = home.rglob(f"work-*/{store.FITTED}")
    damaged.write_bytes(b"x")
    build_atlas("words", [planted_file], encoder=LEXICAL)
    assert verify_atlas("words").passed


def test_other_files_settings_or_chunks_start_afresh(
    home: Path, planted_file: Path, planted: Planted, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(**options: object) -> list[Path]:
        watch = Watch(stop_at=(ENCODING, 0))
        with pytest.raises(Cancelled):
            build_atlas("planted", [planted_file], encoder=str(tiny), progress=watch, **options)
        return paths.work_folders("planted")

    first = stopped()
    assert stopped(columns=[None]) == first
    others = [
        stopped(columns=[{"title": "x"}]),
        stopped(without_abstract="keep"),
        stopped(settings=BuildSettings(projection=ProjectionSettings(seed=5))),
    ]
    assert len({str(folders) for folders in (first, *others)}) == 4
    with pytest.raises(Cancelled):
        build_atlas("planted", [planted_file], encoder=str(tiny), progress=Watch(stop_at=(PROJECTING, 0)))
    monkeypatch.setattr(build, "CHUNK", 5)  # as a later version might
    papers = planted(6)
    write_jsonl([papers[1], papers[0], *papers[2:]], planted_file)
    build_atlas("planted", [planted_file], encoder=str(tiny))
    atlas = open_atlas("planted")
    assert atlas.paper(0).id == papers[1].id
    assert np.abs(atlas.vectors - encode_papers(atlas.papers, load_encoder(str(tiny)))).max() < 1e-5


@pytest.mark.parametrize(("allowed", "code"), [(0, errno.ENOSPC), (3, errno.EDQUOT), (9, errno.ENOSPC)])
def test_a_build_is_resumed_after_a_full_disk(
    home: Path, planted_file: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, allowed: int, code: int
) -> None:
    left = [allowed]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(NoSpaceLeft, match="Free some space"):
            build_atlas("planted", [planted_file], encoder=str(tiny))
    assert atlas_names() == []
    chunks = len(list(home.rglob("vectors-*.npy")))
    seen = encoded_texts(monkeypatch)
    build_atlas("planted", [planted_file], encoder=str(tiny))
    assert (len(seen), len(open_atlas("planted"))) == (12 - 4 * chunks, 12)


# Refused


@pytest.mark.parametrize("text", ['{"id": "1", "title": "No abstract"}\n', '{"id": "1"}\n{"broken\n'])
def test_files_without_papers_are_refused(home: Path, tmp_path: Path, tiny: Path, text: str) -> None:
    (tmp_path / "bare.jsonl").write_text(text)
    with pytest.raises(NothingToBuild, match=r"bare\.jsonl: no record has"):
        build_atlas("bare", [tmp_path / "bare.jsonl"], encoder=str(tiny))
    assert atlas_names() == []
    assert unfinished() == []  # it failed: there is nothing to resume


def test_errors_come_before_any_work(
    home: Path, tmp_path: Path, planted_file: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.7")
    line = json.dumps({"id": "1", "title": "t", "abstract": "a" * 99}).encode() + b"\n"
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(line * 999)[:60])
    watch = Watch()
    for name, files, encoder, error, match in (
        ("../x", [], str(tiny), paths.NoSuchAtlas, "cannot be the name"),
        ("medline", [], str(tiny), NameReserved, "--name"),
        ("x", [], "none", UnknownEncoder, "none"),
        ("x", [], str(tmp_path), EncoderUnavailable, "there are no weights"),
        ("x", [tmp_path / "x.pdf"], str(tiny), UnreadableFileError, r"x\.pdf: this is a PDF"),
        ("x", [tmp_path / "torn.jsonl.gz"], str(tiny), UnreadableFileError, "torn"),
        ("x", [tmp_path / "absent"], str(tiny), UnreadableFileError, r"absent: it cannot be read \(No such file"),
    ):
        with pytest.raises(error, match=match):
            build_atlas(name, [planted_file, *files], encoder=encoder, progress=watch)
    with paths.build_lock("planted"), pytest.raises(AtlasBusy):
        build_atlas("planted", [planted_file], encoder=str(tiny), progress=watch)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:  # who runs the tests as root may read everything
        patch.setattr(store, "checksum", refuse)
        with pytest.raises(UnreadableFileError, match=r"planted\.jsonl: it cannot be read \(Permission denied"):
            build_atlas("x", [planted_file], encoder=str(tiny), progress=watch)
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(tmp_path / "plain"))
    with pytest.raises(CannotWrite, match="COCITE_ATLAS_HOME"):
        build_atlas("planted", [planted_file], encoder=str(tiny), progress=watch)
    assert ENCODING not in watch.stages()
    assert atlas_names() == []


def test_an_encoder_given_by_a_relative_path_is_found_from_anywhere(
    home: Path, planted_file: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    assert build_atlas("near", [planted_file], encoder="tiny").encoder.source == str(tiny.resolve())
    monkeypatch.chdir(tmp_path)
    assert verify_atlas("near", rows=3).passed
