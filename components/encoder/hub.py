"""The Hugging Face hub: which files of a repository are here, and fetching them at one commit, the same ever after.

The hub's own client fetches the small files and keeps its cache in order. The weights come by our own transfer, since
that client starts a stopped file from its beginning and cannot be stopped within one; they are then put where it
looks for them.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.encoder.base import FETCHING
from components.encoder.cache import cache_folder, one_at_a_time, read_record, write_record
from components.encoder.catalogue import EMBEDDED
from components.encoder.errors import EncoderUnavailable, first_line
from components.encoder.transfer import download
from corpus.progress import Progress

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which they are preferred; one is fetched
TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_SMALL = (*TOKENIZER, "config.json")  # the configuration last: where it is, the others are
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_TIMEOUT = 20  # seconds for a question to the hub


def valid_repository(hub_id: str) -> bool:
    """Whether a text is `owner/name`, and nothing that could be a path or an address."""
    return bool(REPOSITORY.fullmatch(hub_id)) and ".." not in hub_id and "--" not in hub_id


def key_of(hub_id: str) -> str:
    """The name of a repository's record and lock."""
    return hub_id.replace("/", "--")


def find_snapshot(hub_id: str, *, revision: str = "", weights: bool) -> Path | None:
    """The folder of a repository's files at its commit, where all are here; asks nobody.

    revision: a commit; else the one written down, else the one that the hub's cache knows as main.
    weights: whether its weights must be here, too.
    """
    storage = repository_folder(hub_id)
    record = read_record(key_of(hub_id))
    commit = revision or str(record.get("commit", ""))
    if not commit:
        try:
            commit = (storage / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
    folder = storage / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not (folder / "config.json").is_file():
        return None
    listed = record.get("files") if record.get("commit") == commit else None
    if isinstance(listed, list) and not all((folder / str(name)).is_file() for name in listed if name in _SMALL):
        return None
    if not any((folder / name).is_file() for name in TOKENIZER[:2]):
        return None
    if weights and not any((folder / name).is_file() for name in WEIGHTS):
        return None
    return folder


def fetch_snapshot(name: str, hub_id: str, *, revision: str = "", weights: bool, progress: Progress) -> Path:
    """The folder of a repository's files at its commit, fetched unless they are here.

    name: the encoder that needs it, in errors. Raises EncoderUnavailable, and what `progress` raises.
    """
    key = key_of(hub_id)
    with one_at_a_time(key, progress=progress):
        if folder := find_snapshot(hub_id, revision=revision, weights=weights):
            keep_to(hub_id, folder.name)
            return folder
        from huggingface_hub import HfApi, hf_hub_download

        pinned = revision or str(read_record(key).get("commit", ""))
        with _said(name, hub_id):
            info = HfApi().model_info(hub_id, revision=pinned or "main", timeout=_TIMEOUT)
            held = [file.rfilename for file in info.siblings or []]
            commit = str(info.sha)
        if not _COMMIT.fullmatch(commit) or (pinned and commit != pinned):
            raise EncoderUnavailable(
                f"{name}: the hub answers with the commit {commit!r:.60} of {hub_id}, not {pinned or 'a commit'}."
            )
        _pin(key, commit, files=[file for file in _SMALL if file in held])
        for file in _SMALL:
            if file in held:
                with _said(name, hub_id):
                    hf_hub_download(hub_id, file, revision=commit)
        if weights:
            chosen = next((file for file in WEIGHTS if file in held), None)
            if chosen is None:
                raise EncoderUnavailable(f"{name}: {hub_id} on the hub holds neither of {' and '.join(WEIGHTS)}.")
            _fetch_weights(name, hub_id, chosen, commit, progress=progress)
        return repository_folder(hub_id) / "snapshots" / commit


def keep_to(hub_id: str, commit: str) -> None:
    """Write down the commit that is used, where it can be: from now on it is this one, whatever main becomes."""
    with suppress(EncoderUnavailable):
        _pin(key_of(hub_id), commit)


def repository_folder(hub_id: str) -> Path:
    """Where the hub's cache keeps a repository."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{key_of(hub_id)}"


def weights_target(hub_id: str) -> Path:
    """Where a repository's weights lie while they come."""
    return cache_folder() / key_of(hub_id)


def delete_repository(hub_id: str) -> int:
    """Remove a repository from the hub's cache; the bytes that were freed."""
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


def _fetch_weights(name: str, hub_id: str, file: str, commit: str, *, progress: Progress) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(hub_id, file, revision=commit)
    with _said(name, hub_id):
        told = get_hf_file_metadata(url, timeout=_TIMEOUT)
        headers = {str(key): str(value) for key, value in build_hf_headers().items()}
    etag, size = told.etag or "", told.size or 0
    blob = repository_folder(hub_id) / "blobs" / etag
    # The tag of a large file is its SHA-256. What is small enough to have another tag need not be resumed.
    if _SHA256.fullmatch(etag) and not blob.exists():
        target = weights_target(hub_id)
        download(url, target, what=name, progress=progress, sha256=etag, size=size, headers=headers)
        try:
            _move(target, blob)
        except OSError as error:
            raise EncoderUnavailable(
                f"{name}: {blob.parent} cannot be written ({error.strerror}). Make room there, or set HF_HOME to "
                "another folder."
            ) from error
    with _said(name, hub_id):
        hf_hub_download(hub_id, file, revision=commit)
    progress(FETCHING, size, size)


def _move(source: Path, target: Path) -> None:
    """Rename a file, or copy it whole where it goes to another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:
        beside = target.with_name(f"{target.name}.{os.getpid()}.incomplete")
        try:
            shutil.copyfile(source, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        source.unlink()


def _pin(key: str, commit: str, *, files: list[str] | None = None) -> None:
    """Write down the commit, and which small files belong to it, once."""
    record = read_record(key)
    if record.get("commit") == commit and ("files" in record or files is None):
        return
    write_record(key, {"commit": commit} if files is None else {"commit": commit, "files": files})


@contextmanager
def _said(name: str, hub_id: str) -> Iterator[None]:
    """Errors of the hub's client as one sentence."""
    try:
        yield
    # What it raises is no family: OSError, bare errors of its HTTP client (a proxy's refusal), of its transfers,
    # ValueError and ImportError for a proxy that it cannot use.
    except Exception as error:
        raise EncoderUnavailable(
            f"{name} is not on this machine and could not be fetched from the Hugging Face hub. "
            f"Connect to the internet and try again, or give a folder that holds {hub_id}; "
            f"until then {EMBEDDED} works offline. (The hub client says: {first_line(error)})"
        ) from error
