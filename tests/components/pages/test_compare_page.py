"""The Compare page's own logic, run by Streamlit's AppTest. What the browser draws is in tests/browser/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

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

APP = Path(__file__).parents[3] / "app.py"
ABSTRACT = "We followed patients of a cardiology ward. Mortality fell with valve repair and with beta blockers."
PASTE = f"Valve repair in heart failure\n\n{ABSTRACT}"
LEFT, RIGHT = "planted", f"planted--{LEXICAL}"


@pytest.fixture(autouse=True)
def nothing_is_open() -> None:
    """The app holds open what it opened; each test begins as a new process does."""
    resources._open.clear()
    resources._place.clear()
    resources._fitted.clear()


@pytest.fixture(scope="module")
def pair_home(tmp_path_factory: pytest.TempPathFactory, planted: Callable[[int], list[Paper]]) -> Path:
    """A home with 2 × 12 planted papers, by the embedded encoder and by the lexical one. Not to be changed."""
    folder = tmp_path_factory.mktemp("pair")
    write_jsonl(planted(12), folder / "planted.jsonl")
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


def page(name: str = "compare", **params: str | list[str]) -> AppTest:
    """A page, drawn for a link with these parameters."""
    app = AppTest.from_file(str(APP), default_timeout=120)
    app._page_hash = calc_hash(name)
    for key, value in params.items():
        app.query_params[key] = value
    return whole(app.run())


def whole(app: AppTest) -> AppTest:
    """The page, which was drawn without an exception."""
    assert not app.exception, app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    return whole(next(button for button in app.button if button.label == label).click().run())


def ask(app: AppTest, paste: str) -> AppTest:
    app.text_area(key="paste").set_value(paste)
    return press(app, "Search")


def said(app: AppTest) -> str:
    """Every sentence of the page."""
    kinds = [app.caption, app.text, app.info, app.warning, app.error, app.subheader, app.markdown]
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def handed_over(app: AppTest, key: str) -> dict[str, Any] | None:
    """What the page hands to a piece in the browser."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component") if element.key == key]
    return found[0] if found else None


def cards(app: AppTest, key: str) -> list[dict[str, Any]]:
    data = handed_over(app, key)
    return data["cards"] if data else []


def params(app: AppTest) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else list(value) for name, value in app.query_params.items()}


def ways(app: AppTest) -> dict[str, dict[str, list[str]]]:
    """The links to pages, by their labels: their parameters."""
    return {link.proto.label: parse_qs(link.proto.query_string) for link in app.get("page_link")}


def by_distance(name: str, paper_id: str) -> list[str]:
    """The ids of all other papers of an atlas, nearest to a paper first, by arithmetic of its own."""
    atlas = open_atlas(name)
    row = atlas.row_of(paper_id)
    away = ((atlas.vectors.astype(np.float64) - atlas.vectors[row]) ** 2).sum(axis=1)
    return [atlas.paper(int(i)).id for i in np.argsort(away, kind="stable") if i != row]


# What stands beside each other


def test_both_lists_say_what_moved(pair: Path) -> None:
    app = page(left=LEFT, right=RIGHT, like="heart-3", k="5")
    truth = [by_distance(name, "heart-3") for name in (LEFT, RIGHT)]
    shared = {*truth[0][:5]} & {*truth[1][:5]}
    assert f"{len(shared)} of 5 in both lists" in said(app)
    for number, (here, there) in enumerate((truth, truth[::-1])):
        atlas = open_atlas((LEFT, RIGHT)[number])
        found = cards(app, f"compared-{number}")
        assert [atlas.paper(card["row"]).id for card in found] == here[:5]
        for rank, (paper, card) in enumerate(zip(here, found, strict=False), start=1):
            other = there.index(paper) + 1
            sign, words = card["note"]
            assert sign == ("○" if other > 5 else "▲" if other < rank else "▼" if other > rank else "=")
            assert ("not in the other list" in words) == (other > 5)
            assert f"rank {other} " in words + " " or other == rank
            assert (
                card["distance"]
                == f"{np.linalg.norm(atlas.vectors[card['row']] - atlas.vectors[atlas.row_of('heart-3')]):.3f}"
            )
    measured = compare_hits(truth[0][:5], truth[1][:5])
    metrics = {metric.label: metric.value for metric in app.metric}
    assert measured.rank_overlap is not None
    assert metrics["Alike, top ranks first"] == f"{100 * measured.rank_overlap:.0f} %"
    order = [(i, j) for i in truth[0][:5] for j in truth[0][:5] if i in shared and j in shared]
    pairs = [(i, j) for i, j in order if truth[0].index(i) < truth[0].index(j)]
    alike = sum(truth[1].index(i) < truth[1].index(j) for i, j in pairs)
    assert metrics["Pairs in the same order"] == (f"{alike} of {len(pairs)}" if len(pairs) else "–")


def test_each_star_lies_on_its_own_map(pair: Path) -> None:
    app = page(left=LEFT, right=RIGHT, like="galaxy-2")
    for number, name in enumerate((LEFT, RIGHT)):
        atlas = open_atlas(name)
        alone = search(atlas, seed_query(atlas, [atlas.row_of("galaxy-2")]), k=10)
        drawn = handed_over(app, f"compared-map-{number}")
        assert drawn is not None
        assert drawn["place"].endswith(f"/{name}/{atlas.build}")
        assert (drawn["query"], drawn["hits"]) == (list(alone.point), alone.rows)
        assert drawn["heard"] == ["opened", "colour"]
        # Each card knows its paper's row on either map, so that pointing at it marks it on both.
        for card in cards(app, f"compared-{number}"):
            assert set(card["marks"]) == {open_atlas(LEFT).build, open_atlas(RIGHT).build}
            assert card["marks"][atlas.build] == card["row"]


def test_a_text_is_asked_of_both_and_kept_out_of_the_link(pair: Path) -> None:
    app = page(atlas=LEFT)
    assert handed_over(app, "compared-0") is None
    assert [button.key for button in app.button if (button.key or "").startswith("example-")]
    ask(app, PASTE)
    assert [len(cards(app, f"compared-{number}")) for number in (0, 1)] == [10, 10]
    assert all("Journal of heart" in card["byline"] for card in cards(app, "compared-0"))
    assert f"Read in full: all {len(PASTE.split())} words." in said(app)
    assert params(app) == {"left": [LEFT], "right": [RIGHT]}


def test_what_one_encoder_does_not_read_is_said_of_it_alone(pair: Path) -> None:
    app = ask(page(atlas=LEFT), f"Valve repair\n\n{'cardiology ward ' * 400}")
    assert "It read the first " in said(app)
    assert "Read in full" not in said(app)
    assert said(app).count("of 802 words") == 1  # the lexical encoder reads all
    app = ask(page(atlas=LEFT), "Valve repair\n\nAnd qwzxv bnmkj in a cardiology ward.")
    assert "It knows 7 of 9 words" in said(app)


def test_an_example_leaves_its_own_paper_out_of_both(pair: Path) -> None:
    app = page(atlas=LEFT)
    whole(app.button(key="example-0").click().run())
    title = app.session_state["asked"].title
    assert title not in [card["title"] for number in (0, 1) for card in cards(app, f"compared-{number}")]
    assert said(app).count("Left out, because it is the query itself") == 2
    assert len(cards(app, "compared-0")) == 10


def test_papers_as_query_go_from_page_to_page(pair: Path) -> None:
    app = page("", atlas=LEFT, like="heart-1")
    assert ways(app)["Compare"] == {"left": [LEFT], "like": ["heart-1"]}
    app = page(left=LEFT, right=RIGHT, like="heart-2", k="20")
    assert "Compared from this paper" in said(app)
    assert open_atlas(LEFT).paper(open_atlas(LEFT).row_of("heart-2")).title in said(app)
    assert ways(app)["Explore"] == {"atlas": [LEFT], "like": ["heart-2"]}
    press(app, "Drop")
    assert params(app) == {"left": [LEFT], "right": [RIGHT], "k": ["20"]}
    assert ways(app)["Explore"] == {"atlas": [LEFT]}


def test_choosing_and_swapping(pair: Path) -> None:
    app = page(left=LEFT, right=RIGHT, like="heart-2")
    before = [cards(app, f"compared-{number}") for number in (0, 1)]
    whole(app.button(key="pair-swap").click().run())
    assert params(app) == {"left": [RIGHT], "right": [LEFT], "like": ["heart-2"]}
    after = [cards(app, f"compared-{number}") for number in (1, 0)]
    assert [[c["row"] for c in side] for side in after] == [[c["row"] for c in side] for side in before]
    # The same on both sides is no comparison: they change places.
    app.selectbox(key="pair-left").set_value(LEFT).run()
    assert params(whole(app)) == {"left": [LEFT], "right": [RIGHT], "like": ["heart-2"]}
    app.selectbox(key="pair-right").set_value(LEFT).run()
    assert params(whole(app)) == {"left": [RIGHT], "right": [LEFT], "like": ["heart-2"]}
    app.selectbox(key="pair-k").set_value(20).run()
    assert params(whole(app))["k"] == ["20"]
    assert len(cards(app, "compared-0")) == 20


# Overall


def test_the_overall_agreement_is_told_and_found_out_once(pair: Path) -> None:
    app = page(left=LEFT, right=RIGHT)
    left, right = open_atlas(LEFT), open_atlas(RIGHT)
    truth = agreement(left, right, k=10)
    assert f"Over all 24 papers, the 10 nearest agree for **{100 * truth.mean:.0f} %** on average" in said(app)
    for key, papers in (("compared-least", truth.least), ("compared-most", truth.most)):
        assert [left.paper(card["row"]).id for card in cards(app, key)] == [paper.id for paper in papers]
        assert [card["note"][1] for card in cards(app, key)] == [
            f"{paper.common} of its 10 nearest are the same" for paper in papers
        ]

    def fail(stage: str, done: int, total: int) -> None:
        raise AssertionError("found out again")

    assert resources.agreement_of(right, left, k=10, progress=fail) == truth
    asked: list[str] = []
    resources.agreement_of(left, right, k=7, progress=lambda stage, done, total: asked.append(stage))
    assert asked


# What cannot be had


def test_one_atlas_alone_leads_to_the_encoders(pair: Path) -> None:
    delete_atlas(RIGHT)
    app = page(atlas=LEFT)
    assert "One atlas of planted so far" in said(app)
    assert LEXICAL in said(app)
    assert ways(app)["Build another atlas"] == {"atlas": [LEFT], "encoder": [LEXICAL]}


def test_beside_a_lexical_atlas_a_model_is_offered(pair: Path) -> None:
    delete_atlas(LEFT)
    app = page(atlas=RIGHT)
    assert f"**{EMBEDDED}** comes with the app" in said(app)
    assert ways(app)["Build another atlas"] == {"atlas": [RIGHT], "encoder": [EMBEDDED]}


@pytest.mark.parametrize("name", ["nowhere", "../../etc", "[x](https://x.example)", "x" * 300])
def test_unknown_names_in_the_link_are_said(pair: Path, name: str) -> None:
    app = page(left=LEFT, right=name)
    (warning,) = app.warning
    assert escaped(repr(name[:64])[:70]) in warning.value
    assert app.selectbox(key="pair-right").value == RIGHT
    app = page(left=name, right=RIGHT)
    assert escaped(repr(name[:64])[:70]) in app.warning[0].value
    assert (app.selectbox(key="pair-left").value, app.selectbox(key="pair-right").value) == (LEFT, RIGHT)
    app = page(left=name)
    assert escaped(repr(name[:64])[:70]) in app.error[0].value
    assert "Compare encoders on the default corpus" in [button.label for button in app.button]


def test_an_atlas_of_another_corpus_is_not_compared(pair: Path, atlas_parts: Callable[..., AtlasParts]) -> None:
    write_atlas(atlas_parts())
    app = page(left=LEFT, right="one")
    assert "has other papers" in app.warning[0].value
    assert app.selectbox(key="pair-right").value == RIGHT
    assert page(right=RIGHT).selectbox(key="pair-left").value == LEFT
    assert page(left=RIGHT, right=RIGHT).selectbox(key="pair-right").value == LEFT


def test_a_damaged_atlas_is_named_and_the_text_stays(pair: Path) -> None:
    app = ask(page(atlas=LEFT), PASTE)
    path = pair / RIGHT / open_atlas(RIGHT).build / "vectors.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    resources._open.clear()
    whole(app.run())
    (error,) = app.error
    assert escaped("vectors.npy has been changed since it was built") in error.value
    assert app.text_area(key="paste").value == PASTE
    assert cards(app, "compared-0") == []


def test_words_that_the_lexical_encoder_does_not_know_leave_the_other_list(pair: Path) -> None:
    app = ask(page(left=LEFT, right=RIGHT), "Qwzxv bnmkj\n\nPlkjh vbnmq zxcvw")
    (warning,) = app.warning
    assert escaped("None of its words occurs in this corpus") in warning.value
    assert len(cards(app, "compared-0")) == 10
    assert cards(app, "compared-1") == []
    assert [card["note"] for card in cards(app, "compared-0")] == [None] * 10
    assert not app.metric


@pytest.fixture
def numbers(home: Path, atlas_parts: Callable[..., AtlasParts]) -> tuple[str, str]:
    """Two atlases of one corpus by an encoder that is nowhere, the second of the first 50 of its 60 papers alone."""
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


def test_without_their_encoders_papers_are_compared_still(numbers: tuple[str, str]) -> None:
    app = ask(page(atlas="one"), PASTE)
    assert len(app.warning) == 2
    assert all(escaped("Papers as queries go on working") in warning.value for warning in app.warning)
    app = page(left="one", right="one--two", like="0-3", k="50")
    assert not app.warning
    assert len(cards(app, "compared-0")) == 50
    assert len(cards(app, "compared-1")) == 49
    assert [heading.value for heading in app.subheader][1:3] == ["gone", escaped("gone (bfloat16)")]
    held = {f"0-{i}" for i in range(50)}
    atlas = open_atlas("one")
    for card in cards(app, "compared-0"):
        assert (atlas.paper(card["row"]).id in held) == ("does not hold it" not in card["note"][1])
        assert (atlas.paper(card["row"]).id in held) == (len(card["marks"]) == 2)
    assert "Left out: 10 papers that are in one of the two atlases alone." in said(app)


def test_papers_that_only_one_atlas_holds_cannot_be_the_query(numbers: tuple[str, str]) -> None:
    app = page(left="one", right="one--two", like=["0-55", "0-3", "<b>"])
    assert "2 papers of this link are not in both atlases." in app.warning[0].value
    assert len(cards(app, "compared-0")) == 10
    assert cards(page(left="one", right="one--two", like="0-55"), "compared-0") == []


def test_atlases_by_the_same_encoder_are_told_apart(
    numbers: tuple[str, str], atlas_parts: Callable[..., AtlasParts]
) -> None:
    write_atlas(replace(atlas_parts(graph=False), name="one--again", corpus="one"))
    write_atlas(replace(atlas_parts(graph=False), name="one--more", corpus="one"))
    app = page(atlas="one")
    assert app.selectbox(key="pair-left").options == ["gone", "enc · one--again", "enc · one--more", "gone (bfloat16)"]
