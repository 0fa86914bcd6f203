"""Pair tables: pairs of ids that somebody else found to be cited together, as TSV, CSV or JSON Lines."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from corpus.cocitations.full_text import CitingSentence, Reference
from corpus.cocitations.identifiers import KINDS, any_identifier, identifier
from corpus.cocitations.pairs import PairsError
from corpus.errors import UnreadableFileError
from corpus.io.decoding import bounded_lines
from corpus.io.limits import DEFAULT_LIMITS
from corpus.io.streams import CappedStream
from corpus.text.plain import clean

_FIRST = ("anchor", "first", "a", "id1", "id_1", "paper1", "paper_1", "query", "source")
_SECOND = ("positive", "second", "b", "id2", "id_2", "paper2", "paper_2", "cocited", "target")
_CITING = ("citing", "citing_id", "citing_paper", "cited_by")
_DELIMITERS = ("\t", ",", ";", "|")
_ADVICE = "Give two ids a line, parted by a tab, a comma or a semicolon, or JSON Lines of anchor and positive."


def read_pair_table(path: Path) -> Iterator[tuple[str, CitingSentence]]:
    """The pairs of a file in its order, each with its place: two ids cited together, and their citing paper if told.

    The file may be gzip. Columns, or keys, named anchor and positive (or first and second, a and b, id1 and id2), and
    citing, are taken by their names; else the first two are the ids and a third one is the citing paper.
    A pair has no sentence. Raises PairsError for what is no such file, naming the line.
    """
    try:
        stream = CappedStream(path, DEFAULT_LIMITS)
        try:
            yield from _pairs(stream, path.name)
        finally:
            stream.close()
    except UnreadableFileError as error:
        error.locate(file=path.name)
        raise


def _pairs(stream: CappedStream, file: str) -> Iterator[tuple[str, CitingSentence]]:
    delimiter = ""
    columns: Sequence[int] = (0, 1, 2)
    for number, line in enumerate(bounded_lines(stream, max_chars=DEFAULT_LIMITS.line_bytes), start=1):
        place = f"{file}, line {number}"
        if line is None:
            raise PairsError(f"{place}: this is too long for a pair of ids. {_ADVICE}")
        text = line.strip("\r\n \ufeff")
        if not text.strip():
            continue
        if text.startswith(("{", "[")):
            cells = _json_cells(text, place=place)
        else:
            # By the first line that is a table's, for all of them: a DOI may hold a semicolon.
            header = not delimiter
            delimiter = delimiter or next((one for one in _DELIMITERS if one in text), " ")
            row = _row(text, delimiter, place=place)
            if header and (named := _columns(row)):
                columns = named
                continue
            cells = [row[one] if one < len(row) else "" for one in columns]
        first, second, citing = (cell.strip() for cell in cells)
        if not first or not second:
            raise PairsError(f"{place}: {text[:60]!r} names fewer than two papers. {_ADVICE}")
        cited = _reference(first), _reference(second)
        if not all(one.identifiers for one in cited):
            raise PairsError(
                f"{place}: {text[:60]!r} holds an id that is none: too long, or without a character to see."
            )
        yield place, CitingSentence(_citing(citing), "", cited)


def _row(text: str, delimiter: str, *, place: str) -> list[str]:
    if delimiter == " ":
        return text.split()
    try:
        return next(csv.reader([text], delimiter=delimiter))
    except csv.Error as error:
        raise PairsError(f"{place}: it cannot be read as a line of a table ({error}). {_ADVICE}") from error


def _columns(row: Sequence[str]) -> Sequence[int]:
    """Where a header has anchor, positive and citing; nothing where the row is none."""
    names = [cell.strip().lower() for cell in row]
    found = [next((names.index(name) for name in known if name in names), -1) for known in (_FIRST, _SECOND, _CITING)]
    if -1 in found[:2]:
        return ()
    return [one if one >= 0 else len(row) for one in found]


def _json_cells(text: str, *, place: str) -> list[str]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PairsError(f"{place}: it is not JSON. {_ADVICE}") from error
    if isinstance(value, dict):
        if "sentence" in value:
            raise PairsError(
                f"{place}: this is a citing sentence, and no pair. Give the file as a full text, without --pairs."
            )
        value = [next((value[name] for name in known if name in value), "") for known in (_FIRST, _SECOND, _CITING)]
    if not isinstance(value, list):
        raise PairsError(f"{place}: it is no pair of ids. {_ADVICE}")
    return [_text(one) for one in (*value, "", "", "")[:3]]


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 <= value < 10**18 else ""
    return value if isinstance(value, str) else ""


def _reference(text: str) -> Reference:
    """What an id may be: the own id of a paper, or an identifier that is written with its kind before it."""
    kind, colon, value = text.partition(":")
    named = next((known for known in KINDS if known == kind.lower()), None) if colon else None
    said = [identifier(named, value)] if named is not None else []
    return Reference(tuple(filter(None, (*said, identifier("id", text)))))


def _citing(text: str) -> str:
    """The citing paper as full texts and lines of sentences name it, so that it goes to one split with theirs."""
    name = clean(text[: DEFAULT_LIMITS.field_chars])
    return any_identifier(name) or name


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
