"""Draw a page by Streamlit's AppTest, and read it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from components.jobs import runner
from components.pages import evaluation_tabs, resources

APP = Path(__file__).parents[3] / "app.py"
PATIENCE = 120  # seconds; nothing is measured by it
_TEXTS = ("caption", "text", "info", "warning", "error", "success", "subheader", "markdown")


def forget_everything() -> None:
    """Clear what the app caches in a process: each test begins as a new process does."""
    for cached in (
        resources._open, resources._computed, resources._fitted,
        evaluation_tabs._open_set, evaluation_tabs._read_scores, evaluation_tabs._paired_test,
    ):  # fmt: skip
        cached.clear()
    runner._latest = None


def open_page(name: str = "", **params: str | list[str]) -> AppTest:
    """A page, drawn for a link with these parameters."""
    app = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    if name:
        app._page_hash = calc_hash(name)
    for key, value in params.items():
        app.query_params[key] = value
    return checked(app.run())


def checked(app: AppTest) -> AppTest:
    """The page, which was drawn without an exception."""
    assert not app.exception, app.exception
    return app


def press(app: AppTest, label_or_key: str) -> AppTest:
    """Press the button with a label or a key."""
    button = next(button for button in app.button if label_or_key in (button.label, button.key))
    return checked(button.click().run())


def search_for(app: AppTest, paste: str) -> AppTest:
    """Paste a text and search."""
    app.text_area(key="paste").set_value(paste)
    return press(app, "Search")


def texts(app: AppTest) -> str:
    """Every sentence of the page, and its HTML."""
    elements = [str(element.value) for kind in _TEXTS for element in app.get(kind)]
    return "\n".join([*elements, *(str(element.proto.body) for element in app.get("html"))])


def keys(app: AppTest, prefix: str) -> list[str]:
    """The keys of the buttons that begin so."""
    return [button.key for button in app.button if (button.key or "").startswith(prefix)]


def component_data(app: AppTest, key: str) -> dict[str, Any] | None:
    """What the page passes to a component in the browser; None without that component."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component") if element.key == key]
    return found[0] if found else None


def cards(app: AppTest, key: str = "results") -> list[dict[str, Any]]:
    """The papers of a list."""
    data = component_data(app, key)
    return data["cards"] if data else []


def the_map(app: AppTest) -> dict[str, Any]:
    """What the page passes to the map."""
    data = component_data(app, "map")
    assert data is not None
    return data


def params(app: AppTest) -> dict[str, list[str]]:
    """The page's link."""
    return {name: [value] if isinstance(value, str) else list(value) for name, value in app.query_params.items()}


def page_links(app: AppTest) -> dict[str, dict[str, list[str]]]:
    """The links to pages: label → parameters."""
    return {link.proto.label: parse_qs(link.proto.query_string) for link in app.get("page_link")}


def flip_last_byte(path: Path) -> None:
    """Damage a file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
