"""Cards: what a list says of a paper, and what it says of a distance."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.atlas.store import Atlas, open_atlas
from components.search.cards import closeness, links, meaning, paper_card, share_words, short_byline, telling_topics
from components.search.search import Hit, search, seed_query
from corpus.paper import Paper


@pytest.fixture
def atlas(topics: str) -> Atlas:
    return open_atlas(topics)


def test_a_card_says_what_the_paper_says(atlas: Atlas) -> None:
    row = atlas.row_of("heart-5")
    assert row is not None
    paper, card = atlas.paper(row), paper_card(atlas, row)
    assert (card["row"], card["title"], card["abstract"]) == (row, paper.title, paper.abstract)
    assert card["byline"] == "Noether · Journal of heart 2 · 2005"
    assert card["topics"] == list(paper.topics)
    assert card["region"] is None  # twelve papers make no region
    assert card["regionColour"] is None
    assert "rank" not in card
    json.dumps(card)  # plain values, through and through


def test_a_paper_without_a_year_has_a_shorter_byline(atlas: Atlas) -> None:
    row = atlas.row_of("heart-4")
    assert row is not None
    assert paper_card(atlas, row)["byline"] == "Noether · Journal of heart 1"


def test_a_hits_card_tells_its_distance(atlas: Atlas) -> None:
    result = search(atlas, seed_query(atlas, [0]), k=5)
    for hit in result.hits:
        card = paper_card(atlas, hit.row, hit=hit)
        assert card["rank"] == hit.rank
        assert abs(float(card["distance"]) - hit.l2_distance) <= 0.0005
        assert f"L2 distance {hit.l2_distance:.4f}" in card["meaning"]


def test_long_distances_are_as_short_to_read(atlas: Atlas) -> None:
    hit = Hit(rank=1, row=0, l2_distance=23.45678, share_farther=0.5)
    assert paper_card(atlas, 0, hit=hit)["distance"] == "23.46"


def test_markup_stays_text(atlas: Atlas) -> None:
    paper = Paper(id="x", title="<b>", abstract="", authors=("<i>Ann</i>, B",), venue="<script>")
    assert short_byline(paper) == "<i>Ann</i>"


@pytest.mark.parametrize(
    ("authors", "byline"),
    [
        ((), ""),
        (("Curie, Marie",), "Curie"),
        (("World Health Organization",), "World Health Organization"),
        (("A, a", "B, b", "C, c", "D, d"), "A, B, C, D"),
        (("A, a", "B, b", "C, c", "D, d", "E, e"), "A, B, C, D and 1 more"),
        (tuple(f"N{i}, x" for i in range(2004)), "N0, N1, N2, N3 and 2,000 more"),
    ],
)
def test_bylines_are_cut_and_counted(authors: tuple[str, ...], byline: str) -> None:
    assert short_byline(Paper(id="x", title="t", abstract="a", authors=authors)) == byline


def test_links_lead_to_where_a_paper_is_read() -> None:
    paper = Paper(id="x", title="t", abstract="a", pmid="123", doi="10.1/a", url="https://example.org")
    assert links(paper) == [("PubMed", "https://pubmed.ncbi.nlm.nih.gov/123/"), ("DOI", "https://doi.org/10.1/a")]
    assert links(Paper(id="x", title="t", abstract="a", url="https://example.org")) == [("Web", "https://example.org")]
    assert links(Paper(id="x", title="t", abstract="a")) == []


def test_telling_topics_leave_out_whom_was_studied_and_how() -> None:
    topics = ["Humans", "Male", "Female", "Heart Failure", "Adult", "heart failure", "Sepsis", "COVID-19"]
    assert telling_topics(topics, count=2) == ["Heart Failure", "Sepsis"]
    assert telling_topics(topics, count=9) == ["Heart Failure", "Sepsis", "COVID-19"]
    assert telling_topics([], count=3) == []


@settings(deadline=None)
@given(share=st.floats(0, 1))
def test_a_share_never_claims_more_than_a_sample_shows(share: float) -> None:
    top = float(re.fullmatch(r"top ([\d.]+) %", share_words(share)).group(1))
    closer = float(re.search(r"than ([\d.]+) %", meaning(share)).group(1))
    assert top >= 0.01
    assert closer <= 99.99
    assert abs(top - 100 * (1 - share)) <= 0.5
    assert abs(closer - 100 * share) <= 0.5
    assert 0 <= closeness(share) <= 1


@settings(deadline=None)
@given(one=st.floats(0, 1), other=st.floats(0, 1))
def test_what_is_nearer_looks_no_farther(one: float, other: float) -> None:
    far, near = sorted((one, other))
    assert closeness(far) <= closeness(near)
