"""Bytes as lines of text, whatever their encoding: of real exports, every tenth is not UTF-8. In constant memory."""

import codecs
import re
from collections.abc import Iterator

from corpus.io.streams import CappedStream

_CHUNK = 65_536
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LATIN = "cp1252"  # Latin-1 but for control characters, which no text means
# What else reference managers have written. The scripts of single bytes that Latin letters fill as well (cp1250) are
# not among them: no guess of a short text tells those apart.
_OTHERS = ["cp1251", "cp1253", "koi8_r", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"]
_HIGH = re.compile(rb"[\x80-\xff]+")
_BEGUN = re.compile(rb"[\xc0-\xff][\x80-\xbf]*\Z")
_ENOUGH_HIGH = 12  # bytes; of fewer, charset-normalizer makes anything


def text_encoding(head: bytes) -> str:
    """The encoding that the first bytes of a file tell of: "utf-16" and its like, or else "utf-8"."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    # UTF-16 without a mark: of text that is mostly ASCII, every other byte is zero.
    sample = head[: min(len(head), 400) & ~1]
    if len(sample) >= 8:
        for zeros, letters, encoding in ((1, 0, "utf-16-le"), (0, 1, "utf-16-be")):
            if sample[zeros::2].count(0) > 0.4 * len(sample) and not sample[letters::2].count(0):
                return encoding
    return "utf-8"


def head_text(head: bytes) -> str:
    """The first bytes of a file as text, with \\n for line ends, to tell a format by. Never raises.

    >>> head_text("TY  - JOUR\\r\\n".encode("utf-16"))
    'TY  - JOUR\\n'
    """
    text = head.decode(text_encoding(head), "replace").removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_lines(stream: CappedStream) -> Iterator[str]:
    """The lines of a file, each with \\n at its end, whichever of \\n, \\r\\n and \\r the file has.

    A line of more than 64 Ki characters comes in pieces, of which only the last has the \\n. What is no UTF-8 is read
    line by line in the encoding that it most likely has; nothing raises for an encoding. The stream's records are
    marked: whoever takes lines must bound what is kept of them.
    """
    encoding = text_encoding(stream.head(_CHUNK))
    chunks = _chunks(stream)
    blocks = _decoded(chunks) if encoding == "utf-8" else _wide(chunks, encoding)
    rest = ""
    for block in blocks:
        text = rest + block
        # The \n of this \r may be in the next block.
        held = "\r" if text.endswith("\r") else ""
        text = text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n")
        *whole, rest = text.split("\n")
        for line in whole:
            yield line.removeprefix("\ufeff") + "\n"
        if len(rest) > _CHUNK:
            # At a space, so that neither an escape nor a tag is cut in two.
            cut = rest.rfind(" ") + 1 or len(rest)
            yield rest[:cut]
            rest = rest[cut:]
        rest += held
    if rest:
        yield rest.removeprefix("\ufeff").replace("\r", "\n")


def _chunks(stream: CappedStream) -> Iterator[bytes]:
    # Not through a BufferedReader, which loses what it has read when the next bytes are damaged.
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
            # No line ends here; keep back what may be the first bytes of a character.
            end = len(block)
            if found := _BEGUN.search(block, max(0, end - 3)):
                end = found.start()
        block, rest = block[:end], block[end:]
        text, other = _block(block, other)
        yield text
    yield _block(rest, other)[0]


def _block(block: bytes, other: str) -> tuple[str, str]:
    """A block as text, and the encoding of what is not UTF-8 in the file, "" while nothing was seen of it."""
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
    """The encoding of lines that are not UTF-8. Latin ones stand alone among ASCII, others in rows."""
    runs = [len(run) for line in lines for run in _HIGH.findall(line)]
    if sum(runs) < _ENOUGH_HIGH or sum(run for run in runs if run > 2) < sum(runs) / 2:
        return _LATIN
    from charset_normalizer import from_bytes

    sample = b"".join(line for line in lines if _HIGH.search(line))
    best = from_bytes(sample, cp_isolation=[*_OTHERS, _LATIN]).best()
    return best.encoding if best is not None else _LATIN
