"""The lexical encoder equals scikit-learn's pipeline, and refuses files that are not its own."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from components.encoder import lexical as module
from components.encoder.lexical import LexicalEncoder, LexicalFileDamaged, NoWordsToLearn
from corpus.paper import Paper

Planted = Callable[[int], list[Paper]]


def texts_of(papers: list[Paper]) -> list[tuple[str, str]]:
    return [(paper.title, paper.abstract) for paper in papers]


@pytest.fixture(scope="module")
def texts(planted: Planted) -> list[tuple[str, str]]:
    return texts_of(planted(30))


@pytest.fixture(scope="module")
def fitted(texts: list[tuple[str, str]]) -> LexicalEncoder:
    return LexicalEncoder.fit(texts)


# Vectors


def test_vectors_equal_a_scikit_learn_pipeline(texts: list[tuple[str, str]], fitted: LexicalEncoder) -> None:
    pipeline = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=2, dtype=np.float32),
        TruncatedSVD(n_components=60, random_state=0),
        Normalizer(),
    )
    whole = pipeline.fit_transform([f"{title} {abstract}" for title, abstract in texts])
    d = fitted.dimensions
    assert np.abs(whole[:, d:]).max() < 1e-5  # these papers span no more directions
    expected = whole[:, :d]
    found = fitted.encode(texts)
    assert found.dtype == np.float32
    assert found.shape == (60, fitted.dimensions)
    assert np.abs(found - expected).max() < 1e-5
    new = ["Cardiac output after valve repair in galaxies", "redshift of a black hole"]
    truth = pipeline[:-1].transform(new)[:, :d]
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    assert np.abs(fitted.encode([(text, "") for text in new]) - truth).max() < 1e-5


def test_papers_of_the_querys_topic_come_first(planted: Planted, fitted: LexicalEncoder) -> None:
    vectors = fitted.encode(texts_of(planted(30)))
    topics = np.array([paper.id.startswith("heart") for paper in planted(30)])
    for title, heart in (("Mortality of cardiology patients", True), ("Luminosity of the early universe", False)):
        nearest = np.argsort(-(vectors @ fitted.encode([(title, "")])[0]))[:30]
        assert (topics[nearest] == heart).all()


def test_the_same_texts_give_the_same_encoder(texts: list[tuple[str, str]], fitted: LexicalEncoder) -> None:
    again = LexicalEncoder.fit(list(texts))
    assert again.fingerprint == fitted.fingerprint
    assert np.array_equal(again.encode(texts), fitted.encode(texts))
    other = LexicalEncoder.fit(texts[:-2])
    assert other.fingerprint != fitted.fingerprint


def test_a_text_without_a_known_word_has_a_zero_vector(fitted: LexicalEncoder) -> None:
    vectors = fitted.encode([("heart", ""), ("zzz qqq", "of the"), ("", ""), ("", "the galaxies\ud800 clusters")])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 0, 1], abs=1e-6)
    assert fitted.encode([]).shape == (0, fitted.dimensions)


@pytest.mark.parametrize("count", [1, 2, 15])
def test_small_corpora_can_be_learned(planted: Planted, count: int) -> None:
    texts = texts_of(planted(8)[:count])
    encoder = LexicalEncoder.fit(texts)
    assert 1 <= encoder.dimensions <= count
    assert np.linalg.norm(encoder.encode(texts), axis=1) == pytest.approx(np.ones(count), abs=1e-5)


def test_papers_without_common_words_keep_all_words() -> None:
    texts = [(f"word{i}", f"other{i}") for i in range(40)]  # enough papers, and no word in two of them
    vectors = LexicalEncoder.fit(texts).encode(texts)
    assert np.abs(vectors @ vectors.T - np.eye(40)).max() < 1e-5


def test_equal_papers_have_one_dimension() -> None:
    encoder = LexicalEncoder.fit([("heart", "failure of the heart")] * 40)
    assert encoder.dimensions == 1
    assert np.abs(encoder.encode([("heart", "failure of the heart")])) == pytest.approx(1)


@pytest.mark.parametrize("texts", [[], [("", "")], [("the", "of a")], [("1", "? !")] * 50])
def test_texts_without_words_are_refused(texts: list[tuple[str, str]]) -> None:
    with pytest.raises(NoWordsToLearn, match="no word to learn"):
        LexicalEncoder.fit(texts)


def test_one_word_is_enough() -> None:
    encoder = LexicalEncoder.fit([("heart", "")])
    assert encoder.encode([("heart", ""), ("star", "")]).tolist() == [[1.0], [0.0]]


def test_the_vocabulary_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TERMS", 5)
    encoder = LexicalEncoder.fit([("heart heart heart star", " ".join(f"rare{i}" for i in range(30)) + " x" * 90)])
    assert len(encoder.terms) == 5
    assert {"heart"} <= set(encoder.terms)
    assert all(len(term) <= module.MAX_TERM_CHARS for term in LexicalEncoder.fit([("a" * 500, "heart")]).terms)


def test_progress_counts_texts_and_may_stop_the_work(texts: list[tuple[str, str]], fitted: LexicalEncoder) -> None:
    done: list[int] = []
    LexicalEncoder.fit(texts, progress=lambda stage, *numbers: done.append(numbers[0]))
    fitted.encode(texts * 40, progress=lambda stage, *numbers: done.append(numbers[0]))
    assert done == [0, 1024, 2048, 2400]

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    for work in (LexicalEncoder.fit, fitted.encode):
        with pytest.raises(KeyboardInterrupt):
            work(texts, progress=stop)


# Coverage


def test_known_words_count_as_read(fitted: LexicalEncoder) -> None:
    coverage = fitted.coverage("The failure of a zzzheart –", "Patients with unheard-cardiac qqq")
    assert (coverage.words_read, coverage.words) == (8, 10)  # all but zzzheart and qqq
    assert (coverage.tokens_read, coverage.max_tokens) == (3, 6)
    assert fitted.coverage("Heart", "failure").complete
    assert fitted.coverage("", "").words == 0
    long = fitted.coverage("heart", "heart " * 20_000)
    assert long.words == 20_001
    assert 0 < long.words_read < long.words


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_has_a_vector_and_a_coverage(title: str, abstract: str) -> None:
    encoder = LexicalEncoder.fit([("heart failure", "of stars"), ("naïve", "heart")])
    length = float(np.linalg.norm(encoder.encode([(title, abstract)])))
    assert length == pytest.approx(1) or length == 0
    coverage = encoder.coverage(title, abstract)
    assert 0 <= coverage.words_read <= coverage.words
    assert 0 <= coverage.tokens_read <= coverage.max_tokens
    assert (length > 0) == (coverage.tokens_read > 0)


# Files


def test_a_saved_encoder_is_loaded_again(fitted: LexicalEncoder, texts: list[tuple[str, str]], tmp_path: Path) -> None:
    fitted.save(tmp_path / "encoder.npz")
    loaded = LexicalEncoder.load(tmp_path / "encoder.npz")
    assert loaded.fingerprint == fitted.fingerprint
    assert loaded.terms == fitted.terms
    assert np.array_equal(loaded.encode(texts), fitted.encode(texts))
    fitted.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "encoder.npz").read_bytes()


ARRAYS = {
    "terms": np.frombuffer(b"heartsuntwo", np.uint8),
    "offsets": np.array([0, 5, 8, 11], np.int64),
    "idf": np.array([1.0, 2.0, 3.0], np.float32),
    "term_vectors": np.array([[1, 0], [0, 1], [0, 0]], np.float32),
}


def refused(path: Path) -> str:
    with pytest.raises(LexicalFileDamaged, match="holds no lexical encoder") as caught:
        LexicalEncoder.load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_a_valid_file_loads(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", **ARRAYS)
    assert LexicalEncoder.load(tmp_path / "e.npz").terms == ("heart", "sun", "two")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("terms", np.frombuffer(b"sunxxsuntwo", np.uint8)[np.r_[0:11]]),
        ("terms", np.frombuffer(b"\xff\xfe\xfdrtsuntwo", np.uint8)),
        ("terms", np.zeros(0, np.uint8)),
        ("terms", np.zeros((11, 1), np.uint8)),
        ("terms", np.zeros(11, np.int8)),
        ("offsets", np.array([0, 3, 8, 11], np.int32)),
        ("offsets", np.array([0, 5, 5, 11])),
        ("offsets", np.array([0, 8, 5, 11])),
        ("offsets", np.array([1, 5, 8, 11])),
        ("offsets", np.array([0, 5, 8, 12])),
        ("offsets", np.array([0, 2**62, -(2**62), 11])),
        ("offsets", np.array([0, 11])),
        ("offsets", np.array([0])),
        ("offsets", np.zeros(0, np.int64)),
        ("offsets", np.zeros((), np.int64)),
        ("idf", np.array([1, 2, np.nan], np.float32)),
        ("idf", np.array([1, 2, np.inf], np.float32)),
        ("idf", np.array([1, 2, -1], np.float32)),
        ("idf", np.array([1, 2, 1e30], np.float32)),
        ("idf", np.array([1, 2], np.float32)),
        ("idf", np.array([1, 2, 3], np.float64)),
        ("idf", np.array([1, 2, 3], ">f4")),
        ("term_vectors", np.zeros((3, 0), np.float32)),
        ("term_vectors", np.zeros((3, 4), np.float32)),
        ("term_vectors", np.zeros((2, 2), np.float32)),
        ("term_vectors", np.zeros((3, 2), np.float16)),
        ("term_vectors", np.full((3, 2), np.nan, np.float32)),
        ("term_vectors", np.full((3, 2), 3e38, np.float32)),
        ("more", np.zeros(3)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.shape),
)
def test_invalid_arrays_are_refused(tmp_path: Path, name: str, value: np.ndarray) -> None:
    arrays = {**ARRAYS, name: value}
    if name == "terms" and bytes(value[:5]) == b"sunxx":
        arrays["offsets"] = np.array([0, 3, 8, 11])  # "sun", "xxsun", "two": unlike each other
        arrays["terms"] = np.frombuffer(b"sunxxxxxsun", np.uint8)  # and now "sun" twice
    np.savez(tmp_path / "e.npz", **arrays)
    refused(tmp_path / "e.npz")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_file_that_lacks_an_array_is_refused(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "e.npz", **{key: value for key, value in ARRAYS.items() if key != name})
    refused(tmp_path / "e.npz")


def test_a_pickle_in_it_does_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for name in ARRAYS:
        np.savez(tmp_path / "e.npz", **{**ARRAYS, name: np.array([Bomb()], dtype=object)}, allow_pickle=True)
        refused(tmp_path / "e.npz")
    assert not (tmp_path / "ran").exists()


def header_of(shape: tuple[int, ...], dtype: str) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def write_members(path: Path, change: dict[str, bytes], *, compressed: bool = False) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, array in ARRAYS.items():
            file = io.BytesIO()
            np.save(file, array)
            archive.writestr(f"{name}.npy", change.get(name, file.getvalue()))


def test_members_that_declare_more_than_they_hold_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    for shape in ((10**12, 2), (2**62, 4), (-1, 2), (3,)):
        write_members(path, {"term_vectors": header_of(shape, "<f4") + b"\x00" * 24})
        refused(path)
    write_members(path, {"idf": b"\x93NUMPY\x03\x00" + b"\xff" * 8})
    refused(path)
    write_members(path, {"idf": b""})
    refused(path)
    write_members(path, {}, compressed=True)  # a small file could unpack to a huge one
    assert "compressed" in refused(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"text", b"PK\x05\x06" + b"\x00" * 18])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.npz").write_bytes(content)
    refused(tmp_path / "e.npz")


def test_any_damaged_file_is_read_or_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", **ARRAYS)
    good = (tmp_path / "e.npz").read_bytes()
    for at in range(0, len(good), 3):
        data = bytearray(good)
        data[at] ^= 0x41
        (tmp_path / "e.npz").write_bytes(data)
        try:
            LexicalEncoder.load(tmp_path / "e.npz").encode([("heart", "")])
        except LexicalFileDamaged:
            continue
    for end in range(0, len(good), 7):
        (tmp_path / "e.npz").write_bytes(good[:end])
        refused(tmp_path / "e.npz")
