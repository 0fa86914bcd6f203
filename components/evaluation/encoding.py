"""Encoding: the vectors of a set's papers, each text once. Nothing else reads or writes <home>/.evaluations/.vectors/.

<home>/.evaluations/.vectors/<encoder>/<chunk>.npz  texts: a hash of each, uint8 (n, 16); vectors: float32 (n, d)

What is there already is not encoded again, by a run that is taken up or by one on another split, facet or set. When it
comes to more than LARGEST_KEPT, what was not used for longest goes.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.atlas import paths as places
from components.atlas.build import CHUNK, ENCODING
from components.atlas.paths import home_errors
from components.encoder import BiEncoder, Encoder, TitleAndAbstract
from components.evaluation.ranking import SetVectors
from corpus.io.files import ODD_HEADERS, beside
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Progress, no_progress

LARGEST_KEPT = 4 * 10**9  # bytes: 1.3 million texts in 768 dimensions, seven times RELISH
_HASH = 16  # bytes
_TORN_AFTER = 24 * 3600  # seconds after which a file that was never finished is nobody's
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, *ODD_HEADERS)


def encode_set(
    judged: JudgedSet, pools: Sequence[Pool], encoder: Encoder, *, progress: Progress = no_progress
) -> SetVectors:
    """The vectors of the queries and candidates of `pools`; equal texts have one.

    A run that was stopped or killed is taken up at its last chunk of 1,024 texts.
    Raises EncoderUnavailable, NoSpaceLeft, CannotWrite, and what `progress` does.
    """
    needed = np.zeros(len(judged.papers), dtype=bool)
    for pool in pools:
        needed[pool.rows] = needed[pool.row] = True
    at = np.full(len(judged.papers), -1, dtype=np.int32)
    place: dict[TitleAndAbstract, int] = {}
    for row in np.flatnonzero(needed).tolist():
        paper = judged.papers[row]
        at[row] = place.setdefault((paper.title, paper.abstract), len(place))
    texts = list(place)
    hashes = np.frombuffer(b"".join(map(_hash, texts)), dtype=np.uint8).reshape(-1, _HASH)
    vectors = np.empty((len(texts), encoder.dimensions), dtype=np.float32)
    with home_errors():
        folder = _folder(encoder)
        rest = np.flatnonzero(~_take(folder, hashes, vectors))
        there = len(texts) - len(rest)
        progress(ENCODING, there, len(texts))
        start = 0
        for part in encoder.stream(
            (texts[i] for i in rest),
            chunk=CHUNK,
            on_progress=lambda done: progress(ENCODING, there + done, len(texts)),
        ):
            rows = rest[start : start + len(part)]
            vectors[rows] = part
            _keep(folder, hashes[rows], part)
            start += len(part)
    return SetVectors(vectors=vectors, at=at)


def kept_vectors() -> int:
    """How many bytes of vectors are kept between runs."""
    return sum(size for _, size, _ in _chunks())


def clear_vectors() -> None:
    """Delete all vectors that are kept between runs. The next one encodes its papers again."""
    shutil.rmtree(_top(), ignore_errors=True)


def _top() -> Path:
    return places.home() / ".evaluations" / ".vectors"


def _folder(encoder: Encoder) -> Path:
    """Of one encoder in one precision: vectors of others are not to be mixed with its own."""
    precision = encoder.precision if isinstance(encoder, BiEncoder) else "float32"
    key = f"{encoder.fingerprint} {precision} {encoder.dimensions}"
    return _top() / hashlib.sha256(key.encode()).hexdigest()[:16]


def _hash(text: TitleAndAbstract) -> bytes:
    title, abstract = text
    content = f"{len(title)} {title}{abstract}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=_HASH).digest()


def _take(folder: Path, hashes: NDArray[np.uint8], vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Fill in the vectors that are kept. Gives which: bool (n,). A damaged chunk is deleted and not used."""
    found = np.zeros(len(hashes), dtype=bool)
    place = {content.tobytes(): i for i, content in enumerate(hashes)}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as chunk:
                texts = chunk["texts"]
                if texts.dtype != np.uint8 or texts.ndim != 2 or texts.shape[1] != _HASH:
                    raise ValueError("these are no hashes")
                rows = np.array([place.get(content.tobytes(), -1) for content in texts], dtype=np.int64)
                if not (rows >= 0).any():
                    continue
                kept = chunk["vectors"]  # which fails where it is not what was written: the archive has a checksum
                if kept.dtype != np.float32 or kept.shape != (len(texts), vectors.shape[1]):
                    raise ValueError("these are not the vectors of the texts")
            if not np.isfinite(kept).all():
                raise ValueError("a value is no finite number")
            os.utime(path)
        except FileNotFoundError:  # somebody cleared them, just now
            continue
        except _UNREADABLE:
            path.unlink(missing_ok=True)
            continue
        vectors[rows[rows >= 0]] = kept[rows >= 0]
        found[rows[rows >= 0]] = True
    return found


def _keep(folder: Path, hashes: NDArray[np.uint8], vectors: NDArray[np.float32]) -> None:
    """Write a chunk, and delete the oldest where there are too many."""
    folder.mkdir(parents=True, exist_ok=True)
    # A name of its own: another run may be writing the same texts.
    with beside(folder / f"{secrets.token_hex(8)}.npz") as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, texts=hashes, vectors=vectors)
    for torn in _top().glob("*/*.partial"):
        try:
            if time.time() - torn.stat().st_mtime > _TORN_AFTER:
                torn.unlink(missing_ok=True)
        except FileNotFoundError:
            continue
    there = sorted(_chunks())
    total = sum(size for _, size, _ in there)
    for _, size, path in there:
        if total <= LARGEST_KEPT:
            break
        path.unlink(missing_ok=True)
        total -= size


def _chunks() -> list[tuple[int, int, Path]]:
    """(when it was last used, in ns; bytes; path) of each chunk of every encoder."""
    found = []
    for path in _top().glob("*/*.npz"):
        try:
            told = path.stat()
        except FileNotFoundError:
            continue
        found.append((told.st_mtime_ns, told.st_size, path))
    return found
