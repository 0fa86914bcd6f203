"""Judged sets that are kept, to be asked for by name. Nothing else reads or writes <home>/.sets/.

<home>/.sets/<name>/            the files of the released format (see corpus.judged_sets.released)
<home>/.sets/<name>/card.json   what `describe` tells of them, and of which files it was told
"""

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from components.atlas.paths import NAME, home, home_errors
from corpus.io.files import size_words, write_text
from corpus.judged_sets.model import Handled, JudgedSet, SetError
from corpus.judged_sets.released import FACETS_TOGETHER, file_kind, read_released, released_files, write_released
from corpus.progress import Progress, no_progress

IR_DATASETS = "ir:"  # before the id of a set of ir_datasets
LARGEST_FILES = 4 * 2**30  # bytes of all files of a set that are kept together
MOST_FILES = 20  # CSFCube has seven
_CARD = "card.json"
_LARGEST_CARD = 2**20  # bytes; the rules may have 20,000 characters
_VERSION = 1
_PART = 2**20
_TORN_AFTER = 86_400  # seconds; nobody takes a day to give the files of a set


class Readable(Protocol):
    """What a file is copied from, a part at a time."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class SetCard:
    """A kept set in short. facets: empty where it has none. splits: the number of queries of each; where the set has
    facets, papers, pools, splits and handled are those of all of them together. bytes: on disk."""

    name: str
    facets: tuple[str, ...]
    splits: Mapping[str, int]
    papers: int
    pools: int
    candidates: int
    origin: str
    relevant_from: int
    rules: str
    handled: tuple[Handled, ...]
    bytes: int


def set_names() -> list[str]:
    """The names of the sets that are kept, sorted."""
    with suppress(OSError):
        return sorted(path.name for path in _top().iterdir() if NAME.fullmatch(path.name) and _is_folder(path))
    return []


def read_set(name: str, *, data: Path | None = None, facet: str = "", progress: Progress = no_progress) -> JudgedSet:
    """A judged set, by the name under which it is kept, or "ir:" and an id of ir_datasets.

    data: a folder with the files of a set in the released format, which is read in place of a kept one; its name is
    found from the files where `name` is empty. facet: as in `read_released`.
    Raises SetError, naming the sets that there are where this is none, and what `progress` does.
    """
    if data is not None:
        return read_released(data, name=name, facet=facet, progress=progress)
    if name.startswith(IR_DATASETS):
        from corpus.judged_sets.ir_pools import read_ir_dataset

        if facet:
            raise SetError(f"{name} has no facets, and so no {facet!r}. Ask for it without one.")
        return read_ir_dataset(name.removeprefix(IR_DATASETS), progress=progress)
    # Kept under a name of the person's choice, which is what evaluations of it are found by.
    return replace(read_released(_kept(name), facet=facet, progress=progress), name=name)


def describe(name: str, *, progress: Progress = no_progress) -> SetCard:
    """What a kept set is. Read from its files once, and again when they have changed. Raises SetError."""
    folder = _kept(name)
    seen = _files_of(folder)
    if (card := _read_card(folder, seen, name=name)) is not None:
        return card
    card = _card(folder, name=name, progress=progress)
    with suppress(OSError):  # a folder that may only be read
        _note_card(folder, card)
    return card


def keep_set(judged: JudgedSet, name: str) -> SetCard:
    """Keep a set under a name. Raises SetError where the name is none or is taken, NoSpaceLeft, CannotWrite."""
    with _new(name) as work:
        write_released(replace(judged, name=name), work)
        _note_card(work, _card(work, name=name, progress=no_progress))
    return describe(name)


def keep_files(name: str, files: Mapping[str, Readable], *, progress: Progress = no_progress) -> SetCard:
    """Keep a set of which somebody gives the files, by their names; nothing is kept of a set that cannot be read.

    Raises SetError for a name that is no file of a released set, for too many bytes, and as `read_released` does;
    NoSpaceLeft, CannotWrite, and what `progress` does.
    """
    strange = [called for called in files if file_kind(called) is None]
    if strange or len(files) > MOST_FILES:
        told = f"{strange[0]!r:.80} is no file of a judged set" if strange else f"{len(files)} files are too many"
        raise SetError(
            f"{told}. Give abstracts-<set>.jsonl, test-pid2anns-<set>.json, <set>-evaluation_splits.json "
            "and, where there are such, <set>-queries-release.csv and set.json. Of judgements of your own a set "
            "is made on the command line: python -m components.evaluation make plain --help"
        )
    with _new(name) as work:
        left = LARGEST_FILES
        for called, content in files.items():
            with (work / called).open("xb") as file:
                while part := content.read(_PART):
                    left -= len(part)
                    if left < 0:
                        raise SetError(f"{called}: with it the files have more than {size_words(LARGEST_FILES)}.")
                    file.write(part)
        released_files(work, called="What was given")  # an error is to name no folder that is gone at once
        _note_card(work, _card(work, name=name, progress=progress))
    return describe(name, progress=progress)


def delete_set(name: str) -> None:
    """Delete a kept set; nothing where it is gone. Its evaluations stay. Raises SetError for what is no name."""
    folder = _folder(name)
    gone = _top() / f".gone-{secrets.token_hex(8)}"
    with home_errors(), suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _top() -> Path:
    return home() / ".sets"


def _folder(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise SetError(
            f"{name!r:.80} cannot be the name of a set: use up to 64 of a–z, 0–9, '.', '_' and '-', "
            "the first a letter or a digit."
        )
    return _top() / name


def _kept(name: str) -> Path:
    folder = _folder(name)
    if not _is_folder(folder):
        known = ", ".join(set_names()) or "none yet"
        raise SetError(f"No judged set is kept under the name {name!r}. Sets kept: {known}.")
    return folder


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _new(name: str) -> Iterator[Path]:
    """A folder to work in, which becomes that of a set when all went well."""
    folder = _folder(name)
    taken = f"A set is kept under the name {name!r} already. Give this one another name, or delete that one."
    if folder.exists():
        raise SetError(taken)
    with home_errors():
        _clear_torn()
        work = _top() / f".new-{secrets.token_hex(8)}"
        work.mkdir(parents=True)
        try:
            yield work
            try:
                work.rename(folder)
            except OSError as error:  # a folder that is not empty is never replaced: somebody else was faster
                if folder.exists():
                    raise SetError(taken) from error
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _clear_torn() -> None:
    """Throw away what a process left that was killed while it kept or deleted a set."""
    for path in _top().glob(".gone-*") if _top().is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
    for path in _top().glob(".new-*") if _top().is_dir() else ():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _TORN_AFTER:
                shutil.rmtree(path, ignore_errors=True)


def _card(folder: Path, *, name: str, progress: Progress) -> SetCard:
    facets = released_files(folder).facets
    judged = read_released(folder, facet=FACETS_TOGETHER if facets else "", progress=progress)
    return SetCard(
        name=name,
        facets=facets,
        splits={split: sum(map(len, folds)) for split, folds in judged.splits.items()},
        papers=len(judged.papers),
        pools=len(judged.pools),
        candidates=sum(len(pool.rows) for pool in judged.pools),
        origin=judged.origin,
        relevant_from=judged.relevant_from,
        rules=judged.rules,
        handled=judged.handled,
        bytes=sum(size for _, size, _ in _files_of(folder)),
    )


def _files_of(folder: Path) -> list[list[Any]]:
    """Name, size in bytes and time of change (ns) of each file of a set, by which it is told whether one changed."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name != _CARD and path.is_file():
            told = path.stat()
            found.append([path.name, told.st_size, told.st_mtime_ns])
    return found


def _note_card(folder: Path, card: SetCard) -> None:
    files = _files_of(folder)
    write_text(folder / _CARD, json.dumps({"version": _VERSION, "files": files, "card": asdict(card)}) + "\n")


def _read_card(folder: Path, seen: list[list[Any]], *, name: str) -> SetCard | None:
    """The card beside the files; None where there is none, or it is of other files or damaged."""
    path = folder / _CARD
    try:
        if path.stat().st_size > _LARGEST_CARD:
            return None
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["version"] != _VERSION or raw["files"] != seen:
            return None
        told = raw["card"]
        handled = tuple(Handled(one["kind"], one["count"], tuple(one["examples"])) for one in told["handled"])
        return SetCard(**told | {"name": name, "facets": tuple(told["facets"]), "handled": handled})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
