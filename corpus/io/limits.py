"""Limits: how large a file, a record and a field may be before a reader refuses it."""

from dataclasses import dataclass

from corpus.paper import Paper

_MIB = 2**20
_GIB = 2**30
MAX_COMPRESSION_RATIO = 100  # MEDLINE packs 6:1, JSON 10:1; gzip's own limit, which a bomb nears, is 1032:1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a reader accepts. Every limit bounds memory or time; none judges content."""

    file_bytes: int = 1 * _GIB  # the default corpus has 38 MiB, and NLM's files some 30,000 records each
    unpacked_bytes: int = 4 * _GIB  # the default corpus has 0.2 GiB; this is minutes of parsing
    unpacked_ratio: int = MAX_COMPRESSION_RATIO
    ratio_from_bytes: int = 16 * _MIB  # a small file of equal lines may pack as well as a bomb
    records: int = 2_000_000  # twenty times the largest corpus tried; a report keeps 200 bytes of each
    record_bytes: int = 16 * _MIB  # the default corpus's largest is 0.5 MiB; an XML tree takes ten times its text
    line_bytes: int = 8 * _MIB  # of a JSON or table row: a full text of S2ORC; 20,000 names have 1 MiB
    row_group_bytes: int = 1 * _GIB  # of a Parquet file's columns that are read: it is decoded some MiB at a time
    piece_bytes: int = 256 * _MIB  # of the 256 Parquet rows decoded at a time; a thousand full abstracts
    columns: int = 5_000  # of a table; a file of embeddings, one column per dimension, has 4,096
    title_chars: int = 2_000  # the default corpus's longest is 495
    abstract_chars: int = 50_000  # the default corpus's longest is 6,796; no encoder reads a tenth of this
    field_chars: int = 1_000  # ids, venues, names, links, topics: what a card shows on one line
    authors: int = 20_000  # bylines of 15,000 names exist
    topics: int = 1_000  # a MEDLINE record has some 15 headings

    def is_bomb(self, *, unpacked: int, packed: int) -> bool:
        """Whether data unpack to so many times their size (both in bytes) that only an attack explains it."""
        return unpacked > self.ratio_from_bytes and unpacked > self.unpacked_ratio * packed

    def refusal(self, paper: Paper) -> str:
        """Why a paper is too large, or "" where it is not."""
        lengths = [
            ("title", len(paper.title), self.title_chars),
            ("abstract", len(paper.abstract), self.abstract_chars),
            *((name, len(getattr(paper, name)), self.field_chars) for name in ("id", "venue", "doi", "pmid", "url")),
            *(("author's name", len(name), self.field_chars) for name in paper.authors),
            *(("topic", len(topic), self.field_chars) for topic in paper.topics),
        ]
        for name, length, limit in lengths:
            if length > limit:
                return f"{name} of {length:,} characters; at most {limit:,} are read"
        counts = [("authors", len(paper.authors), self.authors), ("topics", len(paper.topics), self.topics)]
        for name, count, limit in counts:
            if count > limit:
                return f"{count:,} {name}; at most {limit:,} are read"
        return ""


DEFAULT_LIMITS = Limits()
