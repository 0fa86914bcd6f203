"""Paragraphs of JATS articles: their text, white space single, and their citation markers with exact spans."""

import re
from dataclasses import dataclass, field
from typing import Any

from corpus.cocitations.full_text import Citation, Paragraph
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.jats_references import ReferenceList
from corpus.cocitations.jats_text import Piece, pieces_of
from corpus.cocitations.ranges import DASH, between, numbers_in
from corpus.cocitations.spans import NO_REFERENCE, UNKNOWN_REFERENCE
from corpus.text.plain import clean

# It gives nothing back: dashes in a row could be parted in many ways.
_SEPARATORS = re.compile(rf"(?:[\s,;&()\[\]]|\band\b|{DASH})*+")
_RANGE = re.compile(rf"[\s\])]*{DASH}[\s\[(]*")
_UNLINKED_END = re.compile(rf"\s*{DASH}\s*(\d{{1,4}})(?=\s*[\]),;])")
_TEN = re.compile(r"(?<![\d.])10$")
_EXPONENT = re.compile(r"[-+\u2212\u2013]?\d")


@dataclass(slots=True)
class _Marker:
    start: int
    end: int
    cited: dict[str, None]
    numbers: list[int] = field(default_factory=list)


def paragraph_of(element: Any, references: ReferenceList, *, report: FullTextReport) -> Paragraph:
    """A paragraph's text, and its citation markers with their ranges expanded.

    Raised markers without brackets of their own are written in brackets, "cells.[12,13] Then": flattened, they would
    be no markers and hide where the sentence ends. So are numbers that stand against a word, which a publisher's
    style sheet raises. report: counts the ids in markers that no reference has, and markers without an id.
    """
    pieces = list(pieces_of(element, raised=False))
    for piece in pieces:
        if piece.rids is not None:
            report.dropped.update(UNKNOWN_REFERENCE for rid in piece.rids if rid not in references.keys_of)
            if not piece.rids:
                report.dropped[NO_REFERENCE] += 1
    return _written(_bracketed(_without_empty(pieces, references)), references)


def _without_empty(pieces: list[Piece], references: ReferenceList) -> list[Piece]:
    """The pieces, each marker with a text of its own: what an empty one refers to goes to the marker beside it.

    Publishers hide the middle of a range in empty ones; one that stands alone is written as its reference's label.
    Two numbers without anything between them are parted by a comma.
    """
    kept: list[Piece] = []
    beside: Piece | None = None  # the last marker, while only separators have followed it
    waiting: list[Piece] = []  # empty markers that none stood before
    for piece in pieces:
        if piece.rids is None:
            if not _SEPARATORS.fullmatch(piece.text):
                _label_alone(waiting, references)
                beside, waiting = None, []
        elif piece.text:
            for empty in waiting:
                piece.hidden.extend(empty.rids or [])
            if beside is not None and beside is kept[-1] and beside.text[-1].isdigit() and piece.text[0].isdigit():
                kept.append(Piece(", ", False))  # what a style sheet sets apart; "12" would be another number
            beside, waiting = piece, []
        elif beside is not None:
            beside.hidden.extend(piece.rids)
            continue
        else:
            waiting.append(piece)
        kept.append(piece)
    _label_alone(waiting, references)
    return [piece for piece in kept if piece.text]


def _label_alone(waiting: list[Piece], references: ReferenceList) -> None:
    for piece in waiting:
        number = references.number(piece.rids[0]) if piece.rids else None
        piece.text = f"[{number}]" if number else ""


def _bracketed(pieces: list[Piece]) -> list[Piece]:
    """The pieces, with brackets round each run of numbered markers that is raised, or stands against a word."""
    written: list[Piece] = []
    at = 0
    while at < len(pieces):
        last = at
        for ahead in range(at + 1, len(pieces)) if pieces[at].rids is not None else ():
            if pieces[ahead].rids is not None:
                last = ahead
            elif not _SEPARATORS.fullmatch(pieces[ahead].text):
                break
        run = pieces[at : last + 1]
        if _needs_brackets(run, written[-1].text[-1:] if written else ""):
            run = [Piece("[", False), *run, Piece("]", False)]
        written.extend(run)
        at = last + 1
    return written


def _needs_brackets(run: list[Piece], before: str) -> bool:
    markers = [piece for piece in run if piece.rids is not None]
    if not markers or not all(numbers_in(piece.text) and piece.text[0].isdigit() for piece in markers):
        return False
    if any(re.search(r"[()\[\]]", piece.text) for piece in run):
        return False
    if before in ("[", "("):
        return False
    return any(piece.raised for piece in markers) or not (before or " ").isspace()


def _written(pieces: list[Piece], references: ReferenceList) -> Paragraph:
    parts: list[str] = []
    length = 0
    last = ""  # what the text ends with
    space = False  # one is due before the next word
    markers: list[_Marker] = []
    for piece in pieces:
        core = clean(piece.text)
        space = space or piece.text[:1].isspace()
        if core:
            if space and length:
                core, start = f" {core}", 1
            elif piece.raised and piece.rids is None and _TEN.search(last) and _EXPONENT.match(core):
                core, start = f"^{core}", 1  # 10<sup>5</sup> would read 105
            else:
                start = 0
            parts.append(core)
            if piece.rids is not None:
                markers.append(_marker(piece, length + start, length + len(core), references))
            length += len(core)
            last = (last + core)[-4:]
            space = False
        space = space or piece.text[-1:].isspace()
    text = "".join(parts)
    citations = (Citation(one.start, one.end, tuple(one.cited)) for one in _ranges(text, markers, references))
    return Paragraph(text, tuple(citation for citation in citations if citation.cited))


def _marker(piece: Piece, start: int, end: int, references: ReferenceList) -> _Marker:
    """A marker with what it cites: what it refers to, and all that its own text says, where the two agree."""
    rids = [rid for rid in piece.rids or () if rid in references.keys_of]
    cited = {key: None for rid in rids for key in references.keys_of[rid]}
    cited |= {key: None for rid in piece.hidden for key in references.keys_of.get(rid, ())}
    numbers = numbers_in(piece.text)
    referred = {references.number(rid) for rid in rids}
    if referred.isdisjoint(numbers):
        numbers = []  # "Smith 2000", or a number that is not the reference's
    elif len(numbers) > len(rids) and referred.issubset(numbers):
        cited = {key: None for number in numbers for key in references.numbered(number)} | cited
    return _Marker(start, end, cited, numbers)


def _ranges(text: str, markers: list[_Marker], references: ReferenceList) -> list[_Marker]:
    """The markers, the two ends of a range as one that cites all between them."""
    joined: list[_Marker] = []
    for marker in markers:
        first = joined[-1] if joined else None
        if first and first.numbers and marker.numbers and _RANGE.fullmatch(text, first.end, marker.start):
            numbers = between(first.numbers[-1], marker.numbers[0])
            if numbers:
                inner = [key for number in numbers for key in references.numbered(number)]
                cited = first.cited | dict.fromkeys(inner) | marker.cited
                joined[-1] = _Marker(first.start, marker.end, cited, marker.numbers)
                continue
        joined.append(marker)
    for marker in joined:
        before = text[max(0, marker.start - 1) : marker.start]
        found = _UNLINKED_END.match(text, marker.end) if before in ("[", "(", ",", ";") and marker.numbers else None
        for number in between(marker.numbers[-1], int(found[1])) if found else ():
            marker.cited.update(dict.fromkeys(references.numbered(number)))
    return joined
