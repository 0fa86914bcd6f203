"""The interface of every encoder, neural or lexical: texts → vectors, and how much of a text it reads. Its errors."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CociteAtlasError
from corpus.progress import Progress, no_progress

Vectors = NDArray[np.float32]
TitleAndAbstract = tuple[str, str]

Precision = Literal["float32", "bfloat16"]

# Stages of progress.
FETCHING, LEARNING, ENCODING = "Fetching the encoder", "Learning vocabulary", "Encoding papers"


class UnknownEncoder(CociteAtlasError):
    """A name that is neither in the catalogue nor a folder or zip that holds a checkpoint."""


class EncoderUnavailable(CociteAtlasError):
    """A known checkpoint that cannot be used now: offline, missing, damaged or of an unsupported kind."""


def unreadable(name: str, reason: str) -> EncoderUnavailable:
    """The error for a checkpoint whose files are damaged, or no model."""
    return EncoderUnavailable(
        f"{name}: its files could not be read as a model ({reason}). "
        "Fetch the checkpoint again, or choose another encoder."
    )


def first_line(error: BaseException) -> str:
    """The first line of a library's error, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@dataclass(frozen=True, slots=True)
class TextCoverage:
    """How much of a text an encoder reads, in words and in word pieces (special tokens included).

    skips: the unread words are those that the encoder does not know, wherever they stand; else those past a limit.
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

    name: str  # in the catalogue, or the folder's
    source: str  # a catalogue name, or the absolute path of a folder or zip
    fingerprint: str  # vectors are comparable only where it is equal
    dimensions: int
    normalised: bool  # whether its vectors have length 1

    def encode(self, texts: Sequence[TitleAndAbstract], *, progress: Progress = no_progress) -> Vectors:
        """Vectors of (title, abstract) pairs: float32 (len(texts), dimensions), row i for text i.

        progress: in texts; may raise to stop the work.
        """

    def stream(
        self, texts: Iterable[TitleAndAbstract], *, chunk: int, progress: Progress = no_progress
    ) -> Iterator[Vectors]:
        """Vectors of any number of texts, `chunk` of them at a time, in order: float32 (≤ chunk, dimensions).

        progress: in texts, of 0, as their number is unknown; may raise to stop the work.
        """

    def coverage(self, title: str, abstract: str) -> TextCoverage:
        """How much of a title and abstract `encode` reads."""
