"""Columns of a table: which header stands for which field of Paper, and a row as a paper."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from corpus.errors import UnknownFormatError
from corpus.identifiers import doi_of, pmid_of
from corpus.paper import SCHEMA, Paper
from corpus.readers.fields import clean_paper, join_paragraphs, names_of, topics_of, url_of, year_of
from corpus.text.cells import unguard_cell
from corpus.text.markup import plain
from corpus.text.plain import clean

# Field of Paper → the header of the column that holds it.
Columns = Mapping[str, str]

FIELDS: tuple[str, ...] = tuple(SCHEMA.names)
# The headers of our own tables, in order: `corpus.export` writes them, and their cells are read exactly.
OWN_HEADERS = ("id", "title", "authors", "year", "venue", "doi", "pmid", "url", "topics", "abstract")

# The headers of each field, in lower case without spaces and punctuation, the best first: Zotero, Scopus, Web of
# Science, PubMed, Dimensions, lens.org, Semantic Scholar, Mendeley's converters, EndNote, pandas.
_HEADERS: dict[str, str] = {
    "title": "title articletitle documenttitle papertitle publicationtitle primarytitle displayname titles ti name",
    "abstract": "abstract abstractnote abstracttext abstracts summary ab description text",
    "authors": "authorfullnames authors author authornames authornamesfull af au creators creator byline authorlist",
    "year": "year publicationyear pubyear yearpublished publishedyear yearofpublication py publicationdate"
    " datepublished publicationdateonline date published issued pubdate publishtime dp createdate",
    "venue": "publicationtitle journal journaltitle sourcetitle journalname containertitle journalbook publication"
    " publicationname venue secondarytitle booktitle proceedingstitle periodical conferencename so jt source",
    "doi": "doi di articledoi doilink doiurl digitalobjectidentifier",
    "pmid": "pmid pubmedid pubmed pm medlineid pubmedpmid",
    "url": "url link externalurl dimensionsurl sourcelinkout articleurl weblink links urls sourceurls",
    "topics": "meshterms meshheadings mesh authorkeywords keywords keyword indexkeywords keywordsplus manualtags"
    " automatictags tags topics topic subjects fieldsofstudy concepts labels de",
    "id": "id paperid recordid docid documentid corpusid openalexid lensid eid utuniquewosid publicationid citationkey"
    " citekey bibtexkey key corduid identifier",
}
# Web of Science's tab-delimited files have tags as headers; there ID means keywords.
_WEB_OF_SCIENCE_TAGS: dict[str, str] = {
    "title": "ti",
    "abstract": "ab",
    "authors": "af au",
    "year": "py",
    "venue": "so",
    "doi": "di",
    "pmid": "pm",
    "topics": "de id",
    "id": "ut",
}
_PUNCTUATION = re.compile(r"[\W_]+")
_PLACEHOLDER = re.compile(r"\[?no (?:abstract|title|author name|authors?)(?: available| found)?\.?\]?", re.IGNORECASE)
_MAX_LISTED = 12  # headers that an error names


class ColumnsNotFound(UnknownFormatError):
    """A table without a recognisable title column, or without a header that was asked for.

    headers: those that it has. vector_columns: of a Parquet file, those that can be vectors.
    """

    def __init__(self, reason: str, *, headers: Sequence[str]):
        super().__init__(
            reason,
            advice="Choose the header of each field in the app, or give it on the command line with "
            "--column title=HEADER --column abstract=HEADER",
        )
        self.headers = tuple(headers)
        self.format = "CSV"
        self.vector_columns: tuple[str, ...] = ()


@dataclass(slots=True)
class ColumnMap:
    """Which columns of a table hold which field.

    places: for each field the numbers of its columns, from 0, the best first. exact: a table of our own, whose cells
    are taken literally. guarded: cells are a spreadsheet's, with an apostrophe before what it would run.
    """

    headers: tuple[str, ...]
    places: dict[str, tuple[int, ...]]
    exact: bool = False
    guarded: bool = True
    # Fields with semicolons in some cell, so that commas in their other cells separate nothing.
    _with_semicolons: set[str] = field(default_factory=set)

    @property
    def columns(self) -> dict[str, str]:
        """The header of each field, the best one where it has several."""
        return {name: self.headers[places[0]] for name, places in self.places.items()}

    def learn(self, cells: Sequence[object]) -> None:
        """Note from a row how the table separates names and topics."""
        for name in ("authors", "topics"):
            for place in self.places.get(name, ()):
                if place < len(cells) and isinstance(cell := cells[place], str) and ";" in cell:
                    self._with_semicolons.add(name)

    def paper(self, cells: Sequence[object]) -> Paper:
        """The paper in a row; title and abstract may be empty. A row may be short."""
        self.learn(cells)

        def values(name: str) -> list[object]:
            return [cells[place] for place in self.places.get(name, ()) if place < len(cells)]

        def text(name: str) -> str:
            return next(filter(None, map(self._text, values(name))), "")

        return clean_paper(
            own_id=text("id"),
            title=text("title"),
            abstract=text("abstract"),
            authors=next(filter(None, map(self._names, values("authors"))), []),
            year=next(filter(None, (year_of(_bare(value)) for value in values("year"))), None),
            venue=text("venue"),
            doi=doi_of(text("doi")),
            pmid=next(filter(None, (pmid_of(_bare(value)) for value in values("pmid"))), ""),
            url=url_of(text("url"), alone=self.exact),
            topics=(topic for value in values("topics") for topic in self._topics(value)),
        )

    def _text(self, value: object) -> str:
        text = text_of(value)
        if not self.exact:
            text = text.strip()
        if self.guarded:
            text = unguard_cell(text)
        if self.exact:
            return text
        text = plain(text)
        return "" if _PLACEHOLDER.fullmatch(text.strip()) else text

    def _list(self, values: list[object]) -> list[str]:
        return [text_of(value) if self.exact else plain(text_of(value)) for value in values]

    def _names(self, value: object) -> list[str]:
        if isinstance(value, list):
            names = self._list(value)
        elif self.exact:
            names = self._text(value).split("; ")
        else:
            names = names_of(self._text(value), commas="authors" not in self._with_semicolons)
        return list(filter(None, map(clean, names)))

    def _topics(self, value: object) -> list[str]:
        if isinstance(value, list):
            return self._list(value)
        if self.exact:
            return self._text(value).split("; ")
        return topics_of(self._text(value), commas="topics" not in self._with_semicolons)


def map_columns(headers: Sequence[str], columns: Columns | None = None) -> ColumnMap:
    """Map fields to headers: as `columns` says, and guessed for the fields that it does not name.

    A field that `columns` maps to "" is left out. Raises ColumnsNotFound for a missing header, and if no column can
    hold the titles.
    """
    headers = [clean(header) for header in headers]
    columns = columns or {}
    if strangers := sorted(set(columns) - set(FIELDS)):
        raise ColumnsNotFound(
            f"there is no field {strangers[0]!r} (the fields are {', '.join(FIELDS)})", headers=headers
        )
    places = {name: found for name, found in _guessed_places(headers).items() if name not in columns}
    for name, header in columns.items():
        if not header:
            continue
        same = [number for number, own in enumerate(headers) if own == clean(header)] or [
            number for number, own in enumerate(headers) if _key(own) == _key(header)
        ]
        if not same:
            raise ColumnsNotFound(
                f"it has no column {header!r} for {name} (it has {_listed(headers)})", headers=headers
            )
        for guessed in places.keys() - columns.keys():  # a column that was given by hand is no other field too
            places[guessed] = tuple(place for place in places[guessed] if place != same[0])
        places[name] = (same[0],)
    places = {name: places[name] for name in FIELDS if places.get(name)}
    if "title" not in places:
        raise ColumnsNotFound(
            f"none of its columns is recognised as the title (it has {_listed(headers)})", headers=headers
        )
    exact = not columns and any(tuple(headers[: len(own)]) == own for own in (OWN_HEADERS, FIELDS))
    return ColumnMap(tuple(headers), places, exact)


def guess_columns(headers: Sequence[str]) -> dict[str, str]:
    """The guessed header of each field, also where none is recognised as the title's."""
    return {name: headers[places[0]] for name, places in _guessed_places([clean(header) for header in headers]).items()}


def count_fields(headers: Sequence[str], columns: Columns | None = None) -> int:
    """How many fields are recognised under some headers; 0 without a title."""
    try:
        return len(map_columns(headers, columns).places)
    except ColumnsNotFound:
        return 0


def text_of(value: object) -> str:
    """A value of a table as text: of an object its name, of a list its items as lines; "" for booleans and NaN."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return next((text for key in ("name", "display_name", "text") if (text := text_of(value.get(key)))), "")
    if isinstance(value, list):
        return join_paragraphs(map(text_of, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    has_text = isinstance(value, int | float | Decimal | date) and value == value  # NaN differs from itself
    return str(value) if has_text else ""


def _bare(value: object) -> Any:
    """A value for the readers of years and PMIDs, which know numbers and dates; None for NaN."""
    return unguard_cell(value.strip()) if isinstance(value, str) else value if value == value else None


def _guessed_places(headers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    keys = [_key(header) for header in headers]
    is_tagged = {"ti", "so", "py"} <= set(keys) or {"ti", "ab", "ut"} <= set(keys)
    taken: set[int] = set()
    found: dict[str, tuple[int, ...]] = {}
    for name, aliases in (_WEB_OF_SCIENCE_TAGS if is_tagged else _HEADERS).items():
        places = [number for alias in aliases.split() for number, key in enumerate(keys) if key == alias]
        places = [number for number in dict.fromkeys(places) if number not in taken]
        if name not in ("topics", "authors", "year", "pmid", "doi", "url"):
            places = places[:1]  # another "description" or "source" is something else
        if places:
            found[name] = tuple(places)
            taken.update(places)
    return found


def _key(header: str) -> str:
    return _PUNCTUATION.sub("", header.casefold())


def _listed(headers: Sequence[str]) -> str:
    more = f", and {len(headers) - _MAX_LISTED} more" if len(headers) > _MAX_LISTED else ""
    return ", ".join(json.dumps(header[:60], ensure_ascii=False) for header in headers[:_MAX_LISTED]) + more
