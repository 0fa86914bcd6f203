"""Join references to the papers of a corpus: by identifier, and on request by title."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from corpus.cocitations.full_text import Reference
from corpus.dedup import match_keys, may_be_same_paper, unique_id
from corpus.identifiers import TITLE_PREFIX, IdKind, citation_key, derived_id, normalised_title, title_key
from corpus.io.limits import DEFAULT_LIMITS
from corpus.paper import Paper, to_table
from corpus.text.plain import clean

_BATCH = 1024  # papers that are kept as Python objects before they go into an arrow table
_DISTINCTIVE_CHARS = 20  # of a title that identifies a paper: "Editorial" and "Reply" do not
_MIN_SHARED_WORDS = 0.5  # the share of common words of two titles that may be of one paper
# An own id that is a bare number may be any of these.
_NUMBER_KINDS: tuple[IdKind, ...] = ("pmid", "s2", "mag")
_OWN_ID_KINDS: tuple[IdKind, ...] = ("doi", "pmid", "pmcid", "arxiv", "s2", "openalex", "acl")
_URL_KINDS: tuple[IdKind, ...] = ("doi", "arxiv", "pmid", "pmcid", "s2", "openalex", "acl")
_FETCHABLE_KINDS: tuple[IdKind, ...] = ("pmid", "doi", "pmcid", "arxiv")
_CHECKED_KINDS = ("doi:", "pmid:")  # two papers may share one by mistake; see `corpus.dedup.may_be_one`


class Joiner:
    """Finds the papers that references mean, in three steps: `need` all references, `offer` all papers, ask `row_of`.

    Only papers that are needed are kept, in arrow tables; of identifiers only hashes of 8 bytes.
    by_title: a reference that no identifier joins means the paper with the same normalised title, of the same year or
    an adjacent one. titles_alone: a reference that means no offered paper becomes a paper with its own title and no
    abstract. missing: if given, counts references to no offered paper by the identifier that sources can look up.
    joined: how many references were asked for, by what joined them; "" for those that nothing did.
    """

    def __init__(
        self, *, by_title: bool = False, titles_alone: bool = False, missing: Counter[str] | None = None
    ) -> None:
        self.joined: Counter[str] = Counter()
        self.offered = 0
        self.ambiguous = 0  # papers whose own id an earlier paper had
        self._missing = missing
        self._by_title = by_title
        self._titles_alone = titles_alone
        self._needed: set[int] = set()
        self._row_of: dict[int, int] = {}
        self._row_of_number: dict[int, int] = {}  # by what a bare number may be
        self._rows_of_title: dict[int, list[int]] = {}
        self._row_of_record: dict[bytes, int] = {}  # by the keys that identify records of one paper
        self._merged_into: dict[int, int] = {}  # rows that a later record showed to be an earlier one's paper
        self._papers: list[Paper] = []  # by row, without abstracts
        self._tables: list[pa.Table] = []
        self._tail: list[Paper] = []
        self._ids: dict[str, int] = {}
        self._title_rows: set[int] = set()  # rows of papers that were not offered

    def need(self, reference: Reference) -> None:
        """Keep the paper that a reference means when it is offered."""
        for key in reference.identifiers:
            if not key.startswith(TITLE_PREFIX):
                self._needed.update(map(_hash, (key, *_possible_keys(key))))
        if self._by_title and (title := _title_hash(reference.title)):
            self._needed.add(title)

    def offer(self, paper: Paper) -> bool:
        """Keep a paper if it is needed; whether it is."""
        self.offered += 1
        sure = {_hash(key): key for key in _sure_keys(paper)}
        sure = {hash: key for hash, key in sure.items() if hash in self._needed}
        own = _hash(f"id:{clean(paper.id)}")
        is_own_needed = own in self._needed
        numbers = [] if paper.pmid else [hash for hash in map(_hash, _number_keys(paper.id)) if hash in self._needed]
        title = _title_hash(paper.title) if self._by_title else 0
        is_title_needed = bool(title) and title in self._needed
        if not (sure or is_own_needed or numbers or is_title_needed):
            return False
        row = self._row_of_same_paper(paper, sure)
        if row is None:
            row = self._append(paper)
        for record_key in match_keys(paper):
            self._row_of_record.setdefault(record_key, row)
        for hash in sure:
            self._row_of.setdefault(hash, row)
        if is_own_needed and self._root(self._row_of.setdefault(own, row)) != row:
            self.ambiguous += 1
        for hash in numbers:
            self._row_of_number.setdefault(hash, row)
        if is_title_needed and row not in (rows := self._rows_of_title.setdefault(title, [])):
            rows.append(row)
        return True

    def _row_of_same_paper(self, paper: Paper, sure: dict[int, str]) -> int | None:
        """The row of the same paper, by the rules for merging corpora and by identifiers that versions of it share.

        Rows that this record shows to be one paper become one.
        """
        found = {
            self._row_of[hash]
            for hash, key in sure.items()
            if hash in self._row_of and not key.startswith(_CHECKED_KINDS)
        }
        for record_key in match_keys(paper):
            row = self._row_of_record.get(record_key)
            if row is not None and may_be_same_paper(self._papers[row], paper, key=record_key):
                found.add(row)
        rows = sorted(set(map(self._root, found)))
        self._merged_into.update(dict.fromkeys(rows[1:], rows[0]) if rows else {})
        return rows[0] if rows else None

    def _root(self, row: int) -> int:
        while row in self._merged_into:
            row = self._merged_into[row]
        return row

    def _append(self, paper: Paper) -> int:
        self._tail.append(replace(paper, id=unique_id(paper.id, self._ids)))
        if len(self._tail) == _BATCH:
            self._tables.append(to_table(self._tail))
            self._tail = []
        self._papers.append(replace(paper, abstract="", authors=paper.authors[:1], venue="", url="", topics=()))
        return len(self._papers) - 1

    def row_of(self, reference: Reference) -> int | None:
        """The row of the paper that a reference means; None where there is none."""
        row, how = self._find(reference)
        if self._missing is not None and (row is None or row in self._title_rows):
            self._missing.update(_fetchable_id(reference))
        if row is None and self._titles_alone:
            row = self._title_row(reference)
        if row in self._title_rows:
            how = "its own title alone"
        self.joined[how if row is not None else ""] += 1
        return None if row is None else self._root(row)

    def _find(self, reference: Reference) -> tuple[int | None, str]:
        """The row of an offered paper, and what joined it."""
        possible = [key for each in reference.identifiers for key in _possible_keys(each)]
        for key in (*reference.identifiers, *possible):
            if (row := self._row_of.get(_hash(key))) is not None:
                return row, key.partition(":")[0]
        for key in (*reference.identifiers, *possible):
            row = self._row_of_number.get(_hash(key))
            if row is not None and _share_words(reference.title, self._papers[row].title):
                return row, f"{key.partition(':')[0]} as the paper's own number"
        if self._by_title and (title := _title_hash(reference.title)):
            near = [(self._years_apart(row, reference), row) for row in self._rows_of_title.get(title, ())]
            near = [(years, row) for years, row in near if years <= 1]
            if near:
                return min(near, key=lambda pair: pair[0])[1], "title"
        return None, ""

    def _years_apart(self, row: int, reference: Reference) -> int:
        year = self._papers[row].year
        return 1 if year is None or reference.year is None else abs(year - reference.year)

    def _title_row(self, reference: Reference) -> int | None:
        """The row of a paper made of a reference's title."""
        title = clean(reference.title)
        if not normalised_title(title) or len(title) > DEFAULT_LIMITS.title_chars:
            return None
        keys = reference.identifiers or (title_key(title, reference.year),)
        row = next((row for key in keys if (row := self._row_of.get(_hash(key))) is not None), None)
        if row is None:
            ids = {kind: value for kind, _, value in (key.partition(":") for key in reversed(keys))}
            doi, pmid = ids.get("doi", ""), ids.get("pmid", "")
            id = derived_id(title=title, year=reference.year, doi=doi, pmid=pmid)
            row = self._append(Paper(id=id, title=title, abstract="", year=reference.year, doi=doi, pmid=pmid))
            self._title_rows.add(row)
        for key in keys:
            self._row_of.setdefault(_hash(key), row)
        return row

    def papers(self) -> pa.Table:
        """The papers that are kept, a table with `SCHEMA`, with the rows that `row_of` gives."""
        return pa.concat_tables([*self._tables, to_table(self._tail)])

    def as_json(self) -> dict[str, Any]:
        """How many papers were offered, and what joined how many references."""
        joined = {how or "nothing": count for how, count in self.joined.most_common()}
        return {"papers_offered": self.offered, "references": joined, "ambiguous_ids": self.ambiguous}


def _fetchable_id(reference: Reference) -> list[str]:
    """The identifier by which sources can look up a reference, as they write it; none where there is none."""
    found = {key.partition(":")[0]: key.partition(":")[2] for key in reversed(reference.identifiers)}
    kind = next((kind for kind in _FETCHABLE_KINDS if kind in found), None)
    return [f"arXiv:{found[kind]}" if kind == "arxiv" else found[kind]] if kind else []


def _sure_keys(paper: Paper) -> Iterator[str]:
    """The identifiers of a paper that are valid beyond its own corpus."""
    ids: list[tuple[IdKind, str]] = [("doi", paper.doi), ("pmid", paper.pmid)]
    if not _is_number(paper.id):
        ids += [(kind, paper.id) for kind in _OWN_ID_KINDS]
    if paper.url:
        ids += [(kind, paper.url) for kind in _URL_KINDS]
    yield from filter(None, (citation_key(kind, value) for kind, value in ids if value))


def _possible_keys(key: str) -> Iterator[str]:
    """The identifiers that a key of the kind "id" may be."""
    kind, _, text = key.partition(":")
    if kind == "id":
        kinds = _NUMBER_KINDS if _is_number(text) else _OWN_ID_KINDS
        yield from filter(None, (citation_key(each, text) for each in kinds))


def _number_keys(text: str) -> Iterator[str]:
    """The identifiers that a bare number may be; none for other texts."""
    return _possible_keys(f"id:{text}") if _is_number(text) else iter(())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _share_words(title: str, other: str) -> bool:
    """Whether two titles may be of one paper. A reference without a title may be any."""
    words, others = set(normalised_title(title).split()), set(normalised_title(other).split())
    return not words or len(words & others) >= _MIN_SHARED_WORDS * len(words | others)


def _title_hash(title: str) -> int:
    """The hash of a title that identifies a paper; 0 for a short one."""
    plain = normalised_title(title)
    return _hash(f"{TITLE_PREFIX}{plain}") if len(plain) >= _DISTINCTIVE_CHARS else 0


def _hash(key: str) -> int:
    # 8 bytes: among ten million keys, two share a hash with a chance of one in 400,000.
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())
