"""Atlas paths, names and locks: where atlases lie, what they may be called, and who may build one."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import filelock

from corpus.errors import CociteAtlasError
from corpus.io.disk import disk_errors

HOME_VARIABLE = "COCITE_ATLAS_HOME"
DEFAULT_ATLAS = "medline"  # assembled from shipped files: no other build may take its name
_DEFAULT_HOME = Path(__file__).resolve().parents[2] / "corpus" / "built"

# Names are typed by people and come in links: this pattern keeps them from being paths.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_NAME_CHARS = 64
FOLDER = re.compile(r"[0-9a-f]{16}")

MANIFEST, LOCK = "manifest.json", ".lock"


class NoSuchAtlas(CociteAtlasError):
    """No atlas of that name, or a name that no atlas can have."""


class AtlasBusy(CociteAtlasError):
    """Another process is building the atlas of that name."""


class NameReserved(CociteAtlasError):
    """A name that a build may not take: the default atlas's, or that of an atlas which must stay."""


def home() -> Path:
    """The folder that holds all atlases: $COCITE_ATLAS_HOME, by default corpus/built/ in the project."""
    return Path(os.environ.get(HOME_VARIABLE) or _DEFAULT_HOME).expanduser()


def home_errors() -> AbstractContextManager[None]:
    """`disk_errors` of the folder of atlases."""
    advice = f"Atlases are kept in {home()}: check its permissions, or name another folder in {HOME_VARIABLE}."
    return disk_errors(home(), advice=advice)


def atlas_folder(name: str) -> Path:
    """The folder of a name, whether it exists or not. Raises NoSuchAtlas for what cannot be a name."""
    if not NAME.fullmatch(name):
        raise NoSuchAtlas(
            f"{name!r:.80} cannot be the name of an atlas: use up to {MAX_NAME_CHARS} of a–z, 0–9, '.', '_' and '-', "
            "the first a letter or a digit."
        )
    return home() / name


def atlas_names() -> list[str]:
    """The names of all atlases that have a manifest, sorted."""
    if not home().is_dir():
        return []
    return sorted(
        folder.name for folder in home().iterdir() if NAME.fullmatch(folder.name) and (folder / MANIFEST).is_file()
    )


def check_name(name: str) -> None:
    """Raise NoSuchAtlas or NameReserved unless a new atlas may have this name."""
    atlas_folder(name)
    if name == DEFAULT_ATLAS:
        raise NameReserved(f"{name!r} is the name of the default atlas. Choose another name: --name NAME")


def free_name(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or with the first number appended that makes it free: at most MAX_NAME_CHARS characters."""
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted[: MAX_NAME_CHARS - len(f'-{number}')]}-{number}"
    return name


@contextmanager
def build_lock(name: str) -> Iterator[Path]:
    """Hold the right to build the atlas of a name; gives its folder. Raises AtlasBusy where another process holds it.

    The operating system releases it when the process ends, however it ends.
    """
    folder = atlas_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK, timeout=0.3)  # not 0: `being_built` holds it for a moment
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise AtlasBusy(f"The atlas {name!r} is being built by another process. Wait for it, or stop it.") from error
    try:
        yield folder
    finally:
        lock.release()


def being_built(name: str) -> bool:
    """Whether a process, this one included, is building the atlas of a name."""
    path = atlas_folder(name) / LOCK
    if not path.is_file():
        return False
    try:
        with filelock.FileLock(path, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # a read-only home: nobody builds there
        return False


def work_folder(name: str, settings: dict[str, Any]) -> Path:
    """Where a build with these settings keeps its work. Work with other settings is deleted."""
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    wanted = atlas_folder(name) / f"work-{key}"
    for other in atlas_folder(name).glob("work-*"):
        if other != wanted:
            shutil.rmtree(other, ignore_errors=True)
    wanted.mkdir(parents=True, exist_ok=True)
    for partial in wanted.glob("*.partial"):
        partial.unlink(missing_ok=True)
    return wanted


def work_folders(name: str | None = None) -> list[Path]:
    """The work folders of the builds of an atlas, or of all; those of running builds included."""
    tops = [atlas_folder(name)] if name is not None else sorted(home().glob("*")) if home().is_dir() else []
    return [work for top in tops if NAME.fullmatch(top.name) for work in sorted(top.glob("work-*")) if work.is_dir()]
