"""Paper, and the arrow schema of tables of papers."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

# One column per field of Paper, in its order. Every table of papers has this schema.
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("abstract", pa.string(), nullable=False),
        pa.field("authors", pa.list_(pa.string()), nullable=False),
        pa.field("year", pa.int16()),
        pa.field("venue", pa.string(), nullable=False),
        pa.field("doi", pa.string(), nullable=False),
        pa.field("pmid", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("topics", pa.list_(pa.string()), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper. Empty strings and tuples stand for missing values; only `year` may be None.

    id: unique within a corpus (the PMID where there is one).
    authors: "Family, Given" for people, the plain name for a group, in the order of the paper.
    topics: MeSH headings, then the authors' keywords, without repeats.
    """

    id: str
    title: str
    abstract: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    venue: str = ""
    doi: str = ""
    pmid: str = ""
    url: str = ""
    topics: tuple[str, ...] = ()

    def text_hash(self) -> bytes:
        """SHA-256 (32 bytes) of what an encoder may read: title and abstract."""
        return text_hash(self.title, self.abstract)


def text_hash(title: str, abstract: str) -> bytes:
    """SHA-256 (32 bytes) of a title and an abstract, separated by a byte that neither contains."""
    return hashlib.sha256(f"{title}\x00{abstract}".encode()).digest()


def to_table(papers: Iterable[Paper]) -> pa.Table:
    """Papers as an arrow table with `SCHEMA`, one row per paper, in the given order."""
    rows = list(papers)
    columns = [pa.array([getattr(paper, field.name) for paper in rows], type=field.type) for field in SCHEMA]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def paper_at(table: pa.Table, row: int) -> Paper:
    """The paper in one row of a table with `SCHEMA`. Raises IndexError outside 0 ≤ row < rows."""
    if not 0 <= row < table.num_rows:
        raise IndexError(f"row {row} of a corpus of {table.num_rows} papers")
    record = {name: table.column(name)[row].as_py() for name in SCHEMA.names}
    record["authors"] = tuple(record["authors"])
    record["topics"] = tuple(record["topics"])
    return Paper(**record)


def papers_in(table: pa.Table) -> Iterator[Paper]:
    """The papers of a table with `SCHEMA`, in order; a few hundred at a time become Python objects."""
    for batch in table.to_batches(max_chunksize=500):
        for record in batch.to_pylist():
            yield Paper(**record | {"authors": tuple(record["authors"]), "topics": tuple(record["topics"])})
