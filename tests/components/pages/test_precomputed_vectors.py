"""The pages with an atlas that takes no text: what they say, and what still works. By AppTest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas.precomputed_vectors import build_from_vectors
from components.atlas.reencode import reencode
from components.encoder.bi_encoder import BiEncoder
from components.encoder.catalogue import LEXICAL
from corpus.paper import Paper, to_table
from corpus.text.markdown import escaped
from tests.components.pages.app import cards, open_page, page_links, press, search_for, texts

PASTE = "Valve repair in heart failure\n\nWe followed patients of a cardiology ward."
NO_TEXT = "has vectors of its own"


@pytest.fixture(scope="module")
def mine_home(
    tmp_path_factory: pytest.TempPathFactory, planted: Callable[[int], list[Paper]], encoder: BiEncoder
) -> Path:
    """A home with an atlas of planted papers with their own vectors, and one with the lexical encoder."""
    folder = tmp_path_factory.mktemp("mine")
    papers = planted(12)
    vectors = encoder.encode([(paper.title, paper.abstract) for paper in papers])
    pq.write_table(to_table(papers).append_column("v", pa.array(vectors.tolist())), folder / "mine.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder / "home"))
        build_from_vectors("mine", folder / "mine.parquet")
        reencode("mine", encoder=LEXICAL)
    return folder / "home"


@pytest.fixture(autouse=True)
def _in_that_home(mine_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(mine_home))


def test_explore_says_it_before_anybody_pastes() -> None:
    app = open_page(atlas="mine")
    assert NO_TEXT in app.warning[0].value
    search_for(app, PASTE)
    assert NO_TEXT in app.warning[0].value
    assert cards(app) == []
    assert "embedded encoder" not in texts(app)


def test_explore_searches_from_papers() -> None:
    app = open_page(atlas="mine", like="heart-0")
    assert NO_TEXT not in texts(app)
    assert len(cards(app)) == 10
    assert all("Journal of heart" in json.dumps(card) for card in cards(app))
    app = press(open_page(atlas="mine"), "example-0")
    assert app.query_params["like"]  # searched from, not pasted
    assert NO_TEXT not in texts(app)
    assert cards(app)


def test_compare_works_from_a_paper_and_says_why_not_from_a_text() -> None:
    app = open_page("compare", left="mine", right=f"mine--{LEXICAL}", like="heart-0")
    assert NO_TEXT not in texts(app)
    assert cards(app, "compared-0") and cards(app, "compared-1")
    search_for(app, PASTE)
    assert NO_TEXT in texts(app)
    assert cards(app, "compared-0") == []
    assert cards(app, "compared-1")  # the other atlas takes text
    app = press(open_page("compare", left=f"mine--{LEXICAL}", right="mine"), "example-0")
    assert NO_TEXT not in texts(app)
    assert cards(app, "compared-0") and cards(app, "compared-1")


def test_encoders_says_what_they_are_and_offers_no_download() -> None:
    app = open_page("encoders", atlas="mine")
    assert app.session_state["encoder"] == "own-vectors"
    assert "These vectors came with the papers" in texts(app)
    assert not [button.label for button in app.button if "ownload" in button.label]
    assert escaped("Explore with the papers' own vectors") in page_links(app)
