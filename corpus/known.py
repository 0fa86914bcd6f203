"""Known: which papers a corpus holds already, by the rules by which records are merged, and by what they are called."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from corpus.dedup import MOST_ALIKE, keys_of, may_be_one, unique_id
from corpus.identifiers import normalised_doi
from corpus.paper import Paper, paper_at, text_hash


class Known:
    """The papers of a table with `SCHEMA`, and those that were added after them."""

    def __init__(self, papers: pa.Table) -> None:
        self._papers = papers
        self._added: list[Paper] = []
        self._ids: dict[str, int] = {}  # as `unique_id` wants them
        self._rows_of: dict[bytes, list[int]] = {}  # by key
        columns = (papers[name].to_pylist() for name in ("id", "title", "year", "doi", "pmid"))
        for row, (paper_id, title, year, doi, pmid) in enumerate(zip(*columns, strict=True)):
            self._ids[paper_id] = 1
            # Without the abstract: those of a large corpus, as Python's own strings, would fill the memory.
            self._know(Paper(id=paper_id, title=title, abstract="", year=year, doi=doi, pmid=pmid), row)

    def add_if_new(self, paper: Paper) -> Paper | None:
        """The paper, known from now on, under an id that was free; None where it repeats one that is known.

        It repeats a paper with which it shares a PMID, a DOI, or title and year, where nothing speaks against it (see
        `corpus.dedup.may_be_one`). One that has nothing of these repeats a paper of the same text.
        """
        if self._is_known(paper):
            return None
        row = self._papers.num_rows + len(self._added)
        paper = replace(paper, id=unique_id(paper.id, self._ids))
        self._added.append(paper)
        self._know(paper, row)
        return paper

    def _is_known(self, paper: Paper) -> bool:
        keys = keys_of(paper)
        if not keys:
            return any(self._at(row).abstract == paper.abstract for row in self._rows_of.get(_text_key(paper), ()))
        return any(may_be_one(self._at(row), paper, key=key) for key in keys for row in self._rows_of.get(key, ()))

    def _know(self, paper: Paper, row: int) -> None:
        for key in keys_of(paper) or [_text_key(paper)]:
            rows = self._rows_of.setdefault(key, [])
            if len(rows) < MOST_ALIKE:
                rows.append(row)

    def _at(self, row: int) -> Paper:
        there = self._papers.num_rows
        return paper_at(self._papers, row) if row < there else self._added[row - there]


def _text_key(paper: Paper) -> bytes:
    """Of a paper without a number, and with a title of signs alone ("???"): the title as it is."""
    return b"x" + text_hash(paper.title, "")


def find_rows(papers: pa.Table, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The rows of the table that some names mean, in order, and the names that mean none.

    A name is an id; where no paper has that id, the PMID or the DOI, in any form, of one or more papers.
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
        plain = name.strip()
        meant = by_id.get(name) or by_id.get(plain) or by_number.get(plain) or by_number.get(normalised_doi(plain))
        rows.update(meant or ())
        if not meant:
            unknown.append(name)
    return sorted(rows), unknown
