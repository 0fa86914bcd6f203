"""Documents: a file's bytes cut into documents that a worker can read, and the citing sentences in them."""

import codecs
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

from corpus.cocitations import jats
from corpus.cocitations.archives import CHUNK, head
from corpus.cocitations.full_text import CitingSentence, FullText, FullTextError, FullTextReport
from corpus.cocitations.json_formats import ADVICE, read_record
from corpus.cocitations.sentences import citing_sentences
from corpus.errors import UnsafeFileError
from corpus.io.decoding import head_text, text_encoding
from corpus.io.json_values import BrokenJson, JsonValues
from corpus.io.safe_xml import PARSER_OPTIONS

MAX_DOCUMENT_BYTES = 16 * 2**20  # the longest theses on arXiv have some 5 MiB, and a tree takes ten times its text

_DOCTYPE = '<!DOCTYPE article SYSTEM "jats.dtd">'  # never fetched; without it, a named entity is an error
_MAX_BLANK_LINES = 100  # before the second record


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of a document, XML or JSON. refusal: why there are none."""

    place: str
    data: bytes = b""
    is_xml: bool = False
    refusal: str = ""


# Bytes to documents


def documents_in(stream: io.BufferedReader, place: str) -> Iterator[Document]:
    """The documents of a file, with a refusal where it cannot be read to its end."""
    try:
        yield from _documents(stream, place)
    except FullTextError as error:
        yield Document(place, refusal=str(error))


def _documents(stream: io.BufferedReader, place: str) -> Iterator[Document]:
    start = head(stream)
    first = head_text(start).lstrip()[:1]
    if first in ("{", "[") and (encoding := text_encoding(start)) != "utf-8":
        data = stream.read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise FullTextError("its JSON is not in UTF-8, as JSON should be. Convert it.")
        text = data.decode(encoding, "replace").removeprefix("\ufeff")
        stream = io.BufferedReader(io.BytesIO(text.encode("utf-8", "replace")))
    chunks = iter(partial(stream.read1, CHUNK), b"")
    if first == "<":
        yield from _xml(chunks, place)
    elif first == "{":
        yield from _json(stream, place)
    elif first == "[":
        yield from _json_values(chunks, place)
    elif first or len(start) == CHUNK:
        raise FullTextError(f"it holds no full text that can be read. {ADVICE}")
    else:
        stream.read(CHUNK)  # raises where it is not empty but damaged
        raise FullTextError(f"it is empty. {ADVICE}")


def _small(chunks: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """The first chunks, and whether they are all and make one document."""
    begun, length = [], 0
    for chunk in chunks:
        begun.append(chunk)
        length += len(chunk)
        if length > MAX_DOCUMENT_BYTES:
            return begun, False
    return begun, True


def _xml(chunks: Iterator[bytes], place: str) -> Iterator[Document]:
    """The XML as it is, or article by article where it is too large for one document."""
    begun, is_small = _small(chunks)
    if is_small:
        yield Document(place, b"".join(begun), is_xml=True)
        return
    for number, article in enumerate(_articles(chain(begun, chunks)), start=1):
        yield Document(f"{place}, article {number}", article, is_xml=True)


def _articles(chunks: Iterator[bytes]) -> Iterator[bytes]:
    from lxml import etree

    parser = etree.XMLPullParser(events=("end",), tag=jats.ARTICLE_TAG, **PARSER_OPTIONS)
    length = 0
    error: etree.XMLSyntaxError | None = None
    for chunk in chunks:
        length += len(chunk)
        if length > MAX_DOCUMENT_BYTES:
            raise FullTextError(f"an article in it has more than {MAX_DOCUMENT_BYTES:,} bytes. Split it, or drop it.")
        try:
            parser.feed(chunk)
        except etree.XMLSyntaxError as caught:
            error = caught  # the articles before it are still read
        for _event, article in parser.read_events():
            length = 0
            yield etree.tostring(article, encoding="utf-8", with_tail=False, doctype=_DOCTYPE)
            article.clear()
            # What was read before stays in the tree until it is removed.
            for each in (article, *article.iterancestors()):
                while each.getprevious() is not None:
                    del each.getparent()[0]
        if error is not None:
            break
    try:
        if error is not None:
            raise error
        parser.close()
    except etree.XMLSyntaxError as caught:
        raise jats.malformed_xml(caught) from caught


def _json(stream: io.BufferedReader, place: str) -> Iterator[Document]:
    """Objects, one per line or over many lines."""
    lines = _lines(stream)
    begun: list[bytes | None] = []
    records: list[bytes | None] = []
    for line in islice(lines, _MAX_BLANK_LINES):
        begun.append(line)
        records += [line] if line is None or line.strip() else []
        if len(records) == 2:
            break
    first, second = (*records, b"", b"")[:2]
    if not _is_json_line(first, second):
        yield from _json_values(_whole_lines(chain(begun, lines)), place)
        return
    for number, line in enumerate(chain(begun, lines), start=1):
        if line is None:
            yield Document(f"{place}, line {number}", refusal=_too_large())
        elif line.strip():
            yield Document(f"{place}, line {number}", line)


def _is_json_line(line: bytes | None, following: bytes | None) -> bool:
    """Whether the first line is a record, damaged or not, and not the beginning of one."""
    if line is None:
        return True  # no text over many lines begins with such a long one
    stripped = line.strip()
    try:
        json.loads(stripped)
    except RecursionError:
        return True
    except ValueError:
        return stripped[-1:] not in b":,[{" and (following or b"").lstrip().startswith(b"{")
    return True


def _lines(stream: io.BufferedReader) -> Iterator[bytes | None]:
    """The lines, each with its end; None for one that is too long."""
    while line := stream.readline(MAX_DOCUMENT_BYTES + 1):
        if len(line) <= MAX_DOCUMENT_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(CHUNK)
        yield None


def _whole_lines(lines: Iterable[bytes | None]) -> Iterator[bytes]:
    for line in lines:
        if line is None:
            raise FullTextError(_too_large())
        yield line


def _json_values(chunks: Iterator[bytes], place: str) -> Iterator[Document]:
    """JSON that is not one record per line: as it is where it is small, else value by value."""
    begun, is_small = _small(chunks)
    if is_small:
        yield Document(place, b"".join(begun))
        return
    texts = codecs.iterdecode(chain(begun, chunks), "utf-8-sig", "replace")
    # JsonValues reads a value in pieces, each as long as all before it.
    for number, value in enumerate(_values(texts, max_chars=2 * MAX_DOCUMENT_BYTES + CHUNK), start=1):
        data = json.dumps(value).encode()
        if len(data) <= MAX_DOCUMENT_BYTES:
            yield Document(f"{place}, record {number}", data)
        else:
            yield Document(f"{place}, record {number}", refusal=_too_large())


def _values(texts: Iterator[str], *, max_chars: int) -> Iterator[object]:
    """The values of a JSON text, and the members of its lists."""
    try:
        yield from JsonValues(texts, max_chars=max_chars).records(lists=None)
    except BrokenJson as error:
        raise FullTextError(f"its JSON is malformed or ends too early ({error}). Correct it, or drop it.") from error
    except UnsafeFileError as error:
        raise FullTextError(_too_large()) from error


def _too_large() -> str:
    return f"it has more than {MAX_DOCUMENT_BYTES:,} bytes, as no full text has. Split it, or drop it."


# Documents to citing sentences


def read_documents(documents: Sequence[Document]) -> tuple[list[CitingSentence], FullTextReport]:
    """The citing sentences of documents, in order, and the report of what was read and refused."""
    sentences: list[CitingSentence] = []
    report = FullTextReport()
    for document in documents:
        try:
            if document.refusal:
                raise FullTextError(document.refusal)
            for sentence in _sentences(document, report):
                sentences.append(sentence)  # those before an error are kept
        except FullTextError as error:
            report.refuse(document.place, str(error))
        except MemoryError:
            report.refuse(document.place, "it takes more memory than there is. Split it, or drop it.")
    report.sentences = len(sentences)
    return sentences, report


def _sentences(document: Document, report: FullTextReport) -> Iterator[CitingSentence]:
    number = 0
    if document.is_xml:
        for number, article in enumerate(jats.read_articles(document.data, report=report), start=1):
            place = document.place if number == 1 else f"{document.place}, article {number}"
            yield from _counted("JATS", article, place, report)
        if not number:
            raise FullTextError("this XML holds no <article>. Give JATS, as PubMed Central and PLOS have it.")
        return
    text = document.data.decode("utf-8-sig", "replace")
    is_list = text.lstrip().startswith("[")
    for number, record in enumerate(_values(iter([text]), max_chars=MAX_DOCUMENT_BYTES), start=1):
        place = f"{document.place}, record {number}" if is_list or number > 1 else document.place
        try:
            yield from _counted(*read_record(record, place=place, report=report), place, report)
        except FullTextError as error:
            report.refuse(place, str(error))


def _counted(format: str, found: FullText | CitingSentence, place: str, report: FullTextReport) -> list[CitingSentence]:
    sentences = citing_sentences(found, place=place) if isinstance(found, FullText) else [found]
    report.documents += 1
    report.formats[format] += 1
    return sentences
