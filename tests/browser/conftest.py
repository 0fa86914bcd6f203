"""The real app in a real Chromium: one server and one browser for all tests, a fresh context for each."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from corpus.sources.services import SERVICES
from tests.corpus.sources.fake_services import Place

ROOT = Path(__file__).resolve().parents[2]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Software rendering, so that WebGL works where there is no graphics card; no calls home.
_FLAGS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE = 60_000  # ms, for what waits on a busy machine; nothing is measured by it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    path = os.environ.get("CHROMIUM") or next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(_NAMES)}, and in $CHROMIUM)")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """A server on this machine that the app asks in the place of every service: it can reach no other."""
    place = Place()
    place.start()
    yield place
    place.stop()


@pytest.fixture(scope="session")
def medline_home(medline_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This process's own copy of the home, which the tests of the app change."""
    return Path(shutil.copytree(medline_home, tmp_path_factory.mktemp("app") / "home"))


@pytest.fixture(scope="session")
def server(medline_home: Path, hostile_atlas: str, place: Place) -> Iterator[str]:
    """The address of the app, served from the assembled default atlas and one of hostile texts beside it."""
    services = {service.url_variable: f"{place.url}/{service.name}" for service in SERVICES}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = medline_home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"],
            cwd=ROOT,
            env={**os.environ, **services, "COCITE_ATLAS_HOME": str(medline_home), "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        address = f"http://localhost:{port}"
        try:
            _wait_until_healthy(address, process, log)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            process_poll_interval()
    pytest.fail(f"the app did not start:\n{log.read_text()[-3000:]}")


def process_poll_interval() -> None:
    """Give the server a moment: select on nothing, for there is nothing to wait on but the clock."""
    import select

    select.select([], [], [], 0.3)


@dataclass
class Visit:
    """A page and everything that it said: requests to other hosts, script errors, console errors."""

    page: Any
    address: str
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def open(self, query: str = "") -> None:
        """Open the page and wait for its map."""
        self.page.goto(f"{self.address}/{query}")
        self.map_drawn()

    def map_drawn(self) -> None:
        self.page.wait_for_function(
            "() => { const plot = document.querySelector('.map-root .plot');"
            " return plot && plot.data && document.querySelector('.map-root .note').hidden }",
            timeout=PATIENCE,
        )

    def search(self, text: str) -> None:
        """Paste a text, search, and wait for its papers."""
        self.page.get_by_label("Title and abstract").fill(text)
        self.page.get_by_role("button", name="Search", exact=True).click()
        self.page.get_by_role("heading", name="nearest papers").wait_for(timeout=PATIENCE)
        self.settled()

    def settled(self) -> None:
        """Wait until the app has stopped running."""
        self.page.wait_for_function(
            "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'",
            timeout=PATIENCE,
        )
        self.map_drawn()

    def received(self, name: str) -> int:
        """Bytes of the last answer of one of the map's routes, before any compression."""
        return len(self.answers[name].body())

    def hits(self) -> Any:
        """The headings of the result list, drawn or not."""
        return self.page.locator("ol[aria-label='Nearest papers, nearest first'] h3")

    def titles(self) -> list[str]:
        """The titles of the result list, as read, once it is drawn: it comes after its heading, and all at once."""
        found = self.hits()
        found.first.wait_for(timeout=PATIENCE)
        return found.all_inner_texts()

    def traces(self) -> list[dict[str, Any]]:
        """What the map draws now, in short: type, mode, symbol, rows, number of points, colour."""
        return self.page.evaluate(
            """() => document.querySelector('.map-root .plot').data.map(t => ({
                type: t.type, mode: t.mode, count: t.x.length, symbol: t.marker?.symbol ?? null,
                rows: t.customdata && t.customdata.length < 300 ? Array.from(t.customdata) : null,
                x: t.x.length < 300 ? Array.from(t.x) : null, y: t.y.length < 300 ? Array.from(t.y) : null,
                colour: typeof t.marker?.color === 'string' ? t.marker.color : null,
                ring: t.marker?.line?.color ?? null,
            }))"""
        )

    def star(self) -> dict[str, Any] | None:
        return next((trace for trace in self.traces() if trace["symbol"] == "star"), None)

    def rings(self) -> list[int]:
        """The rows that are ringed as hits."""
        star = self.star()
        return next((t["rows"] for t in self.traces() if t["rows"] and star and t["ring"] == star["colour"]), [])

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Where on the page a point of the map is."""
        found = self.page.evaluate(
            """([x, y]) => { const plot = document.querySelector('.map-root .plot');
                const box = plot.getBoundingClientRect(), { xaxis, yaxis } = plot._fullLayout;
                return [box.left + xaxis.l2p(x), box.top + yaxis.l2p(y)] }""",
            [x, y],
        )
        return found[0], found[1]

    def link(self) -> str:
        return self.page.evaluate("() => location.search")


@pytest.fixture
def visit(request: pytest.FixtureRequest, chromium: Any, server: str) -> Iterator[Visit]:
    """A visitor with an empty browser, 1440 × 900 unless the test is parametrised with `context` options."""
    options = getattr(request, "param", {})
    context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    found = Visit(page=page, address=server)

    def on_request(asked: Any) -> None:
        if not asked.url.startswith((server, "data:", "blob:", "ws://localhost")):
            found.outside.append(asked.url)

    def on_response(answer: Any) -> None:
        if "/cocite/" in answer.url:
            found.answers[answer.url.rsplit("/", 1)[-1].split("?")[0]] = answer

    page.on("request", on_request)
    page.on("response", on_response)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    yield found
    context.close()
    # Whatever a test does, the page may speak to its own server alone, and no script of it may fail.
    assert found.outside == []
    assert found.errors == []


@pytest.fixture(scope="session")
def hostile_atlas(medline_home: Path) -> str:
    """The name of an atlas of papers whose every field tries to be markup, in the home that the app is served from."""
    from components.atlas.build import build_atlas
    from corpus.export import write_jsonl
    from corpus.paper import Paper

    bad = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>[x](javascript:alert(1)) **b** $x$'
    papers = [
        Paper(
            id=f"hostile-{i}",
            title=f"{i} {bad}",
            abstract=f"{bad} paper number {i} on heart failure",
            authors=(bad, "O'Hara, <i>Ann</i>"),
            year=2020 + i % 2,
            venue=bad,
            doi='10.1/"><script>window.hacked=1</script>',
            topics=(bad, "heart"),
        )
        for i in range(12)
    ]
    path = medline_home / "hostile.jsonl"
    write_jsonl(papers, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(medline_home))
        build_atlas("hostile", [path], encoder="all-minilm-l6-v2")
    return "hostile"


@pytest.fixture
def small_corpus(medline_home: Path, topics_home: Path) -> Iterator[str]:
    """The name of a corpus of 12 planted papers, with one atlas, in the home that the app is served from."""
    name = "topics"
    shutil.copytree(topics_home / name, medline_home / name)
    yield name
    for folder in medline_home.glob(f"{name}*"):
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pairs(medline_home: Path, hostile_atlas: str, planted: Callable[[int], list[Any]]) -> tuple[str, str]:
    """The names of two corpora with an atlas by the lexical encoder too: planted papers, and the hostile ones."""
    from components.atlas.build import build_atlas
    from components.atlas.reencode import reencode
    from corpus.export import write_jsonl

    write_jsonl(planted(20), medline_home / "planted.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(medline_home))
        build_atlas("planted", [medline_home / "planted.jsonl"], encoder="all-minilm-l6-v2")
        for name in ("planted", hostile_atlas):
            reencode(name, encoder="tfidf-svd")
    return "planted", hostile_atlas
