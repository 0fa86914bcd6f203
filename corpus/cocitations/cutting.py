"""Cutting: a file's bytes → the documents in it, each whole and small enough to be read by a worker, as they come."""

import codecs
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

from corpus.cocitations.full_text import FullTextError
from corpus.cocitations.members import Member
from corpus.cocitations.packed import CHUNK, Source
from corpus.errors import UnsafeFileError
from corpus.io.decoding import head_text, text_encoding
from corpus.io.json_values import BrokenJson, JsonValues
from corpus.text.plain import clean

LARGEST_DOCUMENT = 16 * 2**20  # bytes; the longest theses on arXiv have some 5 MiB, and a tree takes ten times its text

_HEAD = 64 * 1024  # bytes in which the first character that is no white space stands
_DOCTYPE = '<!DOCTYPE article SYSTEM "jats.dtd">'  # never fetched; without it, an entity by its name is an error
_BLANK_LINES = 100  # at most, before the second record
_TOO_LARGE = f"it has more than {LARGEST_DOCUMENT:,} bytes, as no full text has. Split it, or drop it."
ADVICE = "Give JATS XML, S2ORC, CORD-19, unarXive, or lines of citing sentences; packed or not."


@dataclass(frozen=True, slots=True)
class Content:
    """A document as it lies in a file, for a worker to read. refusal: why there is none; then data is empty."""

    place: str
    kind: Literal["xml", "json"] = "json"
    data: bytes = b""
    refusal: str = ""


def contents_of(member: Member) -> Iterator[Content]:
    """The documents of a file; where it cannot be read, or not to its end, why."""
    try:
        yield from _contents(member.source, member.place)
    except FullTextError as error:
        yield Content(member.place, refusal=str(error))


def _contents(source: Source, place: str) -> Iterator[Content]:
    head = source.head(_HEAD)
    first = head_text(head).lstrip()[:1]
    if first == "<":
        yield from _xml(source, place)
    elif first in ("{", "[") and text_encoding(head) != "utf-8":
        yield from _other_encoding(source, place, encoding=text_encoding(head))
    elif first == "{":
        yield from _json(source, place)
    elif first == "[":
        yield from _json_list(source, place)
    elif first or len(head) == _HEAD:
        raise FullTextError(f"it holds no full text that can be read. {ADVICE}")
    else:
        source.read()  # raises where it is not empty but damaged
        raise FullTextError(f"it is empty. {ADVICE}")


def _xml(source: Source, place: str) -> Iterator[Content]:
    data = source.upto(LARGEST_DOCUMENT + 1)
    if len(data) <= LARGEST_DOCUMENT:
        yield Content(place, "xml", data)
        return
    source.put_back(data)
    for number, article in enumerate(_articles(source), start=1):
        yield Content(f"{place}, article {number}", "xml", article)


def _articles(source: Source) -> Iterator[bytes]:
    """The articles of a set that is too large to be read at once, each cut out as an XML document."""
    from lxml import etree

    from corpus.cocitations.jats_text import ARTICLES

    parser = etree.XMLPullParser(events=("end",), **ARTICLES)
    length = 0
    broken: etree.XMLSyntaxError | None = None
    while broken is None and (chunk := source.read()):
        length += len(chunk)
        if length > LARGEST_DOCUMENT:
            raise FullTextError(f"an article in it has more than {LARGEST_DOCUMENT:,} bytes. Split it, or drop it.")
        try:
            parser.feed(chunk)
        except etree.XMLSyntaxError as error:
            broken = error  # what ended before it is still read
        for _event, article in parser.read_events():
            length = 0
            yield etree.tostring(article, encoding="utf-8", with_tail=False, doctype=_DOCTYPE)
            article.clear()
            # What was read before stays in the tree until it is cut off.
            for each in (article, *article.iterancestors()):
                while each.getprevious() is not None:
                    del each.getparent()[0]
    try:
        if broken is not None:
            raise broken
        parser.close()
    except etree.XMLSyntaxError as error:
        reason = clean(error.msg or "")[:200]
        raise FullTextError(f"its XML is malformed or ends too early ({reason}). Download it again.") from error


def _other_encoding(source: Source, place: str, *, encoding: str) -> Iterator[Content]:
    data = source.upto(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        raise FullTextError("its JSON is not in UTF-8, as JSON should be. Convert it.")
    text = data.decode(encoding, "replace").removeprefix("\ufeff")
    yield from _contents(Source(io.BytesIO(text.encode("utf-8", "replace")).read), place)


def _json(source: Source, place: str) -> Iterator[Content]:
    """Objects: one a line, or over many lines."""
    lines = _lines(source)
    begun: list[bytes | None] = []
    for line in islice(lines, _BLANK_LINES):
        begun.append(line)
        if sum(each is None or bool(each.strip()) for each in begun[-2:]) == 2:
            break
    first, second = ([line for line in begun if line is None or line.strip()] + [b"", b""])[:2]
    if not _is_line(first, before=second):
        yield from _values(_whole_lines(chain(begun, lines)), place)
        return
    for number, line in enumerate(chain(begun, lines), start=1):
        if line is None:
            yield Content(f"{place}, line {number}", refusal=_TOO_LARGE)
        elif line.strip():
            yield Content(f"{place}, line {number}", data=line)


def _json_list(source: Source, place: str) -> Iterator[Content]:
    yield from _values(iter(source.read, b""), place)


def _values(chunks: Iterator[bytes], place: str) -> Iterator[Content]:
    """JSON that is no lines: as it is where it is small; else its values, or its list's members."""
    begun, length = [], 0
    for chunk in chunks:
        begun.append(chunk)
        length += len(chunk)
        if length > LARGEST_DOCUMENT:
            break
    else:
        yield Content(place, data=b"".join(begun))
        return
    # A value is read in pieces, each as long as all before it.
    values = JsonValues(_texts(chain(begun, chunks)), max_chars=2 * LARGEST_DOCUMENT + CHUNK)
    for number, value in enumerate(records(values), start=1):
        data = json.dumps(value).encode()
        if len(data) <= LARGEST_DOCUMENT:
            yield Content(f"{place}, record {number}", data=data)
        else:
            yield Content(f"{place}, record {number}", refusal=_TOO_LARGE)


def records(values: JsonValues) -> Iterator[object]:
    """The values of a JSON text, and the members of its lists. Raises FullTextError where it is damaged."""
    try:
        yield from values.records(lists=None)
    except BrokenJson as error:
        raise FullTextError(f"its JSON is malformed or ends too early ({error}). Correct it, or drop it.") from error
    except UnsafeFileError as error:
        raise FullTextError(_TOO_LARGE) from error


def _is_line(line: bytes | None, *, before: bytes | None) -> bool:
    """Whether a file's first line is a record, damaged or not, and not the beginning of one. before: the next line."""
    if line is None:
        return True  # no text over many lines begins with so long a one
    stripped = line.strip()
    try:
        json.loads(stripped)
    except RecursionError:
        return True
    except ValueError:
        return stripped[-1:] not in b":,[{" and (before or b"").lstrip().startswith(b"{")
    return True


def _lines(source: Source) -> Iterator[bytes | None]:
    """The lines, each with its end; None for one that is too long, which is passed over."""
    parts: list[bytes] = []
    length = 0
    while chunk := source.read():
        *ended, rest = chunk.split(b"\n")
        for piece in (*(piece + b"\n" for piece in ended), rest):
            length += len(piece)
            if length <= LARGEST_DOCUMENT:
                parts.append(piece)
            if piece.endswith(b"\n"):
                yield b"".join(parts) if length <= LARGEST_DOCUMENT else None
                parts, length = [], 0
    if length:
        yield b"".join(parts) if length <= LARGEST_DOCUMENT else None


def _whole_lines(lines: Iterable[bytes | None]) -> Iterator[bytes]:
    for line in lines:
        if line is None:
            raise FullTextError(_TOO_LARGE)
        yield line


def _texts(chunks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    yield from (text for chunk in chunks if (text := decoder.decode(chunk)))
    yield decoder.decode(b"", True)
