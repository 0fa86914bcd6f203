"""Lines of text of bounded length, numbered as an editor numbers them."""

from collections.abc import Iterator

from corpus.io.decoding import text_lines
from corpus.io.streams import CappedStream


def bounded_lines(stream: CappedStream, *, most: int) -> Iterator[str | None]:
    """The lines of a file, whatever its encoding, with the \\n at their ends; None for one of more than `most`
    characters, which is passed over."""
    pieces: list[str] = []
    length = 0
    for piece in text_lines(stream):
        length += len(piece)
        if length <= most:
            pieces.append(piece)
        if piece.endswith("\n"):
            yield "".join(pieces) if length <= most else None
            pieces, length = [], 0
    if length:
        yield "".join(pieces) if length <= most else None
