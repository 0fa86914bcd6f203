"""The Explore page's own logic, run by Streamlit's AppTest. What the browser draws is in tests/browser/."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from components.atlas.store import open_atlas
from components.pages import resources
from components.search.query_text import QueryText
from components.search.view import View
from corpus.text.markdown import escaped

APP = Path(__file__).parents[3] / "app.py"
TITLE = "Valve repair in heart failure"
ABSTRACT = "We followed patients of a cardiology ward. Mortality fell with valve repair and with beta blockers."
PASTE = f"{TITLE}\n\n{ABSTRACT}"


@pytest.fixture(autouse=True)
def nothing_is_open() -> None:
    """The app holds open what it opened; each test begins as a new process does."""
    resources._open.clear()


@pytest.fixture
def page(topics: str) -> Callable[..., AppTest]:
    """page(**params): the page of the planted atlas, drawn for a link with these parameters."""

    def draw(**params: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=120)
        for name, value in {"atlas": topics, **params}.items():
            app.query_params[name] = value
        return whole(app.run())

    return draw


def whole(app: AppTest) -> AppTest:
    """The page, which was drawn without an exception."""
    assert not app.exception, app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    return whole(next(button for button in app.button if button.label == label).click().run())


def search(app: AppTest, paste: str) -> AppTest:
    app.text_area(key="paste").set_value(paste)
    return press(app, "Search")


def said(app: AppTest) -> str:
    """Every sentence of the page."""
    elements = [*app.caption, *app.text, *app.info, *app.warning, *app.error, *app.subheader]
    return "\n".join(str(element.value) for element in elements)


def cards(app: AppTest, key: str = "results") -> list[dict[str, Any]]:
    """The papers that the page hands to a list in the browser; none where there is no such list."""
    return next((data["cards"] for data in _handed_over(app, key)), [])


def the_map(app: AppTest) -> dict[str, Any]:
    """What the page hands to the map."""
    return next(iter(_handed_over(app, "map")))


def _handed_over(app: AppTest, key: str) -> list[dict[str, Any]]:
    return [json.loads(element.proto.json) for element in app.get("bidi_component") if element.key == key]


def params(app: AppTest) -> dict[str, list[str]]:
    found = app.query_params
    return {name: [values] if isinstance(values, str) else list(values) for name, values in found.items()}


def test_the_page_draws(page: Callable[..., AppTest]) -> None:
    app = page()
    assert [title.value for title in app.title] == ["Cocite Atlas"]
    assert cards(app) == []
    drawn = the_map(app)
    assert (drawn["count"], drawn["query"], drawn["hits"], drawn["mask"]) == (12, None, [], "")
    assert params(app) == {"atlas": ["topics"]}
    # Three examples to begin with, each a paper of the corpus.
    examples = [button for button in app.button if (button.key or "").startswith("example-")]
    assert len(examples) == 3


def test_a_paste_is_understood_and_answered(page: Callable[..., AppTest]) -> None:
    app = search(page(), PASTE)
    assert app.session_state["asked"] == QueryText(TITLE, ABSTRACT)
    assert app.text_input(key="title").value == TITLE
    found = cards(app)
    assert f"{len(found)} nearest papers" in [subheader.value for subheader in app.subheader]
    assert [card["rank"] for card in found] == list(range(1, 11))
    assert all("Journal of heart" in card["byline"] for card in found[:5])
    assert f"Read in full: all {len(PASTE.split())} words." in said(app)
    assert the_map(app)["hits"] == [card["row"] for card in found]
    assert the_map(app)["query"] is not None
    assert params(app) == {"atlas": ["topics"]}  # the text is not in the link


@pytest.mark.parametrize(
    ("paste", "words", "count"),
    [
        ("", "Nothing to search for yet", 0),
        (" \n\n ", "Nothing to search for yet", 0),
        ("arrhythmia", "One word says little", 10),
        ("arrhythmia", "its one word", 10),
        (TITLE, "A title alone was read", 10),
        (f"<p>{TITLE}</p><p>{ABSTRACT}</p>", "HTML was read as plain text", 10),
        (f"{TITLE}\n\n" + "cardiology ward " * 2000, "of 4,005 words were read", 10),
    ],
)
def test_odd_pastes_are_answered_with_a_sentence(
    page: Callable[..., AppTest], paste: str, words: str, count: int
) -> None:
    app = search(page(), paste)
    assert words in said(app)
    assert len(cards(app)) == count
    assert app.text_area(key="paste").value == paste


def test_a_corrected_title_is_searched_with_and_another_paste_replaces_it(page: Callable[..., AppTest]) -> None:
    app = search(page(), PASTE)
    app.text_input(key="title").set_value("Spiral galaxies observed by radio interferometry")
    press(app, "Search")
    assert app.session_state["asked"].title == "Spiral galaxies observed by radio interferometry"
    assert app.session_state["asked"].abstract == ABSTRACT
    search(app, f"Dark matter halos\n\n{ABSTRACT}")
    assert app.session_state["asked"].title == "Dark matter halos"
    assert app.text_input(key="title").value == "Dark matter halos"


def test_an_example_is_searched_for_and_leaves_itself_out(page: Callable[..., AppTest]) -> None:
    app = page()
    app.button(key="example-0").click().run()
    asked = whole(app).session_state["asked"]
    atlas = open_atlas("topics")
    (row,) = [row for row in range(len(atlas)) if atlas.paper(row).title == asked.title]
    assert asked.abstract == atlas.paper(row).abstract
    assert row not in [card["row"] for card in cards(app)]
    assert "Left out, because it is the text that you pasted" in said(app)


def test_filters_narrow_the_hits_and_enter_the_link(page: Callable[..., AppTest]) -> None:
    app = search(page(), PASTE)
    app.multiselect(key="filter-topics").set_value(["galaxy"]).run()
    assert params(whole(app)) == {"atlas": ["topics"], "topic": ["galaxy"]}
    assert len(cards(app)) == 6
    assert all("Journal of galaxy" in card["byline"] for card in cards(app))
    assert "6 that pass the filters, all that there are" in said(app)
    assert the_map(app)["mask"] == "topic=galaxy"
    app.slider(key="filter-years").set_value((2002, 2003)).run()
    assert params(whole(app))["years"] == ["2002-2003"]
    assert {card["byline"][-4:] for card in cards(app)} == {"2002", "2003"}
    app.selectbox(key="filter-k").set_value(5).run()
    assert params(whole(app))["k"] == ["5"]
    press(app, "Clear all filters")
    assert params(app) == {"atlas": ["topics"], "k": ["5"]}
    assert [card["rank"] for card in cards(app)] == [1, 2, 3, 4, 5]
    assert app.multiselect(key="filter-topics").value == []
    assert tuple(app.slider(key="filter-years").value) == (2001, 2005)


def test_filters_that_nothing_passes_are_said(page: Callable[..., AppTest]) -> None:
    app = page(like="heart-1", topic="heart", venue="Journal of galaxy 0")
    assert "No other paper passes these filters" in said(app)
    assert cards(app) == []
    app = page(like="heart-1", topic="<b>nothing</b>")
    assert "No paper of this corpus has the venue or topic you typed" in said(app)
    assert "<b>nothing</b>" in [text.value for text in app.text]


def test_a_link_brings_its_view_back(page: Callable[..., AppTest]) -> None:
    link: dict[str, str | list[str]] = {
        "like": ["heart-1", "heart-2"],
        "k": "5",
        "years": "2001-2003",
        "colour": "year",
        "paper": "heart-3",
        "area": "-2_-2_2_-2_2_2_-2_2",
        "window": "-0.5_0.5_-0.25_0.25",
    }
    app = page(**link)
    atlas = open_atlas("topics")
    assert app.session_state["view"] == View.from_params(
        {name: [value] if isinstance(value, str) else value for name, value in {"atlas": "topics", **link}.items()}
    )
    assert "Papers like these 2, by the mean of their vectors" in said(app)
    assert {atlas.paper(card["row"]).id for card in cards(app)}.isdisjoint({"heart-1", "heart-2"})
    assert tuple(app.slider(key="filter-years").value) == (2001, 2003)
    drawn = the_map(app)
    assert (drawn["colour"], drawn["opened"]) == ("year", atlas.row_of("heart-3"))
    assert drawn["camera"] == [-0.5, 0.5, -0.25, 0.25]
    (card,) = cards(app, "card")
    assert card["title"] == atlas.paper(drawn["opened"]).title
    assert card["expanded"]
    passing = sum(1 for row in range(12) if atlas.paper(row).year in (2001, 2002, 2003))
    assert f"{passing} papers selected" in said(app)
    assert f"{12 - passing} more lie in the area but do not pass the filters." in said(app)


def test_a_selection_can_be_searched_from(page: Callable[..., AppTest]) -> None:
    app = page(area="-2_-2_2_-2_2_2_-2_2", topic="heart")
    press(app, "Search from these")
    assert params(app)["from"] == ["area"]
    assert "Papers like these 6" in said(app)
    assert "No other paper passes these filters" in said(app)  # all that pass are the query
    press(app, "Clear all filters")
    assert "Papers like these 12" in said(app)  # the seeds are what the table shows
    assert "This corpus has no other paper" in said(app)
    press(app, "Drop")
    assert "from" not in params(app)
    assert cards(app) == []


def test_papers_of_a_link_that_are_not_here_are_counted(page: Callable[..., AppTest]) -> None:
    app = page(like=["heart-1", "gone", "<b>"])
    assert "2 of the papers of this link are not in this corpus." in said(app)
    assert len(cards(app)) == 10
    assert cards(page(like="gone")) == []


def test_a_broken_link_is_a_plain_page(page: Callable[..., AppTest]) -> None:
    app = page(k="01001", years="x-y", area="1_2", window="9_1_0_0", colour="red", paper="gone", like="")
    assert the_map(app)["colour"] == "region"
    assert app.selectbox(key="filter-k").value == 10


@pytest.mark.parametrize("name", ["nowhere", "../../etc", "<b>"])
def test_an_unknown_atlas_is_said_and_left(medline_home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))
    app = AppTest.from_file(str(APP), default_timeout=120)
    app.query_params["atlas"] = name
    whole(app.run())
    (error,) = app.error
    assert escaped(repr(name)) in error.value
    press(app, "Go to the default corpus")
    assert not app.error
    assert params(app) == {}
    assert the_map(app)["count"] > 10_000


def test_a_damaged_atlas_names_the_file(page: Callable[..., AppTest], home: Path) -> None:
    _flip_last(home / "topics" / open_atlas("topics").build / "vectors.npy")
    (error,) = page().error
    assert escaped("vectors.npy has been changed since it was built") in error.value


def test_the_default_atlas_can_be_assembled_again(
    medline_home: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(medline_home / "medline", home / "medline")
    _flip_last(home / "medline" / open_atlas("medline").build / "papers.parquet")
    app = whole(AppTest.from_file(str(APP), default_timeout=240).run())
    (error,) = app.error
    assert escaped("papers.parquet has been changed since it was built") in error.value
    press(app, "Assemble it again from the shipped files")
    assert not app.error
    assert the_map(app)["count"] > 10_000


def _flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_text_without_a_word_that_the_lexical_encoder_knows_is_said_and_the_page_goes_on(
    topics: str, page: Callable[..., AppTest]
) -> None:
    from components.atlas.reencode import reencode

    reencode(topics, encoder="tfidf-svd")
    app = page(atlas=f"{topics}--tfidf-svd")
    search(app, "qwzx zzyx\n\nxyzzy")
    assert any("word" in warning.value for warning in app.warning)
    search(app, PASTE)
    assert "nearest papers" in said(app)
