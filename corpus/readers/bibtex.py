"""BibTeX and BibLaTeX. bibtexparser reads the entries, one at a time; here the file is cut into them."""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from corpus.io.decoding import text_lines
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.references import Lines, is_pmid, joined, paper_of, pmid_in
from corpus.readers.report import Found, Rejected
from corpus.text.latex import from_latex, verbatim
from corpus.text.markup import plain

FORMAT = "BibTeX"
UNIT = "record"
# Holds an id of ours, where neither the PMID nor the DOI is it. Keys of entries are no ids: each library has its own.
ID_FIELD = "cocite-id"

_START = re.compile(r"^[ \t\ufeff]*@[ \t]*([A-Za-z]+)[ \t]*[{(]", re.MULTILINE)
_OPENING = re.compile(r"\s*@\s*([A-Za-z]\w*)\s*(?P<open>[{(])")
# An entry that begins inside another, whose end is missing. Text hardly has "@word{key,"; addresses have no brace.
_NEXT = re.compile(
    r"[ \t]*@[ \t]*(?:(?:comment|preamble|string)[ \t]*[{(]|[a-z]+[ \t]*[{(][^\s{}()\"=,]*[ \t]*(?:,|$))", re.IGNORECASE
)
_INLINE = re.compile(r"@([A-Za-z]\w*)(?P<open>[{(])(?=[^\s{}()\"=,]*,)")
_MARKS = re.compile(r"(?<!\\)[{}]|[)\"]")
# "\\" is a line's end and no escape of the brace behind it, which bibtexparser takes it for.
_LINE_END = re.compile(r"(?<!\\)((?:\\\\)+)(?=[{}])")
_NO_ENTRIES = frozenset({"comment", "preamble"})
_STRINGS = 10_000  # abbreviations kept, each as long as a field may be
_ARXIV = re.compile(r"(?:arxiv:\s*)?((?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[a-z]{2})?/\d{7}))(?:v\d+)?", re.IGNORECASE)
_ARXIV_ADDRESS = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})|\barxiv:\s*(\d{4}\.\d{4,5})", re.IGNORECASE)
_PART = re.compile(r"\s*(?:#\s*)*")
_WORD = re.compile(r"[^#\"{}\s][^#\"{}]*")


def begins(text: str) -> int:
    """Where the first entry begins in the head of a file; -1 where the file is no BibTeX."""
    found = _START.search(text)
    return found.start() if found else -1


def read_bibtex(stream: CappedStream, *, limits: Limits) -> Iterator[Found]:
    """What each entry of a file gives, in its order. Abbreviations (@string) hold from there on to the end."""
    # What it says of a broken entry is in the report.
    logging.getLogger("bibtexparser.splitter").setLevel(logging.CRITICAL)
    strings: dict[str, str] = {}
    number = 0
    for kind, block in _blocks(stream, limits.record_bytes):
        if kind in _NO_ENTRIES:
            continue
        found = block.refusal if block.too_large else _parsed("".join(block.texts), strings, limits)
        if found is not None:
            number += 1
            yield f"{number}, line {block.start}", found


def _blocks(stream: CappedStream, most: int) -> Iterator[tuple[str, Lines]]:
    """Each "@kind{…}" of a file: what kind it is, in lower case, and its text. What stands between is comment."""
    scan = _Scan(most)
    number = 1
    begins_line = True
    for line in text_lines(stream):
        yield from scan.line(line, number, begins_line=begins_line)
        begins_line = line.endswith("\n")
        number += begins_line
    yield from scan.end()


class _Scan:
    """Counts braces to find where a block ends, as bibtexparser counts them."""

    def __init__(self, most: int):
        self._most = most
        self._block: Lines | None = None
        self._kind = ""
        self._round = False  # opened by "(", which ends by ")" outside of braces and quotes
        self._quoted = False
        self._depth = 0
        self._fresh = True  # a block ended, and nothing but white space came since

    def line(self, text: str, number: int, *, begins_line: bool) -> Iterator[tuple[str, Lines]]:
        """The blocks that end in a line, or before it."""
        text = _LINE_END.sub(r"\1 ", text)
        if self._block and begins_line and _NEXT.match(text):
            yield from self.end()
        position = 0
        while position < len(text):
            if self._block is None:
                # Right behind a block, or at the start of a line; elsewhere only where it looks like nothing else.
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

    def end(self) -> Iterator[tuple[str, Lines]]:
        """The block that is open, if one is, as it stands."""
        if self._block:
            yield self._kind, self._block
        self._block = None
        self._fresh = True

    def _open(self, opening: re.Match[str], number: int) -> None:
        self._block = Lines(number, self._most)
        self._kind = opening[1].lower()
        self._round, self._quoted, self._depth = opening["open"] == "(", False, 0
        self._block.add(opening[0].lstrip())

    def _closed(self, text: str, start: int) -> int | None:
        """Where the block ends in a line; None where it goes on."""
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
    """What a block gives; None for an abbreviation, which is kept in `strings`."""
    from bibtexparser.entrypoint import parse_string
    from bibtexparser.model import DuplicateFieldKeyBlock, Entry, String

    blocks = parse_string(text, parse_stack=[]).blocks
    block: Any = blocks[0] if blocks else None
    if isinstance(block, DuplicateFieldKeyBlock):
        block = block.ignore_error_block
    if isinstance(block, String):
        value = _value(block.value, strings, limits.field_chars)
        if len(strings) < _STRINGS and len(value) <= limits.field_chars:
            strings[block.key.lower()] = value
        return None
    if not isinstance(block, Entry):
        return Rejected("damaged", f"{_why(block)}. Correct it, or drop the entry.")
    fields: dict[str, str] = {}
    for entry_field in block.fields:
        value = _value(str(entry_field.value), strings, limits.record_bytes)
        if value.strip():
            # Of a field given twice, BibTeX itself reads the first.
            fields.setdefault(entry_field.key.lower(), value)
    return _paper(fields)


def _why(block: Any) -> str:
    """What is wrong with a block that is no entry."""
    reason = str(getattr(getattr(block, "error", None), "abort_reason", ""))
    if "end of file" in reason or "block start" in reason or not reason:
        return "the entry has no end: a brace or a quotation mark is missing"
    return f"the entry is not as BibTeX has it ({' '.join(reason.split()).rstrip('.')[:200]})"


def _value(raw: str, strings: Mapping[str, str], most: int) -> str:
    """A value without its braces or quotes, its abbreviations written out, its parts ("a" # b) joined."""
    parts: list[str] = []
    size = position = 0
    while position < len(raw) and size <= most:
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
    """Where what begins with a brace or a quotation mark ends, behind its last character."""
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
        return next((from_latex(joined_lines(fields[name])) for name in names if name in fields), "")

    def raw(*names: str) -> list[str]:
        return [verbatim(fields[name]) for name in names if name in fields]

    title, subtitle = text("title", "booktitle"), text("subtitle")
    notes = raw("note", "annote", "annotation", "addendum")
    pmid = next(filter(is_pmid, [*raw("pmid", "pubmed_id", "pubmedid"), *_eprint(fields, "pubmed")]), "")
    return paper_of(
        title=f"{title}: {subtitle}" if title and subtitle else title,
        abstract=text("abstract"),
        authors=_authors(plain(fields.get("author") or fields.get("editor", ""))),
        year=raw("year", "date"),
        venue=text("journal", "journaltitle", "booktitle", "shortjournal", "maintitle"),
        dois=[*raw("doi"), *raw("url", "link", "ee", "bdsk-url-1", "howpublished"), *_arxiv_doi(fields)],
        pmid=(pmid or pmid_in([*raw("pmid", "pubmed_id"), *notes, *raw("url")])).strip(),
        urls=raw("url", "link", "ee", "bdsk-url-1", "howpublished"),
        topics=_keywords(plain(fields.get("keywords") or fields.get("keyword") or fields.get("author_keywords", ""))),
        own_id=text(ID_FIELD),
    )


def joined_lines(value: str) -> str:
    """A field's value on one line a paragraph, each parted by a blank line, as LaTeX has it."""
    return joined(value.split("\n")).replace("\n", "\n\n") if "\n" in value else value


def _eprint(fields: Mapping[str, str], archive: str) -> list[str]:
    named = (fields.get("eprinttype") or fields.get("archiveprefix", "")).strip().lower()
    return [verbatim(fields["eprint"])] if "eprint" in fields and named == archive else []


def _arxiv_doi(fields: Mapping[str, str]) -> Iterator[str]:
    """The DOI that arXiv gives each of its papers."""
    named = (fields.get("eprinttype") or fields.get("archiveprefix", "")).strip().lower()
    if named in ("arxiv", "") and (found := _ARXIV.fullmatch(verbatim(fields.get("eprint", "")))):
        yield f"10.48550/arXiv.{found[1]}"
    for name in ("url", "journal", "note", "howpublished", "volume"):
        if found := _ARXIV_ADDRESS.search(fields.get(name, "")):
            yield f"10.48550/arXiv.{found[1] or found[2]}"


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
    """Keywords parted by semicolons, or else by commas, outside of braces."""
    marks = []
    depth = 0
    for mark in re.finditer(r"(?<!\\)[{};,]", value):
        depth += {"{": 1, "}": -1}.get(mark[0], 0)
        if depth <= 0 and mark[0] in ";,":
            marks.append(mark)
    separator = ";" if any(mark[0] == ";" for mark in marks) else ","
    parts = []
    start = 0
    for mark in marks:
        if mark[0] == separator:
            parts.append(value[start : mark.start()])
            start = mark.end()
    for part in [*parts, value[start:]]:
        yield from_latex(part.strip())
