"""The Compare page's logic, by AppTest. What the browser draws is in tests/browser/."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from components.atlas.build import build_atlas
from components.atlas.corpora import delete_atlas
from components.atlas.manifest import EncoderRecord
from components.atlas.reencode import reencode
from components.atlas.store import AtlasParts, open_atlas, write_atlas
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.pages import resources
from components.search.compare import agreement, compare_hits
from components.search.search import search, seed_query
from corpus.export import write_jsonl
from corpus.paper import Paper
from corpus.text.markdown import escaped
from tests.components.pages.app import (
    cards,
    checked,
    component_data,
    flip_last_byte,
    keys,
    open_page,
    page_links,
    params,
    press,
    search_for,
    texts,
)  # fmt: skip

PASTE = (
    "Valve repair in heart failure\n\n"
    "We followed patients of a cardiology ward. Mortality fell with valve repair and with beta blockers."
)
LEFT, RIGHT = "planted", f"planted--{LEXICAL}"
BOTH = ("compared-0", "compared-1")


@pytest.fixture(scope="module")
def pair_home(tmp_path_factory: pytest.TempPathFactory, planted: Callable[[int], list[Paper]]) -> Path:
    """A home with 2 × 7 planted papers, by the embedded and by the lexical encoder. Not to be changed."""
    folder = tmp_path_factory.mktemp("pair")
    write_jsonl(planted(7), folder / "planted.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder / "home"))
        build_atlas(LEFT, [folder / "planted.jsonl"], encoder=EMBEDDED)
        assert reencode(LEFT, encoder=LEXICAL).name == RIGHT
    return folder / "home"


@pytest.fixture
def pair(pair_home: Path, home: Path) -> Path:
    """This test's own copy of that home."""
    shutil.copytree(pair_home, home)
    return home


def compare(**link: str | list[str]) -> AppTest:
    return open_page("compare", **link)


def by_distance(name: str, paper_id: str) -> list[str]:
    """The ids of all other papers of an atlas, nearest to a paper first, computed here."""
    atlas = open_atlas(name)
    row = atlas.row_of(paper_id)
    distances = ((atlas.vectors.astype(np.float64) - atlas.vectors[row]) ** 2).sum(axis=1)
    return [atlas.paper(int(i)).id for i in np.argsort(distances, kind="stable") if i != row]


# Two lists


def test_both_lists_say_what_moved(pair: Path) -> None:
    app = compare(left=LEFT, right=RIGHT, like="heart-3", k="5")
    truth = [by_distance(name, "heart-3") for name in (LEFT, RIGHT)]
    shared = {*truth[0][:5]} & {*truth[1][:5]}
    assert f"{len(shared)} of 5 in both lists" in texts(app)
    for key, name, here, other in zip(BOTH, (LEFT, RIGHT), truth, truth[::-1], strict=True):
        atlas = open_atlas(name)
        found = cards(app, key)
        assert [atlas.paper(card["row"]).id for card in found] == here[:5]
        for rank, (paper, card) in enumerate(zip(here, found, strict=False), start=1):
            other_rank = other.index(paper) + 1
            sign, note = card["note"]
            in_both = other_rank <= 5
            assert sign == ("○" if not in_both else "▲" if other_rank < rank else "▼" if other_rank > rank else "=")
            assert ("Not in the other list" in note) != in_both
            assert f"ank {other_rank}" in note or other_rank == rank
            distance = np.linalg.norm(atlas.vectors[card["row"]] - atlas.vectors[atlas.row_of("heart-3")])
            assert card["distance"] == f"{distance:.3f}"
    overlap = compare_hits(truth[0][:5], truth[1][:5]).rank_overlap
    metrics = {metric.label: metric.value for metric in app.metric}
    assert overlap is not None
    assert metrics["Similarity, top ranks first"] == f"{100 * overlap:.0f} %"
    pairs = [(a, b) for i, a in enumerate(truth[0][:5]) for b in truth[0][i + 1 : 5] if {a, b} <= shared]
    alike = sum(truth[1].index(a) < truth[1].index(b) for a, b in pairs)
    assert metrics["Pairs in the same order"] == (f"{alike} of {len(pairs)}" if pairs else "–")


def test_each_star_is_on_its_own_map(pair: Path) -> None:
    app = compare(left=LEFT, right=RIGHT, like="galaxy-2")
    builds = {open_atlas(name).build for name in (LEFT, RIGHT)}
    for number, name in enumerate((LEFT, RIGHT)):
        atlas = open_atlas(name)
        result = search(atlas, seed_query(atlas, [atlas.row_of("galaxy-2")]), k=10)
        drawn = component_data(app, f"compared-map-{number}")
        assert drawn is not None
        assert drawn["url"].endswith(f"/{name}/{atlas.build}")
        assert (drawn["query"], drawn["hits"]) == (list(result.point), result.rows)
        assert drawn["events"] == ["opened", "colour"]
        # Each card knows its paper's row on both maps, so that pointing at it highlights it on both.
        for card in cards(app, BOTH[number]):
            assert set(card["marks"]) == builds
            assert card["marks"][atlas.build] == card["row"]


def test_a_text_is_searched_in_both_and_kept_out_of_the_link(pair: Path) -> None:
    app = compare(atlas=LEFT)
    assert component_data(app, "compared-0") is None
    assert keys(app, "example-")
    search_for(app, PASTE)
    assert [len(cards(app, key)) for key in BOTH] == [10, 10]
    assert all("Journal of heart" in card["byline"] for card in cards(app, "compared-0")[:5])
    assert f"The encoder read all {len(PASTE.split())} words." in texts(app)
    assert params(app) == {"left": [LEFT], "right": [RIGHT]}


def test_what_one_encoder_did_not_read_is_said_above_its_list(pair: Path) -> None:
    app = search_for(compare(atlas=LEFT), f"Valve repair\n\n{'cardiology ward ' * 400}")
    assert "It read the first " in texts(app)
    assert "The encoder read all" not in texts(app)
    assert texts(app).count("of 802 words") == 1  # the lexical encoder reads all
    search_for(app, "Valve repair\n\nAnd qwzxv bnmkj in a cardiology ward.")
    assert "It knows 7 of 9 words" in texts(app)


def test_an_example_leaves_its_own_paper_out_of_both(pair: Path) -> None:
    app = press(compare(atlas=LEFT), "example-0")
    title = app.session_state["query-text"].title
    assert title not in [card["title"] for key in BOTH for card in cards(app, key)]
    assert texts(app).count("Left out, because it is the query itself") == 2
    assert len(cards(app, "compared-0")) == 10


def test_seeds_go_from_page_to_page(pair: Path) -> None:
    app = open_page(atlas=LEFT, like="heart-1")
    assert page_links(app)["Compare"] == {"left": [LEFT], "like": ["heart-1"]}
    app = compare(left=LEFT, right=RIGHT, like="heart-2", k="20")
    assert "Papers most like this one" in texts(app)
    assert open_atlas(LEFT).paper(open_atlas(LEFT).row_of("heart-2")).title in texts(app)
    assert page_links(app)["Explore"] == {"atlas": [LEFT], "like": ["heart-2"]}
    press(app, "Clear")
    assert params(app) == {"left": [LEFT], "right": [RIGHT], "k": ["20"]}
    assert page_links(app)["Explore"] == {"atlas": [LEFT]}


def test_choosing_and_swapping(pair: Path) -> None:
    app = compare(left=LEFT, right=RIGHT, like="heart-2")
    before = [[card["row"] for card in cards(app, key)] for key in BOTH]
    press(app, "pair-swap")
    assert params(app) == {"left": [RIGHT], "right": [LEFT], "like": ["heart-2"]}
    assert [[card["row"] for card in cards(app, key)] for key in BOTH[::-1]] == before
    # The same atlas on both sides is no comparison: they swap.
    app.selectbox(key="pair-left").set_value(LEFT).run()
    assert params(checked(app)) == {"left": [LEFT], "right": [RIGHT], "like": ["heart-2"]}
    app.selectbox(key="pair-right").set_value(LEFT).run()
    assert params(checked(app)) == {"left": [RIGHT], "right": [LEFT], "like": ["heart-2"]}
    app.selectbox(key="pair-k").set_value(20).run()
    assert params(checked(app))["k"] == ["20"]
    assert len(cards(app, "compared-0")) == 13  # all others


def test_the_overall_agreement_is_computed_once(pair: Path) -> None:
    app = compare(left=LEFT, right=RIGHT)
    left, right = open_atlas(LEFT), open_atlas(RIGHT)
    truth = agreement(left, right, k=10)
    assert f"Over all 14 papers, the 10 nearest agree for **{100 * truth.mean:.0f} %** on average" in texts(app)
    for key, papers in (("compared-least", truth.least), ("compared-most", truth.most)):
        assert [left.paper(card["row"]).id for card in cards(app, key)] == [paper.id for paper in papers]
        notes = [f"{paper.common} of its 10 nearest are the same" for paper in papers]
        assert [card["note"][1] for card in cards(app, key)] == notes

    def fail(stage: str, done: int, total: int) -> None:
        raise AssertionError("computed again")

    assert resources.agreement_of(right, left, k=10, progress=fail) == truth
    with pytest.raises(AssertionError, match="computed again"):
        resources.agreement_of(left, right, k=7, progress=fail)


# What cannot be compared


@pytest.mark.parametrize(("kept", "deleted", "offered"), [(LEFT, RIGHT, LEXICAL), (RIGHT, LEFT, EMBEDDED)])
def test_one_atlas_leads_to_the_encoders(pair: Path, kept: str, deleted: str, offered: str) -> None:
    delete_atlas(deleted)
    app = compare(atlas=kept)
    assert "planted has one atlas" in texts(app)
    assert f"**{offered}**" in texts(app)
    assert page_links(app)["Build another atlas"] == {"atlas": [kept], "encoder": [offered]}


@pytest.mark.parametrize("name", ["nowhere", "../../etc", "[x](https://x.example)", "x" * 300])
def test_unknown_names_in_a_link_are_reported(pair: Path, name: str) -> None:
    shown = escaped(repr(name[:64])[:70])
    app = compare(left=LEFT, right=name)
    assert [shown in warning.value for warning in app.warning] == [True]
    assert app.selectbox(key="pair-right").value == RIGHT
    app = compare(left=name, right=RIGHT)
    assert shown in app.warning[0].value
    assert (app.selectbox(key="pair-left").value, app.selectbox(key="pair-right").value) == (LEFT, RIGHT)
    app = compare(left=name)
    assert shown in app.error[0].value
    assert "Compare encoders on the default corpus" in [button.label for button in app.button]


def test_an_atlas_of_another_corpus_is_not_compared(pair: Path, atlas_parts: Callable[..., AtlasParts]) -> None:
    write_atlas(atlas_parts())
    app = compare(left=LEFT, right="one")
    assert "has other papers" in app.warning[0].value
    assert app.selectbox(key="pair-right").value == RIGHT
    assert compare(right=RIGHT).selectbox(key="pair-left").value == LEFT
    assert compare(left=RIGHT, right=RIGHT).selectbox(key="pair-right").value == LEFT


def test_a_damaged_atlas_is_named_and_the_text_stays(pair: Path) -> None:
    app = search_for(compare(atlas=LEFT), PASTE)
    flip_last_byte(pair / RIGHT / open_atlas(RIGHT).build / "vectors.npy")
    resources._open.clear()
    checked(app.run())
    (error,) = app.error
    assert escaped("vectors.npy has been changed since it was built") in error.value
    assert app.text_area(key="paste").value == PASTE
    assert cards(app, "compared-0") == []


def test_words_that_the_lexical_encoder_does_not_know_leave_the_other_list(pair: Path) -> None:
    app = search_for(compare(left=LEFT, right=RIGHT), "Qwzxv bnmkj\n\nPlkjh vbnmq zxcvw")
    (warning,) = app.warning
    assert "None of the words occurs in this corpus" in warning.value
    assert [card["note"] for card in cards(app, "compared-0")] == [None] * 10
    assert cards(app, "compared-1") == []
    assert not app.metric


@pytest.fixture
def numbers(home: Path, atlas_parts: Callable[..., AtlasParts]) -> tuple[str, str]:
    """Two atlases of one corpus by a missing encoder, the second with the first 50 of its 60 papers."""
    parts = atlas_parts(graph=False)
    record = EncoderRecord(name="gone", source="gone", fingerprint="a" * 64, normalised=False)
    write_atlas(replace(parts, encoder=record))
    write_atlas(
        replace(
            parts,
            name="one--two",
            corpus="one",
            papers=parts.papers.slice(0, 50),
            vectors=np.random.default_rng(8).normal(size=(50, 4)).astype(np.float32),
            coordinates=parts.coordinates[:50],
            region_ids=parts.region_ids[:50],
            encoder=replace(record, fingerprint="b" * 64, precision="bfloat16"),
        )
    )
    return "one", "one--two"


def test_without_their_encoders_papers_can_be_compared(numbers: tuple[str, str]) -> None:
    app = search_for(compare(atlas="one"), PASTE)
    assert len(app.warning) == 2
    assert all("You can still compare from a paper" in warning.value for warning in app.warning)
    app = compare(left="one", right="one--two", like="0-3", k="50")
    assert not app.warning
    assert [len(cards(app, key)) for key in BOTH] == [50, 49]
    assert [heading.value for heading in app.subheader][1:3] == ["gone", escaped("gone (bfloat16)")]
    held, atlas = {f"0-{i}" for i in range(50)}, open_atlas("one")
    for card in cards(app, "compared-0"):
        in_both = atlas.paper(card["row"]).id in held
        assert in_both == (card["note"][1] != "Not in the other atlas") == (len(card["marks"]) == 2)
    assert "Left out: 10 papers that only one of the two atlases has." in texts(app)
    app = compare(left="one", right="one--two", like=["0-55", "0-3", "<b>"])
    assert "2 papers in this link are not in both atlases." in app.warning[0].value
    assert len(cards(app, "compared-0")) == 10
    assert cards(compare(left="one", right="one--two", like="0-55"), "compared-0") == []


def test_atlases_with_the_same_encoder_are_distinguished(
    numbers: tuple[str, str], atlas_parts: Callable[..., AtlasParts]
) -> None:
    for name in ("one--again", "one--more"):
        write_atlas(replace(atlas_parts(graph=False), name=name, corpus="one"))
    options = compare(atlas="one").selectbox(key="pair-left").options
    assert options == ["gone", "enc · one--again", "enc · one--more", "gone (bfloat16)"]
