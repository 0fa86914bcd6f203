"""The Explore page as a person meets it: paste, read, look, click, export, come back by a link."""

import csv
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import expect

SEPSIS = (
    "Machine learning for predicting sepsis in intensive care\n\n"
    "Sepsis is a leading cause of death in intensive care units. We trained a gradient boosting model on electronic "
    "health records of 40,000 patients to predict the onset of sepsis six hours ahead. The model reached an AUROC of "
    "0.87 and was validated in two external hospitals."
)


def test_the_whole_way(visit: Any) -> None:
    visit.open()
    assert visit.star() is None
    visit.search(SEPSIS)

    titles = visit.titles()
    assert len(titles) == 10
    assert any(re.search("sepsis|septic|intensive care|machine learning|predict", title, re.I) for title in titles[:3])
    expect(visit.page.get_by_role("textbox", name="Title", exact=True)).to_have_value(SEPSIS.split("\n")[0])
    expect(visit.page.get_by_text(f"The encoder read all {len(SEPSIS.split())} words.")).to_be_visible()
    expect(visit.page.get_by_text("are also near on the map")).to_be_visible()

    # The star is drawn, a ring and a line for each hit of the list, in its order.
    star = visit.star()
    rows = [
        int(row)
        for row in visit.page.locator("ol[aria-label^=Nearest] li").evaluate_all("l => l.map(e => e.dataset.row)")
    ]
    assert star is not None
    assert visit.rings() == rows
    lines = next(trace for trace in visit.traces() if trace["mode"] == "lines")
    assert lines["count"] == 3 * len(rows)
    assert lines["x"][0] == star["x"][0]

    # A click on a ring opens that paper's card, and only that changes the link.
    visit.page.get_by_role("button", name="⌖ Hits").click()
    visit.page.wait_for_function("() => location.search.includes('window=')")
    visit.settled()
    ring = next(trace for trace in visit.traces() if trace["rows"] == rows)
    apart = _lone_ring(visit, ring)
    visit.page.mouse.move(*visit.pixel(ring["x"][apart], ring["y"][apart]), steps=6)
    expect(visit.page.locator(".map-root .tip b")).to_have_text(titles[apart])
    visit.page.mouse.down()
    visit.page.mouse.up()
    card = visit.page.locator("ol[aria-label='The chosen paper']")
    expect(card.locator("h3")).to_have_text(titles[apart])
    expect(card.locator(".abstract")).to_be_visible()
    assert set(parse_qs(visit.link()[1:])) == {"paper", "window"}

    # The list as a spreadsheet: the same papers in the same order.
    visit.page.get_by_role("button", name="Export").click()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="CSV (spreadsheets)").click()
    exported = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))
    assert [row["title"] for row in exported] == titles

    # The text is nowhere in the link.
    assert "epsis" not in visit.link()


def _lone_ring(visit: Any, ring: dict[str, Any]) -> int:
    """The place in the list of the ring that is farthest from all others on the screen."""
    pixels = [visit.pixel(x, y) for x, y in zip(ring["x"], ring["y"], strict=True)]

    def alone(i: int) -> float:
        return min((abs(pixels[i][0] - p[0]) + abs(pixels[i][1] - p[1]) for j, p in enumerate(pixels) if j != i))

    return max(range(len(pixels)), key=alone)


def test_the_same_link_shows_the_same_view(visit: Any) -> None:
    visit.open("?like=33829574&k=5&colour=year")
    first = visit.titles()
    assert len(first) == 5
    visit.page.locator("ol[aria-label^=Nearest] li").nth(1).get_by_role("button", name="Use as query").click()
    expect(visit.page.locator("ol[aria-label^=Nearest] h3").first).not_to_have_text(first[0])
    visit.settled()
    visit.page.locator(".map-root [data-colour=topic]").click()
    visit.page.wait_for_function("() => location.search.includes('colour=topic')")
    visit.settled()
    link, titles, star = visit.link(), visit.titles(), visit.star()
    assert "33829574" not in link

    visit.page.goto("about:blank")
    visit.open(link)
    assert visit.titles() == titles
    assert visit.star() == star
    assert visit.link() == link
    expect(visit.page.locator(".map-root [data-colour=topic]")).to_have_attribute("aria-pressed", "true")


def test_filters_keep_k_hits_and_dim_the_rest(visit: Any) -> None:
    visit.open("?like=33829574&k=20&topic=COVID-19")
    assert len(visit.titles()) == 20
    faded, shown = visit.traces()[:2]
    assert faded["count"] + shown["count"] == 18_273
    assert 300 < shown["count"] < 5_000
    expect(visit.page.locator(".map-root .legend")).to_contain_text("Excluded by the filters")
    visit.page.get_by_role("button", name="Filters · 1").click()
    visit.page.get_by_role("button", name="Clear all filters").click()
    visit.page.wait_for_function("() => !location.search.includes('topic=')")
    visit.settled()
    assert visit.traces()[0]["count"] == 0


def test_a_frame_on_the_map_gives_a_table_and_a_search(visit: Any) -> None:
    visit.open()
    box = visit.page.locator(".map-root .plot").bounding_box()
    visit.page.locator(".map-root [data-drag=select]").click()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x - 15, y - 15)
    visit.page.mouse.down()
    visit.page.mouse.move(x, y, steps=4)
    visit.page.mouse.move(x + 15, y + 15, steps=4)
    visit.page.mouse.up()
    selected = visit.page.get_by_role("heading", name=re.compile("papers? selected"))
    selected.wait_for()
    visit.settled()
    assert "area=" in visit.link()
    count = int(re.match(r"[\d,]+", selected.inner_text())[0].replace(",", ""))
    assert count > 0
    link = visit.link()
    visit.page.goto("about:blank")
    visit.open(link)
    expect(visit.page.get_by_role("heading", name=re.compile("papers? selected"))).to_have_text(
        re.compile(f"^{count:,} paper")
    )
    # However many they are: the link names the area, not its papers.
    visit.page.get_by_role("button", name="Search from these").click()
    visit.page.get_by_role("heading", name="nearest papers").wait_for()
    visit.settled()
    assert visit.star() is not None
    assert "from=area" in visit.link()


def test_the_map_takes_at_most_8_bytes_a_point(visit: Any) -> None:
    visit.open("?topic=COVID-19&colour=topic&like=33829574")
    assert sum(visit.received(name) for name in ("points", "mask", "topics")) <= 8 * 18_273


def test_a_megabyte_is_answered_and_stays(visit: Any) -> None:
    text = "A title\n\n" + "Sepsis kills patients in hospital wards. " * 25_000
    visit.open()
    visit.page.get_by_label("Title and abstract").fill(text)
    visit.page.get_by_role("button", name="Search", exact=True).click()
    visit.page.get_by_text("You pasted 1,0").first.wait_for()
    visit.settled()
    expect(visit.page.get_by_label("Title and abstract")).to_have_value(text)
    expect(visit.hits()).to_have_count(10)


def test_a_corrected_title_is_searched_with(visit: Any) -> None:
    visit.open()
    visit.search(SEPSIS)
    before = visit.titles()
    visit.page.get_by_role("textbox", name="Title", exact=True).fill("Coral reefs under ocean acidification")
    visit.page.get_by_role("button", name="Search", exact=True).click()
    expect(visit.page.locator("ol[aria-label^=Nearest] h3").last).not_to_have_text(before[-1])
    visit.settled()
    assert visit.titles() != before
    expect(visit.page.get_by_role("textbox", name="Title", exact=True)).to_have_value(
        "Coral reefs under ocean acidification"
    )


def test_hostile_papers_stay_text(visit: Any, hostile_atlas: str) -> None:
    visit.open(f"?atlas={hostile_atlas}&like=hostile-0&k=5")
    titles = visit.titles()
    assert any("<img src=x onerror=" in title for title in titles)
    visit.page.locator("ol[aria-label^=Nearest] li").first.get_by_role("button", name="Show abstract").click()
    assert visit.page.evaluate("() => window.hacked === undefined")
    assert visit.page.locator("ol[aria-label^=Nearest] img").count() == 0
    hrefs = visit.page.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert not any(href.lower().startswith("javascript:") for href in hrefs)


def test_a_link_to_an_unknown_atlas_stays_text_and_leads_on(visit: Any) -> None:
    visit.page.goto(f"{visit.address}/?atlas=[x](https://x.example)")
    visit.page.get_by_role("alert").first.wait_for()
    assert visit.page.get_by_role("alert").locator("a").count() == 0
    visit.page.get_by_role("button", name="Go to the default corpus").click()
    visit.map_drawn()


def test_the_way_back_leads_to_the_view_before(visit: Any) -> None:
    visit.open("?like=33829574&k=5")
    first = visit.titles()
    visit.page.locator("ol[aria-label^=Nearest] li").nth(1).get_by_role("button", name="Use as query").click()
    expect(visit.page.locator("ol[aria-label^=Nearest] h3").first).not_to_have_text(first[0])
    visit.settled()
    visit.page.go_back()
    expect(visit.page.locator("ol[aria-label^=Nearest] h3").first).to_have_text(first[0])
    assert visit.titles() == first


def test_a_title_survives_a_search_from_a_paper(visit: Any) -> None:
    visit.open()
    visit.search(SEPSIS)
    before = visit.titles()
    visit.page.locator("ol[aria-label^=Nearest] li").nth(1).get_by_role("button", name="Use as query").click()
    visit.page.get_by_role("button", name="Clear", exact=True).click()
    expect(visit.page.locator("ol[aria-label^=Nearest] h3").first).to_have_text(before[0])
    expect(visit.page.get_by_role("textbox", name="Title", exact=True)).to_have_value(SEPSIS.split("\n")[0])


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_on_a_phone_the_results_come_before_the_map(visit: Any) -> None:
    visit.open("?like=33829574&k=5")
    results = visit.page.locator("ol[aria-label^=Nearest]").bounding_box()
    the_map = visit.page.locator(".map-root").bounding_box()
    assert results["y"] + results["height"] <= the_map["y"]
    assert visit.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    "visit", [{"color_scheme": "dark"}, {"color_scheme": "light"}], indirect=True, ids=["dark", "light"]
)
def test_both_themes_colour_the_map(visit: Any, request: pytest.FixtureRequest) -> None:
    visit.open("?like=33829574")
    dark = "dark" in request.node.callspec.id
    red, *_ = re.findall(
        r"\d+",
        visit.page.evaluate("() => getComputedStyle(document.querySelector('.map-root .frame')).backgroundColor"),
    )
    assert (int(red) < 60) == dark
