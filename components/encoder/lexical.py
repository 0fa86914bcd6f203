"""LexicalEncoder: texts → vectors by shared words, learned from the corpus itself. Nothing is downloaded."""

import hashlib
import itertools
import json
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.encoder.base import ENCODING, LEARNING, TextCoverage, TitleAndAbstract, Vectors
from components.encoder.catalogue import LEXICAL
from corpus.errors import CociteAtlasError
from corpus.io.files import ODD_HEADERS
from corpus.progress import Progress, no_progress

MAX_TERMS = 50_000  # rarer words are seen in a paper or two, and would make the file larger than the rest
MAX_DIMENSIONS = 256
MAX_TERM_CHARS = 64  # longer ones are sequences, addresses or damage
MAX_CHARS = 50_000  # read of a text: more than any abstract has
_MIN_PAPERS_FOR_COMMON_WORDS = 20  # in fewer papers hardly any word occurs twice
_SEED = 0
_CHUNK = 1024  # texts per step: bounds memory, and how long a stop has to wait
_MIN_LENGTH = 1e-6  # a projection shorter than this is rounding and has no direction
_MAX_IDF = 100.0  # no corpus is so large that 1 + ln(papers / papers with the word) comes near
_SETTINGS = {  # hashed into fingerprints: the keys stay
    "encoder": LEXICAL,
    "version": 1,
    "terms": MAX_TERMS,
    "dimensions": MAX_DIMENSIONS,
    "longest_term": MAX_TERM_CHARS,
    "common_from": _MIN_PAPERS_FOR_COMMON_WORDS,
    "longest_text": MAX_CHARS,
    "seed": _SEED,
}
_MEMBERS = {"terms": "|u1", "offsets": "<i8", "idf": "<f4", "term_vectors": "<f4"}
_MAX_MEMBER_BYTES = MAX_TERMS * MAX_DIMENSIONS * 4 + 4096
# What zipfile and numpy raise of a damaged file has no common base class.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, struct.error, *ODD_HEADERS)


class NoWordsToLearn(CociteAtlasError):
    """The texts hold no word to learn: only stop words, single letters and signs."""


class LexicalFileDamaged(CociteAtlasError):
    """A file that holds no lexical encoder."""


class LexicalEncoder:
    """TF-IDF and truncated SVD (latent semantic analysis). Immutable, so safe to share between threads.

    terms: distinct words, in the order of their columns (v). idf: float32 (v,), at least 1.
    term_vectors: float32 (v, d), orthonormal columns; a text's vector is the weighted sum of its words' rows.
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
        digest = hashlib.sha256(settings_fingerprint().encode())
        for name, array in self._arrays().items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        self.fingerprint = digest.hexdigest()

    @classmethod
    def fit(cls, texts: Sequence[TitleAndAbstract], *, progress: Progress = no_progress) -> "LexicalEncoder":
        """Learn the words that occur in two papers or more; in a small corpus all words.

        The same texts in the same order give the same encoder. progress: in texts; may raise to stop the work.
        Raises NoWordsToLearn.
        """
        from sklearn.decomposition import TruncatedSVD

        def read() -> Iterator[str]:
            for number, (title, abstract) in enumerate(texts):
                if number % _CHUNK == 0:
                    progress(LEARNING, number, len(texts))
                yield _joined(title, abstract)

        for min_df in (2, 1) if len(texts) >= _MIN_PAPERS_FOR_COMMON_WORDS else (1,):
            vectorizer = _vectorizer(min_df=min_df)
            try:
                weights = vectorizer.fit_transform(read())
            except ValueError:  # scikit-learn's error for an empty vocabulary
                continue
            break
        else:
            raise NoWordsToLearn(
                "The lexical encoder found no word to learn: the titles and abstracts of these papers hold only stop "
                "words and signs. Choose another encoder."
            )
        n, v = weights.shape
        if v == 1:  # scikit-learn refuses a single column, which needs no reduction
            axes, strengths = np.ones((1, 1)), np.ones(1)
        else:
            svd = TruncatedSVD(n_components=min(MAX_DIMENSIONS, n, v), random_state=_SEED)
            with np.errstate(invalid="ignore", divide="ignore"):  # its unused shares of a variance of 0
                svd.fit(weights)
            axes, strengths = svd.components_, svd.singular_values_
        # Duplicate papers span fewer directions; the others would come from rounding.
        real = strengths > strengths[0] * 1e-5
        return cls(
            vectorizer.get_feature_names_out().tolist(),
            idf=np.ascontiguousarray(vectorizer.idf_, dtype=np.float32),
            term_vectors=np.ascontiguousarray(axes[real].T, dtype=np.float32),
        )

    def encode(self, texts: Sequence[TitleAndAbstract], *, progress: Progress = no_progress) -> Vectors:
        """Vectors of (title, abstract) pairs: float32 (len(texts), dimensions), row i for text i, of length 1.

        The vector of a text without a known word is zero, at distance 1 from all others. In a corpus that is
        harmless; `components.search.search` refuses it as a query.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _CHUNK):
            part = texts[start : start + _CHUNK]
            weights = self._vectorizer.transform([_joined(title, abstract) for title, abstract in part])
            sums = np.asarray(weights @ self.term_vectors, dtype=np.float32)
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            np.divide(sums, lengths, out=vectors[start : start + len(part)], where=lengths > _MIN_LENGTH)
            progress(ENCODING, start + len(part), len(texts))
        return vectors

    def stream(
        self, texts: Iterable[TitleAndAbstract], *, chunk: int = _CHUNK, progress: Progress = no_progress
    ) -> Iterator[Vectors]:
        """Vectors of any number of texts, `chunk` of them at a time, in order: float32 (≤ chunk, dimensions)."""
        source, done = iter(texts), 0
        while part := list(itertools.islice(source, chunk)):
            vectors = self.encode(part)
            done += len(part)
            progress(ENCODING, done, 0)
            yield vectors

    def coverage(self, title: str, abstract: str) -> TextCoverage:
        """How much of a title and abstract `encode` uses.

        Known words count as read, and so do stop words, single letters and signs. Tokens are the other words (a hyphen
        separates two): the known ones, of all; there is no limit.
        """
        whole = f"{title} {abstract}".split()
        prepare, split = self._vectorizer.build_preprocessor(), self._vectorizer.build_tokenizer()
        stop_words, known = self._vectorizer.get_stop_words(), self._vectorizer.vocabulary_
        words_read = tokens_read = tokens = 0
        for word in _joined(title, abstract).split():
            parts = [part for part in split(prepare(word)) if part not in stop_words]
            read = sum(part in known for part in parts)
            words_read += not parts or read > 0
            tokens_read += read
            tokens += len(parts)
        return TextCoverage(
            words_read=words_read, words=len(whole), tokens_read=tokens_read, max_tokens=tokens, skips=True
        )

    def save(self, path: Path) -> None:
        """Write an .npz without pickles: terms as UTF-8 with their offsets, idf, term_vectors."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._arrays())

    @classmethod
    def load(cls, path: Path) -> "LexicalEncoder":
        """Read what `save` wrote. Raises LexicalFileDamaged for anything else, before it allocates memory."""
        try:
            arrays = _read(path)
            ends = arrays["offsets"]
            raw = arrays["terms"].tobytes()
            if len(ends) < 2 or len(ends) > MAX_TERMS + 1 or ends[0] != 0 or ends[-1] != len(raw):
                raise ValueError(f"{len(ends)} offsets do not divide {len(raw)} bytes of terms")
            if bool((np.diff(ends) < 1).any()):
                raise ValueError("a term is empty, or ends before it begins")
            terms = [raw[start:end].decode("utf-8") for start, end in itertools.pairwise(ends)]
            return cls(terms, idf=arrays["idf"], term_vectors=arrays["term_vectors"])
        except _DAMAGE as error:
            raise LexicalFileDamaged(f"{path.name} holds no lexical encoder: {error!s:.200}") from error

    def _arrays(self) -> dict[str, NDArray[Any]]:
        encoded = [term.encode("utf-8") for term in self.terms]
        return {
            "terms": np.frombuffer(b"".join(encoded), dtype="|u1"),
            "offsets": np.cumsum([0, *map(len, encoded)], dtype="<i8"),
            "idf": self.idf.astype("<f4", copy=False),
            "term_vectors": self.term_vectors.astype("<f4", copy=False),
        }


def settings_fingerprint() -> str:
    """SHA-256 (hex) of the settings: identifies the encoder of a build that has yet to fit it."""
    return hashlib.sha256(json.dumps(_SETTINGS, sort_keys=True).encode()).hexdigest()


def _vectorizer(*, min_df: int = 1, vocabulary: dict[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        sublinear_tf=True,  # a word used ten times says more than one used once, but not ten times more
        stop_words="english",
        strip_accents="unicode",  # copied text spells ï in two ways
        token_pattern=rf"(?u)\b\w{{2,{MAX_TERM_CHARS}}}\b",
        min_df=min_df,
        max_features=MAX_TERMS if vocabulary is None else None,
        vocabulary=vocabulary,
        dtype=np.float32,
    )


def _joined(title: str, abstract: str) -> str:
    return f"{title}\n{abstract}"[:MAX_CHARS]


def _check(terms: Sequence[str], idf: NDArray[np.float32], term_vectors: NDArray[np.float32]) -> None:
    """Raise ValueError for the arrays of an invalid file."""
    v = len(terms)
    if not 1 <= v <= MAX_TERMS or len(set(terms)) != v:
        raise ValueError(f"{v:,} terms, {len(set(terms)):,} of them distinct: 1 to {MAX_TERMS:,} are needed")
    if not all(0 < len(term) <= MAX_TERM_CHARS for term in terms):
        raise ValueError(f"a term is empty or longer than {MAX_TERM_CHARS} characters")
    if idf.dtype != np.float32 or term_vectors.dtype != np.float32:
        raise ValueError(f"idf of {idf.dtype} and term vectors of {term_vectors.dtype}: float32 is needed")
    if idf.shape != (v,) or term_vectors.ndim != 2 or len(term_vectors) != v:
        raise ValueError(f"idf of shape {idf.shape} and term vectors of {term_vectors.shape} for {v:,} terms")
    if not 1 <= term_vectors.shape[1] <= min(v, MAX_DIMENSIONS):
        raise ValueError(f"term vectors of {term_vectors.shape[1]} dimensions for {v:,} terms")
    # Written so that NaN fails, too.
    if not bool(((idf > 0.99) & (idf < _MAX_IDF)).all()):
        raise ValueError(f"an idf that is no number between 1 and {_MAX_IDF:.0f}")
    if not bool((np.abs(term_vectors) < 1.01).all()):
        raise ValueError("a term vector with a value that is no number between -1 and 1")


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file, each of its type and no larger than the file. Raises one of _DAMAGE."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if set(members) != set(_MEMBERS) or len(archive.infolist()) != len(_MEMBERS):
            raise ValueError(f"it holds {', '.join(sorted(members))!s:.120} instead of {', '.join(sorted(_MEMBERS))}")
        for name, member in members.items():
            # Stored uncompressed, so that the file's size bounds the member's declared size.
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > _MAX_MEMBER_BYTES:
                raise ValueError(f"{name} is compressed or has {member.file_size:,} bytes")
    with np.load(path, allow_pickle=False) as loaded:
        arrays = {name: np.asarray(loaded[name]) for name in _MEMBERS}
    for name, array in arrays.items():
        if array.dtype != np.dtype(_MEMBERS[name]) or array.ndim != 1 + (name == "term_vectors"):
            raise ValueError(f"{name} holds {array.dtype!s:.80} {array.shape!s:.80}")
    return arrays
