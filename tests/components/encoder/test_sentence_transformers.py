"""Folders as sentence-transformers writes them, and the fingerprint, which its files are part of."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from components.encoder.bi_encoder import load_encoder
from components.encoder.checkpoints import find_checkpoint

Refusal = Callable[[object], str]


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
    tiny_copy: Path, pooling: dict[str, object], more: tuple[str, ...]
) -> None:
    from sentence_transformers import SentenceTransformer

    sentence_transformers_files(tiny_copy, pooling, *more)
    (tiny_copy / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    texts = [("heart failure", "of the galaxy"), ("star", "a star " * 20), ("", "star")]
    oracle = SentenceTransformer(str(tiny_copy), device="cpu")
    assert oracle.max_seq_length == 16
    expected = oracle.encode([f"{title} {abstract}".strip() for title, abstract in texts], show_progress_bar=False)
    encoder = load_encoder(str(tiny_copy), device="cpu")
    assert encoder.checkpoint.form.normalised == bool(more)
    assert np.abs(encoder.encode(texts) - expected).max() < 1e-5


def test_a_folder_that_sentence_transformers_saved_gives_its_vectors(tiny_copy: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    sentence_transformers_files(tiny_copy, OLD_MEAN, "Normalize")
    oracle = SentenceTransformer(str(tiny_copy), device="cpu")
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
    tiny_copy: Path, pooling: dict[str, object], more: tuple[str, ...], refusal: Refusal
) -> None:
    sentence_transformers_files(tiny_copy, pooling, *more)
    refusal(tiny_copy)


@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
@pytest.mark.parametrize("text", ["", "{", "7", '"text"'])
def test_damaged_sentence_transformers_files_are_refused(
    tiny_copy: Path, file: str, text: str, refusal: Refusal
) -> None:
    sentence_transformers_files(tiny_copy, OLD_MEAN)
    (tiny_copy / file).write_text(text)
    assert Path(file).name in refusal(tiny_copy)


def test_the_fingerprint_is_the_same_for_equal_files_and_no_others(tiny: Path, tiny_copy: Path) -> None:
    first = find_checkpoint(str(tiny)).fingerprint
    assert len(first) == 64
    assert find_checkpoint(str(tiny_copy)).fingerprint == first
    (tiny_copy / "README.md").write_text("Words change no vector.")
    assert find_checkpoint(str(tiny_copy)).fingerprint == first
    seen = {first}

    def another() -> None:
        fingerprint = find_checkpoint(str(tiny_copy)).fingerprint
        assert fingerprint not in seen
        seen.add(fingerprint)

    state = safetensors.torch.load_file(tiny_copy / "model.safetensors")
    state["embeddings.LayerNorm.bias"][0] += 1e-6
    safetensors.torch.save_file(state, tiny_copy / "model.safetensors", metadata={"format": "pt"})
    another()
    (tiny_copy / "tokenizer.json").write_text((tiny_copy / "tokenizer.json").read_text().replace("galaxy", "planet"))
    another()
    config = json.loads((tiny_copy / "config.json").read_text())
    (tiny_copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    another()
    (tiny_copy / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 12}))
    another()
    sentence_transformers_files(tiny_copy, {"pooling_mode_mean_tokens": True})
    another()
    sentence_transformers_files(tiny_copy, {"pooling_mode_cls_token": True})
    another()
    (tiny_copy / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    another()
    for file in ("merges.txt", "vocab.json", "added_tokens.json"):
        (tiny_copy / file).write_text("{}")
        another()
