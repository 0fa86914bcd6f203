"""Verbs of encoders, against a local hub."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.encoder.catalogue import CATALOGUE, EMBEDDED, LEXICAL
from components.encoder.checkpoints import find_checkpoint
from tests.components.cli.conftest import Cocite

NAME = "aspire-biencoder-biomed-spec-full"


@pytest.fixture
def published(
    full: Path, tiny: Path, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zip_of: Callable[..., Path]
) -> Any:
    """A hub with `specter` and the zip of NAME."""
    hub.files["/full.zip"] = zip_of(full, tmp_path / "published.zip", root=NAME).read_bytes()
    hub.publish("allenai/specter", "3" * 40, {path.name: path.read_bytes() for path in tiny.iterdir()})
    for name in (NAME, f"{NAME}-last-layer"):
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], url=f"{hub.url}/full.zip"))
    return hub


def here(cocite: Cocite) -> list[str]:
    return [row["name"] for row in cocite("encoders", "list", "--json").json if row["on_this_machine"]]


def test_list_shows_what_is_here_and_fetches_nothing(cocite: Cocite, published: Any) -> None:
    rows = cocite("encoders", "list", "--json").json
    assert [row["name"] for row in rows] == list(CATALOGUE)
    assert all(row["base"] and row["domain"] and row["licence"] and row["note"] and row["advice"] for row in rows)
    assert here(cocite) == [EMBEDDED, LEXICAL]
    assert published.asked == []
    assert cocite("encoders", "fetch", "specter").code == 0
    assert here(cocite) == [EMBEDDED, LEXICAL, "specter"]
    text = cocite("encoders", "list").out
    assert f"{EMBEDDED} (on this machine)\n  MiniLM-L6-H384, 384 dimensions, mean, Apache-2.0; for general" in text
    assert "aspire-biencoder-biomed-scib (not on this machine, about 440" in text


def test_show_fetch_and_clear(cocite: Cocite, published: Any) -> None:
    text = cocite("encoders", "show", NAME).out
    for part in ("scalar_mix", "Apache-2.0", "60.47 %", "biomedical text", "not on this machine"):
        assert part in text
    assert "fingerprint" not in text
    fetched = cocite("encoders", "fetch", NAME, "--json").json
    fingerprint = find_checkpoint(NAME, local_files_only=True).fingerprint
    assert fetched == {"fetched": NAME, "fingerprint": fingerprint}
    shown = cocite("encoders", "show", NAME, "--json").json
    assert shown["fingerprint"] == fingerprint
    assert shown["scores"][0] == {"set": "TRECCOVID", "metric": "MAP", "percent": 28.87}
    cleared = cocite("encoders", "clear", NAME, "--json").json
    assert cleared["others"] == [f"{NAME}-last-layer"] and cleared["bytes"] > 0
    assert here(cocite) == [EMBEDDED, LEXICAL]


def test_your_own_checkpoints_are_listed_and_shown(cocite: Cocite, cache: Path, tiny: Path) -> None:
    shutil.copytree(tiny, cache / "own" / "mine")
    assert "own/mine (your own)" in cocite("encoders", "list").out
    assert find_checkpoint(str(tiny)).fingerprint in cocite("encoders", "show", "own/mine").out


@pytest.mark.parametrize("verb", ["show", "fetch", "clear"])
def test_an_unknown_name_is_an_error(cocite: Cocite, cache: Path, verb: str) -> None:
    cocite("encoders", verb, "../x").assert_error("'../x'", EMBEDDED)
