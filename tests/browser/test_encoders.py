"""The Encoders page as a person meets it: read about an encoder, build an atlas by it, search with it, delete it."""

from typing import Any

import pytest
from playwright.sync_api import expect


def to_encoders(visit: Any, atlas: str) -> None:
    visit.open(f"?atlas={atlas}")
    visit.page.get_by_role("link", name="Encoders").click()
    visit.page.get_by_role("heading", name=f"Encoders for {atlas}").wait_for()


def choose(visit: Any, name: str) -> None:
    visit.page.get_by_role("radiogroup").get_by_text(name, exact=True).click()
    visit.page.get_by_role("heading", name=name, exact=True).wait_for()


def test_what_an_encoder_is_stands_there_before_it_is_chosen(visit: Any) -> None:
    to_encoders(visit, "medline")
    choose(visit, "aspire-biencoder-biomed-scib-full")
    page = visit.page
    for said in (
        "For biomedical text; on other text it may do worse. Of the biomedical models, the one to take.",
        "[CLS] of all layers, in the mix that was learned, 768 dimensions",
        "title and abstract, up to 512 word pieces",
        "Apache-2.0",
        "SciBERT",
        "a zip file published by its authors, about 440 MB",
        "31.45",
        "Download, once: 440 MB",
    ):
        expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_role("button", name="Download and build the atlas")).to_be_enabled()
    # A link to it shows it.
    assert "encoder=aspire-biencoder-biomed-scib-full" in page.url
    page.reload()
    expect(page.get_by_role("heading", name="aspire-biencoder-biomed-scib-full", exact=True)).to_be_visible()


def test_an_atlas_is_built_searched_and_deleted(visit: Any, small_corpus: str) -> None:
    page = visit.page
    to_encoders(visit, small_corpus)
    choose(visit, "tfidf-svd")
    page.get_by_role("button", name="Build the atlas").click()
    expect(page.get_by_text("Building an atlas with tfidf-svd", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.get_by_text("The atlas with tfidf-svd is ready.")).to_be_visible(timeout=180_000)

    page.get_by_role("link", name="Explore it").click()
    visit.map_drawn()
    assert f"atlas={small_corpus}--tfidf-svd" in visit.link()
    visit.search("Valve repair in heart failure\n\nCardiac output and mortality after valve repair.")
    # By its words: the two planted papers on valve repair come first.
    assert all("valve repair" in title for title in visit.titles()[:1])
    expect(page.get_by_text("The encoder read all")).to_be_visible()

    # The pasted text is still there after a look at the other page.
    page.get_by_role("link", name="Encoders").click()
    choose(visit, "tfidf-svd")
    page.get_by_role("link", name="Explore", exact=True).click()
    visit.map_drawn()
    expect(page.get_by_label("Title and abstract")).to_have_value(
        "Valve repair in heart failure\n\nCardiac output and mortality after valve repair."
    )

    page.get_by_role("link", name="Encoders").click()
    choose(visit, "tfidf-svd")
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Delete atlas").click()
    expect(page.get_by_role("button", name="Build the atlas")).to_be_visible()


@pytest.mark.parametrize("visit", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_on_a_phone_the_chosen_encoder_is_in_sight_of_the_list(visit: Any) -> None:
    visit.page.goto(f"{visit.address}/encoders?encoder=specter")
    heading = visit.page.get_by_role("heading", name="specter", exact=True)
    heading.wait_for()
    # Nothing is wider than the phone.
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert heading.bounding_box()["y"] < 844
