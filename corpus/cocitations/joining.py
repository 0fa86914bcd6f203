"""Joining: references → the papers of a corpus that they mean, by identifier, or by title where that is asked for."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from corpus.cocitations.full_text import Reference
from corpus.cocitations.identifiers import TITLE, Kind, identifier, title_identifier
from corpus.dedup import match_keys, may_be_same_paper, unique_id
from corpus.identifiers import derived_id, normalised_title
from corpus.io.limits import DEFAULT_LIMITS
from corpus.paper import Paper, to_table
from corpus.text.plain import clean

_BATCH = 1024  # papers that lie as Python objects, before they go into arrow's memory
_TELLING = 20  # letters and digits of a title that says which paper it is: "Editorial" and "Reply" do not
_ALIKE = 0.5  # of the words of two titles, the share that both have, where they may be one
# An own id that is a bare number may be any of these, and says not which.
_NUMBERS: tuple[Kind, ...] = ("pmid", "s2", "mag")
_JUDGED = ("doi:", "pmid:")  # two papers may share one by a slip; see `corpus.dedup.may_be_one`
_WRITTEN: tuple[Kind, ...] = ("doi", "pmid", "pmcid", "arxiv", "s2", "openalex", "acl")
_LOOKED_UP: tuple[Kind, ...] = ("pmid", "doi", "pmcid", "arxiv")
_LINKED: tuple[Kind, ...] = ("doi", "arxiv", "pmid", "pmcid", "s2", "openalex", "acl")


class Joiner:
    """The papers that references mean. First all references are needed, then papers offered, then rows asked for.

    Only papers that are needed are kept, in arrow's memory; of identifiers, hashes of 8 bytes.
    by_title: a reference that no identifier joins means the paper with exactly its title, letters and digits alone, of
    the same year or one beside it. titles_alone: one that means no paper offered stands for itself, with its own title
    and no abstract. joined: how many references were asked for, by what joined them; "" for those that nothing did.
    missing: where it is given, how many references asked for a number or DOI that no paper offered has.
    """

    def __init__(
        self, *, by_title: bool = False, titles_alone: bool = False, missing: Counter[str] | None = None
    ) -> None:
        self.joined: Counter[str] = Counter()
        self.missing = missing
        self.offered = 0
        self.ambiguous = 0  # papers whose own id another one had before
        self._by_title = by_title
        self._titles_alone = titles_alone
        self._needed: set[int] = set()
        self._row_of: dict[int, int] = {}
        self._row_of_number: dict[int, int] = {}  # by what a bare number may be
        self._rows_of_title: dict[int, list[int]] = {}
        self._row_of_record: dict[bytes, int] = {}  # by the keys by which records of one paper are told
        self._is: dict[int, int] = {}  # a row that a later record showed to be one with an earlier one
        self._known: list[Paper] = []  # by row, without abstracts
        self._tables: list[pa.Table] = []
        self._tail: list[Paper] = []
        self._ids: dict[str, int] = {}
        self._alone: set[int] = set()  # rows that are no paper offered

    # What is needed

    def need(self, reference: Reference) -> None:
        """Keep the paper that a reference means when it is offered."""
        for said in reference.identifiers:
            if not said.startswith(TITLE):
                self._needed.update(_key(name) for name in (said, *_guises_of(said)))
        if self._by_title and (title := _title_key(reference.title)):
            self._needed.add(title)

    def offer(self, paper: Paper) -> bool:
        """Take in a paper with a title and an abstract where it is needed; whether it was."""
        self.offered += 1
        sure = {_key(said): said for said in _sure_identifiers(paper)}
        sure = {key: said for key, said in sure.items() if key in self._needed}
        own = _key(f"id:{clean(paper.id)}")
        own_needed = own in self._needed
        numbers = [key for key in map(_key, _numbers(paper.id)) if key in self._needed] if not paper.pmid else []
        title = _title_key(paper.title) if self._by_title else 0
        titled = bool(title) and title in self._needed
        if not (sure or own_needed or numbers or titled):
            return False
        row = self._like(paper, sure)
        if row is None:
            row = self._append(paper)
        for record_key in match_keys(paper):
            self._row_of_record.setdefault(record_key, row)
        for key in sure:
            self._row_of.setdefault(key, row)
        if own_needed and self._row(self._row_of.setdefault(own, row)) != row:
            self.ambiguous += 1
        for key in numbers:
            self._row_of_number.setdefault(key, row)
        if titled and row not in (rows := self._rows_of_title.setdefault(title, [])):
            rows.append(row)
        return True

    def _like(self, paper: Paper, sure: dict[int, str]) -> int | None:
        """The row of the same paper; rows that are one by this record become one.

        By the rules by which corpora are merged, and by identifiers that versions of a paper share: arXiv's, say.
        """
        found = {
            self._row_of[key] for key, said in sure.items() if key in self._row_of and not said.startswith(_JUDGED)
        }
        for key in match_keys(paper):
            row = self._row_of_record.get(key)
            if row is not None and may_be_same_paper(self._known[row], paper, key=key):
                found.add(row)
        rows = sorted(map(self._row, found))
        for other in rows[1:]:
            if other != rows[0]:
                self._is[other] = rows[0]
        return rows[0] if rows else None

    def _row(self, row: int) -> int:
        while row in self._is:
            row = self._is[row]
        return row

    def _append(self, paper: Paper) -> int:
        self._tail.append(replace(paper, id=unique_id(paper.id, self._ids)))
        if len(self._tail) == _BATCH:
            self._tables.append(to_table(self._tail))
            self._tail = []
        self._known.append(replace(paper, abstract="", authors=paper.authors[:1], venue="", url="", topics=()))
        return len(self._known) - 1

    # What a reference means

    def row_of(self, reference: Reference) -> int | None:
        """The row of the paper that a reference means; None where no paper is known."""
        row, how = self._found(reference)
        if self.missing is not None and (row is None or row in self._alone) and (name := _looked_up(reference)):
            self.missing[name] += 1
        if row is None and self._titles_alone:
            row = self._stand_in(reference)
        if row in self._alone:
            how = "its own title alone"
        self.joined[how if row is not None else ""] += 1
        return None if row is None else self._row(row)

    def _found(self, reference: Reference) -> tuple[int | None, str]:
        for said in reference.identifiers:
            if (row := self._row_of.get(_key(said))) is not None:
                return row, said.partition(":")[0]
        for said in reference.identifiers:
            for name in _guises_of(said):
                if (row := self._row_of.get(_key(name))) is not None:
                    return row, name.partition(":")[0]
        for said in reference.identifiers:
            for name in (said, *_guises_of(said)):
                row = self._row_of_number.get(_key(name))
                if row is not None and _may_be_alike(reference.title, self._known[row].title):
                    return row, f"{name.partition(':')[0]} as the paper's own number"
        if self._by_title and (key := _title_key(reference.title)):
            rows = [row for row in self._rows_of_title.get(key, ()) if self._years_apart(row, reference) <= 1]
            if rows:
                return min(rows, key=lambda row: self._years_apart(row, reference)), "title"
        return None, ""

    def _years_apart(self, row: int, reference: Reference) -> int:
        year = self._known[row].year
        return 1 if year is None or reference.year is None else abs(year - reference.year)

    def _stand_in(self, reference: Reference) -> int | None:
        title = clean(reference.title)
        if not normalised_title(title) or len(title) > DEFAULT_LIMITS.title_chars:
            return None
        names = reference.identifiers or (title_identifier(title, reference.year),)
        row = next((row for name in names if (row := self._row_of.get(_key(name))) is not None), None)
        if row is None:
            numbers = {kind: said for kind, _, said in (name.partition(":") for name in reversed(names))}
            doi, pmid = numbers.get("doi", ""), numbers.get("pmid", "")
            id = derived_id(title=title, year=reference.year, doi=doi, pmid=pmid)
            row = self._append(Paper(id=id, title=title, abstract="", year=reference.year, doi=doi, pmid=pmid))
            self._alone.add(row)
        for name in names:
            self._row_of.setdefault(_key(name), row)
        return row

    # What came of it

    def papers(self) -> pa.Table:
        """The papers that are kept, a table with `SCHEMA`; its rows are those that `row_of` gives, and others."""
        return pa.concat_tables([*self._tables, to_table(self._tail)])

    def as_json(self) -> dict[str, object]:
        """What joined how many references, and how many papers were looked through."""
        joined = {how or "nothing": count for how, count in self.joined.most_common()}
        return {"papers_offered": self.offered, "references": joined, "ambiguous_ids": self.ambiguous}


def _looked_up(reference: Reference) -> str:
    """What a reference can be looked up by, as the sources of papers write it; "" where it has no such number."""
    for kind in _LOOKED_UP:
        for said in reference.identifiers:
            if said.startswith(f"{kind}:"):
                number = said.removeprefix(f"{kind}:")
                return f"arXiv:{number}" if kind == "arxiv" else number
    return ""


def _sure_identifiers(paper: Paper) -> Iterator[str]:
    """What a paper is known by beyond its own corpus, each once or more."""
    numbers: list[tuple[Kind, str]] = [("doi", paper.doi), ("pmid", paper.pmid)]
    if not _is_number(paper.id):
        numbers.extend((kind, paper.id) for kind in _WRITTEN)
    if paper.url:
        numbers.extend((kind, paper.url) for kind in _LINKED)
    for kind, value in numbers:
        if value and (found := identifier(kind, value)):
            yield found


def _numbers(text: str) -> Iterator[str]:
    """What a bare number may be the number of; nothing for any other text."""
    if _is_number(text):
        yield from filter(None, (identifier(kind, text) for kind in _NUMBERS))


def _guises_of(said: str) -> Iterator[str]:
    """The identifiers that one of the kind "id" may be."""
    kind, _, text = said.partition(":")
    if kind == "id":
        if _is_number(text):
            yield from _numbers(text)
        else:
            yield from filter(None, (identifier(kind, text) for kind in _WRITTEN))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _may_be_alike(title: str, other: str) -> bool:
    """Whether two titles may be those of one paper; a reference without a title says nothing against it."""
    one, two = set(normalised_title(title).split()), set(normalised_title(other).split())
    return not one or len(one & two) >= _ALIKE * len(one | two)


def _title_key(title: str) -> int:
    """The key of a title that says which paper it is; 0 for any other."""
    plain = normalised_title(title)
    return _key(f"{TITLE}{plain}") if len(plain) >= _TELLING else 0


def _key(name: str) -> int:
    # 8 bytes: of ten million names the chance that two share a key is one in 400,000.
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())
