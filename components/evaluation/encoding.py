"""Vectors of a judged set's papers, each text encoded once. Only this module touches <home>/.evaluations/.vectors/.

<home>/.evaluations/.vectors/<encoder>/<chunk>.npz  texts: a hash of each, uint8 (n, 16); vectors: float32 (n, d)

Stored vectors serve resumed runs and those on other splits, facets and sets. Beyond MAX_BYTES the least recently used
chunks are deleted.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.atlas.build import CHUNK, ENCODING
from components.atlas.paths import home, home_errors
from components.encoder.base import Encoder, TitleAndAbstract
from components.encoder.bi_encoder import BiEncoder
from components.evaluation.ranking import SetVectors, needed_rows
from corpus.io.files import ODD_HEADERS, beside
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Progress, no_progress

MAX_BYTES = 4 * 10**9  # 1.3 million texts in 768 dimensions, seven times RELISH
_HASH_BYTES = 16
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, *ODD_HEADERS)


def encode_set(
    judged: JudgedSet, pools: Sequence[Pool], encoder: Encoder, *, progress: Progress = no_progress
) -> SetVectors:
    """The vectors of the queries and candidates of `pools`; equal texts have one.

    A run that was stopped or killed resumes at its last chunk of 1,024 texts.
    Raises EncoderUnavailable, NoSpaceLeft, CannotWrite, and what `progress` raises.
    """
    at = np.full(len(judged.papers), -1, dtype=np.int32)
    index_of: dict[TitleAndAbstract, int] = {}
    for row in needed_rows(judged, pools).tolist():
        paper = judged.papers[row]
        at[row] = index_of.setdefault((paper.title, paper.abstract), len(index_of))
    texts = list(index_of)
    hashes = [_hash(text) for text in texts]
    vectors = np.empty((len(texts), encoder.dimensions), dtype=np.float32)
    with home_errors():
        folder = _folder(encoder)
        rest = np.flatnonzero(~_load(folder, hashes, vectors))
        stored = len(texts) - len(rest)
        progress(ENCODING, stored, len(texts))
        start = 0
        for part in encoder.stream(
            (texts[i] for i in rest),
            chunk=CHUNK,
            on_progress=lambda done: progress(ENCODING, stored + done, len(texts)),
        ):
            rows = rest[start : start + len(part)]
            vectors[rows] = part
            _store(folder, [hashes[row] for row in rows], part)
            start += len(part)
    return SetVectors(vectors=vectors, at=at)


def kept_vectors() -> int:
    """The bytes of stored vectors."""
    return sum(size for _, size, _ in _chunks())


def clear_vectors() -> None:
    """Delete all stored vectors. The next evaluation encodes its papers again."""
    shutil.rmtree(_root(), ignore_errors=True)


def _root() -> Path:
    return home() / ".evaluations" / ".vectors"


def _folder(encoder: Encoder) -> Path:
    """The folder of one encoder in one precision."""
    precision = encoder.precision if isinstance(encoder, BiEncoder) else "float32"
    key = f"{encoder.fingerprint} {precision} {encoder.dimensions}"
    return _root() / hashlib.sha256(key.encode()).hexdigest()[:16]


def _hash(text: TitleAndAbstract) -> bytes:
    title, abstract = text
    content = f"{len(title)} {title}{abstract}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).digest()


def _load(folder: Path, hashes: Sequence[bytes], vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Fill in the stored vectors. Returns which: bool (n,). A damaged chunk is deleted."""
    loaded = np.zeros(len(hashes), dtype=bool)
    index_of = {hash: i for i, hash in enumerate(hashes)}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as chunk:
                texts = chunk["texts"]
                if texts.dtype != np.uint8 or texts.ndim != 2 or texts.shape[1] != _HASH_BYTES:
                    raise ValueError("these are not hashes")
                rows = np.array([index_of.get(hash.tobytes(), -1) for hash in texts], dtype=np.int64)
                if not (rows >= 0).any():
                    continue
                stored = chunk["vectors"]  # raises where its checksum in the archive differs
            if stored.dtype != np.float32 or stored.shape != (len(texts), vectors.shape[1]):
                raise ValueError("these are not the vectors of the texts")
            if not np.isfinite(stored).all():
                raise ValueError("a value is not finite")
            os.utime(path)
        except FileNotFoundError:  # cleared meanwhile
            continue
        except _UNREADABLE:
            path.unlink(missing_ok=True)
            continue
        vectors[rows[rows >= 0]] = stored[rows >= 0]
        loaded[rows[rows >= 0]] = True
    return loaded


def _store(folder: Path, hashes: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
    """Write a chunk, and delete the least recently used ones beyond MAX_BYTES."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, _HASH_BYTES)
    # A random name: another run may be writing the same texts.
    with beside(folder / f"{secrets.token_hex(8)}.npz") as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, texts=texts, vectors=vectors)
    chunks = sorted(_chunks())
    total = sum(size for _, size, _ in chunks)
    for _, size, path in chunks:
        if total <= MAX_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= size


def _chunks() -> list[tuple[int, int, Path]]:
    """(time of last use in ns, bytes, path) of each chunk of every encoder, and of what killed runs left unfinished."""
    chunks = []
    for path in _root().glob("*/*"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            chunks.append((stat.st_mtime_ns, stat.st_size, path))
    return chunks
