"""What training writes beside weights, the scalar mix and the input form, damaged or by somebody else."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from components.encoder.base import EncoderUnavailable
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import InputForm
from components.encoder.checkpoints import find_checkpoint, form_text
from components.encoder.files import FORM_FILE, MIX_FILE
from components.encoder.hf import load_model
from components.encoder.weights import load_weights, mix_bytes

FORM = {"pooling": "scalar_mix", "separator": "", "max_tokens": 24, "normalised": False}
SCALARS = torch.tensor([0.5, -1.0, 2.0])
TEXTS = [("heart failure", "of the galaxy"), ("star", "a star")]
Refusal = Callable[[object], str]


@pytest.fixture
def mixed(tiny_copy: Path) -> Path:
    """A folder with a scalar mix and the form that goes with it."""
    (tiny_copy / MIX_FILE).write_bytes(mix_bytes(SCALARS))
    write_form(tiny_copy)
    return tiny_copy


def write_form(folder: Path, **changes: object) -> None:
    (folder / FORM_FILE).write_text(json.dumps({"version": 1, "input_form": FORM | changes}))


def expected(folder: Path, texts: list[str]) -> np.ndarray:
    """The mix of transformers' own hidden states."""
    from components.encoder.tokenizer import load_tokenizer

    checkpoint = find_checkpoint(str(folder))
    found = []
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([load_tokenizer(checkpoint)[0].encode(text).ids])
            states = load_model(checkpoint)(ids, output_hidden_states=True).hidden_states
            weights = torch.softmax(SCALARS, dim=0)
            found.append(sum(weight * state[0, 0] for weight, state in zip(weights, states, strict=True)))
    return torch.stack(found).numpy()


def test_folder_and_zip_mix_the_layers(mixed: Path, tmp_path: Path, zip_of: Callable[..., Path]) -> None:
    packed = zip_of(mixed, tmp_path / "packed.zip", root="mixed")
    wanted = expected(mixed, ["heart failure[SEP]of the galaxy", "star[SEP]a star"])
    for place in (mixed, packed):
        encoder = load_encoder(str(place), device="cpu")
        assert encoder.checkpoint.form == InputForm("scalar_mix", "", 24, normalised=False)
        assert encoder.mix_weights == pytest.approx(torch.softmax(SCALARS, dim=0).numpy())
        assert np.abs(encoder.encode(TEXTS) - wanted).max() < 1e-5
    assert find_checkpoint(str(mixed)).fingerprint == find_checkpoint(str(packed)).fingerprint


def test_a_mix_alone_is_used_too(mixed: Path) -> None:
    before = load_encoder(str(mixed), device="cpu").encode(TEXTS)
    (mixed / FORM_FILE).unlink()
    assert np.array_equal(load_encoder(str(mixed), device="cpu").encode(TEXTS), before)


def test_mix_and_form_are_part_of_the_fingerprint(mixed: Path, tiny: Path) -> None:
    seen = {find_checkpoint(str(tiny)).fingerprint}

    def another() -> None:
        fingerprint = find_checkpoint(str(mixed)).fingerprint
        assert fingerprint not in seen
        seen.add(fingerprint)

    another()
    (mixed / MIX_FILE).write_bytes(mix_bytes(SCALARS + torch.tensor([0, 1e-6, 0])))
    another()
    for change in ({"separator": " "}, {"max_tokens": 23}, {"normalised": True}, {"pooling": "mean"}):
        write_form(mixed, **change)
        another()


def test_a_mix_that_the_form_does_not_ask_for_changes_nothing(mixed: Path, tiny: Path) -> None:
    write_form(mixed, pooling="cls")
    assert find_checkpoint(str(mixed)).fingerprint == find_checkpoint(str(tiny)).fingerprint
    assert np.array_equal(
        load_encoder(str(mixed), device="cpu").encode(TEXTS), load_encoder(str(tiny), device="cpu").encode(TEXTS)
    )
    assert torch.equal(load_weights(find_checkpoint(str(mixed))).mix, SCALARS)


def test_the_form_that_is_written_counts_and_no_other(mixed: Path) -> None:
    (mixed / "modules.json").write_text('[{"type": "x.Dense"}]')
    assert find_checkpoint(str(mixed)).form.pooling == "scalar_mix"


@settings(max_examples=40)
@given(
    st.builds(
        InputForm,
        pooling=st.sampled_from(["cls", "mean"]),
        separator=st.text(max_size=16),
        max_tokens=st.integers(3, 24),
        normalised=st.booleans(),
    )
)
def test_every_form_is_read_back_as_it_was(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, form: InputForm
) -> None:
    folder = tmp_path_factory.getbasetemp() / "forms"
    folder.mkdir(exist_ok=True)
    for file in ("config.json", "vocab.txt"):
        (folder / file).write_bytes((tiny / file).read_bytes())
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / FORM_FILE).write_text(form_text(form))
    assert find_checkpoint(str(folder)).form == form


# Damaged


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "Invalid JSON"),
        ("[" * 100_000, "too large|Invalid JSON"),
        ("[" * 50_000, "Invalid JSON"),
        ("7", "is invalid"),
        ("{}", "is invalid"),
        ('{"version": 2, "input_form": {}}', "version"),
        ('{"version": 1, "input_form": []}', "is invalid"),
        ('{"version": 1, "input_form": {}}', "pooling: Field required"),
        (" " * 70_000 + "{}", "too large"),
    ],
    ids=range(9),
)
def test_a_form_that_is_none_is_refused(mixed: Path, text: str, word: str, refusal: Refusal) -> None:
    import re

    (mixed / FORM_FILE).write_text(text)
    told = refusal(mixed)
    assert FORM_FILE in told
    assert re.search(word, told)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("pooling", value) for value in ("max", "", None, 3, [], {})),
        *(("separator", value) for value in (None, 3, "x" * 17, ["a"])),
        *(("max_tokens", value) for value in (2, 25, -1, 0, 7.5, True, "24", None, 10**30, float("nan"))),
        *(("normalised", value) for value in (1, 0, "yes", None, [])),
        ("else", 1),
    ],
)
def test_a_value_that_cannot_be_is_named(mixed: Path, field: str, value: Any, refusal: Refusal) -> None:
    write_form(mixed, **{field: value})
    assert field in refusal(mixed)


def test_a_form_that_asks_for_a_mix_that_is_not_there_is_refused(mixed: Path, refusal: Refusal) -> None:
    (mixed / MIX_FILE).unlink()
    assert "there is no scalar_mix.safetensors" in refusal(mixed)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", ""),
        (b"\xff" * 100, ""),
        (mix_bytes(SCALARS)[:-1], ""),
        (save({"other": SCALARS}), "'scalars' and nothing else"),
        (save({"scalars": SCALARS, "more": SCALARS + 1}), "'scalars' and nothing else"),
        (save({}), "'scalars' and nothing else"),
        (save({"scalars": torch.zeros(2)}), "not 3 numbers"),
        (save({"scalars": torch.zeros(4)}), "not 3 numbers"),
        (save({"scalars": torch.zeros(1, 3)}), "not 3 numbers"),
        (save({"scalars": torch.zeros(())}), "not 3 numbers"),
        (save({"scalars": torch.zeros(3, dtype=torch.int64)}), "int64"),
        (save({"scalars": torch.tensor([0.0, float("nan"), 0.0])}), "not finite"),
        (save({"scalars": torch.tensor([0.0, float("inf"), 0.0])}), "not finite"),
        (save({"scalars": torch.zeros(100_000)}), "too large"),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_mix_is_refused(
    mixed: Path, content: bytes, word: str, zipped: bool, tmp_path: Path, zip_of: Callable[..., Path], refusal: Refusal
) -> None:
    (mixed / MIX_FILE).write_bytes(content)
    told = refusal(zip_of(mixed, tmp_path / "packed.zip", root="x") if zipped else mixed)
    assert MIX_FILE in told
    assert word in told


def test_a_mix_in_half_precision_is_read_in_float32(mixed: Path) -> None:
    save_file({"scalars": SCALARS.half()}, mixed / MIX_FILE)
    mix = load_weights(find_checkpoint(str(mixed))).mix
    assert mix.dtype == torch.float32
    assert torch.equal(mix, SCALARS)


def test_a_mix_beside_what_is_no_bert_is_refused(mixed: Path, refusal: Refusal) -> None:
    config = json.loads((mixed / "config.json").read_text())
    (mixed / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert "a scalar mix is only supported for a BERT with a GELU" in refusal(mixed)


def test_a_mix_that_swells_in_a_zip_is_refused(mixed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for path in mixed.iterdir():
            archive.writestr(f"x/{path.name}", b"\0" * 50_000_000 if path.name == MIX_FILE else path.read_bytes())
    with pytest.raises(EncoderUnavailable, match="swells"):
        find_checkpoint(str(tmp_path / "bomb.zip"))
