"""Names of atlases, the build lock, and the work folders of builds."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.atlas import paths
from components.atlas.paths import AtlasBusy, NoSuchAtlas, atlas_names, build_lock, free_name
from components.atlas.store import AtlasDamaged, AtlasParts, open_atlas, read_manifest, write_atlas

WRONG_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "A",
    "a b",
    "-a",
    "_a",
    ".a",
    "a\n",
    "a\x00",
    "ä",
    "x" * 65,
    "a\\b",
]


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_invalid_names_are_refused_everywhere(home: Path, name: str, atlas_parts: Callable[..., AtlasParts]) -> None:
    for use in (
        paths.atlas_folder,
        read_manifest,
        open_atlas,
        lambda name: build_lock(name).__enter__(),
        lambda name: write_atlas(replace(atlas_parts(graph=False), name=name)),
    ):
        with pytest.raises(NoSuchAtlas, match="cannot be the name of an atlas"):
            use(name)
    assert not home.exists()


def test_valid_names_and_free_ones(home: Path) -> None:
    for name in ("a", "0", "a..b", "x" * 64, "medline-2021_v1.2"):
        assert paths.atlas_folder(name) == home / name
    assert free_name("a", {"b"}) == "a"
    assert free_name("a", {"a", "a-2"}) == "a-3"
    assert free_name("x" * 64, {"x" * 64}) == "x" * 62 + "-2"


def test_an_unknown_atlas_is_reported_with_those_that_exist(
    written: AtlasParts, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (home / "half").mkdir()
    (home / "Not-A-Name").mkdir()
    (home / "file").write_text("")
    with pytest.raises(NoSuchAtlas, match=r"'two' \(there are: one\)"):
        open_atlas("two")
    for name in ("half", "file"):
        with pytest.raises((NoSuchAtlas, AtlasDamaged)):
            open_atlas(name)
    assert atlas_names() == ["one"]
    (tmp_path / "plain").write_text("")
    for no_home in ("none", "plain"):
        monkeypatch.setenv("COCITE_ATLAS_HOME", str(tmp_path / no_home))
        assert atlas_names() == []


HOLD = """
import sys
from components.atlas.paths import build_lock
with build_lock("one"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_builds_an_atlas(home: Path) -> None:
    environment = {**os.environ, "COCITE_ATLAS_HOME": str(home), "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(AtlasBusy, match="being built by another process"), build_lock("one"):
            pass
        assert paths.being_built("one")
        with build_lock("two"):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait(timeout=30)
    assert not paths.being_built("one")
    with build_lock("one") as folder:
        assert folder == home / "one"
        with pytest.raises(AtlasBusy), build_lock("one"):
            pass
    with pytest.raises(ZeroDivisionError), build_lock("one"):
        raise ZeroDivisionError
    with build_lock("one"):
        pass


def test_work_with_other_settings_and_partial_files_are_deleted(home: Path) -> None:
    first = paths.work_folder("one", {"a": 1})
    (first / "whole.npy").write_bytes(b"x")
    (first / "torn.npy.partial").write_bytes(b"x")
    assert paths.work_folder("one", {"a": 1}) == first
    assert [path.name for path in first.iterdir()] == ["whole.npy"]
    assert paths.work_folder("one", {"a": 2}) != first
    assert not first.exists()
