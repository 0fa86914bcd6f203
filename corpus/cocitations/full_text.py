"""Full texts, the citing sentences taken from them, and the report of what was read and refused."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus.errors import CociteAtlasError
from corpus.identifiers import ID_KINDS, IdKind, citation_key, title_key
from corpus.readers.fields import YEARS
from corpus.text.plain import clean

_MAX_REFUSALS = 1000  # kept with their place; a folder of a million photographs has as many
_MAX_REASONS = 100  # that are counted apart


class FullTextError(CociteAtlasError):
    """A full text cannot be read. The message says why, without the place."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One entry of a paper's list of references, or the paper itself.

    identifiers: citation keys ("doi:10.1000/x"), the most reliable first, the title's key last. Empty where the entry
    has neither an identifier nor a title.
    """

    identifiers: tuple[str, ...]
    title: str = ""
    year: int | None = None

    @property
    def key(self) -> str:
        """The most reliable identifier, or ""."""
        return self.identifiers[0] if self.identifiers else ""


def reference(ids: Iterable[tuple[IdKind, object]], *, title: str = "", year: int | None = None) -> Reference:
    """A Reference with valid, distinct identifiers in the order of their reliability."""
    title = clean(title)
    year = year if year in YEARS else None
    keys = {key: ID_KINDS.index(key.partition(":")[0]) for kind, value in ids if (key := citation_key(kind, value))}
    identifiers = sorted(keys, key=lambda key: keys[key])
    if key := title_key(title, year):
        identifiers.append(key)
    return Reference(tuple(identifiers), title, year)


@dataclass(frozen=True, slots=True)
class Citation:
    """A citation marker at text[start:end] of its paragraph. cited: distinct keys of references, ranges expanded."""

    start: int
    end: int
    cited: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph. citations: in order, without overlap."""

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class FullText:
    """A citing paper. references: by key; holds every key that a citation names."""

    paper: Reference
    paragraphs: tuple[Paragraph, ...]
    references: Mapping[str, Reference]


@dataclass(frozen=True, slots=True)
class CitingSentence:
    """A sentence and the papers cited in it, in its order, before any filter.

    citing: the citing paper's most reliable identifier, or the place where it was read.
    """

    citing: str
    sentence: str
    cited: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file, an archive member or a document that was not read, and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(slots=True)
class FullTextReport:
    """Counts of what was read; complete when all sentences have been taken.

    documents: full texts, or single sentences where a line is one; `formats` counts them by format.
    sentences: those that cite something. refused: all that could not be read; `reasons` counts them by reason, and
    `refusals` keeps the first 1,000. repaired, dropped: citation markers, by what was wrong with them.
    """

    documents: int = 0
    sentences: int = 0
    refused: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, place: str, reason: str) -> None:
        """Count what could not be read."""
        self.refused += 1
        self._count_reason(reason, 1)
        if len(self.refusals) < _MAX_REFUSALS:
            self.refusals.append(Refusal(place, reason))

    def add(self, later: "FullTextReport") -> None:
        """Add the report of what was read after this."""
        self.documents += later.documents
        self.sentences += later.sentences
        self.refused += later.refused
        self.formats.update(later.formats)
        self.repaired.update(later.repaired)
        self.dropped.update(later.dropped)
        for reason, count in later.reasons.items():
            self._count_reason(reason, count)
        self.refusals.extend(later.refusals[: _MAX_REFUSALS - len(self.refusals)])

    def as_json(self) -> dict[str, Any]:
        """The counts, the most frequent first. `refusals_left_out`: how many more were refused than are listed."""
        return {
            "documents": self.documents,
            "sentences": self.sentences,
            "refused": self.refused,
            "formats": dict(self.formats.most_common()),
            "reasons": dict(self.reasons.most_common()),
            "repaired": dict(self.repaired.most_common()),
            "dropped": dict(self.dropped.most_common()),
            "refusals": [{"place": refusal.place, "reason": refusal.reason} for refusal in self.refusals],
            "refusals_left_out": self.refused - len(self.refusals),
        }

    def _count_reason(self, reason: str, count: int) -> None:
        known = reason in self.reasons or len(self.reasons) < _MAX_REASONS
        self.reasons[reason if known else "another reason"] += count
