"""The Compare page's own logic, run by Streamlit's AppTest. What the browser draws is in tests/browser/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_md5

from components.build import build_atlas
from components.build_again import build_again
from components.encoder import EMBEDDED, LEXICAL
from components.pages import resources
from corpus.paper import Paper
from corpus.readers import write_jsonl

APP = Path(__file__).parents[2] / "app.py"
ABSTRACT = "We followed patients of a cardiology ward. Mortality fell with valve repair and with beta blockers."
PASTE = f"Valve repair in heart failure\n\n{ABSTRACT}"
LEFT, RIGHT = "planted", f"planted--{LEXICAL}"


@pytest.fixture(autouse=True)
def nothing_is_open() -> None:
    """The app holds open what it opened; each test begins as a new process does."""
    resources._open.clear()
    resources._place.clear()
    resources._fitted.clear()


@pytest.fixture(scope="module")
def pair_home(tmp_path_factory: pytest.TempPathFactory, planted: Callable[[int], list[Paper]]) -> Path:
    """A home with 2 × 12 planted papers, by the embedded encoder and by the lexical one. Not to be changed."""
    folder = tmp_path_factory.mktemp("pair")
    write_jsonl(planted(12), folder / "planted.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder / "home"))
        build_atlas(LEFT, [folder / "planted.jsonl"], encoder=EMBEDDED)
        assert build_again(LEFT, encoder=LEXICAL).name == RIGHT
    return folder / "home"


@pytest.fixture
def pair(pair_home: Path, home: Path) -> Path:
    """This test's own copy of that home."""
    shutil.copytree(pair_home, home)
    return home


def page(name: str = "compare", **params: str | list[str]) -> AppTest:
    """A page, drawn for a link with these parameters."""
    app = AppTest.from_file(str(APP), default_timeout=120)
    app._page_hash = calc_md5(name)
    for key, value in params.items():
        app.query_params[key] = value
    return whole(app.run())


def whole(app: AppTest) -> AppTest:
    """The page, which was drawn without an exception."""
    assert not app.exception, app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    return whole(next(button for button in app.button if button.label == label).click().run())


def ask(app: AppTest, paste: str) -> AppTest:
    app.text_area(key="paste").set_value(paste)
    return press(app, "Search")


def said(app: AppTest) -> str:
    """Every sentence of the page."""
    kinds = [app.caption, app.text, app.info, app.warning, app.error, app.subheader, app.markdown]
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def handed_over(app: AppTest, key: str) -> dict[str, Any] | None:
    """What the page hands to a piece in the browser."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component") if element.key == key]
    return found[0] if found else None


def cards(app: AppTest, key: str) -> list[dict[str, Any]]:
    data = handed_over(app, key)
    return data["cards"] if data else []


def params(app: AppTest) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else list(value) for name, value in app.query_params.items()}


def test_it_draws(pair: Path) -> None:
    app = page(atlas=LEFT)
    print(said(app))
    assert app.selectbox(key="pair-left").value == LEFT
