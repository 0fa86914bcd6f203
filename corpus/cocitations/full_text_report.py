"""The account of a reading of full texts: what was read, what was refused and why, and what was dropped within."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_KEPT = 1000  # refusals that are kept with their place; a folder of a million photographs has as many
_REASONS = 100  # different reasons that are counted apart
_OTHERS = "another reason"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file, a member of an archive or a document that was not read. place: for people. reason: a sentence."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(slots=True)
class FullTextReport:
    """What came of reading full texts; complete once their sentences are all taken.

    documents: full texts read, or single sentences where a line is one; by the format of each in `formats`.
    sentences: those that cite something. refused: what could not be read, all of it; the first 1,000 are in `refusals`
        and by reason they are counted in `reasons`.
    repaired, dropped: citations by what was wrong with them, those that could be mended and those that could not.
    """

    documents: int = 0
    sentences: int = 0
    refused: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)

    def read(self, format: str) -> None:
        """Count a document of this format."""
        self.documents += 1
        self.formats[format] += 1

    def refuse(self, place: str, reason: str) -> None:
        """Count what could not be read, and keep why while there is room."""
        self.refused += 1
        self._count_reason(reason, 1)
        if len(self.refusals) < _KEPT:
            self.refusals.append(Refusal(place, reason))

    def add(self, other: "FullTextReport") -> None:
        """Take in the account of what was read after this."""
        self.documents += other.documents
        self.sentences += other.sentences
        self.refused += other.refused
        self.formats.update(other.formats)
        self.repaired.update(other.repaired)
        self.dropped.update(other.dropped)
        for reason, count in other.reasons.items():
            self._count_reason(reason, count)
        self.refusals.extend(other.refusals[: _KEPT - len(self.refusals)])

    def as_json(self) -> dict[str, Any]:
        """The account as JSON holds it; `refusals_left_out` says how many more were refused than are listed."""
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
        known = reason in self.reasons or len(self.reasons) < _REASONS
        self.reasons[reason if known else _OTHERS] += count
