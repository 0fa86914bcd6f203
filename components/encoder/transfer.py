"""One large file from the web to the disk: resumed where it stopped, checked, and there whole or not at all."""

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2

from components.encoder.base import FETCHING
from components.encoder.cache import PARTIAL
from components.encoder.errors import EncoderUnavailable, first_line
from corpus.io.files import write_text
from corpus.io.hashing import sha256_of
from corpus.progress import Progress

ATTEMPTS = 5  # in a row that bring no byte
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
SPARE = 64 * 1024 * 1024  # bytes of the disk that a download leaves free
_TIMEOUT = httpx2.Timeout(60, connect=20)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that another attempt may better


@dataclass(frozen=True, slots=True)
class _Part:
    """What a partial file is a part of. validator: the ETag or date that the server gave it, "" where none."""

    url: str
    validator: str
    total: int
    sha256: str


class _Again(Exception):
    """This attempt brought nothing more, and another one may."""


def download(
    url: str,
    target: Path,
    *,
    what: str,
    progress: Progress,
    sha256: str = "",
    size: int = 0,
    headers: Mapping[str, str] | None = None,
    check: Callable[[Path], None] | None = None,
) -> str:
    """Fetch `url` to `target` and return its SHA-256 (hex).

    what: who it is, in errors. sha256, size: what it must be, where that is known. check: called with the whole file
    before it gets its name; raises to refuse it. A stopped download stays beside the target and is taken up again,
    unless the server's file has changed since. Raises EncoderUnavailable, and what `progress` raises.
    """
    partial = target.with_name(target.name + PARTIAL)
    failures = 0
    before = -1
    while True:
        try:
            _attempt(url, partial, what=what, progress=progress, sha256=sha256, size=size, headers=dict(headers or {}))
            break
        except _Again as error:
            have = _size(partial)
            failures = 1 if have > before >= 0 else failures + 1
            before = max(have, 0)
            if failures >= ATTEMPTS:
                raise EncoderUnavailable(
                    f"{what}: the download from {url} broke off ({error}). {have:,} bytes are kept; try again, and it "
                    "goes on from there."
                ) from error
            _wait(PAUSE * 2 ** (failures - 1), progress, have)
        except OSError as error:
            raise _disk_error(what, partial, error) from error
    try:
        found = _finish(partial, target, what=what, url=url, sha256=sha256, check=check)
    except OSError as error:
        raise _disk_error(what, partial, error) from error
    return found


def discard_partial(target: Path) -> int:
    """Remove what is left of a stopped download of `target`; the bytes that were freed."""
    partial = target.with_name(target.name + PARTIAL)
    freed = max(_size(partial), 0)
    partial.unlink(missing_ok=True)
    _note(partial).unlink(missing_ok=True)
    return freed


def _attempt(
    url: str, partial: Path, *, what: str, progress: Progress, sha256: str, size: int, headers: dict[str, str]
) -> None:
    part = _read_part(partial)
    have = _size(partial)
    # Where the whole file's hash is known, it tells in the end whether the parts belong together.
    known = part is not None and part.url == url and part.sha256 == sha256 and bool(sha256 or part.validator)
    if part is None or not known or have < 0:
        have, part = 0, None
    elif have == part.total > 0:
        return
    if part is not None and have:
        headers["Range"] = f"bytes={have}-"
        if part.validator:
            headers["If-Range"] = part.validator
    headers["Accept-Encoding"] = "identity"  # a compressed answer has another size, and cannot be resumed
    with ExitStack() as stack:
        try:
            stream = httpx2.stream("GET", url, headers=headers, follow_redirects=True, timeout=_TIMEOUT)
            response = stack.enter_context(stream)
        except httpx2.TransportError as error:
            raise _Again(first_line(error)) from error
        # No family: a proxy that cannot be used is an ImportError or a ValueError.
        except (httpx2.HTTPError, httpx2.InvalidURL, ImportError, ValueError) as error:
            raise EncoderUnavailable(f"{what} could not be fetched from {url} ({first_line(error)}).") from error
        have, total = _begin(response, url, partial, part, have, what=what, sha256=sha256, size=size)
        try:
            _write(response, partial, have, total, what=what, progress=progress)
        except httpx2.TransportError as error:
            raise _Again(first_line(error)) from error


def _begin(
    response: httpx2.Response,
    url: str,
    partial: Path,
    part: _Part | None,
    have: int,
    *,
    what: str,
    sha256: str,
    size: int,
) -> tuple[int, int]:
    """Where in the file the answer's bytes begin, and the size of the whole (0: not told). Raises for a bad answer."""
    if url.startswith("https:") and response.url.scheme != "https":
        raise EncoderUnavailable(f"{what}: {url} leads to an address that is not safe ({response.url.scheme}).")
    status = response.status_code
    if status == 416:
        # What is here is no part of what is there, or more than all of it.
        discard_partial(partial.with_name(partial.name.removesuffix(PARTIAL)))
        raise _Again("the server has no such part")
    if status in _PASSING:
        raise _Again(f"the server answers {status}")
    if status not in (200, 206) or response.headers.get("Content-Encoding", "identity") != "identity":
        reason = {401: "no access", 403: "no access", 404: "not there", 410: "not there"}.get(status, "no file")
        raise EncoderUnavailable(
            f"{what} could not be fetched: {url} answers {status} ({reason}). Try again later, or take another "
            "encoder; a folder or zip that you have can be given in its place."
        )
    validator = _validator(response)
    if status == 206:
        told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if part is None or told is None or int(told[1]) != have or (validator and validator != part.validator):
            discard_partial(partial.with_name(partial.name.removesuffix(PARTIAL)))
            raise _Again("the server sent another part than was asked for")
        total = int(told[3])
    else:
        have, total = 0, _length(response)
        partial.unlink(missing_ok=True)
    if size and total and total != size:
        raise EncoderUnavailable(f"{what}: {url} has {total:,} bytes, and {size:,} were announced. Try again later.")
    free = shutil.disk_usage(partial.parent).free
    if total and free < total - have + SPARE:
        raise EncoderUnavailable(
            f"{what}: {(total - have + SPARE) / 1e6:,.0f} MB are needed in {partial.parent} and {free / 1e6:,.0f} MB "
            "are free. Make room, or choose another folder with COCITE_ATLAS_ENCODERS."
        )
    write_text(_note(partial), json.dumps(asdict(_Part(url, validator, total or size, sha256))))
    return have, total or size


def _write(response: httpx2.Response, partial: Path, have: int, total: int, *, what: str, progress: Progress) -> None:
    with partial.open("ab") as file:
        progress(FETCHING, have, total)
        for piece in response.iter_raw():
            have += len(piece)
            if total and have > total:
                raise EncoderUnavailable(f"{what}: the server sends more than the {total:,} bytes that it announced.")
            file.write(piece)
            progress(FETCHING, have, total)
    if have < total:
        raise _Again(f"{have:,} of {total:,} bytes came")


def _finish(
    partial: Path, target: Path, *, what: str, url: str, sha256: str, check: Callable[[Path], None] | None
) -> str:
    found = sha256_of(partial)
    try:
        if sha256 and found != sha256:
            raise EncoderUnavailable(
                f"{what}: what came from {url} is not what was met there first (its SHA-256 is {found[:16]}…, not "
                f"{sha256[:16]}…), so it is not kept. Try again; if its publisher has replaced it and you want the "
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
    _note(partial).unlink(missing_ok=True)
    return found


def _read_part(partial: Path) -> _Part | None:
    try:
        raw = json.loads(_note(partial).read_text(encoding="utf-8"))
        return _Part(str(raw["url"]), str(raw["validator"]), int(raw["total"]), str(raw["sha256"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _validator(response: httpx2.Response) -> str:
    etag = str(response.headers.get("ETag", ""))
    # A weak tag promises the same meaning, not the same bytes.
    return etag if etag and not etag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


def _length(response: httpx2.Response) -> int:
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isascii() and told.isdigit() else 0


def _wait(seconds: float, progress: Progress, have: int) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        progress(FETCHING, max(have, 0), 0)
        time.sleep(min(left, 0.2))


def _disk_error(what: str, partial: Path, error: OSError) -> EncoderUnavailable:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    reason = "The disk is full" if full else f"It cannot be written ({error.strerror or first_line(error)})"
    return EncoderUnavailable(
        f"{what}: {reason}, in {partial.parent}. Make room, or choose another folder with COCITE_ATLAS_ENCODERS; "
        "what has come is kept."
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _note(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")
