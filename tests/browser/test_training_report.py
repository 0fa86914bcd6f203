"""The report of a training in a real Chromium, from a file and without a network: drawn, in both themes, on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.mapping.palette import DARK, LIGHT
from components.training.report import report_html
from components.training.run import RunSummary
from tests.browser.conftest import PATIENCE
from tests.components.training.test_run import RUN
from tests.components.training.training_toys import planted_curves

HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script> @ink <a href="//x">x</a>'
Opened = Callable[..., Any]


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Iterator[Opened]:
    """opened(names, …): the report of planted runs of these names, in a page that may ask nobody and fail nowhere."""
    contexts, asked, errors = [], [], []

    def show(names: list[str], **options: Any) -> Any:
        runs = []
        for name in names:
            pairs = RUN.pairs.model_copy(update={"name": name, "provenance": {name: name}})
            start = RUN.start.model_copy(update={"name": name})
            record = RUN.model_copy(update={"pairs": pairs, "start": start})
            runs.append((RunSummary(tmp_path / name.replace("/", "∕"), record, planted_curves()), None))
        path = tmp_path / "report.html"
        path.write_text(report_html(runs), encoding="utf-8")
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-drawn]", state="attached")
        return page

    yield show
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []


def test_every_chart_is_drawn_and_follows_the_theme(opened: Opened) -> None:
    page = opened(["one"], color_scheme="light")
    assert page.locator(".plot .main-svg").count() >= page.locator(".plot").count() == 9

    def accent() -> str:
        return str(page.evaluate("document.getElementById('dev_loss').data[1].marker.color"))

    assert accent() == LIGHT.accent
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("body[data-drawn=dark]", state="attached")
    assert accent() == DARK.accent


def test_names_that_try_to_be_markup_are_shown(opened: Opened) -> None:
    page = opened([HOSTILE, "plain"])
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == page.locator("a").count() == page.locator(".plot a").count() == 0
    assert page.get_by_role("cell", name=HOSTILE).first.is_visible()
    legend = page.locator("#dev_loss .legendtext").all_text_contents()
    assert legend[0].startswith("<img src=x onerror=") and legend[1] == "plain"


def test_a_phone_has_no_page_to_move_sideways(opened: Opened) -> None:
    page = opened(["one", "x" * 200], viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('#loss .main-svg').getBoundingClientRect().width") > 300
