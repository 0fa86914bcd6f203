"""BibTeX and BibLaTeX files. They are cut into entries here; bibtexparser reads the entries, one at a time."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from corpus.identifiers import find_pmid, is_pmid
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.fields import RecordLines, join_wrapped, numbered_lines, reference_paper
from corpus.readers.report import Record, Rejected
from corpus.text.latex import from_latex, verbatim
from corpus.text.markup import plain

FORMAT = "BibTeX"
UNIT = "record"
# Holds our own id if it is neither the PMID nor the DOI. Entry keys are no ids: each library has its own.
ID_FIELD = "cocite-id"

_START = re.compile(r"^[ \t\ufeff]*@[ \t]*([A-Za-z]+)[ \t]*[{(]", re.MULTILINE)
_OPENING = re.compile(r"\s*@\s*([A-Za-z]\w*)\s*(?P<open>[{(])")
# An entry that begins inside another, whose end is missing. Text rarely has "@word{key,"; addresses have no brace.
_NEXT = re.compile(
    r"[ \t]*@[ \t]*(?:(?:comment|preamble|string)[ \t]*[{(]|[a-z]+[ \t]*[{(][^\s{}()\"=,]*[ \t]*(?:,|$))", re.IGNORECASE
)
_INLINE = re.compile(r"@([A-Za-z]\w*)(?P<open>[{(])(?=[^\s{}()\"=,]*,)")
_MARKS = re.compile(r"(?<!\\)[{}]|[)\"]")
# "\\" ends a line; bibtexparser takes it for an escape of the next brace.
_LINE_END = re.compile(r"(?<!\\)((?:\\\\)+)(?=[{}])")
_NO_ENTRIES = frozenset({"comment", "preamble"})
_MAX_STRINGS = 10_000  # abbreviations, each as long as a field may be
_ARXIV = re.compile(r"(?:arxiv:\s*)?((?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[a-z]{2})?/\d{7}))(?:v\d+)?", re.IGNORECASE)
_ARXIV_ADDRESS = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})|\barxiv:\s*(\d{4}\.\d{4,5})", re.IGNORECASE)
_PART = re.compile(r"\s*(?:#\s*)*")
_WORD = re.compile(r"[^#\"{}\s][^#\"{}]*")


def begins(text: str) -> int:
    """Where the first entry begins in the head of a file; -1 where there is none."""
    match = _START.search(text)
    return match.start() if match else -1


def read_bibtex(stream: CappedStream, *, limits: Limits) -> Iterator[Record]:
    """What each entry of a file gives. Abbreviations (@string) hold from their place to the end of the file."""
    # The report says what is wrong with a broken entry.
    logging.getLogger("bibtexparser.splitter").setLevel(logging.CRITICAL)
    strings: dict[str, str] = {}
    number = 0
    for kind, block in _blocks(stream, limits.record_bytes):
        if kind in _NO_ENTRIES:
            continue
        record = block.refusal if block.too_large else _parsed("".join(block.texts), strings, limits)
        if record is not None:
            number += 1
            yield f"{number}, line {block.start}", record


def _blocks(stream: CappedStream, max_bytes: int) -> Iterator[tuple[str, RecordLines]]:
    """The kind (in lower case) and text of each "@kind{…}" of a file. Text between blocks is comment."""
    scanner = _Scanner(max_bytes)
    for number, line, begins_line in numbered_lines(stream):
        yield from scanner.line(line, number, begins_line=begins_line)
    yield from scanner.end()


class _Scanner:
    """Counts braces to find where a block ends, as bibtexparser counts them."""

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._block: RecordLines | None = None
        self._kind = ""
        self._round = False  # opened by "(": ends by ")" outside braces and quotes
        self._quoted = False
        self._depth = 0
        self._fresh = True  # only white space since a block ended

    def line(self, text: str, number: int, *, begins_line: bool) -> Iterator[tuple[str, RecordLines]]:
        """The blocks that end in a line, or before it."""
        text = _LINE_END.sub(r"\1 ", text)
        if self._block and begins_line and _NEXT.match(text):
            yield from self.end()
        position = 0
        while position < len(text):
            if self._block is None:
                # Directly after a block, or at the start of a line; elsewhere only if it looks like nothing else.
                opening = _OPENING.match(text, position) if self._fresh or begins_line else None
                opening = opening or _INLINE.search(text, position)
                if opening is None:
                    self._fresh = self._fresh and not text[position:].strip()
                    return
                self._open(opening, number)
                position = opening.end()
            assert self._block is not None
            closed = self._closed(text, position)
            self._block.add(text[position:closed])
            position = len(text) if closed is None else closed
            if closed is not None:
                yield from self.end()

    def end(self) -> Iterator[tuple[str, RecordLines]]:
        """The open block, if there is one."""
        if self._block:
            yield self._kind, self._block
        self._block = None
        self._fresh = True

    def _open(self, opening: re.Match[str], number: int) -> None:
        self._block = RecordLines(number, self._max_bytes)
        self._kind = opening[1].lower()
        self._round, self._quoted, self._depth = opening["open"] == "(", False, 0
        self._block.add(opening[0].lstrip())

    def _closed(self, text: str, start: int) -> int | None:
        """Where the block ends in a line; None if it goes on."""
        for mark in _MARKS.finditer(text, start):
            sign = mark[0]
            if sign == "{":
                self._depth += 1
            elif sign == "}" and self._depth:
                self._depth -= 1
            elif sign == "}":
                if not self._round:
                    return mark.end()
            elif self._round and not self._depth:
                if sign == ")" and not self._quoted:
                    return mark.end()
                self._quoted ^= sign == '"'
        return None


def _parsed(text: str, strings: dict[str, str], limits: Limits) -> Paper | Rejected | None:
    """The paper of a block; None for an abbreviation, which is added to `strings`."""
    from bibtexparser.entrypoint import parse_string
    from bibtexparser.model import DuplicateFieldKeyBlock, Entry, String

    blocks = parse_string(text, parse_stack=[]).blocks
    block: Any = blocks[0] if blocks else None
    if isinstance(block, DuplicateFieldKeyBlock):
        block = block.ignore_error_block
    if isinstance(block, String):
        value = _value(block.value, strings, limits.field_chars)
        if len(strings) < _MAX_STRINGS and len(value) <= limits.field_chars:
            strings[block.key.lower()] = value
        return None
    if not isinstance(block, Entry):
        return Rejected("damaged", f"{_why(block)}. Correct it, or drop the entry.")
    fields: dict[str, str] = {}
    for entry_field in block.fields:
        value = _value(str(entry_field.value), strings, limits.record_bytes)
        if value.strip():
            fields.setdefault(entry_field.key.lower(), value)  # of a field given twice, BibTeX reads the first
    return _paper(fields)


def _why(block: Any) -> str:
    """What is wrong with a block that could not be parsed."""
    reason = str(getattr(getattr(block, "error", None), "abort_reason", ""))
    if "end of file" in reason or "block start" in reason or not reason:
        return "the entry has no end: a brace or a quotation mark is missing"
    return f"the entry is not valid BibTeX ({' '.join(reason.split()).rstrip('.')[:200]})"


def _value(raw: str, strings: Mapping[str, str], max_chars: int) -> str:
    """A value without its braces or quotes, its abbreviations expanded, its parts ("a" # b) joined."""
    parts: list[str] = []
    size = position = 0
    while position < len(raw) and size <= max_chars:
        position = _PART.match(raw, position).end()  # type: ignore[union-attr]
        if position >= len(raw):
            break
        if raw[position] in '{"':
            end = _enclosed(raw, position)
            part = raw[position + 1 : end - 1]
        else:
            word = _WORD.match(raw, position)
            end = word.end() if word else position + 1
            name = raw[position:end].strip()
            part = strings.get(name.lower(), name)
        parts.append(part)
        size += len(part)
        position = end
    return "".join(parts)


def _enclosed(raw: str, start: int) -> int:
    """Where a part that begins with a brace or a quotation mark ends, after its last character."""
    depth = 0
    for mark in re.compile(r"(?<!\\)[{}\"]").finditer(raw, start):
        sign = mark[0]
        if sign == '"':
            if raw[start] == '"' and not depth and mark.start() > start:
                return mark.end()
        else:
            depth += 1 if sign == "{" else -1
            if not depth and raw[start] == "{":
                return mark.end()
    return len(raw) + 1


def _paper(fields: Mapping[str, str]) -> Paper:
    def text(*names: str) -> str:
        return next((from_latex(_joined(fields[name])) for name in names if name in fields), "")

    def raw(*names: str) -> list[str]:
        return [verbatim(fields[name]) for name in names if name in fields]

    title, subtitle = text("title", "booktitle"), text("subtitle")
    urls = raw("url", "link", "ee", "bdsk-url-1", "howpublished")
    archive = (fields.get("eprinttype") or fields.get("archiveprefix", "")).strip().lower()
    eprint = raw("eprint")
    pmid = next(filter(is_pmid, raw("pmid", "pubmed_id", "pubmedid") + (eprint if archive == "pubmed" else [])), "")
    if not pmid:
        notes = raw("note", "annote", "annotation", "addendum")
        pmid = find_pmid([*raw("pmid", "pubmed_id"), *notes, *raw("url")])
    return reference_paper(
        title=f"{title}: {subtitle}" if title and subtitle else title,
        abstract=text("abstract"),
        authors=_authors(plain(fields.get("author") or fields.get("editor", ""))),
        year=raw("year", "date"),
        venue=text("journal", "journaltitle", "booktitle", "shortjournal", "maintitle"),
        dois=[*raw("doi"), *urls, *_arxiv_dois(fields, eprint if archive in ("arxiv", "") else [])],
        pmid=pmid.strip(),
        urls=urls,
        topics=_keywords(plain(fields.get("keywords") or fields.get("keyword") or fields.get("author_keywords", ""))),
        own_id=text(ID_FIELD),
    )


def _joined(value: str) -> str:
    """A value with one line per paragraph, separated by blank lines, as in LaTeX."""
    return join_wrapped(value.split("\n")).replace("\n", "\n\n") if "\n" in value else value


def _arxiv_dois(fields: Mapping[str, str], eprints: Iterable[str]) -> Iterator[str]:
    """The DOI that arXiv gives each of its papers."""
    for eprint in eprints:
        if match := _ARXIV.fullmatch(eprint):
            yield f"10.48550/arXiv.{match[1]}"
    for name in ("url", "journal", "note", "howpublished", "volume"):
        if match := _ARXIV_ADDRESS.search(fields.get(name, "")):
            yield f"10.48550/arXiv.{match[1] or match[2]}"


def _authors(names: str) -> Iterator[str]:
    """Names as "von Family, Given Jr", groups as they are."""
    from bibtexparser.middlewares.names import parse_single_name_into_parts, split_multiple_persons_names

    people = split_multiple_persons_names(names)
    if len(people) == 1 and ";" in names and not names.lstrip().startswith("{"):
        people = names.split(";")
    for person in people:
        parts = parse_single_name_into_parts(person, strict=False)
        family, given = " ".join([*parts.von, *parts.last]), " ".join([*parts.first, *parts.jr])
        yield ", ".join(filter(None, (from_latex(family).strip(), from_latex(given).strip())))


def _keywords(value: str) -> Iterator[str]:
    """Keywords separated by semicolons, or else by commas, outside braces."""
    separators = []
    depth = 0
    for mark in re.finditer(r"(?<!\\)[{};,]", value):
        depth += {"{": 1, "}": -1}.get(mark[0], 0)
        if depth <= 0 and mark[0] in ";,":
            separators.append(mark)
    sign = ";" if any(mark[0] == ";" for mark in separators) else ","
    places = [mark.start() for mark in separators if mark[0] == sign]
    for start, end in zip([-1, *places], [*places, len(value)], strict=True):
        yield from_latex(value[start + 1 : end].strip())
