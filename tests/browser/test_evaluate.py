"""The Evaluate page as a person meets it: from nothing to a figure, down to one query; a set of their own; a phone."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from corpus.judged_sets.model import PoolPaper, RawPool, judged_set
from corpus.judged_sets.released import write_released
from corpus.paper import Paper

EVALUATING = 300_000  # ms; a busy machine is slow, not wrong
BAD = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>[x](javascript:alert(1)) **b** $x$'


@pytest.fixture(autouse=True)
def only_what_was_there(medline_home: Path) -> Iterator[None]:
    """Every test begins with no set and no evaluation; the home is shared."""
    yield
    for name in (".sets", ".evaluations"):
        shutil.rmtree(medline_home / name, ignore_errors=True)


@pytest.fixture
def released(planted: Callable[[int], list[Paper]], tmp_path: Path) -> Path:
    """A folder with the files of a set of 2 × 6 papers, whose texts try to be markup."""
    papers = planted(6)
    pools = [
        RawPool(
            query=paper.id,
            paper=paper.id,
            candidates=[other.id for other in papers if other.id != paper.id],
            grades=[int(other.venue[:12] == paper.venue[:12]) for other in papers if other.id != paper.id],
            group=BAD,
        )
        for paper in papers[:6]
    ]
    judged = judged_set(
        name="hearts",
        origin="own",
        papers={paper.id: PoolPaper(paper.id, f"{paper.title} {BAD}", f"{paper.abstract} {BAD}") for paper in papers},
        pools=pools,
        splits={"test": [[pool.query for pool in pools]]},
        relevant_from=1,
    )
    folder = tmp_path / "released"
    folder.mkdir()
    write_released(judged, folder)
    return folder


def to_evaluate(visit: Any, query: str = "") -> Any:
    visit.page.goto(f"{visit.address}/evaluate{query}")
    visit.page.get_by_role("tab", name="Results").wait_for()
    idle(visit)
    return visit.page


def idle(visit: Any) -> None:
    """Wait until the app has stopped running."""
    visit.page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
    )


def tab(visit: Any, name: str) -> None:
    visit.page.get_by_role("tab", name=name).click()
    expect(visit.page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    idle(visit)


def evaluated(visit: Any, told: str) -> None:
    """Wait for the job in the background, and put its end away."""
    expect(visit.page.get_by_text(told)).to_be_visible(timeout=EVALUATING)
    visit.page.locator(".st-key-build").get_by_role("button", name="Close").click()
    expect(visit.page.get_by_text(told)).to_have_count(0)
    idle(visit)


def upload(visit: Any, folder: Path, *, name: str) -> None:
    """Add a set by its files."""
    page = visit.page
    page.get_by_text("Add a judged set", exact=True).click()
    page.locator("input[type=file]").first.set_input_files([str(path) for path in sorted(folder.iterdir())])
    expect(page.get_by_role("button", name="Check and add")).to_be_enabled()
    idle(visit)
    field = page.get_by_role("textbox", name=re.compile("Name of the set")).first
    field.fill(name)
    field.press("Enter")
    idle(visit)
    page.get_by_role("button", name="Check and add").click()
    expect(page.get_by_role("heading", name=f"No results on {name} yet")).to_be_visible()
    idle(visit)


def charts(visit: Any) -> Any:
    """The systems named in the distribution, once it is drawn: plotly's script is loaded when the first one is."""
    return visit.page.locator(".st-key-distribution .annotation-text")


def test_from_nothing_to_a_figure_and_down_to_one_query(visit: Any) -> None:
    page = to_evaluate(visit)
    expect(page.get_by_role("heading", name="Check every score yourself")).to_be_visible()
    page.get_by_role("button", name="Make a set from the default corpus").click()
    expect(page.get_by_role("heading", name="No results on medline-topics yet")).to_be_visible()
    assert "set=medline-topics" in visit.link()
    idle(visit)
    page.get_by_role("button", name="Evaluate TF-IDF").click()
    expect(page.get_by_text("Evaluating TF-IDF on medline-topics", exact=True)).to_be_visible()
    evaluated(visit, "TF-IDF was evaluated on medline-topics.")

    table = page.locator("table.evaluations")
    expect(table.get_by_role("rowheader", name="TF-IDF")).to_be_visible()
    expect(table.get_by_text("not comparable")).to_be_visible()
    shown = re.search(r"\d+\.\d\d", table.locator("td").first.inner_text())
    assert shown is not None
    with page.expect_download() as download:
        page.get_by_role("button", name="Markdown").click()
    report = Path(download.value.path()).read_text(encoding="utf-8")
    assert f"**{shown[0]}**" in report
    assert "nobody judged it" in report

    tab(visit, "By query")
    expect(charts(visit).first).to_be_visible()
    first = page.locator("[class*=st-key-look-] button").first
    title = first.inner_text()
    first.click()
    expect(page.get_by_text("Ranks of the relevant candidates")).to_be_visible()
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    assert re.search(r"[?&]query=[^&]+", visit.link())
    # The link alone leads there again.
    page.reload()
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    idle(visit)
    page.get_by_role("button", name="All queries").click()
    expect(charts(visit).first).to_be_visible()
    assert "query=" not in visit.link()


def test_a_set_of_ones_own_is_uploaded_evaluated_compared_and_deleted(visit: Any, released: Path) -> None:
    page = to_evaluate(visit)
    upload(visit, released, name="mine")
    for system, told in (("TF-IDF", "TF-IDF was evaluated on mine."), ("BM25", "BM25 was evaluated on mine.")):
        page.get_by_role("combobox", name=re.compile("Encoder or keyword baseline")).click()
        page.get_by_role("option", name=re.compile(system)).click()
        idle(visit)
        page.get_by_role("button", name="Evaluate", exact=True).click()
        evaluated(visit, told)
    table = page.locator("table.evaluations")
    expect(table.get_by_role("rowheader", name="TF-IDF")).to_be_visible()
    expect(table.get_by_role("rowheader", name="BM25")).to_be_visible()

    # Two systems, one above the other, and whether they differ.
    tab(visit, "By query")
    page.get_by_role("combobox", name=re.compile("Compare with")).click()
    page.get_by_role("option", name=re.compile("TF-IDF|BM25")).click()
    expect(page.get_by_text(re.compile("No significant difference|No difference|is better"))).to_be_visible()
    expect(charts(visit).first).to_be_visible()
    idle(visit)
    page.locator("[class*=st-key-look-] button").first.click()
    expect(page.get_by_text("Ranks of the relevant candidates")).to_be_visible()
    idle(visit)
    assert page.evaluate("() => window.hacked") is None

    tab(visit, "Leaderboard")
    page.locator("[class*=st-key-delete-menu-] button").first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("[class*=st-key-board-row-]")).to_have_count(1)
    idle(visit)
    page.get_by_role("button", name="Delete set").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="Check every score yourself")).to_be_visible()
    tab(visit, "Leaderboard")
    expect(page.locator("[class*=st-key-board-row-]")).to_have_count(1)  # what was evaluated on it stays
    assert page.evaluate("() => window.hacked") is None


def test_files_that_are_no_set_are_refused_in_a_sentence(visit: Any, released: Path) -> None:
    page = to_evaluate(visit)
    (released / "test-pid2anns-hearts.json").write_text("[]")
    page.get_by_text("Add a judged set", exact=True).click()
    page.locator("input[type=file]").first.set_input_files([str(path) for path in sorted(released.iterdir())])
    expect(page.get_by_role("button", name="Check and add")).to_be_enabled()
    idle(visit)
    page.get_by_role("button", name="Check and add").click()
    expect(page.get_by_role("alert").filter(has_text="test-pid2anns-hearts.json")).to_be_visible()
    expect(page.get_by_role("heading", name="Check every score yourself")).to_be_visible()


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}], indirect=True)
def test_on_a_phone_nothing_is_wider_than_it(visit: Any, released: Path) -> None:
    page = to_evaluate(visit)
    upload(visit, released, name="mine")
    page.get_by_role("button", name="Evaluate TF-IDF").click()
    evaluated(visit, "TF-IDF was evaluated on mine.")
    expect(page.locator("table.evaluations")).to_be_visible()
    for name in ("Results", "By query", "Leaderboard", "Neighbour index"):
        tab(visit, name)
        if name == "By query":
            expect(charts(visit).first).to_be_visible()
            box = page.locator(".st-key-distribution .js-plotly-plot").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, name
