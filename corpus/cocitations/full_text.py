"""Full texts: what the readers of every format make of one, and the citing sentences that are taken from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from corpus.errors import CociteAtlasError


class FullTextError(CociteAtlasError):
    """A full text that cannot be read as what it should be; it says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One entry of a paper's list of references, or the paper itself.

    identifiers: what it is known by, the surest first, each as `identifiers.identifier` writes it ("doi:10.1000/x").
        Empty where the entry names none and has no title either.
    title: as the entry has it; "" where it has none. year: None where it has none.
    """

    identifiers: tuple[str, ...]
    title: str = ""
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """One citation marker in a paragraph, ranges expanded.

    start, end: characters of the paragraph's text that the marker takes, end not included; 0 ≤ start < end.
    cited: keys of the full text's references, none twice.
    """

    start: int
    end: int
    cited: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of running text. citations: in the order of their starts."""

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class FullText:
    """One citing paper. references: by the keys that citations name; every key that one names is in it."""

    paper: Reference
    paragraphs: tuple[Paragraph, ...]
    references: Mapping[str, Reference]


@dataclass(frozen=True, slots=True)
class CitingSentence:
    """A sentence and the papers that are cited in it, before any filter.

    citing: what tells the citing paper from others: its surest identifier, or where it was read.
    cited: in the order of the sentence, no identifier twice.
    """

    citing: str
    sentence: str
    cited: tuple[Reference, ...]
