"""The -full releases: folder and zip are one checkpoint, with the base model's tokenizer."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.encoder.base import EncoderUnavailable
from components.encoder.bi_encoder import load_encoder
from components.encoder.checkpoints import find_checkpoint
from components.encoder.hf import load_model
from components.encoder.tokenizer import load_tokenizer
from components.encoder.weights import load_weights

Refusal = Callable[[object], str]
TEXTS = [("heart failure", "of the galaxy"), ("star", "a star " * 20), ("", "star")]
SCALARS = torch.tensor([0.5, -1.0, 2.0])


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


@pytest.fixture
def complete(full_copy: Path, tiny: Path) -> Path:
    """A folder of a -full release that includes configuration and vocabulary."""
    for name in ("config.json", "vocab.txt"):
        shutil.copy(tiny / name, full_copy)
    return full_copy


def test_folder_and_zip_of_a_full_release_are_one_checkpoint(
    complete: Path, tiny: Path, tmp_path: Path, zip_of: Callable[..., Path]
) -> None:
    packed = zip_of(complete, tmp_path / "packed.zip", root="planted-full")
    folder, zipped = find_checkpoint(str(complete)), find_checkpoint(str(packed))
    assert folder.form.pooling == zipped.form.pooling == "scalar_mix"
    assert folder.form.max_tokens == 24
    assert folder.fingerprint == zipped.fingerprint
    assert (zipped.name, zipped.source) == ("packed", str(packed))
    plain = find_checkpoint(str(tiny))
    ids = torch.tensor([load_tokenizer(plain)[0].encode("heart failures").ids])
    expected = {name: value for name, value in load_file(tiny / "model.safetensors").items() if "pooler" not in name}
    with torch.inference_mode():
        states = load_model(plain)(ids, output_hidden_states=True).hidden_states
        for checkpoint in (folder, zipped):
            weights = load_weights(checkpoint)
            assert weights.mix.tolist() == SCALARS.tolist()
            assert weights.tensors.keys() == expected.keys()
            assert all(torch.equal(value, expected[name]) for name, value in weights.tensors.items())
            assert load_tokenizer(checkpoint)[0].encode("heart failures").ids == ids[0].tolist()
            found = load_model(checkpoint)(ids, output_hidden_states=True).hidden_states
            assert all(torch.equal(a, b) for a, b in zip(found, states, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "packed.zip"]  # nothing was unpacked


def test_a_full_release_beside_its_whole_base_model_is_the_release(tiny_copy: Path, full: Path) -> None:
    shutil.copy(full / "model_cur_best.pt", tiny_copy)
    assert load_encoder(str(tiny_copy), device="cpu").mix_weights == pytest.approx(torch.softmax(SCALARS, 0).numpy())


def test_all_files_of_a_full_release_are_part_of_the_fingerprint(
    complete: Path, changes_fingerprint: Callable[[Path], None]
) -> None:
    changes_fingerprint(complete)
    state = torch.load(complete / "model_cur_best.pt", weights_only=True)
    state["bert_layer_weights.weight"] = torch.tensor([[0.5, -1.0, 2.5]])
    torch.save(state, complete / "model_cur_best.pt")
    changes_fingerprint(complete)
    for file, change in (
        ("vocab.txt", lambda text: text.replace("star", "moon")),
        ("config.json", lambda text: text + " "),
    ):
        (complete / file).write_text(change((complete / file).read_text()))
        changes_fingerprint(complete)


@pytest.mark.parametrize("flat", [False, True])
def test_the_base_model_is_downloaded_once_without_its_weights(
    full_copy: Path, tiny: Path, hub, flat: bool, refusal: Refusal
) -> None:
    if flat:
        (full_copy / "run_info.json").write_text(json.dumps({"base-pt-layer": "allenai/specter"}))
    with pytest.raises(
        EncoderUnavailable, match=r"needs the tokenizer of allenai/specter.*config\.json and vocab\.txt"
    ):
        find_checkpoint(str(full_copy), local_files_only=True)
    hub.publish("allenai/specter", "3" * 40, {path.name: path.read_bytes() for path in tiny.iterdir()})
    fetched = find_checkpoint(str(full_copy))
    requests = len(hub.asked)
    assert not any("safetensors" in path for _, path, _ in hub.asked)
    assert find_checkpoint(str(full_copy), local_files_only=True) == find_checkpoint(str(full_copy)) == fetched
    assert len(hub.asked) == requests
    assert load_weights(fetched).mix is not None


@pytest.mark.parametrize(
    "run",
    [
        *("", "{", "[]", "null", "{}", "[" * 100_000),
        '{"all_hparams": []}',
        *(
            json.dumps({"all_hparams": {"base-pt-layer": base}})
            for base in (3, "../../outside", "/etc/passwd", "https://x.org/y", "bert-base-uncased", "x" * 5000)
        ),
        None,
    ],
    ids=range(14),
)
def test_a_run_without_a_model_of_the_hub_causes_no_request(full_copy: Path, hub, run: str | None) -> None:
    path = full_copy / "run_info.json"
    path.unlink() if run is None else path.write_text(run)
    with pytest.raises(EncoderUnavailable, match=r"run_info\.json"):
        find_checkpoint(str(full_copy))
    assert hub.asked == []
