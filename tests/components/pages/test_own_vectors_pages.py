"""The pages, of an atlas that takes no text: what they say, and what goes on working. Run by Streamlit's AppTest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from components.atlas.precomputed_vectors import build_from_vectors
from components.atlas.reencode import reencode
from components.encoder.bi_encoder import BiEncoder
from components.encoder.catalogue import LEXICAL
from components.pages import resources
from corpus.paper import Paper, to_table
from corpus.text.markdown import escaped

APP = Path(__file__).parents[3] / "app.py"
PASTE = "Valve repair in heart failure\n\nWe followed patients of a cardiology ward."
NO_TEXT = "has vectors of its own"


@pytest.fixture(autouse=True)
def nothing_is_open() -> None:
    """The app holds open what it opened; each test begins as a new process does."""
    resources._open.clear()
    resources._place.clear()
    resources._fitted.clear()


@pytest.fixture
def mine(home: Path, tmp_path: Path, planted: Callable[[int], list[Paper]], encoder: BiEncoder) -> str:
    """An atlas of planted papers with vectors of their own, and one beside it by the lexical encoder."""
    papers = planted(12)
    vectors = encoder.encode([(paper.title, paper.abstract) for paper in papers])
    pq.write_table(to_table(papers).append_column("v", pa.array(vectors.tolist())), tmp_path / "mine.parquet")
    build_from_vectors("mine", tmp_path / "mine.parquet")
    reencode("mine", encoder=LEXICAL)
    return "mine"


def page(name: str = "", **params: str | list[str]) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=120)
    if name:
        app._page_hash = calc_hash(name)
    for key, value in params.items():
        app.query_params[key] = value
    return whole(app.run())


def whole(app: AppTest) -> AppTest:
    assert not app.exception, app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    return whole(next(button for button in app.button if button.label == label).click().run())


def said(app: AppTest) -> str:
    kinds = [app.caption, app.text, app.info, app.warning, app.error, app.subheader, app.markdown]
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def cards(app: AppTest, key: str) -> list[dict[str, Any]]:
    found = [json.loads(element.proto.json) for element in app.get("bidi_component") if element.key == key]
    return found[0]["cards"] if found else []


def examples(app: AppTest) -> list[Any]:
    return [button for button in app.button if str(button.key).startswith("example-")]


def test_explore_says_it_before_anybody_pastes(mine: str) -> None:
    app = page(atlas=mine)
    assert NO_TEXT in app.warning[0].value
    app.text_area(key="paste").set_value(PASTE)
    app = press(app, "Search")
    assert NO_TEXT in app.warning[0].value
    assert cards(app, "results") == []
    assert "embedded encoder" not in said(app)


def test_explore_searches_from_papers(mine: str) -> None:
    app = page(atlas=mine, like="heart-0")
    assert NO_TEXT not in said(app)
    found = cards(app, "results")
    assert len(found) == 10
    assert all("Journal of heart" in json.dumps(card) for card in found)


def test_an_example_is_searched_from_and_not_pasted(mine: str) -> None:
    app = page(atlas=mine)
    app = whole(examples(app)[0].click().run())
    assert app.query_params["like"]
    assert NO_TEXT not in said(app)
    assert cards(app, "results")


def test_compare_works_from_a_paper_and_says_why_not_from_a_text(mine: str) -> None:
    pair = {"left": mine, "right": f"{mine}--{LEXICAL}"}
    app = page("compare", **pair, like="heart-0")
    assert NO_TEXT not in said(app)
    assert cards(app, "compared-0") and cards(app, "compared-1")
    app.text_area(key="paste").set_value(PASTE)
    app = press(app, "Search")
    assert NO_TEXT in said(app)
    assert cards(app, "compared-0") == []
    assert cards(app, "compared-1")  # the other one takes text, and answers


def test_an_example_to_compare_is_a_paper(mine: str) -> None:
    app = page("compare", left=f"{mine}--{LEXICAL}", right=mine)
    app = whole(examples(app)[0].click().run())
    assert NO_TEXT not in said(app)
    assert cards(app, "compared-0") and cards(app, "compared-1")


def test_encoders_says_what_they_are_and_offers_no_download(mine: str) -> None:
    app = page("encoders", atlas=mine)
    assert app.session_state["encoder"] == "own-vectors"
    assert "Vectors that came with the papers" in said(app)
    assert not [button.label for button in app.button if "ownload" in button.label]
    links = [link.proto.label for link in app.get("page_link")]
    assert escaped("Explore with the papers' own vectors") in links
