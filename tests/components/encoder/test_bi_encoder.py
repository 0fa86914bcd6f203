"""The bi-encoder against a plain AutoModel loop and against sentence-transformers; batches, queries and coverage."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from components.encoder.base import ENCODING, EncoderUnavailable
from components.encoder.bi_encoder import BiEncoder, load_encoder, packed_batches, token_budget_batches
from components.encoder.probe import probe
from components.encoder.queue import Rows

SENTENCE = "Beta blockers reduced mortality in patients with chronic heart failure and atrial fibrillation. "
TEXTS = [
    ("Heart failure", SENTENCE * 3),
    ("", SENTENCE),
    ("Title alone", ""),
    ("", ""),
    ("A longer text", SENTENCE * 9),
    ("Spiral galaxies, naïve Bayes, β-catenin and 心不全", "Radio interferometry of 12 nearby objects (z < 0.1)."),
    ("word " * 600, "never read"),
    ("Far too long", SENTENCE * 40),
    ("Heart failure", SENTENCE * 3),
]


def plain_vectors(folder: Path, texts: list[str], *, pooling: str, max_length: int, normalised: bool) -> np.ndarray:
    """The oracle: one text at a time through AutoTokenizer and AutoModel."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=max_length, padding=False, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state[0]
        row = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
        rows.append((row / row.norm() if normalised else row).numpy())
    return np.stack(rows)


@pytest.fixture(scope="module")
def vectors(encoder: BiEncoder) -> np.ndarray:
    return encoder.encode(TEXTS)


# Vectors


def test_equals_a_plain_loop_and_sentence_transformers(encoder: BiEncoder, vectors: np.ndarray) -> None:
    from sentence_transformers import SentenceTransformer

    folder = encoder.checkpoint.folder
    joined = [f"{title.strip()} {abstract.strip()}".strip() for title, abstract in TEXTS]
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    plain = plain_vectors(folder, joined, pooling="mean", max_length=256, normalised=True)
    assert np.abs(vectors - plain).max() < 1e-5
    oracle = SentenceTransformer(str(folder), device="cpu")
    oracle.max_seq_length = 256
    released = oracle.encode(joined, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(vectors - released).max() < 1e-5
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_folder_is_read_in_the_form_of_specter_cocite(tiny: Path) -> None:
    encoder = load_encoder(str(tiny), device="cpu")
    texts = [("heart failure", "of the galaxy"), ("star", ""), ("", "star"), (" a ", "star " * 40), ("", "")]
    joined = [f"{title.strip()}[SEP]{abstract.strip()}" for title, abstract in texts]
    expected = plain_vectors(tiny, joined, pooling="cls", max_length=24, normalised=False)
    assert (encoder.name, encoder.dimensions) == ("tiny", 32)
    assert np.abs(encoder.encode(texts) - expected).max() < 1e-5
    assert np.abs(np.linalg.norm(expected, axis=1) - 1).max() > 0.1
    assert encoder.coverage("heart", "galaxy").tokens_read == 5  # [CLS] heart [SEP] galaxy [SEP]


def test_vectors_do_not_depend_on_batches_chunks_or_threads(
    encoder: BiEncoder, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(4) as pool:
        alone = np.concatenate(list(pool.map(lambda text: encoder.encode([text]), TEXTS)))
        coverages = set(pool.map(lambda _: encoder.coverage(*TEXTS[7]), range(8)))
    assert np.abs(vectors - alone).max() < 1e-5
    assert len(coverages) == 1
    monkeypatch.setattr(encoder, "_token_budget", 300)
    parts = list(encoder.stream(iter(TEXTS), chunk=2))
    assert [len(part) for part in parts] == [2, 2, 2, 2, 1]
    assert np.abs(vectors - np.concatenate(parts)).max() < 1e-5
    assert np.abs(vectors - encoder.encode(TEXTS)).max() < 1e-5
    assert encoder.encode([]).shape == (0, 384)


def test_a_stream_reads_no_further_than_the_next_chunk(encoder: BiEncoder) -> None:
    read = itertools.count()
    stream = encoder.stream((TEXTS[0] for _ in read), chunk=3)
    for _ in range(3):
        assert len(next(stream)) == 3
    stream.close()
    assert next(read) <= 13


def test_an_error_of_the_texts_is_raised(encoder: BiEncoder) -> None:
    def broken() -> Iterator[tuple[str, str]]:
        yield TEXTS[0]
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        list(encoder.stream(broken(), chunk=1))


def test_progress_counts_texts_and_may_stop_the_work(encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_token_budget", 300)
    many = [*TEXTS, *TEXTS[:3]]  # too many for a query
    reports: list[tuple[str, int, int]] = []
    encoder.encode(many, progress=lambda *report: reports.append(report))
    assert reports == sorted(set(reports))
    assert len(reports) > 3
    assert reports[-1] == (ENCODING, len(many), len(many))
    reports.clear()
    encoder.encode(TEXTS[:3], progress=lambda *report: reports.append(report))
    assert reports == [(ENCODING, 3, 3)]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for texts in (many, TEXTS[:1]):
        with pytest.raises(KeyboardInterrupt):
            encoder.encode(texts, progress=stop)
        assert encoder.encode(TEXTS[:1]).shape == (1, 384)  # the queue is free again


def test_a_query_during_long_work_is_encoded_between_two_layers(encoder: BiEncoder) -> None:
    real, waiting = encoder._model, threading.Event()
    found: list[np.ndarray] = []
    query = threading.Thread(target=lambda: found.append(encoder.encode([TEXTS[0]])[0]))
    passes: list[int] = []  # texts of each finished pass

    def watched(rows: Rows, *, pause: Callable[[], None] | None) -> torch.Tensor:
        if pause is not None and not waiting.is_set():
            waiting.set()
            query.start()
            while not encoder._queue._queries:
                threading.Event().wait(0.001)
        result = real(rows, pause=pause)
        passes.append(len(rows))
        return result

    encoder._model = watched
    try:
        encoder.encode([("Heart failure", SENTENCE)] * 12)
    finally:
        encoder._model = real
    query.join(60)
    assert passes[0] == 1  # the query's pass ended within the long one
    assert sum(passes) == 13
    assert np.abs(found[0] - encoder.encode([TEXTS[0]])[0]).max() < 1e-6


def test_too_little_memory_is_explained(tiny: Path) -> None:
    encoder = load_encoder(str(tiny), device="cpu")

    def too_large(rows: object, *, pause: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory left")

    encoder._model = too_large
    with pytest.raises(EncoderUnavailable, match="could not encode on this machine \\(no memory left\\)"):
        encoder.encode([("heart", "")])


# Coverage


def test_only_text_up_to_256_word_pieces_is_read(encoder: BiEncoder) -> None:
    # Each word is one word piece; 254 of them, [CLS] and [SEP] are the 256.
    base, *others = encoder.encode(
        [("", " ".join(["heart"] * n + ["galaxy"] * m)) for n, m in ((254, 0), (254, 1), (253, 1), (200, 54))]
    )
    assert np.abs(base - others[0]).max() < 1e-6
    assert np.abs(base - others[1]).max() > 1e-3
    assert np.abs(base - others[2]).max() > 1e-3  # the tokenizer's own file would cut at 128


@pytest.mark.parametrize(("words", "read"), [(0, 0), (1, 1), (127, 127), (254, 254), (255, 254), (600, 254)])
def test_coverage_counts_the_words_before_the_cut(encoder: BiEncoder, words: int, read: int) -> None:
    coverage = encoder.coverage("", " ".join(["heart"] * words))
    assert (coverage.words_read, coverage.words, coverage.complete) == (read, words, read == words)
    assert (coverage.tokens_read, coverage.max_tokens) == (read + 2, 256)


@pytest.mark.parametrize(("words", "read"), [(1, 1), (20, 20), (21, 21), (22, 21), (50, 21)])
def test_coverage_does_not_count_the_separator(tiny: Path, words: int, read: int) -> None:
    coverage = load_encoder(str(tiny), device="cpu").coverage("heart", " ".join(["galaxy"] * (words - 1)))
    assert (coverage.words_read, coverage.words) == (read, words)  # 24 positions: [CLS], 2 × [SEP] and 21 words


@pytest.mark.parametrize(("before", "after"), [(253, ["heart"]), (254, [])])
def test_coverage_does_not_count_a_word_that_is_cut(encoder: BiEncoder, before: int, after: list[str]) -> None:
    long = "electroencephalography"  # several word pieces
    coverage = encoder.coverage("", " ".join(["heart"] * before + [long, *after]))
    assert (coverage.words_read, coverage.words) == (before, 255)


@pytest.mark.parametrize("last", ["failure\u200b", "failure \u200b", "failure\u00ad", "failure \u0007", "心不全", "🫀"])
def test_coverage_of_a_short_text_is_complete(encoder: BiEncoder, last: str) -> None:
    assert encoder.coverage("Heart", f"A short text on {last}").complete


@given(title=st.text(max_size=200), abstract=st.text(max_size=600))
def test_coverage_never_exceeds_the_text(encoder: BiEncoder, title: str, abstract: str) -> None:
    coverage = encoder.coverage(title, abstract)
    assert 0 <= coverage.words_read <= coverage.words == len(f"{title} {abstract}".split())
    assert 2 <= coverage.tokens_read <= 256
    if coverage.tokens_read < 256:
        assert coverage.complete


def test_very_long_texts_are_cut_before_they_are_tokenised(encoder: BiEncoder) -> None:
    coverage = encoder.coverage("Title", "a" + " " * 60_000 + "b")
    assert (coverage.words_read, coverage.words) == (2, 3)


@pytest.mark.parametrize("text", ["\ud800 lone surrogate", "nul \x00 byte", "\udcff"])
def test_unusual_characters_are_encoded(encoder: BiEncoder, text: str) -> None:
    assert np.isfinite(encoder.encode([(text, text)])).all()
    assert encoder.coverage(text, text).complete


# Batches, and the probe


@given(lengths=st.lists(st.integers(0, 600), max_size=60), budget=st.integers(1, 5000))
def test_batches_hold_each_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    padded = list(token_budget_batches(lengths, budget=budget))
    assert sorted(int(i) for batch in padded for i in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget for batch in padded)
    packed = list(packed_batches(lengths, budget=budget))
    assert [int(i) for batch in packed for i in batch] == list(range(len(lengths)))
    assert all(len(batch) == 1 or sum(lengths[i] for i in batch) <= budget for batch in packed)
    for one, other in itertools.pairwise(packed):  # no batch had room for the next text
        assert sum(lengths[i] for i in one) + lengths[other[0]] > budget


def test_the_probe_multiplies_one_layer_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.encoder.probe._MEASURE_S", 0.1)
    few, many = (
        probe(
            hidden_size=64,
            layers=layers,
            heads=2,
            intermediate_size=128,
            lengths=[20, 40],
            precision="float32",
            device="cpu",
        )
        for layers in (1, 1000)
    )
    assert few.device == "cpu"
    assert many.seconds_a_text > 20 * few.seconds_a_text > 0
