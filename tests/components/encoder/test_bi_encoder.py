"""The encoder against plain writings of the same: an AutoModel loop, and the model as it was released."""

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

from components.encoder.bi_encoder import BiEncoder, load_encoder, packed_batches, token_budget_batches
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


def plain_vectors(
    folder: Path, texts: list[str], *, pooling: str = "mean", max_length: int = 256, normalised: bool = True
) -> np.ndarray:
    """The oracle: one text at a time through AutoTokenizer and AutoModel."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=max_length, padding=False, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state[0]
        row = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
        rows.append((row / row.norm() if normalised else row).numpy())
    return np.stack(rows)


# The embedded encoder


@pytest.fixture(scope="module")
def vectors(encoder: BiEncoder) -> np.ndarray:
    return encoder.encode(TEXTS)


def test_equals_a_plain_loop_over_the_model_in_the_order_given(encoder: BiEncoder, vectors: np.ndarray) -> None:
    joined = [f"{title.strip()} {abstract.strip()}".strip() for title, abstract in TEXTS]
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    assert np.abs(vectors - plain_vectors(encoder.checkpoint.folder, joined)).max() < 1e-5


def test_equals_sentence_transformers_as_the_model_was_released(encoder: BiEncoder, vectors: np.ndarray) -> None:
    from sentence_transformers import SentenceTransformer

    oracle = SentenceTransformer(str(encoder.checkpoint.folder), device="cpu")
    oracle.max_seq_length = 256
    joined = [f"{title.strip()} {abstract.strip()}".strip() for title, abstract in TEXTS]
    expected = oracle.encode(joined, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(vectors - expected).max() < 1e-5


def test_each_text_alone_gives_the_vector_that_it_has_in_a_batch(encoder: BiEncoder, vectors: np.ndarray) -> None:
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(vectors - alone).max() < 1e-5


def test_vectors_do_not_depend_on_chunks_or_budgets(
    encoder: BiEncoder, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "_token_budget", 300)
    parts = list(encoder.stream(iter(TEXTS), chunk=2))
    assert [len(part) for part in parts] == [2, 2, 2, 2, 1]
    assert np.abs(vectors - np.concatenate(parts)).max() < 1e-5
    assert np.abs(vectors - encoder.encode(TEXTS)).max() < 1e-5


def test_a_stream_reads_no_further_than_the_next_chunk(encoder: BiEncoder) -> None:
    read = [0]

    def endless() -> Iterator[tuple[str, str]]:
        while True:
            read[0] += 1
            yield TEXTS[0]

    stream = encoder.stream(endless(), chunk=3)
    for number in range(1, 4):
        assert len(next(stream)) == 3
        assert read[0] <= 3 * (number + 1)
    stream.close()
    assert read[0] <= 12


def test_what_stops_the_reading_of_a_stream_is_raised(encoder: BiEncoder) -> None:
    def broken() -> Iterator[tuple[str, str]]:
        yield TEXTS[0]
        raise OSError("the file is gone")

    stream = encoder.stream(broken(), chunk=1)
    with pytest.raises(OSError, match="the file is gone"):
        list(stream)


def test_vectors_have_length_one(vectors: np.ndarray) -> None:
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_no_texts_give_no_vectors(encoder: BiEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_progress_counts_every_text_and_may_stop_the_work(encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_token_budget", 300)
    many = [*TEXTS, *TEXTS[:3]]  # no query
    seen: list[int] = []
    encoder.encode(many, progress=lambda stage, done, total: seen.append(done))
    assert seen == sorted(set(seen))
    assert len(seen) > 3
    assert seen[-1] == len(many)

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    for texts in (many, TEXTS[:1]):
        with pytest.raises(KeyboardInterrupt):
            encoder.encode(texts, progress=stop)
        assert encoder.encode(TEXTS[:1]).shape == (1, 384)  # the processor was let go of
    seen.clear()
    encoder.encode(TEXTS[:3], progress=lambda stage, done, total: seen.append(done))
    assert seen == [3]


def test_threads_share_one_encoder(encoder: BiEncoder, vectors: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: encoder.encode([TEXTS[i % len(TEXTS)]])[0], range(18)))
        readings = list(pool.map(lambda _: encoder.coverage(*TEXTS[7]), range(18)))
    for i, vector in enumerate(found):
        assert np.abs(vector - vectors[i % len(TEXTS)]).max() < 1e-5
    assert len(set(readings)) == 1


def test_a_query_that_comes_during_long_work_is_answered_between_two_of_its_layers(encoder: BiEncoder) -> None:
    real, asked = encoder._model, threading.Event()
    found: list[np.ndarray] = []
    query = threading.Thread(target=lambda: found.append(encoder.encode([TEXTS[0]])[0]))
    passes: list[int] = []  # texts in each pass that ended

    def watched(rows: Rows, *, pause: Callable[[], None] | None) -> torch.Tensor:
        if pause is not None and not asked.is_set():
            # Long work has begun; go on when the query waits behind it.
            asked.set()
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


def test_text_past_256_word_pieces_changes_nothing_and_text_before_does(encoder: BiEncoder) -> None:
    # "the" is one word piece; 254 of them and [CLS], [SEP] fill the 256.
    base, *others = encoder.encode(
        [("", " ".join(["heart"] * n + ["galaxy"] * m)) for n, m in ((254, 0), (254, 1), (253, 1), (200, 54))]
    )
    assert np.abs(base - others[0]).max() < 1e-6
    assert np.abs(base - others[1]).max() > 1e-3
    # The tokenizer's own file would cut at 128, and not see a difference from word 200 on.
    assert np.abs(base - others[2]).max() > 1e-3


@pytest.mark.parametrize(
    ("words", "read"),
    [(0, 0), (1, 1), (126, 126), (127, 127), (253, 253), (254, 254), (255, 254), (600, 254)],
)
def test_reading_counts_the_words_up_to_the_cut(encoder: BiEncoder, words: int, read: int) -> None:
    reading = encoder.coverage("", " ".join(["heart"] * words))
    assert (reading.words_read, reading.words) == (read, words)
    assert reading.complete == (read == words)
    assert reading.tokens_read == read + 2
    assert reading.max_tokens == 256


def test_reading_does_not_count_a_word_cut_in_its_middle(encoder: BiEncoder) -> None:
    long = "electroencephalography"  # several word pieces
    assert encoder.coverage("", long).tokens_read > 4
    reading = encoder.coverage("", " ".join(["heart"] * 253 + [long, "heart"]))
    assert (reading.words_read, reading.words) == (253, 255)
    exact = encoder.coverage("", " ".join(["heart"] * 254 + [long]))
    assert (exact.words_read, exact.words) == (254, 255)


@pytest.mark.parametrize(
    "last", ["failure\u200b", "failure \u200b", "failure\u00ad", "failure \u0007", "心不全", "…", "🫀"]
)
def test_reading_says_complete_of_a_short_text_whatever_its_last_character(encoder: BiEncoder, last: str) -> None:
    reading = encoder.coverage("Heart", f"A short text on {last}")
    assert reading.complete
    assert reading.words_read == reading.words


@given(title=st.text(max_size=200), abstract=st.text(max_size=600))
def test_reading_never_counts_more_than_there_is(encoder: BiEncoder, title: str, abstract: str) -> None:
    reading = encoder.coverage(title, abstract)
    assert 0 <= reading.words_read <= reading.words == len(f"{title} {abstract}".split())
    assert 2 <= reading.tokens_read <= 256
    if reading.tokens_read < 256:
        assert reading.complete


def test_text_beyond_any_abstract_is_cut_before_it_costs_time(encoder: BiEncoder) -> None:
    reading = encoder.coverage("Title", "a" + " " * 60_000 + "b")
    assert (reading.words_read, reading.words) == (2, 3)


@pytest.mark.parametrize("text", ["\ud800 lone surrogate", "nul \x00 byte", "\udcff"])
def test_odd_characters_are_encoded_like_any_other(encoder: BiEncoder, text: str) -> None:
    assert np.isfinite(encoder.encode([(text, text)])).all()
    assert encoder.coverage(text, text).complete


# A folder in the form of specter-cocite


def test_a_folder_is_read_in_the_form_of_specter_cocite(tiny: Path) -> None:
    encoder = load_encoder(str(tiny), device="cpu")
    texts = [("heart failure", "of the galaxy"), ("star", ""), ("", "star"), (" a ", "star " * 40), ("", "")]
    joined = [f"{title.strip()}[SEP]{abstract.strip()}" for title, abstract in texts]
    expected = plain_vectors(tiny, joined, pooling="cls", max_length=24, normalised=False)
    assert encoder.name == "tiny"
    assert encoder.dimensions == 32
    assert np.abs(encoder.encode(texts) - expected).max() < 1e-5
    assert np.abs(np.linalg.norm(expected, axis=1) - 1).max() > 0.1


def test_the_separator_is_the_token_and_no_text(tiny: Path) -> None:
    encoder = load_encoder(str(tiny), device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    # [CLS] heart [SEP] galaxy [SEP]
    assert encoder.coverage("heart", "galaxy").tokens_read == 5
    assert len(tokenizer(f"heart{tokenizer.sep_token}galaxy").input_ids) == 5


@pytest.mark.parametrize(("words", "read"), [(1, 1), (20, 20), (21, 21), (22, 21), (50, 21)])
def test_reading_leaves_the_separator_out(tiny: Path, words: int, read: int) -> None:
    encoder = load_encoder(str(tiny), device="cpu")
    title, abstract = "heart", " ".join(["galaxy"] * (words - 1))
    reading = encoder.coverage(title, abstract)  # 24 positions: [CLS], [SEP], [SEP] and 21 words
    assert (reading.words_read, reading.words) == (read, words)


# Batches


@given(lengths=st.lists(st.integers(0, 600), max_size=60), budget=st.integers(1, 5000))
def test_batches_hold_each_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_budget_batches(lengths, budget=budget))
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(lengths=st.lists(st.integers(0, 600), max_size=60), budget=st.integers(1, 5000))
def test_packed_batches_hold_each_text_once_in_order_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(packed_batches(lengths, budget=budget))
    assert [int(i) for batch in batches for i in batch] == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= budget
    # None could have taken the text that the next one begins with.
    for one, other in itertools.pairwise(batches):
        assert sum(lengths[i] for i in one) + lengths[other[0]] > budget
