"""Deduplication: merge records of one paper while reading (`Merger`), and find papers that a corpus has (`Known`)."""

import hashlib
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import pyarrow as pa

from corpus.errors import CociteAtlasError
from corpus.identifiers import is_pmid, normalised_doi, normalised_title
from corpus.io.limits import DEFAULT_LIMITS, Limits
from corpus.paper import SCHEMA, Paper, paper_at, text_hash, to_table
from corpus.readers.report import ReadReport

_BATCH = 1024  # papers kept as Python objects before they go into arrow's memory
_MAX_ALIKE = 50  # papers of one key that a record is compared with, so that ten thousand "Editorial"s take no longer
_MIN_TITLE_CHARS = 30  # of a title that identifies a paper without an author; "Letter to the editor" does not
_VERSION = re.compile(r"(?:[./]?v\d{1,2}|\.\d)$")  # at the end of 10.12688/f1000research.1.2 and 10.21203/rs.3.rs-1/v1


class TooManyPapers(CociteAtlasError):
    """More papers, in all files together, than the limits allow."""


# When two records are one paper


def match_keys(paper: Paper) -> list[bytes]:
    """What another record of the same paper may share, the strongest first: PMID, DOI, normalised title and year."""
    keys = []
    if pmid := _pmid(paper):
        keys.append(b"p" + pmid.encode())
    if doi := normalised_doi(paper.doi):
        keys.append(b"d" + _digest(doi))
    if title := normalised_title(paper.title):
        keys.append(b"t" + _digest(f"{title}\x00{paper.year or ''}"))
    return keys


def may_be_same_paper(one: Paper, other: Paper, *, key: bytes) -> bool:
    """Whether nothing speaks against two records being one paper that share a key of `match_keys`.

    Different PMIDs do; so do different DOIs, except versions (…/v1 and …/v2); and if only title and year are shared,
    different first authors, or a short title and different abstracts where an author is missing.
    """
    pmids = {_pmid(one), _pmid(other)} - {""}
    dois = {_VERSION.sub("", normalised_doi(paper.doi)) for paper in (one, other)} - {""}
    if key.startswith(b"p"):
        return len(dois) < 2
    if key.startswith(b"d"):
        return len(pmids) < 2
    if len(pmids) > 1 or len(dois) > 1:
        return False
    if one.authors and other.authors:
        # "Müller, Jan", "J. Muller" and "Muller J" share a word of the family name.
        names = [_name_words(paper.authors[0]) for paper in (one, other)]
        return not all(names) or not names[0].isdisjoint(names[1])
    return len(normalised_title(one.title)) >= _MIN_TITLE_CHARS or one.abstract == other.abstract


def merge_records(one: Paper, other: Paper) -> Paper:
    """The fuller of two records of a paper, its empty fields filled from the other.

    Fuller: with an abstract, then with more fields, then with more characters; of equals the first.
    """
    best, rest = (other, one) if _fullness(other) > _fullness(one) else (one, other)
    return replace(
        best, **{name: getattr(rest, name) for name in SCHEMA.names if getattr(best, name) in ("", (), None)}
    )


def unique_id(paper_id: str, taken: dict[str, int]) -> str:
    """The id, followed by "~2" and so on if it is taken. taken: each id with the number of times it was asked for."""
    unique = paper_id
    while unique in taken:
        taken[paper_id] += 1
        unique = f"{paper_id}~{taken[paper_id]}"
    taken[unique] = 1
    return unique


def _fullness(paper: Paper) -> tuple[bool, int, int]:
    values = [getattr(paper, name) for name in SCHEMA.names]
    characters = sum(len(part) for value in values if isinstance(value, str | tuple) for part in value)
    return bool(paper.abstract), sum(value not in ("", (), None) for value in values), characters


def _name_words(name: str) -> set[str]:
    """The words of a family name, or of the whole name if it does not show which part that is; initials excluded."""
    words = normalised_title(name.split(",")[0]).split()
    return {word for word in words if len(word) > 1 or not word.isascii()}


def _pmid(paper: Paper) -> str:
    return paper.pmid.strip() if is_pmid(paper.pmid) else ""


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=15).digest()


# Merging


class Merger:
    """The papers of several files without repeats, in the order of their first appearance.

    Two records are one paper if they share a PMID, a DOI, or title and year, and nothing speaks against it (see
    `may_be_same_paper`). `merge_records` of them stays at the place of the earlier; the later one is counted in its
    report as a duplicate. Papers are kept in arrow's memory, about 3 kB each.
    """

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.merged = 0  # records that repeat an earlier one
        self._limits = limits
        self._tables: list[pa.Table] = []  # of _BATCH rows each
        self._tail: list[Paper] = []  # the rows after those of the tables
        self._changed: dict[int, Paper] = {}  # rows of the tables that a later record was merged into
        self._merged_into: dict[int, int] = {}  # rows that a later record, which shares keys with both, joined
        self._reports: list[ReadReport] = []
        self._report_of = array("I")  # by row
        self._places: list[str] = []  # by row
        self._rows_of: dict[bytes, tuple[int, ...]] = {}  # by key, in order
        self._stored = lru_cache(maxsize=_MAX_ALIKE * 8)(self._read)

    def __len__(self) -> int:
        return len(self._places) - len(self._merged_into)

    def add(self, paper: Paper, *, report: ReadReport, place: str) -> None:
        """Add a paper that was read at `place` of the file of `report`, which has counted it as kept.

        Raises TooManyPapers.
        """
        row = self._match(paper)
        if row is None:
            if len(self._places) >= self._limits.records:
                raise TooManyPapers(
                    f"{report.file}: the files have more than {self._limits.records:,} papers in all. "
                    "Make several corpora of them."
                )
            self._index(paper, self._append(paper, report=report, place=place))
            return
        self._index(paper, row)
        self._merge(paper, into=row, report=report, place=place)
        # The merged record may share keys with another row: it has the PMID of the one and the DOI of the other.
        while (other := self._match(self._at(row), excluded=row)) is not None:
            row, later = sorted((row, other))
            repeated = self._at(later)
            self._merged_into[later] = row
            self._changed.pop(later, None)
            report, place = self._reports[self._report_of[later]], self._places[later]
            self._merge(repeated, into=row, report=report, place=place)

    def tables(self) -> Iterator[pa.Table]:
        """The papers as tables with `SCHEMA` of some thousand rows, ids made unique: a repeated id gets "~2"."""
        start = 0
        ids: dict[str, int] = {}
        for table in (*self._tables, to_table(self._tail)):
            rows = range(start, start + table.num_rows)
            start += table.num_rows
            if any(row in self._changed or row in self._merged_into for row in rows):
                table = to_table(self._at(row) for row in rows if row not in self._merged_into)
            old = table["id"].to_pylist()
            unique = [unique_id(paper_id, ids) for paper_id in old]
            if unique != old:
                table = table.set_column(0, SCHEMA.field("id"), pa.array(unique, type=pa.string()))
            if table.num_rows:
                yield table

    def papers(self) -> Iterator[Paper]:
        """The papers, in the order of their first appearance, ids made unique."""
        for table in self.tables():
            for row in range(table.num_rows):
                yield paper_at(table, row)

    def _match(self, paper: Paper, *, excluded: int = -1) -> int | None:
        """The first row of the same paper, by the strongest key that finds one."""
        for key in match_keys(paper):
            for row in sorted({self._root(row) for row in self._rows_of.get(key, ())}):
                if row != excluded and may_be_same_paper(self._at(row), paper, key=key):
                    return row
        return None

    def _root(self, row: int) -> int:
        """The row that a row was merged into, or itself."""
        while (into := self._merged_into.get(row)) is not None:
            row = into
        return row

    def _index(self, paper: Paper, row: int) -> None:
        for key in match_keys(paper):
            rows = self._rows_of.get(key, ())
            if row not in rows and len(rows) < _MAX_ALIKE:
                self._rows_of[key] = (*rows, row)

    def _merge(self, paper: Paper, *, into: int, report: ReadReport, place: str) -> None:
        """Merge a repeat into a row, and report it."""
        earlier, known = self._reports[self._report_of[into]], self._at(into)
        where = self._places[into] if earlier is report else f"{earlier.file}, {self._places[into]}"
        reason = f"repeats {where} ({_shared(known, paper)}). The two are merged."
        report.reject_duplicate(reason, place=place, without_abstract=not paper.abstract)
        if paper.abstract and not known.abstract:
            earlier.without_abstract -= 1  # now it has one
        self.merged += 1
        merged = merge_records(known, paper)
        number, index = divmod(into, _BATCH)
        if number == len(self._tables):
            self._tail[index] = merged
        elif merged != known:
            self._changed[into] = merged
        self._index(merged, into)

    def _append(self, paper: Paper, *, report: ReadReport, place: str) -> int:
        if not self._reports or self._reports[-1] is not report:
            self._reports.append(report)
        self._report_of.append(len(self._reports) - 1)
        self._places.append(place)
        self._tail.append(paper)
        if len(self._tail) == _BATCH:
            self._tables.append(to_table(self._tail))
            self._tail = []
        return len(self._places) - 1

    def _at(self, row: int) -> Paper:
        number, index = divmod(row, _BATCH)
        if number == len(self._tables):
            return self._tail[index]
        return self._changed.get(row) or self._stored(row)

    def _read(self, row: int) -> Paper:
        number, index = divmod(row, _BATCH)
        return paper_at(self._tables[number], index)


def _shared(one: Paper, other: Paper) -> str:
    """What two records of one paper have in common, in words."""
    if (pmid := _pmid(one)) and pmid == _pmid(other):
        return f"PMID {pmid}"
    if (doi := normalised_doi(one.doi)) and doi == normalised_doi(other.doi):
        return f"DOI {doi}"
    return "title and year"


# Papers that a corpus has


class Known:
    """The papers of a table with `SCHEMA`, and those added after them."""

    def __init__(self, papers: pa.Table) -> None:
        self._papers = papers
        self._added: list[Paper] = []
        self._ids: dict[str, int] = {}  # as `unique_id` needs them
        self._rows_of: dict[bytes, list[int]] = {}  # by key
        columns = (papers[name].to_pylist() for name in ("id", "title", "year", "doi", "pmid"))
        for row, (paper_id, title, year, doi, pmid) in enumerate(zip(*columns, strict=True)):
            self._ids[paper_id] = 1
            # Without abstracts: as Python strings, those of a large corpus would fill the memory.
            self._index(Paper(id=paper_id, title=title, abstract="", year=year, doi=doi, pmid=pmid), row)

    def add_if_new(self, paper: Paper) -> Paper | None:
        """Add a paper and return it under an id that was free; None if it repeats one that is known.

        It repeats a paper by the rules of `Merger`; one without number and title repeats a paper of the same text.
        """
        if self._is_known(paper):
            return None
        row = self._papers.num_rows + len(self._added)
        paper = replace(paper, id=unique_id(paper.id, self._ids))
        self._added.append(paper)
        self._index(paper, row)
        return paper

    def _is_known(self, paper: Paper) -> bool:
        keys = match_keys(paper)
        if not keys:
            return any(self._at(row).abstract == paper.abstract for row in self._rows_of.get(_text_key(paper), ()))
        return any(
            may_be_same_paper(self._at(row), paper, key=key) for key in keys for row in self._rows_of.get(key, ())
        )

    def _index(self, paper: Paper, row: int) -> None:
        for key in match_keys(paper) or [_text_key(paper)]:
            rows = self._rows_of.setdefault(key, [])
            if len(rows) < _MAX_ALIKE:
                rows.append(row)

    def _at(self, row: int) -> Paper:
        count = self._papers.num_rows
        return paper_at(self._papers, row) if row < count else self._added[row - count]


def _text_key(paper: Paper) -> bytes:
    """The key of a paper without a number and with a title of punctuation alone ("???")."""
    return b"x" + text_hash(paper.title, "")


def find_rows(papers: pa.Table, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The rows of a table that some names stand for, in order, and the names that stand for none.

    A name is an id; if no paper has that id, the PMID or the DOI, in any form, of one or more papers.
    """
    by_id = {paper_id: [row] for row, paper_id in enumerate(papers["id"].to_pylist())}
    by_number: dict[str, list[int]] = {}
    numbers = zip(papers["pmid"].to_pylist(), papers["doi"].to_pylist(), strict=True)
    for row, (pmid, doi) in enumerate(numbers):
        for number in {pmid.strip(), normalised_doi(doi)} - {""}:
            by_number.setdefault(number, []).append(row)
    rows: set[int] = set()
    unknown: list[str] = []
    for name in names:
        stripped = name.strip()
        found = (
            by_id.get(name) or by_id.get(stripped) or by_number.get(stripped) or by_number.get(normalised_doi(stripped))
        )
        rows.update(found or ())
        if not found:
            unknown.append(name)
    return sorted(rows), unknown
