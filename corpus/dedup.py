"""Merging: records of one paper become one, the fuller one, wherever in whichever file they stood."""

import hashlib
import re
from array import array
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import pyarrow as pa

from corpus.errors import CociteAtlasError
from corpus.identifiers import normalised_doi, normalised_title
from corpus.io.limits import DEFAULT_LIMITS, Limits
from corpus.paper import SCHEMA, Paper, paper_at, to_table
from corpus.readers.report import ReadReport

_BATCH = 1024  # papers that lie as Python objects, before they go into arrow's memory
MOST_ALIKE = 50  # papers of one key that a record is compared with: ten thousand "Editorial"s take no longer
_TELLING = 30  # characters of a title that says without an author which paper it is: "Letter to the editor" does not
_PMID = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_VERSION = re.compile(r"(?:[./]?v\d{1,2}|\.\d)$")  # as 10.12688/f1000research.1.2 and 10.21203/rs.3.rs-1/v1 end


class TooManyPapers(CociteAtlasError):
    """More papers, in all files together, than the limits allow."""


class Merger:
    """Papers of one corpus, none twice, in the order of their first appearance.

    Two records are one paper where they share a PMID, a DOI, or title and year, and nothing speaks against it (see
    `may_be_one`). The fuller one stays, at the place of the earlier, its empty fields filled from the other; the
    later one is counted in its report as a duplicate. Papers lie in arrow's memory, about 3 kB each.
    """

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.merged = 0  # records that repeat an earlier one
        self._limits = limits
        self._tables: list[pa.Table] = []
        self._tail: list[Paper] = []  # the rows after those of the tables
        self._changed: dict[int, Paper] = {}  # rows of the tables that a later record has added to
        self._gone: dict[int, int] = {}  # rows that a later record, which knew both, showed to repeat an earlier one
        self._reports: list[ReadReport] = []
        self._report_of = array("I")  # by row
        self._places: list[str] = []  # by row
        self._rows_of: dict[bytes, tuple[int, ...]] = {}  # by key, in their order
        self._stored = lru_cache(maxsize=MOST_ALIKE * 8)(self._read)

    def __len__(self) -> int:
        return len(self._places) - len(self._gone)

    def add(self, paper: Paper, *, report: ReadReport, place: str) -> None:
        """Take in a paper that was read at `place` of the file of `report`, which has counted it as kept.

        Raises TooManyPapers.
        """
        row = self._like(paper)
        if row is None:
            if len(self._places) >= self._limits.records:
                raise TooManyPapers(
                    f"{report.file}: the files have more than {self._limits.records:,} papers in all. "
                    "Make several corpora of them."
                )
            self._know(paper, self._append(paper, report=report, place=place))
        else:
            self._repeat(paper, of=row, report=report, place=place)
            self._know(paper, row)
            self._put(row, fuller(self._at(row), paper))
            self._know(self._at(row), row)
            self._join(row)

    def tables(self) -> Iterator[pa.Table]:
        """The papers so far as tables with `SCHEMA` of some thousand rows, ids made unique: a repeat gets "id~2"."""
        start = 0
        ids: dict[str, int] = {}
        for table in (*self._tables, to_table(self._tail)):
            rows = range(start, start + table.num_rows)
            start += table.num_rows
            if any(row in self._changed or row in self._gone for row in rows):
                table = to_table(self._at(row) for row in rows if row not in self._gone)
            told = table["id"].to_pylist()
            unique = [unique_id(paper_id, ids) for paper_id in told]
            if unique != told:
                table = table.set_column(0, SCHEMA.field("id"), pa.array(unique, type=pa.string()))
            if table.num_rows:
                yield table

    def papers(self) -> Iterator[Paper]:
        """The papers so far, in the order of their first appearance, ids made unique."""
        for table in self.tables():
            for row in range(table.num_rows):
                yield paper_at(table, row)

    def _like(self, paper: Paper, *, but: int = -1) -> int | None:
        """The first row of the same paper, by the strongest key that finds one."""
        for key in keys_of(paper):
            for row in sorted({self._root(row) for row in self._rows_of.get(key, ())}):
                if row != but and may_be_one(self._at(row), paper, key=key):
                    return row
        return None

    def _root(self, row: int) -> int:
        """The row that a row was merged into, itself where it was not."""
        while (into := self._gone.get(row)) is not None:
            row = into
        return row

    def _know(self, paper: Paper, row: int) -> None:
        for key in keys_of(paper):
            rows = self._rows_of.get(key, ())
            if row not in rows and len(rows) < MOST_ALIKE:
                self._rows_of[key] = (*rows, row)

    def _join(self, row: int) -> None:
        """Merge rows that a record has shown to be one paper: it had the PMID of the one and the DOI of the other."""
        while (other := self._like(self._at(row), but=row)) is not None:
            row, later = sorted((row, other))
            repeated = self._at(later)
            self._repeat(repeated, of=row, report=self._reports[self._report_of[later]], place=self._places[later])
            self._gone[later] = row
            self._changed.pop(later, None)
            self._put(row, fuller(self._at(row), repeated))
            self._know(self._at(row), row)

    def _repeat(self, paper: Paper, *, of: int, report: ReadReport, place: str) -> None:
        earlier, known = self._reports[self._report_of[of]], self._at(of)
        where = self._places[of] if earlier is report else f"{earlier.file}, {self._places[of]}"
        reason = f"repeats {where} ({_shared(known, paper)}). The two are merged."
        report.repeat(place=place, reason=reason, without_abstract=not paper.abstract)
        if paper.abstract and not known.abstract:
            earlier.without_abstract -= 1  # now it has one
        self.merged += 1

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
        number, place = divmod(row, _BATCH)
        if number == len(self._tables):
            return self._tail[place]
        return self._changed.get(row) or self._stored(row)

    def _read(self, row: int) -> Paper:
        number, place = divmod(row, _BATCH)
        return paper_at(self._tables[number], place)

    def _put(self, row: int, paper: Paper) -> None:
        number, place = divmod(row, _BATCH)
        if number == len(self._tables):
            self._tail[place] = paper
        elif paper != self._at(row):
            self._changed[row] = paper


def same_paper(one: Paper, other: Paper) -> bool:
    """Whether two records are of one paper, by the rules of a Merger."""
    shared = set(keys_of(other))
    return any(key in shared and may_be_one(one, other, key=key) for key in keys_of(one))


def keys_of(paper: Paper) -> list[bytes]:
    """What another record of the same paper may share, the strongest first: PMID, DOI, normalised title and year."""
    keys = []
    if pmid := _pmid(paper):
        keys.append(b"p" + pmid.encode())
    if doi := normalised_doi(paper.doi):
        keys.append(b"d" + _digest(doi))
    if title := normalised_title(paper.title):
        keys.append(b"t" + _digest(f"{title}\x00{paper.year or ''}"))
    return keys


def may_be_one(one: Paper, other: Paper, *, key: bytes) -> bool:
    """Whether nothing speaks against two records being one paper that share a key of `keys_of`.

    Other PMIDs do; so do other DOIs, but for those of versions (…/v1 and …/v2); and where only title and year are
    shared, another first author, or a title that many papers have where no authors are named.
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
        return _may_be_one_person(one.authors[0], other.authors[0])
    return len(normalised_title(one.title)) >= _TELLING or one.abstract == other.abstract


def fuller(one: Paper, other: Paper) -> Paper:
    """Of two records of a paper the one that says more, its empty fields filled from the other.

    More is: an abstract, then fields that are filled, then characters; of equals the first.
    """
    best, rest = (other, one) if _fullness(other) > _fullness(one) else (one, other)
    filled = {name: getattr(rest, name) for name in SCHEMA.names if getattr(best, name) in ("", (), None)}
    return replace(best, **filled)


def _fullness(paper: Paper) -> tuple[bool, int, int]:
    values = [getattr(paper, name) for name in SCHEMA.names]
    characters = sum(len(part) for value in values if isinstance(value, str | tuple) for part in value)
    return bool(paper.abstract), sum(value not in ("", (), None) for value in values), characters


def _may_be_one_person(one: str, other: str) -> bool:
    """Whether two names share a word of the family name: "Müller, Jan", "J. Muller" and "Muller J" do."""
    first, second = (_name_words(name) for name in (one, other))
    return not first or not second or not first.isdisjoint(second)


def _name_words(name: str) -> set[str]:
    """The words of a family name; of all of a name that does not say which part that is. Initials are none."""
    words = normalised_title(name.split(",")[0]).split()
    return {word for word in words if len(word) > 1 or not word.isascii()}


def _shared(one: Paper, other: Paper) -> str:
    """What two records of one paper have in common, in words."""
    if (pmid := _pmid(one)) and pmid == _pmid(other):
        return f"PMID {pmid}"
    if (doi := normalised_doi(one.doi)) and doi == normalised_doi(other.doi):
        return f"DOI {doi}"
    return "title and year"


def _pmid(paper: Paper) -> str:
    pmid = paper.pmid.strip()
    return pmid if _PMID.fullmatch(pmid) else ""


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=15).digest()


def unique_id(paper_id: str, taken: dict[str, int]) -> str:
    """The id, with "~2" and so on behind it where it is taken; taken: ids, and how often each was asked for."""
    unique = paper_id
    while unique in taken:
        taken[paper_id] += 1
        unique = f"{paper_id}~{taken[paper_id]}"
    taken[unique] = 1
    return unique
