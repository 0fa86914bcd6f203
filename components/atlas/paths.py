"""Places: where atlases lie and what they may be called, who may build one, and where its work is kept meanwhile."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import filelock

from corpus.errors import CociteAtlasError
from corpus.io.disk import disk_errors

HOME_VARIABLE = "COCITE_ATLAS_HOME"
DEFAULT_ATLAS = "medline"  # assembled from shipped files: no build of other files may take its name
_DEFAULT_HOME = Path(__file__).resolve().parents[2] / "corpus" / "built"

# Names are typed by people and come in links: this pattern is what keeps them from being paths.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FOLDER = re.compile(r"[0-9a-f]{16}")

MANIFEST, LOCK = "manifest.json", ".lock"


class NoSuchAtlas(CociteAtlasError):
    """No atlas of that name, or a name that no atlas can have."""


class AtlasBusy(CociteAtlasError):
    """Another process is building the atlas of that name."""


def home() -> Path:
    """The folder that holds all atlases: $COCITE_ATLAS_HOME, by default corpus/built/ in the project."""
    return Path(os.environ.get(HOME_VARIABLE) or _DEFAULT_HOME).expanduser()


def atlas_names() -> list[str]:
    """The names of all atlases that have a manifest, sorted."""
    if not home().is_dir():
        return []
    return sorted(
        folder.name for folder in home().iterdir() if NAME.fullmatch(folder.name) and (folder / MANIFEST).is_file()
    )


@contextmanager
def build_lock(name: str) -> Iterator[Path]:
    """Hold the right to build the atlas of a name; gives its folder. Raises AtlasBusy where another process holds it.

    The operating system lets go of it when the process ends, however it ends.
    """
    folder = atlas_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    # Not at once: whoever looks whether a build is under way holds it for a moment.
    lock = filelock.FileLock(folder / LOCK, timeout=0.3)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise AtlasBusy(f"The atlas {name!r} is being built by another process. Wait for it, or stop it.") from error
    try:
        yield folder
    finally:
        lock.release()


def work_folder(name: str, settings: dict[str, Any]) -> Path:
    """Where a build with these settings keeps what it has done so far. Work on other settings is thrown away."""
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    wanted = atlas_folder(name) / f"work-{key}"
    for other in atlas_folder(name).glob("work-*"):
        if other != wanted:
            shutil.rmtree(other, ignore_errors=True)
    wanted.mkdir(parents=True, exist_ok=True)
    for torn in wanted.glob("*.partial"):
        torn.unlink(missing_ok=True)
    return wanted


def work_folders(name: str | None = None) -> list[Path]:
    """The work folders of the builds of an atlas, or of all; those of builds under way among them."""
    tops = [atlas_folder(name)] if name is not None else sorted(home().glob("*")) if home().is_dir() else []
    return [work for top in tops if NAME.fullmatch(top.name) for work in sorted(top.glob("work-*")) if work.is_dir()]


def atlas_folder(name: str) -> Path:
    """The folder of a name, there or not. Raises NoSuchAtlas for what cannot be a name."""
    if not NAME.fullmatch(name):
        raise NoSuchAtlas(
            f"{name!r:.80} cannot be the name of an atlas: use up to 64 of a–z, 0–9, '.', '_' and '-', "
            "the first a letter or a digit."
        )
    return home() / name


def home_errors() -> AbstractContextManager[None]:
    """`disk_errors` of the folder of atlases."""
    advice = f"Atlases are kept in {home()}: check its permissions, or name another folder in {HOME_VARIABLE}."
    return disk_errors(home(), advice=advice)
