"""Answers of services on disk: bytes with their SHA-256, limited in age and total size."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

_SUFFIX = ".answer"
_DIGEST_BYTES = 32
_WRITES_PER_CLEANUP = 20  # listing every file takes longer than writing one


class AnswerCache:
    """Answers by request. A file's name is a hash of the request; it holds the answer's SHA-256 and the answer.

    A disk error counts as a missing answer: the cache saves requests, and nothing depends on it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 256 * 2**20,
        max_age: float = 86_400.0,  # seconds
        now: Callable[[], float] = time.time,
    ):
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._now = now
        self._writes = 0

    def get(self, request: str) -> bytes | None:
        """The answer to a request; None where there is none, or where it is old or damaged."""
        path = self._path(request)
        try:
            state = path.stat()
            if self._now() - state.st_mtime > self._max_age or state.st_size > self._max_bytes:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        digest, answer = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return answer if hashlib.sha256(answer).digest() == digest else None

    def put(self, request: str, answer: bytes) -> None:
        """Store an answer; the oldest ones are dropped where all of them take too much room."""
        path = self._path(request)
        partial = path.with_name(f"{path.name}.{uuid4().hex}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(hashlib.sha256(answer).digest() + answer)
            os.utime(partial, (self._now(), self._now()))
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            return
        if self._writes % _WRITES_PER_CLEANUP == 0 or len(answer) > self._max_bytes // _WRITES_PER_CLEANUP:
            self._clean_up()
        self._writes += 1

    def _path(self, request: str) -> Path:
        return self._folder / (hashlib.sha256(request.encode("utf-8", "backslashreplace")).hexdigest() + _SUFFIX)

    def _clean_up(self) -> None:
        files: list[tuple[float, int, Path]] = []
        for path in self._folder.glob(f"*{_SUFFIX}*"):
            with contextlib.suppress(OSError):
                state = path.stat()
                files.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in files)
        for modified, size, path in sorted(files):
            if total <= self._max_bytes and self._now() - modified <= self._max_age:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
