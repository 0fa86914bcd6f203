"""Encoding a judged set: each text once, resumed after a stop, and the vectors stored between runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from components.encoder.base import ENCODING, TitleAndAbstract
from components.encoder.bi_encoder import load_encoder
from components.evaluation import encoding
from components.evaluation.encoding import clear_vectors, encode_set, kept_vectors
from components.evaluation.ranking import rank_by_vectors
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Cancelled, Progress

Sets = Callable[..., JudgedSet]


class Planted:
    """An encoder whose vectors are hashes of texts, and which notes the texts."""

    name = source = "planted"
    normalised = False

    def __init__(self, fingerprint: str = "f" * 64, dimensions: int = 5) -> None:
        self.fingerprint = fingerprint
        self.dimensions = dimensions
        self.encoded: list[TitleAndAbstract] = []

    def vector(self, title: str, abstract: str) -> np.ndarray:
        digest = hashlib.sha256(f"{self.fingerprint}{title}|{abstract}".encode("utf-8", "surrogatepass")).digest()
        return np.frombuffer(digest, np.uint8)[: self.dimensions].astype(np.float32)

    def stream(self, texts: Iterable[TitleAndAbstract], *, chunk: int, progress: Progress) -> Iterator[np.ndarray]:
        waiting = list(texts)
        for start in range(0, len(waiting), chunk):
            part = waiting[start : start + chunk]
            self.encoded += part
            progress(ENCODING, start + len(part), 0)
            yield np.stack([self.vector(*text) for text in part])


@pytest.fixture(autouse=True)
def small(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Chunks of four texts; the folder of stored vectors."""
    monkeypatch.setattr(encoding, "CHUNK", 4)
    return home / ".evaluations" / ".vectors"


@pytest.fixture
def judged(judged_set: Sets) -> JudgedSet:
    """Twenty papers in three pools, the last of which shares none."""
    grades = {
        "q0": {f"c{i}": 0 for i in range(9)},
        "q1": {f"c{i}": 0 for i in range(5, 13)},
        "q2": {f"c{i}": 0 for i in range(13, 17)},
    }
    return judged_set(grades)


def check(judged: JudgedSet, pools: Sequence[Pool], encoder: Planted) -> int:
    """Encode pools, check every vector against its text, and return how many texts were encoded."""
    before = len(encoder.encoded)
    vectors = encode_set(judged, pools, encoder)  # type: ignore[arg-type]
    needed = {row for pool in pools for row in (pool.row, *pool.rows.tolist())}
    for row, paper in enumerate(judged.papers):
        if row in needed:
            assert vectors.vectors[vectors.at[row]].tolist() == encoder.vector(paper.title, paper.abstract).tolist()
        else:
            assert vectors.at[row] == -1
    return len(encoder.encoded) - before


def test_every_text_is_encoded_once_whatever_the_split(judged: JudgedSet) -> None:
    encoder = Planted()
    splits = (judged.pools[:1], judged.pools[1:2], judged.pools)
    assert [check(judged, pools, encoder) for pools in splits] == [10, 5, 5]
    assert check(judged, judged.pools, encoder) == 0
    assert check(judged, judged.pools, Planted("e" * 64)) == 20
    assert check(judged, judged.pools, Planted(dimensions=6)) == 20
    assert kept_vectors() > 0
    clear_vectors()
    assert kept_vectors() == 0
    assert check(judged, judged.pools, encoder) == 20


def test_equal_texts_are_encoded_once_and_titles_do_not_run_into_abstracts(judged_set: Sets) -> None:
    texts = {
        "q": ("ab", "c"),
        "x": ("a", "bc"),
        "y": ("ab", "c"),
        "z": ("ab", "c"),
        "e": ("", "abc"),
        "s": ("\ud800", ""),
    }
    judged = judged_set({"q": dict.fromkeys("xyzes", 0)}, texts=texts)
    encoder = Planted()
    assert check(judged, judged.pools, encoder) == 4
    assert check(judged, judged.pools, encoder) == 0
    found = encode_set(judged, judged.pools, encoder)  # type: ignore[arg-type]
    ranked = rank_by_vectors(judged, judged.pools, found).pools[0]
    assert [judged.papers[row].id for row in ranked.rows[:2]] == ["z", "y"]
    assert ranked.scores[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("after", [4, 16])
def test_a_stopped_run_resumes_at_its_last_chunk(judged: JudgedSet, after: int) -> None:
    encoder = Planted()

    def stop(stage: str, done: int, total: int) -> None:
        assert (stage, total) == (ENCODING, 20)
        if done > after:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        encode_set(judged, judged.pools, encoder, progress=stop)  # type: ignore[arg-type]
    progress: list[int] = []
    encoder.encoded.clear()
    encode_set(judged, judged.pools, encoder, progress=lambda _, done, __: progress.append(done))  # type: ignore[arg-type]
    assert len(encoder.encoded) == 20 - after
    assert (progress[0], progress[-1]) == (after, 20)


def flip(content: bytes) -> bytes:
    middle = content.index(b"vectors.npy") + 200
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [flip, lambda content: content[:-40], lambda _: b"", lambda _: b"\x80\x04K\x01."], ids=range(4)
)
def test_a_damaged_chunk_is_encoded_again(judged: JudgedSet, small: Path, damage: Callable[[bytes], bytes]) -> None:
    encoder = Planted()
    check(judged, judged.pools, encoder)
    chunk = sorted(small.glob("*/*.npz"))[0]
    chunk.write_bytes(damage(chunk.read_bytes()))
    assert check(judged, judged.pools, encoder) == 4
    assert check(judged, judged.pools, encoder) == 0


def write(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def test_a_chunk_of_another_form_is_encoded_again(judged: JudgedSet, small: Path) -> None:
    encoder = Planted()
    check(judged, judged.pools, encoder)
    for number, chunk in enumerate(sorted(small.glob("*/*.npz"))):
        with np.load(chunk) as there:
            texts, vectors = there["texts"], there["vectors"]
        damaged = vectors.copy()
        damaged[0, 0] = np.nan
        write(
            chunk,
            **[
                {"texts": texts, "vectors": damaged},
                {"texts": texts, "vectors": vectors[:, :-1]},
                {"texts": texts[:-1], "vectors": vectors},
                {"texts": texts.astype(np.int64), "vectors": vectors},
                {"texts": np.array([[None]], dtype=object), "vectors": vectors},
            ][number],
        )
    assert check(judged, judged.pools, encoder) == 20
    assert len(list(small.glob("*/*.npz"))) == 5


def test_the_least_recently_used_chunks_are_deleted_first(
    judged: JudgedSet, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, used, new = Planted("a" * 64), Planted("b" * 64), Planted("c" * 64)
    check(judged, judged.pools, old)
    check(judged, judged.pools, used)
    for path in small.glob("*/*.npz"):
        os.utime(path, (1, 1))
    one = kept_vectors() // 10
    assert one > 4 * 20
    check(judged, judged.pools, used)
    monkeypatch.setattr(encoding, "MAX_BYTES", 12 * one)
    check(judged, judged.pools, new)
    assert 11 * one <= kept_vectors() <= 12 * one
    assert check(judged, judged.pools, used) == 0
    assert check(judged, judged.pools, new) == 0
    monkeypatch.setattr(encoding, "MAX_BYTES", 0)
    assert check(judged, judged.pools, old) >= 12
    assert kept_vectors() == 0


def test_vectors_may_be_cleared_during_encoding(judged: JudgedSet) -> None:
    encoder = Planted()
    found = encode_set(judged, judged.pools, encoder, progress=lambda *_: clear_vectors())
    paper = judged.papers[19]
    assert found.vectors[found.at[19]].tolist() == encoder.vector(paper.title, paper.abstract).tolist()


def test_a_real_encoder_gives_the_same_vectors_as_alone(judged_set: Sets, tiny: Path) -> None:
    texts = {"q": ("heart", "failure of the heart"), "a": ("heart", "failure"), "b": ("galaxy", "a star in the galaxy")}
    judged = judged_set({"q": {"a": 1, "b": 0}}, texts=texts)
    encoder = load_encoder(str(tiny), device="cpu")
    first = encode_set(judged, judged.pools, encoder)
    alone = encoder.encode([(paper.title, paper.abstract) for paper in judged.papers])
    np.testing.assert_allclose(first.vectors[first.at], alone, atol=1e-5)
    again = encode_set(judged, judged.pools, encoder)
    assert again.vectors.tobytes() == first.vectors.tobytes()
    rounded = encode_set(judged, judged.pools, load_encoder(str(tiny), device="cpu", precision="bfloat16"))
    assert rounded.vectors.tobytes() != first.vectors.tobytes()
