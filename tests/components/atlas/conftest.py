"""A small atlas by a tiny encoder, which takes milliseconds where the meaning of texts does not matter."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.export import write_jsonl
from corpus.paper import Paper


@pytest.fixture(scope="session")
def mine_home(tmp_path_factory: pytest.TempPathFactory, tiny: Path, planted: Callable[[int], list[Paper]]) -> Path:
    """A home with the atlas `mine`: 2 x 6 planted papers by the encoder `tiny`. Not to be changed: copy it."""
    from components.atlas.build import build_atlas

    folder = tmp_path_factory.mktemp("mine")
    write_jsonl(planted(6), folder / "mine.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder / "home"))
        build_atlas("mine", [folder / "mine.jsonl"], encoder=str(tiny))
    return folder / "home"


@pytest.fixture
def mine(mine_home: Path, home: Path) -> str:
    """The name of the atlas `mine`, in this test's own copy."""
    shutil.copytree(mine_home, home)
    return "mine"
