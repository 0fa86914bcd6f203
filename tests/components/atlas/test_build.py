"""Builds: planted papers come out searchable, and what cannot be built is said."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.atlas import build, paths, store
from components.atlas.build import (
    ENCODING,
    INDEXING,
    STAGES,
    BuildSettings,
    NameReserved,
    NothingToBuild,
    build_atlas,
    random_pair_distances,
)
from components.atlas.corpora import unfinished
from components.atlas.paths import AtlasBusy, atlas_names
from components.atlas.store import open_atlas
from components.atlas.verify import verify_atlas
from components.encoder import EMBEDDED, LEXICAL, BiEncoder, EncoderUnavailable, UnknownEncoder
from components.search.search import search, text_query
from corpus.errors import UnreadableFileError
from corpus.export import write_jsonl
from corpus.io.disk import CannotWrite
from corpus.paper import Paper
from corpus.progress import Cancelled
from corpus.readers.columns import ColumnsNotFound
from corpus.readers.report import problems_csv

Planted = Callable[[int], list[Paper]]
pytestmark = pytest.mark.usefixtures("small_chunks")


# What comes out


def test_hits_of_a_topic_are_of_the_topic(home: Path, planted_file: Path, encoder: BiEncoder) -> None:
    build_atlas("planted", [planted_file], encoder=EMBEDDED)
    atlas = open_atlas("planted")
    assert len(atlas) == 12
    for topic, title, abstract in (
        ("heart", "Heart attack survivors", "Patients with coronary disease who were given a new drug."),
        ("galaxy", "Star formation", "We map the light of distant quasars with a telescope."),
    ):
        result = search(atlas, text_query(encoder, title, abstract), k=6)
        assert len(result.hits) == 6
        assert all(atlas.paper(row).id.startswith(topic) for row in result.rows)


def test_row_i_is_paper_i_everywhere(home: Path, planted_file: Path, planted: Planted, encoder: BiEncoder) -> None:
    manifest = build_atlas("planted", [planted_file], encoder=EMBEDDED)
    atlas = open_atlas("planted")
    papers = planted(6)
    assert [atlas.paper(row) for row in range(12)] == papers
    again = np.concatenate([encoder.encode([(paper.title, paper.abstract)]) for paper in papers])
    assert np.abs(atlas.vectors - again).max() < 1e-5
    assert manifest.encoder.fingerprint == encoder.fingerprint
    assert (manifest.encoder.name, manifest.encoder.source, manifest.encoder.normalised) == (EMBEDDED, EMBEDDED, True)
    assert (manifest.papers, manifest.dimensions) == (12, 384)
    assert manifest.index.ef_search == 0  # so few rows are searched exactly
    assert manifest.source["files"][0]["sha256"] == store.checksum(planted_file).sha256
    assert manifest.source["reports"][0]["kept"] == 12
    assert manifest.versions["hnswlib"]


def test_a_map_drawn_by_umap_keeps_the_topics_apart(home: Path, tmp_path: Path, planted: Planted) -> None:
    write_jsonl(planted(20), tmp_path / "more.jsonl.gz")
    calls: list[tuple[str, int, int]] = []
    build_atlas("more", [tmp_path / "more.jsonl.gz"], encoder=EMBEDDED, progress=lambda *call: calls.append(call))
    atlas = open_atlas("more")
    topics = np.array([atlas.paper(row).id.startswith("heart") for row in range(40)])
    for row in range(40):
        near = np.argsort(np.linalg.norm(atlas.coordinates - atlas.coordinates[row], axis=1))[:6]
        assert (topics[near] == topics[row]).mean() > 0.5
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == list(STAGES)
    assert atlas.region_ids.max() < len(atlas.manifest.regions)
    for region in atlas.manifest.regions:
        assert region.size == (atlas.region_ids == region.id).sum()


@pytest.mark.parametrize("count", [1, 2, 15])
def test_corpora_of_few_papers(home: Path, tmp_path: Path, planted: Planted, encoder: BiEncoder, count: int) -> None:
    write_jsonl(planted(8)[:count], tmp_path / "few.jsonl")
    build_atlas("few", [tmp_path / "few.jsonl"], encoder=EMBEDDED)
    atlas = open_atlas("few")
    assert len(atlas) == count
    assert np.isfinite(atlas.coordinates).all()
    assert len(search(atlas, text_query(encoder, "Stars", "and planets"), k=10).hits) == min(10, count)


def test_a_thousand_rows_get_a_tuned_graph(home: Path, tmp_path: Path, planted: Planted) -> None:
    random = np.random.default_rng(1)
    centres = random.normal(size=(12, 16))
    vectors = (centres[np.arange(1200) % 12] + 0.5 * random.normal(size=(1200, 16))).astype(np.float32)
    calls: list[tuple[str, int, int]] = []
    graph, record = build.tuned_index(vectors, BuildSettings().index, lambda *call: calls.append(call))
    assert graph is not None
    assert record.ann_recall_at_10 >= 0.99
    assert record.ef_search >= 11
    assert record.sample == 1000
    assert calls[-1] == (INDEXING, 1200, 1200)


def test_pair_distances_are_those_of_pairs_of_different_rows() -> None:
    vectors = np.eye(50, dtype=np.float32)
    assert random_pair_distances(vectors, pairs=5000) == pytest.approx(np.full(5000, np.sqrt(2)), rel=1e-6)
    line = np.arange(1000, dtype=np.float32)[:, None]
    found = random_pair_distances(line, pairs=20_000)
    assert (np.diff(found) >= 0).all()
    assert found.mean() == pytest.approx(1000 / 3, rel=0.03)  # of two numbers drawn evenly from 0 to 1000
    for n in (0, 1):
        assert len(random_pair_distances(line[:n])) == 0


# What goes in


def test_repeats_between_files_are_merged_and_ids_told_apart(home: Path, tmp_path: Path, planted: Planted) -> None:
    papers = planted(6)
    write_jsonl(papers[:8], tmp_path / "a.jsonl")
    stranger = Paper(id=papers[3].id, title="Another title", abstract="Another text.")
    write_jsonl([*papers[6:], stranger], tmp_path / "b.jsonl")
    manifest = build_atlas("both", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], encoder=EMBEDDED)
    atlas = open_atlas("both")
    assert [atlas.paper(row) for row in range(len(atlas))] == [*papers, replace(stranger, id=f"{stranger.id}~2")]
    assert manifest.source["merged"] == 2
    assert [report["kept"] for report in manifest.source["reports"]] == [8, 5]
    problems = store.read_problems(manifest)
    assert problems is not None
    assert [row["place"] for row in problems.to_pylist()] == ["line 1", "line 2"]
    assert problems["reason"][0].as_py() == "repeats a.jsonl, line 7 (title and year). The two are merged."


def test_how_files_are_read_is_told_and_kept(home: Path, tmp_path: Path, planted: Planted) -> None:
    papers = planted(2)
    (tmp_path / "a.csv").write_text(
        "Titel;Inhalt\n" + "".join(f"{paper.title};{paper.abstract}\n" for paper in papers) + "A title alone;\n"
    )
    with pytest.raises(ColumnsNotFound, match=r'^a\.csv: none of its columns .*"Titel", "Inhalt"'):
        build_atlas("table", [tmp_path / "a.csv"], encoder=LEXICAL)
    columns = {"title": "Titel", "abstract": "Inhalt"}
    manifest = build_atlas("table", [tmp_path / "a.csv"], encoder=LEXICAL, columns=[columns])
    atlas = open_atlas("table")
    assert [atlas.paper(row).title for row in range(len(atlas))] == [paper.title for paper in papers]
    assert manifest.source["files"][0]["columns"] == columns
    assert manifest.source["reports"][0]["empty"] == 1
    manifest = build_atlas("table", [tmp_path / "a.csv"], encoder=LEXICAL, columns=[columns], without_abstract="keep")
    assert manifest.papers == 5
    assert manifest.source["reports"][0]["without_abstract"] == 1
    assert manifest.source["without_abstract"] == "keep"


def test_other_ways_to_read_a_file_start_afresh(home: Path, planted_file: Path) -> None:
    kept = []
    for columns, without_abstract in (
        (None, "leave_out"),
        ([{"title": "x"}], "leave_out"),
        (None, "keep"),
        ([None], "leave_out"),
    ):
        with pytest.raises(Cancelled):
            build_atlas(
                "planted",
                [planted_file],
                encoder=LEXICAL,
                columns=columns,
                without_abstract=without_abstract,
                progress=stopped_while_encoding,
            )
        kept.append(paths.work_folders("planted"))
    assert kept[0] == kept[3]
    assert len({str(folders) for folders in kept}) == 3


def stopped_while_encoding(stage: str, done: int, total: int) -> None:
    if stage == ENCODING:
        raise Cancelled("Stopped.")


def test_what_was_left_out_is_kept_whole_and_sealed(home: Path, tmp_path: Path, planted: Planted) -> None:
    write_jsonl(planted(2), tmp_path / "a.jsonl")
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"title": "No abstract"}\n' * 60)
    manifest = build_atlas("bare", [tmp_path / "a.jsonl"], encoder=LEXICAL)
    problems = store.read_problems(manifest)
    assert problems is not None
    assert problems.num_rows == 60
    assert problems_csv(problems).count(b"no abstract") == 60
    assert manifest.source["reports"][0]["problems_left_out"] == 35
    path = home / "bare" / manifest.folder / store.PROBLEMS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(store.AtlasDamaged, match=r"problems\.parquet"):
        store.read_problems(manifest)
    with pytest.raises(store.AtlasDamaged, match=r"problems\.parquet"):
        open_atlas("bare")


@pytest.mark.parametrize("text", ['{"id": "1", "title": "No abstract"}\n', '{"id": "1"}\n{"broken\n'])
def test_nothing_to_build_is_said(home: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "bare.jsonl").write_text(text)
    with pytest.raises(NothingToBuild, match=r"bare\.jsonl: no record has"):
        build_atlas("bare", [tmp_path / "bare.jsonl"], encoder=EMBEDDED)
    assert atlas_names() == []
    assert unfinished() == []  # it failed: there is nothing to go on with


def test_the_name_of_the_default_atlas_is_reserved(home: Path, planted_file: Path) -> None:
    with pytest.raises(NameReserved, match="--name"):
        build_atlas("medline", [planted_file], encoder=EMBEDDED)
    assert atlas_names() == []


def test_what_is_wrong_is_said_before_any_work(home: Path, tmp_path: Path, planted_file: Path) -> None:
    stages: set[str] = set()

    def progress(stage: str, done: int, total: int) -> None:
        stages.add(stage)

    with pytest.raises(paths.NoSuchAtlas):
        build_atlas("../x", [planted_file], encoder=EMBEDDED, progress=progress)
    with pytest.raises(UnknownEncoder):
        build_atlas("x", [planted_file], encoder="none", progress=progress)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderUnavailable):
        build_atlas("x", [planted_file], encoder=str(tmp_path), progress=progress)
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(UnreadableFileError, match=r"x\.pdf: this is a PDF"):
        build_atlas("x", [planted_file, tmp_path / "x.pdf"], encoder=EMBEDDED, progress=progress)
    assert ENCODING not in stages
    assert atlas_names() == []


def test_a_file_that_breaks_off_is_an_error_and_no_atlas(home: Path, tmp_path: Path, planted: Planted) -> None:
    packed = gzip.compress(
        b"".join(json.dumps({"id": str(i), "title": "t", "abstract": "a" * i}).encode() + b"\n" for i in range(999))
    )
    (tmp_path / "torn.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UnreadableFileError, match="torn"):
        build_atlas("torn", [tmp_path / "torn.jsonl.gz"], encoder=EMBEDDED)
    assert atlas_names() == []


def test_a_file_that_may_not_be_read_is_said(
    home: Path, tmp_path: Path, planted_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnreadableFileError, match=r"absent\.jsonl: it cannot be read \(No such file"):
        build_atlas("x", [planted_file, tmp_path / "absent.jsonl"], encoder=EMBEDDED)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(store, "checksum", refuse)  # whoever runs the tests as root may read everything
    with pytest.raises(UnreadableFileError, match=r"planted\.jsonl: it cannot be read \(Permission denied"):
        build_atlas("x", [planted_file], encoder=EMBEDDED)
    assert atlas_names() == []


def test_the_folder_of_an_encoder_is_found_again_from_anywhere(
    home: Path, planted_file: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    assert build_atlas("near", [planted_file], encoder="tiny").encoder.source == str(tiny.resolve())
    monkeypatch.chdir(tmp_path)
    assert verify_atlas("near", rows=3).passed


def test_a_build_beside_another_is_refused(home: Path, planted_file: Path) -> None:
    with paths.build_lock("planted"), pytest.raises(AtlasBusy):
        build_atlas("planted", [planted_file], encoder=EMBEDDED)


def test_a_home_that_cannot_be_written_is_said(
    planted_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(tmp_path / "plain"))
    with pytest.raises(CannotWrite, match="COCITE_ATLAS_HOME"):
        build_atlas("planted", [planted_file], encoder=EMBEDDED)
