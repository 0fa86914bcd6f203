"""What every source of papers offers, whichever service is behind it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from corpus.io.limits import DEFAULT_LIMITS
from corpus.paper import Paper
from corpus.readers.report import Kind, Problem
from corpus.sources.client import Client
from corpus.sources.errors import SourceRefused
from corpus.sources.identifiers import Identifier
from corpus.sources.identifiers import Kind as IdentifierKind
from corpus.text.plain import clean

MOST_QUERY_CHARS = 2_000  # what an address carries everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of an answer.

    cursor: what to go on from, of no meaning but to its source; "" where this is the end. total: how many records the
    source counts for the query, now. notes: sentences on what the source cannot give.
    """

    papers: tuple[Paper, ...]
    problems: tuple[Problem, ...]
    cursor: str
    total: int
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """A place where papers are searched.

    name: for programs; title: for people; home: its page on the web; kinds: the identifiers that it knows;
    help: how its queries are written, in a sentence.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def home(self) -> str: ...  # noqa: D102
    @property
    def help(self) -> str: ...  # noqa: D102
    @property
    def kinds(self) -> tuple[IdentifierKind, ...]: ...  # noqa: D102

    def count(self, query: str, *, client: Client | None = None) -> int:
        """How many records match."""

    def pages(
        self, query: str, *, client: Client | None = None, cursor: str = "", most: int | None = None
    ) -> Iterator[Page]:
        """The records that match, a page at a time, from `cursor` on. most: how many are wanted, as a hint."""

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:
        """The paper with an identifier of one of `kinds`; its abstract may be empty. Raises PaperNotFound."""


@dataclass(frozen=True, slots=True)
class Left:
    """A record that gives no paper: which, of which kind, and why."""

    place: str
    kind: Kind
    reason: str


def sort_out(found: Iterable[Paper | Left], *, title: str) -> tuple[tuple[Paper, ...], tuple[Problem, ...]]:
    """The papers with a title and an abstract, and the account of all other records."""
    papers: list[Paper] = []
    problems: list[Problem] = []
    for record in found:
        left = record if isinstance(record, Left) else _left(record)
        if left is None:
            assert isinstance(record, Paper)
            papers.append(record)
        else:
            problems.append(Problem(title, left.place, left.kind, left.reason))
    return tuple(papers), tuple(problems)


def _left(paper: Paper) -> Left | None:
    missing: list[Literal["title", "abstract"]] = []
    if not paper.title:
        missing.append("title")
    if not paper.abstract:
        missing.append("abstract")
    place = paper.id[:60]
    if missing:
        return Left(place, "empty", f"no {' and no '.join(missing)}.")
    if refusal := DEFAULT_LIMITS.refusal(paper):
        return Left(place, "damaged", f"{refusal}.")
    return None


def understood(query: str, *, title: str) -> str:
    """A query on one line. Raises SourceRefused for an empty one, and one that is too long to be one."""
    plain = clean(query)
    if not plain:
        raise SourceRefused(f"The query for {title} is empty. Type some words.")
    if len(plain) > MOST_QUERY_CHARS:
        raise SourceRefused(
            f"The query for {title} has {len(plain):,} characters; at most {MOST_QUERY_CHARS:,} are sent. Shorten it."
        )
    return plain
