"""The Explore page's logic, by AppTest. What the browser draws is in tests/browser/."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from components.atlas.reencode import reencode
from components.atlas.store import open_atlas
from components.search.query_text import QueryText
from components.search.view import View
from corpus.text.markdown import escaped
from tests.components.pages.app import (
    APP,
    cards,
    checked,
    flip_last_byte,
    keys,
    open_page,
    params,
    press,
    search_for,
    texts,
    the_map,
)  # fmt: skip

TITLE = "Valve repair in heart failure"
ABSTRACT = "We followed patients of a cardiology ward. Mortality fell with valve repair and with beta blockers."
PASTE = f"{TITLE}\n\n{ABSTRACT}"
EVERYWHERE = "-2_-2_2_-2_2_2_-2_2"  # an area around the whole map


def explore(**link: str | list[str]) -> AppTest:
    """The page of the planted atlas."""
    return open_page(atlas="topics", **link)


pytestmark = pytest.mark.usefixtures("topics")


def test_a_search_answers_a_pasted_text() -> None:
    app = explore()
    assert [title.value for title in app.title] == ["Cocite Atlas"]
    assert cards(app) == []
    drawn = the_map(app)
    assert (drawn["count"], drawn["query"], drawn["hits"], drawn["mask"]) == (12, None, [], "")
    assert len(keys(app, "example-")) == 3
    search_for(app, PASTE)
    assert app.session_state["query-text"] == QueryText(TITLE, ABSTRACT)
    assert app.text_input(key="title").value == TITLE
    found = cards(app)
    assert f"{len(found)} nearest papers" in texts(app)
    assert [card["rank"] for card in found] == list(range(1, 11))
    assert all("Journal of heart" in card["byline"] for card in found[:5])
    assert f"The encoder read all {len(PASTE.split())} words." in texts(app)
    assert "Best match is closer than" in texts(app)
    assert the_map(app)["hits"] == [card["row"] for card in found]
    assert the_map(app)["query"] is not None
    assert params(app) == {"atlas": ["topics"]}  # the text is not in the link


@pytest.mark.parametrize(
    ("paste", "message", "count"),
    [
        (" \n\n ", "There is no text to search for", 0),
        ("arrhythmia", "One word is little to go on", 10),
        (TITLE, "This is only a title", 10),
        (f"<p>{TITLE}</p><p>{ABSTRACT}</p>", "HTML was converted to plain text", 10),
        (f"{TITLE}\n\n" + "cardiology ward " * 2000, "of 4,005 words", 10),
    ],
)
def test_odd_pastes_are_answered_with_a_message(paste: str, message: str, count: int) -> None:
    app = search_for(explore(), paste)
    assert message in texts(app)
    assert len(cards(app)) == count
    assert app.text_area(key="paste").value == paste


def test_a_corrected_title_is_used_and_another_paste_replaces_it() -> None:
    app = search_for(explore(), PASTE)
    app.text_input(key="title").set_value("Spiral galaxies observed by radio interferometry")
    press(app, "Search")
    corrected = QueryText("Spiral galaxies observed by radio interferometry", ABSTRACT)
    assert app.session_state["query-text"] == corrected
    search_for(app, f"Dark matter halos\n\n{ABSTRACT}")
    assert app.session_state["query-text"].title == app.text_input(key="title").value == "Dark matter halos"


def test_an_example_leaves_its_own_paper_out() -> None:
    app = press(explore(), "example-0")
    text, atlas = app.session_state["query-text"], open_atlas("topics")
    (row,) = [row for row in range(len(atlas)) if atlas.paper(row).title == text.title]
    assert text.abstract == atlas.paper(row).abstract
    assert row not in [card["row"] for card in cards(app)]
    assert "Left out, because it is the text that you pasted" in texts(app)


def test_filters_narrow_the_hits_and_enter_the_link() -> None:
    app = search_for(explore(), PASTE)
    app.multiselect(key="filter-topics").set_value(["galaxy"]).run()
    assert params(checked(app)) == {"atlas": ["topics"], "topic": ["galaxy"]}
    assert len(cards(app)) == 6
    assert all("Journal of galaxy" in card["byline"] for card in cards(app))
    assert "All 6 papers that match the filters" in texts(app)
    assert the_map(app)["mask"] == "topic=galaxy"
    app.slider(key="filter-years").set_value((2002, 2003)).run()
    assert params(checked(app))["years"] == ["2002-2003"]
    assert {card["byline"][-4:] for card in cards(app)} == {"2002", "2003"}
    app.selectbox(key="filter-k").set_value(5).run()
    assert params(checked(app))["k"] == ["5"]
    press(app, "Clear all filters")
    assert params(app) == {"atlas": ["topics"], "k": ["5"]}
    assert [card["rank"] for card in cards(app)] == [1, 2, 3, 4, 5]
    assert app.multiselect(key="filter-topics").value == []
    assert tuple(app.slider(key="filter-years").value) == (2001, 2005)


def test_filters_that_nothing_matches_say_so() -> None:
    app = explore(like="heart-1", topic="heart", venue="Journal of galaxy 0")
    assert "No other paper matches these filters" in texts(app)
    assert cards(app) == []
    app = explore(like="heart-1", topic="<b>nothing</b>")
    assert "No paper of this corpus has this venue or topic" in texts(app)
    assert "<b>nothing</b>" in [text.value for text in app.text]


def test_years_beyond_the_corpus_are_no_error() -> None:
    for years, count in (("1950-1960", 0), ("2050-2060", 0), ("1960-2050", 7)):
        app = explore(like="heart-1", years=years)
        assert ("No other paper matches these filters" in texts(app)) == (count == 0)
        assert len(cards(app)) == count


def test_a_link_restores_its_view() -> None:
    link: dict[str, str | list[str]] = {
        "like": ["heart-1", "heart-2"],
        "k": "5",
        "years": "2001-2003",
        "colour": "year",
        "paper": "heart-3",
        "area": EVERYWHERE,
        "window": "-0.5_0.5_-0.25_0.25",
    }
    app, atlas = explore(**link), open_atlas("topics")
    assert app.session_state["view"] == View.from_params(
        {name: [value] if isinstance(value, str) else value for name, value in {"atlas": "topics", **link}.items()}
    )
    assert "Papers most like these 2 on average" in texts(app)
    assert {atlas.paper(card["row"]).id for card in cards(app)}.isdisjoint({"heart-1", "heart-2"})
    assert tuple(app.slider(key="filter-years").value) == (2001, 2003)
    drawn = the_map(app)
    assert (drawn["colour"], drawn["opened"]) == ("year", atlas.row_of("heart-3"))
    assert drawn["camera"] == [-0.5, 0.5, -0.25, 0.25]
    (card,) = cards(app, "card")
    assert (card["title"], card["expanded"]) == (atlas.paper(drawn["opened"]).title, True)
    matching = sum(atlas.paper(row).year in (2001, 2002, 2003) for row in range(12))
    assert f"{matching} papers selected" in texts(app)
    assert f"{12 - matching} more are in the area but do not match the filters." in texts(app)


def test_a_selection_can_be_searched_from() -> None:
    app = press(explore(area=EVERYWHERE, topic="heart"), "Search from these")
    assert params(app)["from"] == ["area"]
    assert "Papers most like these 6" in texts(app)
    assert "No other paper matches these filters" in texts(app)  # all that match are the query
    press(app, "Clear all filters")
    assert "Papers most like these 12" in texts(app)  # the seeds are what the table shows
    assert "This corpus has no other paper" in texts(app)
    press(app, "Clear")
    assert "from" not in params(app)
    assert cards(app) == []


def test_broken_links_give_a_plain_page() -> None:
    app = explore(like=["heart-1", "gone", "<b>"])
    assert "2 papers in this link are not in this corpus." in texts(app)
    assert len(cards(app)) == 10
    app = explore(k="01001", years="x-y", area="1_2", window="9_1_0_0", colour="red", paper="gone", like="")
    assert the_map(app)["colour"] == "region"
    assert app.selectbox(key="filter-k").value == 10


@pytest.mark.parametrize("name", ["nowhere", "../../etc", "<b>"])
def test_an_unknown_atlas_leads_to_the_default_one(
    medline_home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))
    app = open_page(atlas=name)
    (error,) = app.error
    assert escaped(repr(name)) in error.value
    press(app, "Go to the default corpus")
    assert not app.error
    assert params(app) == {}
    assert the_map(app)["count"] > 10_000


def test_a_damaged_atlas_names_the_file(home: Path) -> None:
    flip_last_byte(home / "topics" / open_atlas("topics").build / "vectors.npy")
    (error,) = explore().error
    assert escaped("vectors.npy has been changed since it was built") in error.value


@pytest.mark.slow
def test_the_default_atlas_can_be_restored(medline_home: Path, home: Path) -> None:
    shutil.copytree(medline_home / "medline", home / "medline")
    flip_last_byte(home / "medline" / open_atlas("medline").build / "papers.parquet")
    app = checked(AppTest.from_file(str(APP), default_timeout=240).run())
    (error,) = app.error
    assert escaped("papers.parquet has been changed since it was built") in error.value
    press(app, "Restore it from the shipped files")
    assert not app.error
    assert the_map(app)["count"] > 10_000


def test_a_text_without_a_known_word_is_refused_by_the_lexical_encoder(topics: str) -> None:
    reencode(topics, encoder="tfidf-svd")
    app = search_for(open_page(atlas=f"{topics}--tfidf-svd"), "qwzx zzyx\n\nxyzzy")
    assert any("None of the words occurs in this corpus" in warning.value for warning in app.warning)
    assert "nearest papers" in texts(search_for(app, PASTE))


_VISIT = """
import sys
from tests.components.pages.app import open_page, search_for, texts
page = search_for(open_page(atlas="topics"), "Sepsis in intensive care\\n\\nWe studied the early treatment of sepsis.")
assert "nearest papers" in texts(page)
print(*sorted({"umap", "numba", "pynndescent", "sentence_transformers", "scipy.stats"} & set(sys.modules)))
"""


def test_a_search_loads_nothing_that_only_a_build_needs(home: Path) -> None:
    root = APP.parent
    env = {**os.environ, "COCITE_ATLAS_HOME": str(home), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", _VISIT], cwd=root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == ""
