"""Corpora of 1, 2, 15 and 100 papers: a search, a map or a word why not, and growing and shrinking between them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from components.atlas.build import build_atlas
from components.atlas.grow import add_papers, rebuild, remove_papers
from components.atlas.map_state import map_words, no_map, rebuild_due
from components.atlas.reencode import reencode
from components.atlas.store import open_atlas
from components.encoder.catalogue import LEXICAL
from components.search.cards import paper_card
from components.search.compare import NothingToCompare, agreement
from components.search.map_data import points_payload
from components.search.search import example_rows, search, seed_query
from corpus.export import write_jsonl
from corpus.paper import Paper
from tests.components.pages.app import cards, open_page, search_for, texts, the_map

Planted = Callable[[int], list[Paper]]
Build = Callable[[int], str]
TEXT = "Heart failure and valve repair\n\nWe followed patients of a cardiology ward who were given valve repair."


@pytest.fixture
def built(home: Path, tmp_path: Path, planted: Planted) -> Build:
    """built(n): the atlas of n planted papers by the lexical encoder, which takes no time."""

    def make(count: int) -> str:
        write_jsonl(planted(50)[:count], tmp_path / f"few-{count}.jsonl")
        return build_atlas(f"few-{count}", [tmp_path / f"few-{count}.jsonl"], encoder=LEXICAL).name

    return make


@pytest.fixture
def page(built: Build) -> Callable[..., AppTest]:
    return lambda count, **params: open_page(atlas=built(count), **params)


@pytest.mark.parametrize("count", [1, 2, 15, 100])
def test_every_stage_copes_and_says_nothing_false(built: Build, count: int) -> None:
    atlas = open_atlas(built(count))
    assert np.isfinite(atlas.coordinates).all()
    assert len(points_payload(atlas)) == 6 * count
    examples = example_rows(atlas)
    assert 1 <= len(examples) <= 3
    for row in {0, count - 1}:
        result = search(atlas, seed_query(atlas, [row]), k=10)
        assert len(result.hits) == min(10, count - 1)
        for hit in result.hits:
            pairs = count * (count - 1) / 2
            assert hit.share_farther <= 1 - 1 / pairs
            card = paper_card(atlas, hit.row, hit=hit)
            assert bool(card["share"]) == (count >= 10)
            assert ("random pairs" in card["meaning"]) == (count >= 10)
    words = map_words(atlas.manifest)
    assert words.startswith("none" if count < 3 else "UMAP")
    assert bool(no_map(atlas.manifest)) == (count < 3)
    assert rebuild_due(atlas.manifest) == ""
    assert (len(atlas.manifest.regions) > 0) == (count == 100)
    other = open_atlas(reencode(atlas.name, encoder=LEXICAL, name=f"{atlas.name}-again").name)
    if count == 1:
        with pytest.raises(NothingToCompare):
            agreement(atlas, other)
    else:
        assert agreement(atlas, other).mean == 1


def test_from_one_paper_up_and_down_again(built: Build, planted: Planted) -> None:
    name, papers = built(1), planted(50)
    due = {}
    for count in (2, 3, 15, 100):
        manifest = add_papers(name, papers[:count]).manifest
        assert len(open_atlas(name)) == count
        due[count] = rebuild_due(manifest)
    assert due[2] == ""
    assert "one paper" in due[3]
    assert "too few for a map of subjects" in due[15]
    manifest = rebuild(name)
    assert rebuild_due(manifest) == ""
    assert map_words(manifest).startswith("UMAP")
    for count in (15, 2, 1):
        manifest = remove_papers(name, [paper.id for paper in papers[count:]]).manifest
        atlas = open_atlas(name)
        assert len(atlas) == count
        assert all(region.size > 0 for region in manifest.regions)
        assert len(search(atlas, seed_query(atlas, [0]), k=10).hits) == min(10, count - 1)
    assert len(rebuild(name).regions) == 0


@pytest.mark.parametrize(("count", "words"), [(1, "has one paper"), (2, "has 2 papers")])
def test_the_page_says_why_there_is_no_map(page: Callable[..., AppTest], count: int, words: str) -> None:
    app = page(count)
    assert f"{words}, too few for a map" in texts(app)
    assert [element.key for element in app.get("bidi_component") if element.key == "map"] == []
    app = search_for(app, TEXT)
    assert len(cards(app)) == count
    assert "random pairs" not in texts(app)
    assert "near on the map" not in texts(app)


@pytest.mark.parametrize("count", [3, 15, 100])
def test_the_page_draws_a_map_of_few(page: Callable[..., AppTest], count: int) -> None:
    app = search_for(page(count), TEXT)
    assert the_map(app)["count"] == count
    assert len(cards(app)) == min(count, 10)
    assert ("near on the map" in texts(app)) == (count == 100)
    assert ("random pairs" in texts(app)) == (count >= 10)


def test_the_only_paper_has_nothing_beside_it(page: Callable[..., AppTest]) -> None:
    app = page(1, like="heart-0")
    assert "This corpus has no other paper." in texts(app)


def test_a_link_to_a_paper_that_was_removed_is_reported(built: Build) -> None:
    name = built(15)
    remove_papers(name, ["heart-3"])
    app = open_page(atlas=name, like=["heart-3", "heart-1"], paper="heart-3")
    assert "1 paper in this link is not in this corpus." in texts(app)
