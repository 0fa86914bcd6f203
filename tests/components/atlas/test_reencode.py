"""Another encoder on the same papers: the same rows in the same order, in another atlas; the base stays as it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.atlas import store
from components.atlas.build import ENCODING, PROJECTING, build_atlas
from components.atlas.corpora import atlases_of, unfinished
from components.atlas.paths import NameReserved, NoSuchAtlas, atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import AtlasDamaged, open_atlas, read_manifest
from components.atlas.verify import verify_atlas
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import LEXICAL
from components.encoder.errors import UnknownEncoder
from corpus.export import write_jsonl
from corpus.paper import Paper
from corpus.progress import Cancelled
from tests.components.atlas.growing import encoded_texts

Planted = Callable[[int], list[Paper]]
pytestmark = pytest.mark.usefixtures("small_chunks")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_rows_stay_and_the_encoder_changes(mine: str, home: Path) -> None:
    before = contents(home / "mine")
    manifest = reencode("mine", encoder=LEXICAL)
    assert contents(home / "mine") == before
    base, atlas = open_atlas("mine"), open_atlas("mine--tfidf-svd")
    assert atlas.manifest == manifest
    assert atlas.papers.equals(base.papers)
    assert (manifest.corpus, base.manifest.corpus) == ("mine", "mine")
    assert manifest.source == base.manifest.source
    assert [found.name for found in atlases_of("mine")] == ["mine", "mine--tfidf-svd"]
    assert verify_atlas("mine--tfidf-svd").passed
    assert unfinished() == []


def test_an_atlas_is_named_after_its_encoder(mine: str, tiny: Path) -> None:
    manifest = reencode("mine", encoder=str(tiny))
    assert manifest.name.startswith("mine--tiny-")
    encoder = load_encoder(str(tiny), device="cpu")
    papers = [open_atlas("mine").paper(row) for row in range(12)]
    truth = np.concatenate([encoder.encode([(paper.title, paper.abstract)]) for paper in papers])
    assert np.abs(open_atlas(manifest.name).vectors - truth).max() < 1e-5


def test_an_atlas_that_was_built_again_can_be_the_base(mine: str, tiny: Path) -> None:
    reencode("mine", encoder=LEXICAL, name="words")
    manifest = reencode("words", encoder=str(tiny), name="third")
    assert manifest.corpus == "mine"
    assert open_atlas("third").papers.equals(open_atlas("mine").papers)


def test_the_default_atlas_can_be_the_base(mine: str, home: Path) -> None:
    (home / "mine").rename(home / "medline")
    path = home / "medline" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "medline", "corpus": "medline"}))
    assert reencode("medline", encoder=LEXICAL).name == "medline--tfidf-svd"
    with pytest.raises(NameReserved, match="default atlas"):
        reencode("medline--tfidf-svd", encoder=LEXICAL, name="medline")
    assert read_manifest("medline").encoder.name == "tiny"


def test_a_stopped_build_is_listed_and_resumed(mine: str, home: Path, tiny: Path, monkeypatch) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == (ENCODING, 12):  # before the last chunk is written
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        reencode("mine", encoder=str(tiny), name="again", progress=stop)
    assert atlas_names() == ["mine"]
    (build,) = unfinished()
    assert (build.name, build.corpus, build.base, build.encoder) == ("again", "mine", "mine", str(tiny.resolve()))
    assert (build.rows_done, build.papers, build.precision) == (8, 12, "float32")
    seen = encoded_texts(monkeypatch)
    # As whoever reads the list would ask for it.
    reencode(build.base, encoder=build.encoder, name=build.name)
    assert len(seen) == 4
    assert unfinished() == []
    assert len(open_atlas("again")) == 12


def test_other_papers_of_the_base_start_afresh(mine: str, home: Path, tmp_path: Path, planted: Planted) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == PROJECTING:
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        reencode("mine", encoder=LEXICAL, progress=stop)
    write_jsonl(planted(7)[3:], tmp_path / "other.jsonl")
    build_atlas("mine", [tmp_path / "other.jsonl"], encoder=LEXICAL)
    reencode("mine", encoder=LEXICAL)
    assert len(open_atlas("mine--tfidf-svd")) == 11
    assert verify_atlas("mine--tfidf-svd").passed


def test_reserved_names_are_refused(mine: str, planted_file: Path) -> None:
    build_atlas("other", [planted_file], encoder=LEXICAL)
    for name, words in (("mine", "the atlas itself"), ("medline", "default atlas"), ("other", "an atlas of 'other'")):
        with pytest.raises(NameReserved, match=words):
            reencode("mine", encoder=LEXICAL, name=name)
    with pytest.raises(NoSuchAtlas, match="cannot be the name"):
        reencode("mine", encoder=LEXICAL, name="../x")
    assert atlas_names() == ["mine", "other"]
    assert read_manifest("other").encoder.name == LEXICAL


def test_an_atlas_of_the_same_corpus_is_replaced_even_if_damaged(mine: str, home: Path) -> None:
    first = reencode("mine", encoder=LEXICAL)
    assert reencode("mine", encoder=LEXICAL).folder != first.folder
    (home / first.name / "manifest.json").write_text("{")
    reencode("mine", encoder=LEXICAL)
    assert verify_atlas(first.name).passed


def test_errors_are_reported(mine: str, home: Path) -> None:
    with pytest.raises(NoSuchAtlas, match="'none'"):
        reencode("none", encoder=LEXICAL)
    with pytest.raises(UnknownEncoder):
        reencode("mine", encoder="bert")
    (home / "mine" / read_manifest("mine").folder / store.PAPERS).write_bytes(b"x")
    with pytest.raises(AtlasDamaged, match=store.PAPERS):
        reencode("mine", encoder=LEXICAL)
    shutil.rmtree(home / "mine")
    assert list(home.iterdir()) == []
