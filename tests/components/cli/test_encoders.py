"""The verb `encoders`: what it lists, shows, fetches and clears."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from components.cli.main import main
from components.encoder import CATALOGUE, EMBEDDED, LEXICAL, find_checkpoint

NAME = "aspire-biencoder-biomed-spec-full"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """call(*arguments): (exit code, standard output, standard error)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["encoders", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def published(full: Path, tiny: Path, hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zip_of):
    hub.files["/full.zip"] = zip_of(full, tmp_path / "published.zip", root=NAME).read_bytes()
    hub.publish("allenai/specter", "3" * 40, {path.name: path.read_bytes() for path in tiny.iterdir()})
    for name in (NAME, f"{NAME}-last-layer"):
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], url=f"{hub.url}/full.zip"))
    return hub


def test_a_list_says_what_is_here_and_fetches_nothing(call, published) -> None:
    rows = json.loads(call("--json")[1])
    assert [row["name"] for row in rows] == list(CATALOGUE)
    assert [row["name"] for row in rows if row["on_this_machine"]] == [EMBEDDED, LEXICAL]
    assert published.asked == []
    call("fetch", "specter")
    rows = json.loads(call("--json")[1])
    assert [row["name"] for row in rows if row["on_this_machine"]] == [EMBEDDED, LEXICAL, "specter"]
    assert all(row["base"] and row["domain"] and row["licence"] and row["note"] and row["advice"] for row in rows)
    code, out, _ = call()
    assert code == 0
    assert f"{EMBEDDED} (on this machine)\n  MiniLM-L6-H384, 384 dimensions, mean, Apache-2.0; for general" in out
    assert "aspire-biencoder-biomed-scib (not on this machine yet, about 440 MB to fetch)\n  SciBERT, 768" in out


def test_show_tells_all_before_and_the_fingerprint_after(call, published) -> None:
    code, out, _ = call("show", NAME)
    assert code == 0
    for fact in ("scalar_mix", "Apache-2.0", "60.47 %", "biomedical text", "about 440 MB", "not on this machine yet"):
        assert fact in out
    assert "fingerprint" not in out
    code, out, _ = call("fetch", NAME)
    assert code == 0
    fingerprint = find_checkpoint(NAME, local_files_only=True).fingerprint
    assert fingerprint[:16] in out
    shown = json.loads(call("show", NAME, "--json")[1])
    assert shown["fingerprint"] == fingerprint
    assert shown["scores"][0] == {"set": "TRECCOVID", "metric": "MAP", "percent": 28.87}
    assert json.loads(call("--json", "show", NAME)[1]) == shown


def test_clear_says_what_went_with_it(call, published) -> None:
    call("fetch", NAME)
    code, out, _ = call("clear", NAME)
    assert code == 0
    assert "freed" in out
    assert f"{NAME}-last-layer" in out
    assert not json.loads(call("show", NAME, "--json")[1])["on_this_machine"]


def test_an_interrupted_fetch_keeps_its_part(call, published, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def interrupt(bar: object, n: int = 1) -> None:
            if n:
                raise KeyboardInterrupt

        patch.setattr("tqdm.tqdm.update", interrupt)
        published.etags["/full.zip"] = '"one"'
        code, _, err = call("fetch", NAME)
    assert code == 130
    assert "the same command goes on from there" in err
    assert "of it are" in call()[1]
    assert call("fetch", NAME)[0] == 0
    assert published.got("/full.zip")[1].startswith("bytes=")


def test_own_models_are_listed_and_shown(call, cache: Path, tiny: Path) -> None:
    shutil.copytree(tiny, cache / "own" / "mine")
    assert "own/mine (your own)" in call()[1]
    assert find_checkpoint(str(tiny)).fingerprint in call("show", "own/mine")[1]


@pytest.mark.parametrize("verb", ["show", "fetch", "clear"])
def test_an_unknown_name_is_a_sentence(call, cache: Path, verb: str) -> None:
    code, out, err = call(verb, "../x")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "Known by name" in err
