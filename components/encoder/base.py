"""What every encoder offers, neural or lexical: texts → vectors, and how much of a text it reads."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
TitleAndAbstract = tuple[str, str]
Precision = Literal["float32", "bfloat16"]
FETCHING = "Fetching the encoder"  # the stage of a download, in bytes


@dataclass(frozen=True, slots=True)
class TextCoverage:
    """How much of one text an encoder reads, in words and in word pieces (special tokens included).

    skips: the words that are not read are those that it does not know, wherever they stand; else those past an end.
    """

    words_read: int
    words: int
    tokens_read: int
    max_tokens: int
    skips: bool = False

    @property
    def complete(self) -> bool:
        """Whether all of the text is read."""
        return self.words_read == self.words


class Encoder(Protocol):
    """A loaded encoder. Safe to share between threads."""

    @property
    def name(self) -> str:
        """The catalogue name, or the folder's."""

    @property
    def source(self) -> str:
        """What finds it again: a catalogue name, or the absolute path of a folder or zip."""

    @property
    def fingerprint(self) -> str:
        """Vectors compare only where this is the same."""

    @property
    def dimensions(self) -> int:
        """Of its vectors."""

    @property
    def normalised(self) -> bool:
        """Whether its vectors have length 1."""

    def encode(self, texts: Sequence[TitleAndAbstract], *, on_progress: Callable[[int], None] | None = None) -> Vectors:
        """Vectors of (title, abstract) pairs: float32 (len(texts), dimensions), row i for text i.

        on_progress: called now and then with the number of texts done so far; may raise to stop the work.
        """

    def stream(
        self, texts: Iterable[TitleAndAbstract], *, chunk: int, on_progress: Callable[[int], None] | None = None
    ) -> Iterator[Vectors]:
        """Vectors of any number of texts, `chunk` of them at a time, in order: float32 (≤ chunk, dimensions)."""

    def reading(self, title: str, abstract: str) -> TextCoverage:
        """How much of a title and abstract `encode` reads before it cuts the rest off."""
