"""Files that are written a piece at a time, for whoever hands them on before they are whole."""

import io
from typing import Any


class Held(io.RawIOBase):
    """A file to write to, which holds what was written until it is taken. It cannot be moved in, nor read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0  # bytes, those taken among them
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Always true, as libraries ask."""
        return True

    def write(self, content: Any, /) -> int:
        """Hold the bytes of a buffer."""
        self._parts.append(bytes(content))
        self.written += len(self._parts[-1])
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """What was written since it was last asked for."""
        parts, self._parts = b"".join(self._parts), []
        return parts
