"""LexicalEncoder: texts → vectors by the words that they share, learnt from the corpus itself. Nothing to download."""

import hashlib
import io
import itertools
import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.encoder.base import TextCoverage, TitleAndAbstract, Vectors
from components.encoder.catalogue import LEXICAL
from corpus.errors import CociteAtlasError
from corpus.io.files import ODD_HEADERS

MAX_TERMS = 50_000  # rarer words beyond these are seen in a paper or two, and would make the file larger than the rest
MAX_DIMENSIONS = 256
MAX_TERM = 64  # characters; what is longer is a sequence, an address or damage
MAX_TEXT = 50_000  # characters read of a text: more than any abstract has
_COMMON_FROM = 20  # papers; of fewer, hardly any word occurs in two
_SEED = 0
_CHUNK = 1024  # texts a step: bounds memory, and how long a stop has to wait
_NOTHING = 1e-6  # of a length of 1: a projection shorter than this is rounding, and points nowhere
_IDF = 100.0  # no corpus is so large that a word's weight (1 + ln(papers / papers with it)) comes near
_SETTINGS = {
    "encoder": LEXICAL,
    "version": 1,
    "terms": MAX_TERMS,
    "dimensions": MAX_DIMENSIONS,
    "longest_term": MAX_TERM,
    "common_from": _COMMON_FROM,
    "longest_text": MAX_TEXT,
    "seed": _SEED,
}
_MEMBERS = {"terms": "|u1", "offsets": "<i8", "idf": "<f4", "term_vectors": "<f4"}
# What zipfile and numpy raise of a damaged file is no family.
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, struct.error, *ODD_HEADERS,
)  # fmt: skip
_MAX_MEMBER = MAX_TERMS * MAX_DIMENSIONS * 4 + 4096  # bytes; the others are smaller


class NoWordsToLearn(CociteAtlasError):
    """Texts without a single word to learn: stop words, numbers of one digit and signs alone."""


class LexicalFileDamaged(CociteAtlasError):
    """A file that is no fitted lexical encoder, or one that does not hold what it must."""


class LexicalEncoder:
    """TF-IDF and truncated SVD (latent semantic analysis). Safe to share between threads: it is fitted once.

    terms: its words, unlike each other, in the order of their columns (v). idf: float32 (v,), at least 1.
    term_vectors: float32 (v, d), orthonormal columns; a text's vector is the sum of its words', each by its weight.
    Raises ValueError where these do not fit together.
    """

    name = LEXICAL
    source = LEXICAL
    normalised = True

    def __init__(self, terms: Sequence[str], *, idf: NDArray[np.float32], term_vectors: NDArray[np.float32]) -> None:
        _check(terms, idf, term_vectors)
        self.terms = tuple(terms)
        self.idf = idf
        self.term_vectors = term_vectors
        self.dimensions = int(term_vectors.shape[1])
        self._vectorizer = _vectorizer(vocabulary={term: column for column, term in enumerate(self.terms)})
        self._vectorizer.idf_ = idf
        self.fingerprint = self._hash()

    @classmethod
    def fit(
        cls, texts: Sequence[TitleAndAbstract], *, on_progress: Callable[[int], None] | None = None
    ) -> "LexicalEncoder":
        """Learn the words of a corpus: those of two papers or more, in a small corpus every one.

        The same texts in the same order give the same encoder. on_progress: called now and then with the number of
        texts read so far; may raise to stop the work. Raises NoWordsToLearn.
        """
        from sklearn.decomposition import TruncatedSVD

        learnt: Any = None
        for min_df in (2, 1) if len(texts) >= _COMMON_FROM else (1,):
            vectorizer = _vectorizer(min_df=min_df)
            try:
                learnt = vectorizer.fit_transform(_counted(texts, on_progress))
            except ValueError:  # what scikit-learn says of a vocabulary that came out empty
                continue
            break
        if learnt is None:
            raise NoWordsToLearn(
                "The lexical encoder found no word to learn: the titles and abstracts of these papers hold stop words "
                "and signs alone. Choose another encoder."
            )
        n, v = learnt.shape
        if v == 1:  # scikit-learn refuses a single column, which needs no reduction
            axes, strengths = np.ones((1, 1)), np.ones(1)
        else:
            svd = TruncatedSVD(n_components=min(MAX_DIMENSIONS, n, v), random_state=_SEED)
            with np.errstate(invalid="ignore", divide="ignore"):  # its shares of a variance of 0, which nobody reads
                svd.fit(learnt)
            axes, strengths = svd.components_, svd.singular_values_
        # Papers that repeat each other span fewer directions; the rest would be drawn from rounding.
        real = strengths > strengths[0] * 1e-5
        return cls(
            vectorizer.get_feature_names_out().tolist(),
            idf=np.ascontiguousarray(vectorizer.idf_, dtype=np.float32),
            term_vectors=np.ascontiguousarray(axes[real].T, dtype=np.float32),
        )

    def encode(self, texts: Sequence[TitleAndAbstract], *, on_progress: Callable[[int], None] | None = None) -> Vectors:
        """Vectors of (title, abstract) pairs: float32 (len(texts), dimensions), row i for text i, each of length 1.

        A text without a known word has no direction: its row is zero, at the same distance (1) from all that have
        one. That is no harm in a corpus; as a query it means nothing, and `components.search.search` refuses it.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _CHUNK):
            part = texts[start : start + _CHUNK]
            weights = self._vectorizer.transform([_joined(title, abstract) for title, abstract in part])
            sums = np.asarray(weights @ self.term_vectors, dtype=np.float32)
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            np.divide(sums, lengths, out=vectors[start : start + len(part)], where=lengths > _NOTHING)
            if on_progress is not None:
                on_progress(start + len(part))
        return vectors

    def stream(
        self,
        texts: Iterable[TitleAndAbstract],
        *,
        chunk: int = _CHUNK,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Vectors]:
        """Vectors of any number of texts, `chunk` of them at a time, in order: float32 (≤ chunk, dimensions)."""
        source, done = iter(texts), 0
        while part := list(itertools.islice(source, chunk)):
            vectors = self.encode(part)
            done += len(part)
            if on_progress is not None:
                on_progress(done)
            yield vectors

    def reading(self, title: str, abstract: str) -> TextCoverage:
        """How much of a title and abstract `encode` makes use of.

        The words that it knows count as read, and so do those in which there is nothing to know: stop words, single
        letters, signs. Tokens are the words that remain (a hyphen parts two): known ones, of how many; it has no limit.
        """
        whole = f"{title} {abstract}".split()
        prepare, parts = self._vectorizer.build_preprocessor(), self._vectorizer.build_tokenizer()
        skipped, known = self._vectorizer.get_stop_words(), self._vectorizer.vocabulary_
        words_read = tokens_read = tokens = 0
        for word in _joined(title, abstract).split():
            found = [part for part in parts(prepare(word)) if part not in skipped]
            read = sum(part in known for part in found)
            words_read += not found or read > 0
            tokens_read += read
            tokens += len(found)
        return TextCoverage(
            words_read=words_read, words=len(whole), tokens_read=tokens_read, max_tokens=tokens, skips=True
        )

    def save(self, path: Path) -> None:
        """All of it as one .npz without pickles: terms as UTF-8 with their offsets, idf, term_vectors."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._arrays())

    @classmethod
    def load(cls, path: Path) -> "LexicalEncoder":
        """What `save` wrote. Raises LexicalFileDamaged for anything else, before it takes up memory."""
        try:
            arrays = _read(path)
            ends = arrays["offsets"]
            raw = arrays["terms"].tobytes()
            if len(ends) < 2 or len(ends) > MAX_TERMS + 1 or ends[0] != 0 or ends[-1] != len(raw):
                raise ValueError(f"{len(ends)} offsets do not part {len(raw)} bytes of terms")
            if bool((np.diff(ends) < 1).any()):
                raise ValueError("a term is empty, or ends before it begins")
            terms = [raw[start:end].decode("utf-8") for start, end in itertools.pairwise(ends)]
            return cls(terms, idf=arrays["idf"], term_vectors=arrays["term_vectors"])
        except _UNREADABLE as error:
            raise LexicalFileDamaged(f"{path.name} is no fitted lexical encoder: {error!s:.200}") from error

    def _arrays(self) -> dict[str, NDArray[Any]]:
        encoded = [term.encode("utf-8") for term in self.terms]
        return {
            "terms": np.frombuffer(b"".join(encoded), dtype="|u1"),
            "offsets": np.cumsum([0, *map(len, encoded)], dtype="<i8"),
            "idf": self.idf.astype("<f4", copy=False),
            "term_vectors": self.term_vectors.astype("<f4", copy=False),
        }

    def _hash(self) -> str:
        digest = hashlib.sha256(settings_fingerprint().encode())
        for name, array in self._arrays().items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def settings_fingerprint() -> str:
    """SHA-256 (hex) of what is settled before any text is read. What a build that has yet to fit goes by."""
    return hashlib.sha256(json.dumps(_SETTINGS, sort_keys=True).encode()).hexdigest()


def _vectorizer(*, min_df: int = 1, vocabulary: dict[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        sublinear_tf=True,  # a word said ten times tells more than one said once, but not ten times more
        stop_words="english",
        strip_accents="unicode",  # copied text spells ï in two ways
        token_pattern=rf"(?u)\b\w{{2,{MAX_TERM}}}\b",
        min_df=min_df,
        max_features=MAX_TERMS if vocabulary is None else None,
        vocabulary=vocabulary,
        dtype=np.float32,
    )


def _joined(title: str, abstract: str) -> str:
    return f"{title}\n{abstract}"[:MAX_TEXT]


def _counted(texts: Sequence[TitleAndAbstract], on_progress: Callable[[int], None] | None) -> Iterator[str]:
    for number, (title, abstract) in enumerate(texts):
        if on_progress is not None and number % _CHUNK == 0:
            on_progress(number)
        yield _joined(title, abstract)


def _check(terms: Sequence[str], idf: NDArray[np.float32], term_vectors: NDArray[np.float32]) -> None:
    """Raise ValueError unless these can be a fitted encoder: a file may hold anything."""
    v = len(terms)
    if not 1 <= v <= MAX_TERMS or len(set(terms)) != v:
        raise ValueError(f"{v:,} terms, {len(set(terms)):,} of them unlike each other: 1 to {MAX_TERMS:,} are needed")
    if not all(0 < len(term) <= MAX_TERM for term in terms):
        raise ValueError(f"a term is empty or longer than {MAX_TERM} characters")
    if idf.dtype != np.float32 or term_vectors.dtype != np.float32:
        raise ValueError(f"idf of {idf.dtype} and term vectors of {term_vectors.dtype}: float32 is needed")
    if idf.shape != (v,) or term_vectors.ndim != 2 or len(term_vectors) != v:
        raise ValueError(f"idf of shape {idf.shape} and term vectors of {term_vectors.shape} for {v:,} terms")
    if not 1 <= term_vectors.shape[1] <= min(v, MAX_DIMENSIONS):
        raise ValueError(f"term vectors of {term_vectors.shape[1]} dimensions for {v:,} terms")
    # Written so that what is no number (NaN) fails, too.
    if not bool(((idf > 0.99) & (idf < _IDF)).all()):
        raise ValueError(f"an idf that is no number between 1 and {_IDF:.0f}")
    if not bool((np.abs(term_vectors) < 1.01).all()):
        raise ValueError("a term vector with a value that is no number between -1 and 1")


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file, each of them of its type, no longer than the file. Raises as `load` expects."""
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if set(members) != set(_MEMBERS) or len(archive.infolist()) != len(_MEMBERS):
            raise ValueError(f"it holds {', '.join(sorted(members))!s:.120} instead of {', '.join(sorted(_MEMBERS))}")
        for name, member in members.items():
            # Stored, not packed: what a member says of its size is then bounded by the file's own.
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > _MAX_MEMBER:
                raise ValueError(f"{name} is packed or has {member.file_size:,} bytes")
            arrays[name] = _array(name, archive.read(member))
    return arrays


def _array(name: str, content: bytes) -> NDArray[Any]:
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is of another version of .npy")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    wanted = np.dtype(_MEMBERS[name])
    if dtype != wanted or by_columns or len(shape) != 1 + (name == "term_vectors"):
        raise ValueError(f"{name} holds {dtype!s:.80} {shape!s:.80}")
    # Before numpy makes room for what the header promises.
    if (
        min(shape) < 0
        or int(np.prod([int(side) for side in shape], dtype=object)) * wanted.itemsize != len(content) - file.tell()
    ):
        raise ValueError(f"{name} does not hold the {shape!s:.80} values that it speaks of")
    file.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array.astype(wanted.newbyteorder("="), copy=False)
