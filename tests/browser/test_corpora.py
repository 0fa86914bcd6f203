"""The Corpora page as a person meets it: papers are brought, looked at, built, exported, carried away, deleted."""

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from corpus.export import to_ris
from corpus.paper import Paper
from tests.corpus.sources.fake_services import FakePubMed, Place, pubmed_article

BUILDING = 300_000  # ms; a busy machine is slow, not wrong


@pytest.fixture(autouse=True)
def only_what_was_there(medline_home: Path) -> Iterator[None]:
    """Corpora that a test leaves behind are taken away; the home is shared."""
    before = {path.name for path in medline_home.iterdir()} | {".staged"}
    yield
    for path in medline_home.iterdir():
        if path.name not in before and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def to_corpora(visit: Any) -> Any:
    visit.page.goto(f"{visit.address}/corpora")
    visit.page.get_by_role("heading", name="Your corpora").wait_for()
    idle(visit)
    return visit.page


def idle(visit: Any) -> None:
    """Wait until the app has stopped running."""
    visit.page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
    )


def choose_files(visit: Any, *paths: Path) -> None:
    """Choose files of references for a new corpus."""
    visit.page.get_by_role("tabpanel").locator("input[type=file]").first.set_input_files([str(path) for path in paths])
    visit.page.get_by_text(paths[-1].name).first.wait_for()
    idle(visit)


def card(visit: Any, title: str) -> Any:
    """A corpus in the list."""
    return visit.page.locator("[class*=st-key-corpus-]").filter(
        has=visit.page.get_by_role("heading", name=title, exact=True)
    )


def more(visit: Any, title: str, what: str) -> Any:
    """Open one of a corpus's dialogs. The menu closes where the page is drawn again meanwhile: then once more."""
    choice = visit.page.get_by_role("menuitem", name=what).or_(visit.page.get_by_role("option", name=what)).first
    for last in (False, False, True):
        card(visit, title).get_by_role("button", name="More").click()
        try:
            choice.click(timeout=15_000)
            break
        except PlaywrightTimeout:
            if last:
                raise
            visit.page.keyboard.press("Escape")
            idle(visit)
    dialog = visit.page.get_by_role("dialog")
    dialog.wait_for()
    idle(visit)
    return dialog


def ended(visit: Any, told: str) -> None:
    """Wait for the job in the background, and put its end away."""
    expect(visit.page.get_by_text(told)).to_be_visible(timeout=BUILDING)
    visit.page.locator(".st-key-build").get_by_role("button", name="Close").click()
    expect(visit.page.get_by_text(told)).to_have_count(0)
    idle(visit)


def downloaded(visit: Any, dialog: Any, link: str, to: Path) -> Path:
    with visit.page.expect_download(timeout=BUILDING) as download:
        dialog.get_by_role("link", name=link).click()
    path = to / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_library_is_brought_built_searched_exported_grown_and_carried_away(
    visit: Any, planted: Callable[[int], list[Paper]], tmp_path: Path
) -> None:
    papers = planted(8)
    library, more_papers = tmp_path / "my library.ris", tmp_path / "more.ris"
    library.write_text(to_ris(papers[:12]), encoding="utf-8", newline="")
    more_papers.write_text(to_ris(papers[10:]), encoding="utf-8", newline="")

    # A preview, before anything is built.
    page = to_corpora(visit)
    expect(page.get_by_role("button", name="Build the corpus")).to_be_disabled()
    choose_files(visit, library)
    expect(page.get_by_text("Recognised as RIS.")).to_be_visible()
    expect(page.get_by_text(papers[0].title, exact=True)).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Hearts & *galaxies*")
    page.get_by_label("Name", exact=True).press("Enter")
    idle(visit)

    # Built in the background, watched, and after a reload it is still there.
    page.get_by_role("button", name="Build the corpus").click()
    expect(page.get_by_text("Building Hearts & *galaxies*", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text("Hearts & *galaxies*").first).to_be_visible()
    expect(page.get_by_text("Hearts & *galaxies* is ready. 12 papers.")).to_be_visible(timeout=BUILDING)

    # Searched: hearts find hearts.
    page.get_by_role("link", name="Explore it").click()
    visit.map_drawn()
    assert "atlas=hearts-galaxies" in visit.link()
    visit.search("Heart failure and beta blockers\n\nPatients of a cardiology ward were given beta blockers.")
    hearts = {paper.title for paper in papers if paper.id.startswith("heart")}
    assert set(visit.titles()[:4]) <= hearts

    # Exported: read back, it is the library.
    to_corpora(visit)
    ended(visit, "Hearts & *galaxies* is ready. 12 papers.")
    dialog = more(visit, "Hearts & *galaxies*", "Export")
    exported = downloaded(visit, dialog, "RIS", tmp_path)
    assert {(p.title, p.abstract) for p in read_papers(exported)} == {(p.title, p.abstract) for p in papers[:12]}
    archive = downloaded(visit, dialog, "Archive", tmp_path)
    assert zipfile.is_zipfile(archive)
    page.keyboard.press("Escape")
    idle(visit)

    # Grown by the four papers that it had not.
    dialog = more(visit, "Hearts & *galaxies*", "Add papers")
    dialog.locator("input[type=file]").set_input_files(str(more_papers))
    expect(dialog.get_by_text("Recognised as RIS.")).to_be_visible()
    idle(visit)
    dialog.get_by_role("button", name="Add papers").click()
    ended(visit, "Papers were added to Hearts & *galaxies*. 4 papers added")
    expect(card(visit, "Hearts & *galaxies*").get_by_text("16 papers")).to_be_visible()

    # Papers taken out by id.
    dialog = more(visit, "Hearts & *galaxies*", "Remove papers")
    dialog.get_by_label("Ids, PMIDs or DOIs").fill(f"{papers[0].id}\nnobody")
    dialog.get_by_label("Ids, PMIDs or DOIs").press("Control+Enter")
    expect(dialog.get_by_text("1 paper will be removed")).to_be_visible()
    expect(dialog.get_by_text("Not in this corpus: nobody")).to_be_visible()
    idle(visit)
    dialog.get_by_role("button", name="Remove papers").click()
    ended(visit, "1 paper removed.")
    expect(card(visit, "Hearts & *galaxies*").get_by_text("15 papers")).to_be_visible()

    # Renamed, deleted, and back from its archive as it was then.
    dialog = more(visit, "Hearts & *galaxies*", "Rename")
    dialog.get_by_label("Title").fill("All <i>that</i> beats")
    dialog.get_by_role("button", name="Rename").click()
    expect(card(visit, "All <i>that</i> beats").get_by_text("15 papers")).to_be_visible()
    idle(visit)
    dialog = more(visit, "All <i>that</i> beats", "Delete")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(card(visit, "All <i>that</i> beats")).to_have_count(0)
    idle(visit)
    page.get_by_role("tab", name="Import an archive").click()
    panel = page.get_by_role("tabpanel").filter(has_text="An archive that Cocite Atlas exported")
    panel.locator("input[type=file]").set_input_files(str(archive))
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_enabled()
    idle(visit)
    page.get_by_role("button", name="Import", exact=True).click()
    ended(visit, "was imported. 12 papers")
    expect(card(visit, "Hearts & *galaxies*").get_by_text("12 papers")).to_be_visible()


def read_papers(path: Path) -> list[Paper]:
    from corpus.readers import read

    with read(path) as reading:
        return list(reading)


def test_a_table_whose_columns_must_be_said(visit: Any, planted: Callable[[int], list[Paper]], tmp_path: Path) -> None:
    import csv

    papers = planted(3)
    table = tmp_path / "sheet.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Spalte A", "Spalte B", "Jahr 1"])
        writer.writerows([paper.abstract, paper.title, paper.year or ""] for paper in papers)
    page = to_corpora(visit)
    choose_files(visit, table)
    expect(page.get_by_text("No column was recognised as the title or the abstract. Choose it below.")).to_be_visible()
    for field, header in (("Title", "Spalte B"), ("Abstract", "Spalte A"), ("Year", "Jahr 1")):
        page.get_by_role("combobox", name=re.compile(rf"(^|\. ){field}$")).click()
        page.get_by_role("option", name=header).click()
        idle(visit)
    expect(page.get_by_text(papers[0].title, exact=True)).to_be_visible()
    page.get_by_role("button", name="Build the corpus").click()
    ended(visit, "sheet is ready. 6 papers.")
    expect(card(visit, "sheet").get_by_text("6 papers")).to_be_visible()


def test_hostile_and_empty_files_are_refused_in_their_readers_words_and_nothing_is_lost(
    visit: Any, planted: Callable[[int], list[Paper]], tmp_path: Path
) -> None:
    good, empty, hostile = tmp_path / "good.ris", tmp_path / "empty.ris", tmp_path / "<img src=x onerror=hacked=1>.xml"
    good.write_text(to_ris(planted(2)), encoding="utf-8", newline="")
    empty.write_bytes(b"")
    hostile.write_text(
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><PubmedArticleSet>&b;'
        "</PubmedArticleSet>",
        encoding="utf-8",
    )
    page = to_corpora(visit)
    page.get_by_label("Name", exact=True).fill("Kept")
    choose_files(visit, good, empty, hostile)
    alerts = page.get_by_role("tabpanel").get_by_role("alert")
    expect(alerts).to_have_count(2)
    expect(alerts.filter(has_text="empty")).to_be_visible()
    assert page.evaluate("() => window.hacked") is None
    # The one that can be read is ready to be built, under the name that was typed.
    expect(page.get_by_label("Name", exact=True)).to_have_value("Kept")
    expect(page.get_by_role("button", name="Build the corpus")).to_be_enabled()


def test_an_archive_that_is_none_is_refused(visit: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("../../manifest.json", "{}")
    page = to_corpora(visit)
    page.get_by_role("tab", name="Import an archive").click()
    panel = page.get_by_role("tabpanel").filter(has_text="An archive that Cocite Atlas exported")
    panel.locator("input[type=file]").set_input_files(str(bad))
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_enabled()
    idle(visit)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Importing bad: failed.")).to_be_visible(timeout=BUILDING)
    page.locator(".st-key-build").get_by_role("button", name="Close").click()
    # It waits to be tried again, and can be thrown away.
    expect(page.get_by_text("Importing bad was stopped.")).to_be_visible()
    idle(visit)
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("Importing bad")).to_have_count(0)


def test_an_id_that_the_corpus_has_finds_papers_like_its_paper(visit: Any) -> None:
    visit.open()
    visit.search("Sepsis in intensive care\n\nEarly prediction of sepsis by machine learning.")
    link = visit.page.locator("ol[aria-label^=Nearest] a[href*=pubmed]").first
    pmid = re.search(r"(\d{6,9})", link.get_attribute("href"))
    title = visit.titles()[0]
    assert pmid is not None
    visit.page.get_by_label("Title and abstract").fill(f"PMID: {pmid[1]}")
    visit.page.get_by_role("button", name="Search", exact=True).click()
    expect(visit.page.get_by_text("Papers most like this one", exact=True)).to_be_visible()
    expect(visit.page.get_by_text(title, exact=True).first).to_be_visible()
    assert f"like={pmid[1]}" in visit.link()
    expect(visit.page.get_by_label("Title and abstract")).to_have_value(f"PMID: {pmid[1]}")


def test_a_query_is_counted_fetched_and_built(
    visit: Any, place: Place, planted: Callable[[int], list[Paper]], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = {
        str(30_000_000 + number): (
            pubmed_article(str(30_000_000 + number), title=paper.title, abstract=paper.abstract),
            f"2020/01/{number + 1:02}",
        )
        for number, paper in enumerate(planted(4))
    }
    monkeypatch.setitem(place.services, "pubmed", FakePubMed(records))
    before = len(place.asked)
    page = to_corpora(visit)
    page.get_by_role("tab", name="Run a query").click()
    expect(page.get_by_text("Your query is sent to the service that you choose.")).to_be_visible()
    page.get_by_role("textbox", name="Query").fill("hearts OR galaxies")
    page.get_by_role("button", name="Count papers").click()
    expect(page.get_by_text("PubMed has 8 papers for this query.")).to_be_visible()
    idle(visit)
    page.get_by_role("button", name="Fetch and build").click()
    expect(page.get_by_text("hearts OR galaxies is ready. PubMed: 8 papers of 8 records.")).to_be_visible(
        timeout=BUILDING
    )
    expect(card(visit, "hearts OR galaxies").get_by_text("8 papers")).to_be_visible()
    # The query went out, and nothing of any paper did.
    sent = [asked.parameters for asked in place.asked[before:]]
    assert {parameters["term"] for parameters in sent if "term" in parameters} == {"hearts OR galaxies"}


def test_a_query_that_cannot_be_asked_says_so_and_stays(visit: Any, place: Place) -> None:
    page = to_corpora(visit)
    page.get_by_role("tab", name="Run a query").click()
    page.get_by_role("textbox", name="Query").fill("unreachable")
    page.get_by_role("button", name="Count papers").click()
    expect(page.get_by_role("tabpanel").get_by_role("alert").filter(has_text="PubMed")).to_be_visible()
    expect(page.get_by_role("textbox", name="Query")).to_have_value("unreachable")
    expect(page.get_by_role("button", name="Fetch and build")).to_have_count(0)


def test_an_id_that_the_corpus_has_not_is_looked_up_and_a_text_is_not(
    visit: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    article = pubmed_article(
        "99999991", title="Sepsis and <b>machine</b> learning", abstract="Early sepsis, predicted."
    )
    monkeypatch.setitem(place.services, "pubmed", FakePubMed({"99999991": (article, "2020/01/01")}))
    visit.open()
    box = visit.page.get_by_label("Title and abstract")
    visit.search("PMID 99999991")
    expect(box).to_have_value(re.compile(r"^Sepsis and .*learning\n\nEarly sepsis, predicted\.$"))
    expect(visit.page.get_by_text("PMID 99999991 was looked up at PubMed; nothing else was sent.")).to_be_visible()
    # One that nobody knows is kept, and said.
    box.fill("PMID 99999992")
    visit.page.get_by_role("button", name="Search", exact=True).click()
    expect(visit.page.get_by_role("alert").filter(has_text="PMID 99999992")).to_be_visible()
    expect(box).to_have_value("PMID 99999992")
    visit.settled()
    # A pasted text goes nowhere.
    before = len(place.asked)
    visit.search("A title with 99999991 in it\n\nAnd 10.1000/abc in its abstract.")
    assert len(place.asked) == before


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_on_a_phone_nothing_is_wider_than_it(visit: Any) -> None:
    to_corpora(visit)
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= 390
