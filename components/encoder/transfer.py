"""Download one large file: resumed where it stopped, checked, and then renamed to its target."""

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from components.encoder.base import FETCHING, EncoderUnavailable, first_line
from corpus.io.disk import disk_errors
from corpus.io.files import write_text
from corpus.io.hashing import sha256_of
from corpus.progress import Progress

if TYPE_CHECKING:
    import httpx2

ATTEMPTS = 5  # in a row that bring no byte
PAUSE_S = 1.0  # before the second attempt; doubled before each further one
SPARE_BYTES = 64 * 1024**2  # of the disk, left free
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # status codes of which another attempt may do better


class _Part(BaseModel):
    """What a partial file is a part of. validator: the server's ETag or date, "" for none. total: bytes, 0: unknown."""

    url: str
    validator: str
    total: int
    sha256: str


class _Retry(Exception):
    """This attempt failed, and another one may succeed."""


def partial_path(target: Path) -> Path:
    """The file that holds an unfinished download of `target`."""
    return target.with_name(target.name + ".partial")


def partial_bytes(target: Path) -> int:
    """The size of an unfinished download of `target`; 0 where there is none."""
    try:
        return partial_path(target).stat().st_size
    except OSError:
        return 0


def discard_partial(target: Path) -> int:
    """Delete an unfinished download of `target`; returns the bytes freed."""
    freed = partial_bytes(target)
    partial_path(target).unlink(missing_ok=True)
    _part_path(target).unlink(missing_ok=True)
    return freed


def download(
    url: str,
    target: Path,
    *,
    name: str,
    progress: Progress,
    sha256: str = "",
    size: int = 0,
    headers: Mapping[str, str] | None = None,
    check: Callable[[Path], None] | None = None,
) -> str:
    """Download `url` to `target` and return its SHA-256 (hex).

    name: of the encoder, for errors. sha256, size: the expected ones, where known. check: called with the whole file
    before it is renamed; raises to refuse it. An unfinished download stays beside the target and is resumed, unless
    the server's file has changed. Raises EncoderUnavailable, and what `progress` raises.
    """
    advice = "Choose another folder with COCITE_ATLAS_ENCODERS; what has been downloaded is kept."
    # Not by stamina: attempts count anew when bytes came, and `progress` can stop a wait.
    failures, before = 0, -1
    with disk_errors(target.parent, advice=advice):
        while True:
            try:
                _attempt(url, target, name, progress, sha256=sha256, size=size, headers=dict(headers or {}))
                break
            except _Retry as error:
                received = partial_bytes(target)
                failures = 1 if received > before >= 0 else failures + 1
                before = received
                if failures >= ATTEMPTS:
                    raise EncoderUnavailable(
                        f"{name}: the download from {url} broke off ({error}). {received:,} bytes are kept. Try again "
                        "to resume it."
                    ) from error
                until = time.monotonic() + PAUSE_S * 2 ** (failures - 1)
                while (left := until - time.monotonic()) > 0:
                    progress(FETCHING, received, 0)
                    time.sleep(min(left, 0.2))
        return _finish(url, target, name, sha256=sha256, check=check)


def _attempt(
    url: str, target: Path, name: str, progress: Progress, *, sha256: str, size: int, headers: dict[str, str]
) -> None:
    """Download what is missing. Raises _Retry where another attempt may bring the rest."""
    import httpx2

    part, received = _read_part(target), partial_bytes(target)
    # Where the whole file's hash is known, it shows in the end whether the parts belong together.
    if part is None or part.url != url or part.sha256 != sha256 or not (sha256 or part.validator):
        part, received = None, 0
    elif received == part.total > 0:
        return
    if part is not None and received:
        headers["Range"] = f"bytes={received}-"
        if part.validator:
            headers["If-Range"] = part.validator
    headers["Accept-Encoding"] = "identity"  # a compressed answer has another size and cannot be resumed
    timeout = httpx2.Timeout(60, connect=20)
    with ExitStack() as stack:
        try:
            stream = httpx2.stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout)
            response = stack.enter_context(stream)
        except httpx2.TransportError as error:
            raise _Retry(first_line(error)) from error
        # A proxy that cannot be used is an ImportError or a ValueError.
        except (httpx2.HTTPError, httpx2.InvalidURL, ImportError, ValueError) as error:
            raise EncoderUnavailable(f"{name} could not be downloaded from {url} ({first_line(error)}).") from error
        received, total = _check_response(response, url, target, part, received, name=name, sha256=sha256, size=size)
        try:
            with partial_path(target).open("ab") as file:
                progress(FETCHING, received, total)
                for piece in response.iter_raw():
                    received += len(piece)
                    if total and received > total:
                        raise EncoderUnavailable(f"{name}: the server sends more than the {total:,} bytes announced.")
                    file.write(piece)
                    progress(FETCHING, received, total)
        except httpx2.TransportError as error:
            raise _Retry(first_line(error)) from error
    if received < total:
        raise _Retry(f"{received:,} of {total:,} bytes came")


def _check_response(
    response: "httpx2.Response",
    url: str,
    target: Path,
    part: _Part | None,
    received: int,
    *,
    name: str,
    sha256: str,
    size: int,
) -> tuple[int, int]:
    """The offset at which the response's bytes begin, and the size of the whole file (0: unknown)."""
    if url.startswith("https:") and response.url.scheme != "https":
        raise EncoderUnavailable(f"{name}: {url} leads to an unsafe address ({response.url.scheme}).")
    status = response.status_code
    if status == 416:  # the partial file is no part of the server's file
        discard_partial(target)
        raise _Retry("the server has no such part")
    if status in _TEMPORARY:
        raise _Retry(f"the server answers {status}")
    if status not in (200, 206) or response.headers.get("Content-Encoding", "identity") != "identity":
        reason = {401: "no access", 403: "no access", 404: "not there", 410: "not there"}.get(status, "no file")
        raise EncoderUnavailable(
            f"{name} could not be downloaded: {url} answers {status} ({reason}). Try again later, choose another "
            "encoder, or give a folder or zip that you have."
        )
    etag = str(response.headers.get("ETag", ""))
    # A weak ETag promises the same meaning, not the same bytes.
    validator = etag if etag and not etag.startswith("W/") else str(response.headers.get("Last-Modified", ""))
    if status == 206:
        stated = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if part is None or not stated or int(stated[1]) != received or (validator and validator != part.validator):
            discard_partial(target)
            raise _Retry("the server sent another part than requested")
        total = int(stated[3])
    else:
        length = response.headers.get("Content-Length", "")
        received, total = 0, int(length) if length.isascii() and length.isdigit() else 0
        partial_path(target).unlink(missing_ok=True)
    if size and total and total != size:
        raise EncoderUnavailable(f"{name}: {url} has {total:,} bytes, and {size:,} were announced. Try again later.")
    free = shutil.disk_usage(target.parent).free
    if total and free < total - received + SPARE_BYTES:
        raise EncoderUnavailable(
            f"{name}: {(total - received + SPARE_BYTES) / 1e6:,.0f} MB are needed in {target.parent} and "
            f"{free / 1e6:,.0f} MB are free. Make room, or choose another folder with COCITE_ATLAS_ENCODERS."
        )
    note = _Part(url=url, validator=validator, total=total or size, sha256=sha256)
    write_text(_part_path(target), note.model_dump_json())
    return received, total or size


def _finish(url: str, target: Path, name: str, *, sha256: str, check: Callable[[Path], None] | None) -> str:
    """Check the whole file and rename it to its target; returns its SHA-256."""
    partial = partial_path(target)
    found = sha256_of(partial)
    try:
        if sha256 and found != sha256:
            raise EncoderUnavailable(
                f"{name}: the file at {url} is not the one of the first download (its SHA-256 is {found[:16]}…, not "
                f"{sha256[:16]}…), so it is not kept. Try again. If its publisher has replaced it and you want the "
                "new one, clear it with --forget and fetch it again."
            )
        if check is not None:
            check(partial)
    except EncoderUnavailable:
        discard_partial(target)
        raise
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    _part_path(target).unlink(missing_ok=True)
    return found


def _part_path(target: Path) -> Path:
    return target.with_name(target.name + ".partial.json")


def _read_part(target: Path) -> _Part | None:
    try:
        return _Part.model_validate_json(_part_path(target).read_bytes())
    except (OSError, ValidationError):
        return None
