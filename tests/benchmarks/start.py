"""The whole app from a cold start: until it is healthy, until its map is drawn, and what memory it holds."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from plain_app import write_plain_app
from report import Row

from components.atlas.paths import HOME_VARIABLE
from components.atlas.store import Atlas

ROOT = Path(__file__).resolve().parents[2]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run")
_PATIENCE = 180_000  # ms
_MAP_DRAWN = {
    "ours": "() => document.querySelector('.map-root .plot')?.data && document.querySelector('.map-root .note').hidden",
    "plain": "() => document.querySelector('.js-plotly-plot .plot-container')",
}
_PEER = "a plain Streamlit script (transformers, plotly express)"


def measure(atlas: Atlas, model: Path, *, quick: bool) -> tuple[list[Row], str]:
    """Rows, and why some are missing: a browser draws the page, and where there is none only health is measured."""
    browser = find_browser()
    text = f"{atlas.paper(0).title}\n\n{atlas.paper(0).abstract}"
    found: dict[str, dict[str, list[float]]] = {"ours": {}, "plain": {}}
    with tempfile.TemporaryDirectory() as folder:
        scripts = {"ours": ROOT / "app.py", "plain": write_plain_app(Path(folder), atlas, model)}
        for number in range(1 if quick else 4):
            # Whoever starts second finds the files that both read in memory, so they take turns.
            for who in sorted(scripts, reverse=bool(number % 2)):
                for name, value in _one_start(scripts[who], who, browser, text).items():
                    found[who].setdefault(name, []).append(value)
    rows = [
        Row("start", name, "s" if "until" in name else "MiB", _median(values), _median(found["plain"][name]), _PEER)
        for name, values in found["ours"].items()
    ]
    return rows, "" if browser else f"start: no Chromium (looked for {', '.join(_NAMES)}, and in $CHROMIUM)"


def find_browser() -> str | None:
    """The path of a Chromium; None where there is none."""
    return os.environ.get("CHROMIUM") or next((path for name in _NAMES if (path := shutil.which(name))), None)


def page_times(browser: str, text: str, *, query: str, home: Path | None) -> dict[str, float]:
    """What one start of ours takes with another page of it, or with another folder of atlases: the same measures."""
    return _one_start(ROOT / "app.py", "ours", browser, text, query=query, home=home)


def _one_start(
    script: Path, who: str, browser: str | None, text: str, *, query: str = "", home: Path | None = None
) -> dict[str, float]:
    start = time.perf_counter()
    with _served(script, home) as (address, process):
        found = {"until healthy": time.perf_counter() - start}
        if browser:
            with _page(browser) as page:
                opened = time.perf_counter()
                page.goto(f"{address}/{query}")
                page.wait_for_function(_MAP_DRAWN[who], timeout=_PATIENCE)
                found["until the map is drawn, from a healthy server"] = time.perf_counter() - opened
                found["memory of the server after the first page"] = _resident(process)
                page.get_by_label("Title and abstract").fill(text)
                sent = time.perf_counter()
                page.get_by_role("button", name="Search", exact=True).click()
                page.get_by_role("heading", name="nearest papers").wait_for(timeout=_PATIENCE)
                hits = time.perf_counter()
                found["until the first hits, from the click"] = hits - sent
                # The plain script loads its encoder before it draws; ours draws first. This counts both.
                found["until the first hits, from a healthy server"] = hits - opened
                found["memory of the server after the first search"] = _resident(process)
    return found


@contextmanager
def _served(script: Path, home: Path | None) -> Iterator[tuple[str, psutil.Process]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}", "--server.headless=true"]
    settings = {"STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false", "PYTHONPATH": str(ROOT)}
    settings |= {HOME_VARIABLE: str(home)} if home else {}
    process = subprocess.Popen(
        [*command, "--server.address=localhost"],
        cwd=script.parent,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://localhost:{port}"
    try:
        deadline = time.monotonic() + _PATIENCE / 1000
        while not _healthy(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{script.name} did not start")
            time.sleep(0.02)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _page(browser: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=list(_FLAGS))
        try:
            yield running.new_page(viewport={"width": 1440, "height": 900})
        finally:
            running.close()


def _resident(process: psutil.Process) -> float:
    """MiB that a server and its children hold."""
    return float(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])) / 2**20


def _median(values: list[float]) -> float:
    return float(np.median(values))
