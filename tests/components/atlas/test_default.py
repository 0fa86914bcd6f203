"""The default atlas: assembled from what is shipped, and true to the installed corpus and encoder row by row."""

import gzip
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas import default as medline
from components.atlas import paths, store
from components.atlas.build import ENCODING
from components.atlas.default import SHIPPED, ShippedFilesDiffer, ensure_medline
from components.atlas.paths import atlas_names
from components.atlas.store import Atlas, open_atlas
from components.atlas.verify import verify_atlas
from components.encoder.bi_encoder import BiEncoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.search.search import search, text_query
from corpus.io.disk import CannotWrite

SCIFACT = Path(__file__).resolve().parents[4] / "shared" / "data" / "scifact" / "corpus.jsonl.gz"


@pytest.fixture
def use_medline(medline_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))


@pytest.fixture
def atlas(use_medline: None) -> Atlas:
    return open_atlas("medline")


@pytest.fixture
def shipped(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped files that the module takes for them, and an empty home."""
    folder = tmp_path / "shipped"
    shutil.copytree(SHIPPED, folder)
    monkeypatch.setattr(medline, "SHIPPED", folder)
    return folder


def update_checksum(folder: Path, file: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    sealed = store.checksum(folder / file)
    manifest["files"][file] = {"bytes": sealed.bytes, "sha256": sealed.sha256}
    (folder / "manifest.json").write_text(json.dumps(manifest))


# What is assembled


def test_it_is_there_afterwards_and_not_made_twice(use_medline: None) -> None:
    before = store.read_manifest("medline")
    calls: list[tuple[str, int, int]] = []
    assert ensure_medline(progress=lambda *call: calls.append(call)) == before
    assert calls == []


def test_its_rows_are_the_shipped_rows(atlas: Atlas) -> None:
    rows = pq.read_table(SHIPPED / "rows.parquet")
    assert len(atlas) == len(rows) > 18_000
    assert atlas.papers["pmid"].to_pylist() == rows["pmid"].to_pylist()
    hashes = rows["text_sha256"].to_pylist()
    assert [atlas.paper(row).text_hash() for row in range(0, len(rows), 97)] == hashes[::97]
    assert np.array_equal(atlas.vectors, np.load(SHIPPED / "vectors.npy").astype(np.float32))
    assert np.array_equal(atlas.coordinates, np.load(SHIPPED / "coordinates.npy"))
    assert atlas.manifest.encoder.fingerprint == find_checkpoint(EMBEDDED).fingerprint


def test_twenty_rows_encode_to_their_vectors_again(use_medline: None) -> None:
    report = verify_atlas("medline", rows=20)
    assert report.rows == 20
    assert report.passed
    assert report.largest_error < 0.005  # half precision; another machine's kernels may differ in the last digits


def test_the_index_finds_what_exact_search_finds_for_other_rows_than_it_was_tuned_on(atlas: Atlas) -> None:
    record = atlas.manifest.index
    assert record.ann_recall_at_10 >= 0.99
    assert record.sample == 1000
    tuned_on = set(np.random.default_rng(20).permutation(len(atlas))[:1000].tolist())
    others = [row for row in np.random.default_rng(99).permutation(len(atlas)).tolist() if row not in tuned_on][:300]
    found = 0
    for row in others:
        wanted = set(atlas.index.exact.search(atlas.vectors[row], k=11).rows.tolist()) - {row}
        got = set(atlas.index.graph.search(atlas.vectors[row], k=11).rows.tolist()) - {row}
        found += len(wanted & got)
    assert found / (10 * len(others)) >= 0.98  # 3,000 neighbours looked at


def test_its_map_and_its_regions_are_whole(atlas: Atlas) -> None:
    assert np.isfinite(atlas.coordinates).all()
    assert np.abs(atlas.coordinates).max() <= 1
    regions = atlas.manifest.regions
    assert len(regions) > 10
    assert len({region.name for region in regions}) == len(regions)
    for region in regions:
        assert region.size == (atlas.region_ids == region.id).sum()


@pytest.mark.parametrize(
    ("title", "abstract", "word"),
    [
        (
            "Side effects of mRNA vaccines against SARS-CoV-2",
            "We asked health workers who had received two doses of a COVID-19 vaccine about fever and arm pain.",
            "vaccin",
        ),
        (
            "Gut bacteria in inflammatory bowel disease",
            "We sequenced the faecal microbiota of patients with Crohn's disease and of healthy controls.",
            "microbio",
        ),
    ],
)
def test_a_subject_finds_papers_on_it(atlas: Atlas, encoder: BiEncoder, title: str, abstract: str, word: str) -> None:
    result = search(atlas, text_query(encoder, title, abstract), k=10)
    texts = [f"{atlas.paper(row).title} {atlas.paper(row).abstract}".lower() for row in result.rows]
    assert all(word in text for text in texts[:3])
    assert sum(word in text for text in texts) >= 6


# What is refused


def assert_refused(match: str) -> None:
    with pytest.raises(ShippedFilesDiffer, match=match) as caught:
        ensure_medline()
    assert "cocite build medline" in str(caught.value)
    assert atlas_names() == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("file", ["vectors.npy", "coordinates.npy", "rows.parquet"])
def test_shipped_files_that_were_changed_are_refused(shipped: Path, file: str, damage: Callable[[Path], None]) -> None:
    damage(shipped / file)
    assert_refused(file)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"files": {}}', '{"files": {"vectors.npy": 7}}'])
def test_a_shipped_manifest_that_is_none_is_refused(shipped: Path, text: str | None) -> None:
    (shipped / "manifest.json").unlink()
    if text is not None:
        (shipped / "manifest.json").write_text(text)
    assert_refused("damaged or missing")


def test_vectors_of_another_encoder_are_refused(shipped: Path) -> None:
    manifest = json.loads((shipped / "manifest.json").read_text())
    manifest["encoder"]["fingerprint"] = "0" * 64
    (shipped / "manifest.json").write_text(json.dumps(manifest))
    assert_refused("not the encoder that made the shipped vectors")


def test_rows_out_of_step_with_the_corpus_are_refused(
    shipped: Path, atlas_papers: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Parsing the bundled file is tested elsewhere, and takes long: its papers are those of the assembled atlas.
    monkeypatch.setattr(medline, "_bundled_papers", lambda progress: (atlas_papers, {}))
    rows = pq.read_table(SHIPPED / "rows.parquet")
    swapped = rows.take([1, 0, *range(2, len(rows))])
    for table, match in ((swapped, "2 of the texts differ"), (rows.slice(1), "vectors are shipped for")):
        pq.write_table(table, shipped / "rows.parquet")
        update_checksum(shipped, "rows.parquet")
        assert_refused(match)


@pytest.fixture
def atlas_papers(medline_home: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(medline_home))
        return open_atlas("medline").papers


# What is made again


@pytest.fixture
def few_papers(shipped: Path, atlas_papers: pa.Table, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """Ten of the papers, as if the bundled file held no more; `shipped` is made of the first nine."""
    few = atlas_papers.slice(0, 10)
    bundle(monkeypatch, few.slice(0, 9))
    medline.make_shipped_files()
    bundle(monkeypatch, few)
    return few


def bundle(monkeypatch: pytest.MonkeyPatch, papers: pa.Table) -> None:
    source = {"files": [{"name": "few.xml"}], "reports": []}
    monkeypatch.setattr(medline, "_bundled_papers", lambda progress: (papers, source))


def shipped_rows(shipped: Path) -> int:
    """How many rows are shipped, all files agreeing."""
    medline._check_shipped_files()
    rows = pq.read_table(shipped / "rows.parquet").num_rows
    assert rows == len(np.load(shipped / "vectors.npy")) == len(np.load(shipped / "coordinates.npy"))
    return rows


def test_shipped_files_are_made_again(few_papers: pa.Table, shipped: Path, encoder: BiEncoder) -> None:
    assert shipped_rows(shipped) == len(open_atlas("medline")) == 9
    medline.make_shipped_files()
    assert shipped_rows(shipped) == len(open_atlas("medline")) == 10
    assert verify_atlas("medline", rows=10).passed
    assert sorted(path.name for path in shipped.parent.iterdir()) == ["home", "shipped"]
    assert [path.name for path in (shipped.parent / "home" / "medline").glob("work-*")] == []


def test_encoding_that_was_stopped_is_taken_up(few_papers: pa.Table, shipped: Path) -> None:
    encoded: list[int] = []

    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == (ENCODING, 8):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        medline.make_shipped_files(progress=stop)
    assert shipped_rows(shipped) == 9
    medline.make_shipped_files(progress=lambda stage, done, total: encoded.append(done) if stage == ENCODING else None)
    assert encoded == [4, 8, 10]  # the chunk that was done is passed over
    assert shipped_rows(shipped) == 10


def test_a_kill_at_any_rename_leaves_the_old_files_or_the_new_ones(
    few_papers: pa.Table, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = [0]

    def killed(move: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def maybe(path: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return move(path, target)

        return maybe

    outcomes = []
    for allowed in range(0, 30, 2):
        left[0] = allowed
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed(Path.replace))
            patch.setattr(Path, "rename", killed(Path.rename))
            try:
                medline.make_shipped_files()
                break
            except KeyboardInterrupt:
                pass
        bundle(monkeypatch, few_papers.slice(0, 9))
        try:
            medline.rebuild_medline()
            outcomes.append("old")
        except ShippedFilesDiffer as error:
            assert "vectors are shipped for 10" in str(error)
            outcomes.append("new")
        bundle(monkeypatch, few_papers)
        shipped_rows(shipped)
    assert outcomes[0] == "old"
    assert outcomes[-1] == "new"
    assert outcomes == sorted(outcomes, reverse=True)
    assert shipped_rows(shipped) == 10


def test_shipped_files_are_not_made_beside_another_build(few_papers: pa.Table) -> None:
    with paths.build_lock("medline"), pytest.raises(paths.AtlasBusy):
        medline.make_shipped_files()


def test_a_folder_of_shipped_files_that_cannot_be_written_is_said(
    few_papers: pa.Table, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(medline, "write_array", refuse)
    with pytest.raises(CannotWrite, match=r"shipped-new.*Permission denied"):
        medline.make_shipped_files()
    assert shipped_rows(shipped) == 9


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(tmp_path / "plain"))
    with pytest.raises(CannotWrite, match="COCITE_ATLAS_HOME"):
        ensure_medline()


def test_texts_from_outside_find_their_neighbours_too(atlas: Atlas, encoder: BiEncoder) -> None:
    if not SCIFACT.is_file():
        pytest.skip("needs abstracts from elsewhere: ../shared/data/scifact is not there")
    with gzip.open(SCIFACT, "rt", encoding="utf-8") as file:
        documents = [json.loads(line) for line in itertools.islice(file, 60)]
    found = total = 0
    for vector in encoder.encode([(document["title"], " ".join(document["abstract"])) for document in documents]):
        wanted = set(atlas.index.exact.search(vector, k=10).rows.tolist())
        found += len(wanted & set(atlas.index.search(vector, k=10).rows.tolist()))
        total += 10
    assert found / total >= 0.985
