"""Another encoder on the same papers: the same rows in the same order, in another atlas; the base stays as it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.atlas import store
from components.atlas.build import ENCODING, LEXICAL_STAGES, PROJECTING, NameReserved, build_atlas
from components.atlas.corpora import atlases_of, unfinished
from components.atlas.paths import NoSuchAtlas, atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import AtlasDamaged, open_atlas, read_manifest
from components.atlas.verify import verify_atlas
from components.encoder import EMBEDDED, LEXICAL, BiEncoder, UnknownEncoder, load_encoder
from corpus.export import write_jsonl
from corpus.paper import Paper
from corpus.progress import Cancelled

Planted = Callable[[int], list[Paper]]
pytestmark = pytest.mark.usefixtures("small_chunks")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_papers_get_another_encoder(topics: str, home: Path) -> None:
    before = contents(home / "topics")
    stages: list[str] = []
    manifest = reencode("topics", encoder=LEXICAL, progress=lambda *call: stages.append(call[0]))
    assert list(dict.fromkeys(stages)) == list(LEXICAL_STAGES)
    assert contents(home / "topics") == before
    base, atlas = open_atlas("topics"), open_atlas("topics--tfidf-svd")
    assert atlas.manifest == manifest
    assert atlas.papers.equals(base.papers)
    assert (manifest.corpus, base.manifest.corpus) == ("topics", "topics")
    assert manifest.source == base.manifest.source
    assert [found.name for found in atlases_of("topics")] == ["topics", "topics--tfidf-svd"]
    assert verify_atlas("topics--tfidf-svd").passed
    assert unfinished() == []


def test_an_atlas_of_a_folders_encoder_is_named_after_it(topics: str, tiny: Path) -> None:
    manifest = reencode("topics", encoder=str(tiny))
    assert manifest.name.startswith("topics--tiny-")
    encoder = load_encoder(str(tiny), device="cpu")
    papers = [open_atlas("topics").paper(row) for row in range(12)]
    truth = np.concatenate([encoder.encode([(paper.title, paper.abstract)]) for paper in papers])
    assert np.abs(open_atlas(manifest.name).vectors - truth).max() < 1e-5


def test_an_atlas_that_was_built_again_can_be_the_base(topics: str, tiny: Path) -> None:
    reencode("topics", encoder=LEXICAL, name="words")
    manifest = reencode("words", encoder=str(tiny), name="third")
    assert manifest.corpus == "topics"
    assert open_atlas("third").papers.equals(open_atlas("topics").papers)


def test_the_default_atlas_can_be_the_base(topics: str, home: Path) -> None:
    (home / "topics").rename(home / "medline")
    path = home / "medline" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "medline", "corpus": "medline"}))
    assert reencode("medline", encoder=LEXICAL).name == "medline--tfidf-svd"
    with pytest.raises(NameReserved, match="default atlas"):
        reencode("medline--tfidf-svd", encoder=EMBEDDED, name="medline")
    assert read_manifest("medline").encoder.name == EMBEDDED


def test_a_stopped_build_is_listed_and_goes_on(topics: str, home: Path, tiny: Path, monkeypatch) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == (ENCODING, 12):  # before the last chunk is written
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        reencode("topics", encoder=str(tiny), name="again", progress=stop)
    assert atlas_names() == ["topics"]
    (build,) = unfinished()
    assert (build.name, build.corpus, build.base, build.encoder) == ("again", "topics", "topics", str(tiny.resolve()))
    assert (build.rows_done, build.rows_total, build.precision) == (8, 12, "float32")
    seen: list[object] = []
    forward = BiEncoder._forward

    def watched(self: BiEncoder, rows: list[np.ndarray], pause: object) -> np.ndarray:
        seen.extend(rows)
        return forward(self, rows, pause)

    monkeypatch.setattr(BiEncoder, "_forward", watched)
    # As whoever reads the list would ask for it.
    reencode(build.base, encoder=build.encoder, name=build.name)
    assert len(seen) == 4
    assert unfinished() == []
    assert len(open_atlas("again")) == 12


def test_other_papers_of_the_base_start_afresh(topics: str, home: Path, tmp_path: Path, planted: Planted) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == PROJECTING:
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        reencode("topics", encoder=LEXICAL, progress=stop)
    write_jsonl(planted(7)[3:], tmp_path / "other.jsonl")
    build_atlas("topics", [tmp_path / "other.jsonl"], encoder=EMBEDDED)
    reencode("topics", encoder=LEXICAL)
    assert len(open_atlas("topics--tfidf-svd")) == 11
    assert verify_atlas("topics--tfidf-svd").passed


def test_names_that_others_have_a_right_to_are_refused(topics: str, planted_file: Path) -> None:
    build_atlas("other", [planted_file], encoder=LEXICAL)
    for name, words in (("topics", "the atlas itself"), ("medline", "default atlas"), ("other", "an atlas of 'other'")):
        with pytest.raises(NameReserved, match=words):
            reencode("topics", encoder=LEXICAL, name=name)
    with pytest.raises(NoSuchAtlas, match="cannot be the name"):
        reencode("topics", encoder=LEXICAL, name="../x")
    assert atlas_names() == ["other", "topics"]
    assert read_manifest("other").encoder.name == LEXICAL


def test_an_atlas_of_the_same_corpus_is_replaced_even_if_damaged(topics: str, home: Path) -> None:
    first = reencode("topics", encoder=LEXICAL)
    assert reencode("topics", encoder=LEXICAL).folder != first.folder
    (home / first.name / "manifest.json").write_text("{")
    reencode("topics", encoder=LEXICAL)
    assert verify_atlas(first.name).passed


def test_what_cannot_be_built_again_is_said(topics: str, home: Path) -> None:
    with pytest.raises(NoSuchAtlas, match="'none'"):
        reencode("none", encoder=LEXICAL)
    with pytest.raises(UnknownEncoder):
        reencode("topics", encoder="bert")
    (home / "topics" / read_manifest("topics").folder / store.PAPERS).write_bytes(b"x")
    with pytest.raises(AtlasDamaged, match=store.PAPERS):
        reencode("topics", encoder=LEXICAL)
    shutil.rmtree(home / "topics")
    assert list(home.iterdir()) == []
