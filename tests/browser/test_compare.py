"""The Compare page as a person meets it: one query, two encoders, what moved, and where it lies on either map."""

from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import expect

TEXT = (
    "Valve repair in heart failure\n\n"
    "We followed patients of a cardiology ward. Mortality fell with valve repair and with beta blockers."
)
BOTH = "left=planted&right=planted--tfidf-svd"


@pytest.fixture(autouse=True)
def _there_are_pairs(pairs: tuple[str, str]) -> None:
    """Every test here needs corpora with two atlases."""


def opened(visit: Any, link: str) -> None:
    visit.page.goto(f"{visit.address}/compare?{link}")
    visit.page.get_by_label("Left encoder").wait_for()


def titles(visit: Any, encoder: str) -> list[str]:
    found = visit.page.locator(f"ol[aria-label^='Nearest papers by {encoder}'] h3")
    found.first.wait_for()
    return found.all_inner_texts()


def stars(visit: Any) -> list[list[float]]:
    """Where the star lies on each map, when all maps are drawn."""
    visit.page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.map-root')];"
        " return all.length === 2 && all.every(m => m.querySelector('.note').hidden"
        " && m.querySelector('.plot').data?.some(t => t.marker?.symbol === 'star')) }"
    )
    return visit.page.evaluate(
        "() => [...document.querySelectorAll('.map-root .plot')].map(plot => {"
        " const star = plot.data.find(t => t.marker?.symbol === 'star'); return [star.x[0], star.y[0]] })"
    )


def test_the_whole_way(visit: Any) -> None:
    visit.open("?atlas=planted")
    visit.search(TEXT)
    explored = visit.titles()
    page = visit.page
    page.get_by_role("link", name="Compare", exact=True).click()

    # What was asked on the one page is asked on the other, of both encoders.
    expect(page.get_by_label("Title and abstract")).to_have_value(TEXT)
    page.get_by_role("heading", name="in both lists").wait_for()
    left, right = titles(visit, "all-minilm-l6-v2"), titles(visit, "tfidf-svd")
    assert left == explored
    assert left != right
    common = len({*left} & {*right})
    expect(page.get_by_role("heading", name=f"{common} of 10 in both lists")).to_be_visible()
    assert page.locator("ol[aria-label^='Nearest papers by'] .note.shared").count() == 2 * common
    assert page.locator(".slopes .line").count() == common
    assert len(stars(visit)) == 2
    assert "alve" not in visit.link()

    # A paper that is pointed at is marked in both lists and on both maps.
    page.locator("ol[aria-label^='Nearest papers by'] li:has(.note.shared)").first.hover()
    expect(page.locator("li.marked")).to_have_count(2)
    assert len(set(page.locator("li.marked h3").all_inner_texts())) == 1
    largest = page.evaluate(
        "() => [...document.querySelectorAll('.map-root .plot')].map(plot => {"
        " const sizes = plot.data.map(t => t.marker?.size).find(Array.isArray);"
        " return sizes.filter(size => size > Math.min(...sizes)).length })"
    )
    assert largest == [1, 1]

    # From a paper on: it is the query, in the link, and left out of the lists.
    second = page.locator("ol[aria-label^='Nearest papers by tfidf-svd'] li").nth(1)
    chosen = second.locator("h3").inner_text()
    second.get_by_role("button", name="Compare from this paper").click()
    page.wait_for_function("() => location.search.includes('like=')")
    expect(page.get_by_text("Papers most like this one")).to_be_visible()
    expect(page.locator("ol[aria-label^='Nearest papers by'] h3", has_text=chosen)).to_have_count(0)
    link, before = visit.link(), titles(visit, "tfidf-svd")
    assert set(parse_qs(link[1:])) == {"left", "right", "like"}

    # The same link shows the same, to anyone; and it goes back to Explore, and to the text.
    page.goto("about:blank")
    opened(visit, link[1:])
    assert titles(visit, "tfidf-svd") == before
    page.get_by_role("link", name="Explore", exact=True).click()
    page.get_by_role("heading", name="nearest papers").wait_for()
    expect(page.get_by_text("Papers most like this one")).to_be_visible()
    visit.settled()


def test_the_text_comes_back(visit: Any) -> None:
    opened(visit, BOTH)
    visit.page.get_by_label("Title and abstract").fill(TEXT)
    visit.page.get_by_role("button", name="Search", exact=True).click()
    compared = titles(visit, "all-minilm-l6-v2")
    visit.page.get_by_role("link", name="Explore", exact=True).click()
    expect(visit.page.get_by_label("Title and abstract")).to_have_value(TEXT)
    assert visit.titles() == compared
    visit.page.get_by_role("link", name="Compare", exact=True).click()
    expect(visit.page.get_by_label("Title and abstract")).to_have_value(TEXT)
    assert titles(visit, "all-minilm-l6-v2") == compared


def test_a_click_on_a_map_opens_the_paper_and_compares_from_it(visit: Any) -> None:
    opened(visit, f"{BOTH}&like=heart-3&k=5")
    stars(visit)
    plot = visit.page.locator(".map-root .plot").first
    plot.scroll_into_view_if_needed()
    ring = next(trace for trace in visit.traces() if trace["rows"] and len(trace["rows"]) == 5)
    visit.page.mouse.move(*visit.pixel(ring["x"][0], ring["y"][0]), steps=6)
    visit.page.locator(".map-root .tip b").first.wait_for()
    visit.page.mouse.down()
    visit.page.mouse.up()
    card = visit.page.locator("ol[aria-label='The chosen paper']")
    card.locator(".abstract").wait_for()
    chosen = card.locator("h3").inner_text()
    card.get_by_role("button", name="Compare from this paper").click()
    visit.page.wait_for_function("() => document.querySelector('[data-testid=stMain]').scrollTop === 0")
    visit.page.wait_for_function("() => !location.search.includes('like=heart-3')")
    expect(visit.page.locator("ol[aria-label^='Nearest papers by'] h3", has_text=chosen)).to_have_count(0)
    # Nothing can be framed here: the button for it is not shown.
    assert not visit.page.get_by_role("button", name="Lasso").first.is_visible()


def test_hostile_papers_stay_text(visit: Any, hostile_atlas: str) -> None:
    opened(visit, f"left={hostile_atlas}&like=hostile-0&k=5")
    assert any("<img src=x onerror=" in title for title in titles(visit, "tfidf-svd"))
    visit.page.locator("ol[aria-label='Papers with the most agreement'] h3").first.wait_for()
    assert visit.page.evaluate("() => window.hacked === undefined")
    assert visit.page.locator("img[src='x']").count() == 0
    hrefs = visit.page.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert not any(href.lower().startswith("javascript:") for href in hrefs)


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_on_a_phone_all_is_below_each_other(visit: Any) -> None:
    opened(visit, f"{BOTH}&like=heart-3&k=5")
    stars(visit)
    titles(visit, "tfidf-svd")
    tops = [
        visit.page.locator(where).first.bounding_box()["y"]
        for where in (
            "ol[aria-label^='Nearest papers by all-minilm-l6-v2']",
            "ol[aria-label^='Nearest papers by tfidf-svd']",
            ".st-key-compared-map-0-side",
            ".st-key-compared-map-1-side",
            "table.shares",
        )
    ]
    assert tops == sorted(tops)
    assert visit.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
