"""Columns: which header of a table stands for which field of Paper, and a row of such a table as a paper."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from corpus.identifiers import derived_id
from corpus.paper import SCHEMA, Paper
from corpus.readers.cells import unguarded
from corpus.readers.fields import doi_of, joined_lines, names_of, pmid_of, topics_of, url_of, year_of
from corpus.readers.report import UnknownFormatError
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs, distinct

# A field of Paper, and the header of a table that it stands under.
Columns = Mapping[str, str]

FIELDS: tuple[str, ...] = tuple(SCHEMA.names)
# What the headers of a table of our own are, in their order: `corpus.export` writes it, and it is read exactly.
OWN_HEADERS = ("id", "title", "authors", "year", "venue", "doi", "pmid", "url", "topics", "abstract")

# What each field is called in lower case without spaces and marks, the best first: Zotero, Scopus, Web of Science,
# PubMed, Dimensions, lens.org, Semantic Scholar, Mendeley's converters, EndNote, pandas.
_NAMES: dict[str, str] = {
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
# Of Web of Science's tab-delimited files, whose headers are tags: there ID is what others call keywords.
_TAGS: dict[str, str] = {
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
_NOT_NAME = re.compile(r"[\W_]+")
_SAID_NOTHING = re.compile(r"\[?no (?:abstract|title|author name|authors?)(?: available| found)?\.?\]?", re.IGNORECASE)
_SHOWN = 12  # headers that an error names


class ColumnsNotFound(UnknownFormatError):
    """A table of which nobody can tell where the titles are, or that lacks a header that was asked for.

    headers: those that it has. vector_columns: of a Parquet file, those that can be vectors.
    """

    def __init__(self, reason: str, *, headers: Sequence[str]):
        super().__init__(
            reason,
            advice="Say under which header each field stands: in the app by choosing it, on the command line by "
            "--column title=HEADER --column abstract=HEADER",
        )
        self.headers = tuple(headers)
        self.format = "CSV"
        self.vector_columns: tuple[str, ...] = ()


@dataclass(slots=True)
class Mapped:
    """Where each field stands in a table: the numbers of its columns, from 0, the best first.

    exact: a table of our own, whose cells mean nothing but what they say. guarded: cells are a spreadsheet's, with an
    apostrophe before what it would run.
    """

    headers: tuple[str, ...]
    places: dict[str, tuple[int, ...]]
    exact: bool = False
    guarded: bool = True
    # Fields of which some cell has semicolons, so that the commas in its others part nothing.
    _with_semicolons: set[str] = field(default_factory=set)

    @property
    def columns(self) -> dict[str, str]:
        """Each field's header, the best one where it has several."""
        return {name: self.headers[places[0]] for name, places in self.places.items()}

    def learn(self, cells: Sequence[object]) -> None:
        """Look at a row before the rows are read, for how its cells list names and topics."""
        for name in ("authors", "topics"):
            for place in self.places.get(name, ()):
                if place < len(cells) and isinstance(cell := cells[place], str) and ";" in cell:
                    self._with_semicolons.add(name)

    def paper(self, cells: Sequence[object]) -> Paper:
        """The paper in a row; title and abstract may be empty. Cells that are missing are empty ones."""
        self.learn(cells)
        told = {name: [cells[place] for place in places if place < len(cells)] for name, places in self.places.items()}
        title, abstract = (self._text(told.get(name, ())) for name in ("title", "abstract"))
        year = next((year for value in told.get("year", ()) if (year := year_of(_bare(value)))), None)
        doi = doi_of(self._text(told.get("doi", ())))
        pmid = next((pmid for value in told.get("pmid", ()) if (pmid := pmid_of(_bare(value)))), "")
        own = clean(self._text(told.get("id", ())))
        return Paper(
            id=own or derived_id(title=clean(title), year=year, doi=doi, pmid=pmid),
            title=clean(title),
            abstract=clean_paragraphs(abstract),
            authors=self._names(told.get("authors", ())),
            year=year,
            venue=clean(self._text(told.get("venue", ()))),
            doi=doi,
            pmid=pmid,
            url=url_of(self._text(told.get("url", ())), alone=self.exact),
            topics=distinct(topic for value in told.get("topics", ()) for topic in self._topics(value)),
        )

    def _text(self, values: Sequence[object]) -> str:
        """The first of some cells that says anything, as text."""
        return next((text for value in values if (text := self._said(value))), "")

    def _said(self, value: object) -> str:
        text = text_of(value)
        if self.exact:
            return unguarded(text) if self.guarded else text
        text = plain(unguarded(text.strip()) if self.guarded else text.strip())
        return "" if _SAID_NOTHING.fullmatch(text.strip()) else text

    def _names(self, values: Sequence[object]) -> tuple[str, ...]:
        for value in values:
            if isinstance(value, list):
                names = [clean(text_of(name) if self.exact else plain(text_of(name))) for name in value]
            elif self.exact:
                names = [clean(name) for name in self._said(value).split("; ")]
            else:
                names = names_of(self._said(value), commas="authors" not in self._with_semicolons)
            if names := list(filter(None, names)):
                return tuple(names)
        return ()

    def _topics(self, value: object) -> list[str]:
        if isinstance(value, list):
            return [text_of(topic) if self.exact else plain(text_of(topic)) for topic in value]
        if self.exact:
            return self._said(value).split("; ")
        return topics_of(self._said(value), commas="topics" not in self._with_semicolons)


def map_columns(headers: Sequence[str], columns: Columns | None = None) -> Mapped:
    """Where each field stands under some headers: as `columns` says, and guessed for the fields that it does not name.

    A field that `columns` maps to "" is left out. Raises ColumnsNotFound where a header is missing, or no column can
    hold the titles.
    """
    named = [clean(header) for header in headers]
    chosen = dict(columns or {})
    if strangers := sorted(set(chosen) - set(FIELDS)):
        raise ColumnsNotFound(
            f"there is no field {strangers[0]!r} to be mapped (there are {', '.join(FIELDS)})", headers=named
        )
    places = {name: found for name, found in _guessed(named).items() if name not in chosen}
    for name, header in chosen.items():
        if not header:
            continue
        same = [number for number, own in enumerate(named) if own == clean(header)] or [
            number for number, own in enumerate(named) if _key(own) == _key(header)
        ]
        if not same:
            raise ColumnsNotFound(f"it has no column {header!r} for {name} (it has {_listed(named)})", headers=named)
        for other in places.keys() - chosen.keys():  # what was given by hand is not guessed to be another field too
            places[other] = tuple(place for place in places[other] if place != same[0])
        places[name] = (same[0],)
    places = {name: found for name, found in places.items() if found}
    if "title" not in places:
        raise ColumnsNotFound(f"none of its columns is called as a title is (it has {_listed(named)})", headers=named)
    exact = not columns and any(tuple(named[: len(own)]) == own for own in (OWN_HEADERS, FIELDS))
    return Mapped(tuple(named), {name: places[name] for name in FIELDS if name in places}, exact)


def guessed_columns(headers: Sequence[str]) -> dict[str, str]:
    """Each field's header as it is guessed, of a table of which nobody can tell where the titles are, too."""
    return {name: headers[places[0]] for name, places in _guessed([clean(header) for header in headers]).items()}


def recognised(headers: Sequence[str], columns: Columns | None = None) -> int:
    """How many fields can be told under some headers; 0 without a title."""
    try:
        return len(map_columns(headers, columns).places)
    except ColumnsNotFound:
        return 0


def text_of(value: object) -> str:
    """A value of a table as text; objects as the name that they hold. "" for what says nothing."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return next((text for key in ("name", "display_name", "text") if (text := text_of(value.get(key)))), "")
    if isinstance(value, list):
        return joined_lines(map(text_of, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    told = isinstance(value, int | float | Decimal | date) and value == value  # NaN differs from itself
    return str(value) if told else ""


def _bare(value: object) -> Any:
    """A value for those who read numbers and dates as well as text."""
    return unguarded(value.strip()) if isinstance(value, str) else value if value == value else None


def _guessed(headers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    keys = [_key(header) for header in headers]
    names = _TAGS if {"ti", "so", "py"} <= set(keys) or {"ti", "ab", "ut"} <= set(keys) else _NAMES
    taken: set[int] = set()
    found: dict[str, tuple[int, ...]] = {}
    for name, known in names.items():
        places = [number for alias in known.split() for number, key in enumerate(keys) if key == alias]
        places = [number for number in dict.fromkeys(places) if number not in taken]
        if name not in ("topics", "authors", "year", "pmid", "doi", "url"):
            places = places[:1]  # another "description" or "source" is something else
        if places:
            found[name] = tuple(places)
            taken.update(places)
    return found


def _key(header: str) -> str:
    return _NOT_NAME.sub("", header.casefold())


def _listed(headers: Sequence[str]) -> str:
    more = f", and {len(headers) - _SHOWN} more" if len(headers) > _SHOWN else ""
    return ", ".join(json.dumps(header[:60], ensure_ascii=False) for header in headers[:_SHOWN]) + more
