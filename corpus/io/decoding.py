"""Decode bytes into lines of text in constant memory. Of real exports, one in ten is not UTF-8."""

import codecs
import re
from collections.abc import Iterator

from corpus.io.streams import CappedStream

_CHUNK = 65_536
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LATIN = "cp1252"
# Other encodings that reference managers have written. cp1250 and its like are not among them: in a short text they
# cannot be told from cp1252.
_OTHERS = ["cp1251", "cp1253", "koi8_r", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"]
_HIGH = re.compile(rb"[\x80-\xff]+")
_UNFINISHED = re.compile(rb"[\xc0-\xff][\x80-\xbf]*\Z")
_MIN_HIGH_BYTES = 12  # with fewer, charset-normalizer guesses at random


def text_encoding(head: bytes) -> str:
    """The encoding of a file by its first bytes: UTF-16 or UTF-32 where these show it, else "utf-8"."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    # UTF-16 without a byte order mark: in text that is mostly ASCII, every other byte is zero.
    sample = head[: min(len(head), 400) & ~1]
    if len(sample) >= 8:
        for zeros, letters, encoding in ((1, 0, "utf-16-le"), (0, 1, "utf-16-be")):
            if sample[zeros::2].count(0) > 0.4 * len(sample) and not sample[letters::2].count(0):
                return encoding
    return "utf-8"


def head_text(head: bytes) -> str:
    """The first bytes of a file as text with \\n at line ends, for format detection. Never raises.

    >>> head_text("TY  - JOUR\\r\\n".encode("utf-16"))
    'TY  - JOUR\\n'
    """
    text = head.decode(text_encoding(head), "replace").removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_lines(stream: CappedStream) -> Iterator[str]:
    """The lines of a file, each ending in "\\n" where the file has "\\n", "\\r\\n" or "\\r".

    A line of more than 64 Ki characters comes in pieces, of which only the last ends in "\\n". A line that is not UTF-8
    is read in its most likely encoding; decoding never raises. Each chunk marks the stream's record, so the caller must
    bound what it keeps.
    """
    encoding = text_encoding(stream.head(_CHUNK))
    chunks = _chunks(stream)
    blocks = _decoded(chunks) if encoding == "utf-8" else _wide(chunks, encoding)
    rest = ""
    for block in blocks:
        text = rest + block
        # The next block may begin with the \n that belongs to this \r.
        held = "\r" if text.endswith("\r") else ""
        text = text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n")
        *whole, rest = text.split("\n")
        for line in whole:
            yield line.removeprefix("\ufeff") + "\n"
        if len(rest) > _CHUNK:
            # Cut at a space, so that no escape and no tag is cut in two.
            cut = rest.rfind(" ") + 1 or len(rest)
            yield rest[:cut]
            rest = rest[cut:]
        rest += held
    if rest:
        yield rest.removeprefix("\ufeff").replace("\r", "\n")


def _chunks(stream: CappedStream) -> Iterator[bytes]:
    # No BufferedReader: it loses what it has read when the next bytes are damaged.
    while chunk := stream.read(_CHUNK):
        stream.mark()
        yield chunk


def _wide(chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", True)


def _decoded(chunks: Iterator[bytes]) -> Iterator[str]:
    other = ""
    rest = b""
    for chunk in chunks:
        block = rest + chunk
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        if not end:
            # No line ends here; keep back an unfinished character.
            end = len(block)
            if found := _UNFINISHED.search(block, max(0, end - 3)):
                end = found.start()
        block, rest = block[:end], block[end:]
        text, other = _block(block, other)
        yield text
    yield _block(rest, other)[0]


def _block(block: bytes, other: str) -> tuple[str, str]:
    """A block as text, and the encoding of lines that are not UTF-8 ("" until the first such line)."""
    try:
        return block.decode("utf-8"), other
    except UnicodeDecodeError:
        lines = block.splitlines(keepends=True)
    texts = []
    for line in lines:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("utf-8", "replace")
            wrong = text.count("\ufffd")
            # One damaged character among good ones does not make the line Latin-1.
            if sum(character > "\x7f" for character in text) <= 2 * wrong:
                other = other or _guess(lines)
                text = line.decode(other, "replace")
        texts.append(text)
    return "".join(texts), other


def _guess(lines: list[bytes]) -> str:
    """The encoding of lines that are not UTF-8. Latin accents stand alone among ASCII, other scripts in rows."""
    runs = [len(run) for line in lines for run in _HIGH.findall(line)]
    if sum(runs) < _MIN_HIGH_BYTES or sum(run for run in runs if run > 2) < sum(runs) / 2:
        return _LATIN
    from charset_normalizer import from_bytes

    sample = b"".join(line for line in lines if _HIGH.search(line))
    best = from_bytes(sample, cp_isolation=[*_OTHERS, _LATIN]).best()
    return best.encoding if best is not None else _LATIN


def bounded_lines(stream: CappedStream, *, max_chars: int) -> Iterator[str | None]:
    """The whole lines of a file, as `text_lines` gives them; None for a line of more than `max_chars` characters."""
    pieces: list[str] = []
    length = 0
    for piece in text_lines(stream):
        length += len(piece)
        if length <= max_chars:
            pieces.append(piece)
        if piece.endswith("\n"):
            yield "".join(pieces) if length <= max_chars else None
            pieces, length = [], 0
    if length:
        yield "".join(pieces) if length <= max_chars else None
