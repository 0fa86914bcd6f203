"""The -full releases: folder and zip give the same weights, mix and fingerprint; what is wrong with one is said."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from components.encoder.checkpoints import find_checkpoint, load_model
from components.encoder.errors import EncoderUnavailable
from components.encoder.tokenizer import load_tokenizer
from components.encoder.weights import Weights, load_weights

CONFIGURATION = ("config.json", "vocab.txt")


@pytest.fixture
def complete(full_copy: Path, tiny: Path) -> Path:
    """A -full folder that has configuration and vocabulary with it."""
    for name in CONFIGURATION:
        shutil.copy(tiny / name, full_copy)
    return full_copy


@pytest.fixture
def state(full: Path) -> dict[str, torch.Tensor]:
    return torch.load(full / "model_cur_best.pt", weights_only=True)


def read(path: Path) -> Weights:
    weights = load_weights(find_checkpoint(str(path), local_files_only=True))
    assert weights is not None
    return weights


def refused(path: Path) -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_folder_and_zip_hold_the_same_weights_mix_and_fingerprint(
    complete: Path, tiny: Path, tmp_path: Path, zip_of: Callable[..., Path]
) -> None:
    packed = zip_of(complete, tmp_path / "packed.zip", root="planted-full")
    folder, zipped = find_checkpoint(str(complete)), find_checkpoint(str(packed))
    assert folder.form.pooling == zipped.form.pooling == "scalar_mix"
    assert folder.form.max_tokens == 24
    assert folder.fingerprint == zipped.fingerprint
    assert zipped.source == str(packed)
    assert zipped.name == "packed"
    expected = safetensors.torch.load_file(tiny / "model.safetensors")
    for checkpoint in (folder, zipped):
        weights = load_weights(checkpoint)
        assert weights.mix.tolist() == [0.5, -1.0, 2.0]
        assert all(torch.equal(value, expected[name]) for name, value in weights.tensors.items())
        assert len(weights.tensors) == len([name for name in expected if not name.startswith("pooler.")])
        ids = load_tokenizer(checkpoint)[0].encode("heart failures").ids
        assert ids == load_tokenizer(find_checkpoint(str(tiny)))[0].encode("heart failures").ids
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "packed.zip"]  # nothing was unpacked


def test_transformers_gives_the_hidden_states_of_the_same_model(
    complete: Path, tiny: Path, tmp_path: Path, zip_of: Callable[..., Path]
) -> None:
    packed = zip_of(complete, tmp_path / "packed.zip", root="x")
    ids = torch.tensor([[2, 5, 6, 3, 9, 3]])
    with torch.inference_mode():
        expected = load_model(find_checkpoint(str(tiny)))(ids, output_hidden_states=True).hidden_states
        for path in (complete, packed):
            found = load_model(find_checkpoint(str(path)))(ids, output_hidden_states=True).hidden_states
            assert len(found) == 3
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: torch.save(
            torch.load(folder / "model_cur_best.pt", weights_only=True)
            | {"bert_layer_weights.weight": torch.tensor([[0.5, -1.0, 2.5]])},
            folder / "model_cur_best.pt",
        ),
        lambda folder: (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text().replace("star", "moon")),
        lambda folder: (folder / "config.json").write_text((folder / "config.json").read_text() + " "),
    ],
    ids=["mix", "vocabulary", "configuration"],
)
def test_all_that_changes_a_vector_changes_the_fingerprint(complete: Path, change: Callable[[Path], object]) -> None:
    before = find_checkpoint(str(complete)).fingerprint
    change(complete)
    assert find_checkpoint(str(complete)).fingerprint != before


def test_an_old_configuration_without_a_model_type_is_berts(complete: Path) -> None:
    config = json.loads((complete / "config.json").read_text())
    del config["model_type"]
    (complete / "config.json").write_text(json.dumps(config))
    assert read(complete).config.hidden == 32


def test_a_zip_without_a_folder_in_it_or_with_others_beside_is_read(
    complete: Path, tmp_path: Path, zip_of: Callable[..., Path]
) -> None:
    import zipfile

    expected = find_checkpoint(str(complete)).fingerprint
    packed = zip_of(complete, tmp_path / "mac.zip", root="planted-full")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("__MACOSX/planted-full/config.json", "{")
        archive.writestr("planted-full/older/model_cur_best.pt", b"x")
    assert find_checkpoint(str(packed)).fingerprint == expected
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for path in complete.iterdir():
            archive.write(path, path.name)
    assert find_checkpoint(str(tmp_path / "flat.zip")).fingerprint == expected


def test_a_zip_of_a_hub_folder_is_read_too(tiny: Path, tmp_path: Path, zip_of: Callable[..., Path]) -> None:
    packed = zip_of(tiny, tmp_path / "plain.zip", root="tiny")
    checkpoint = find_checkpoint(str(packed))
    assert checkpoint.form.pooling == "cls"
    assert checkpoint.fingerprint == find_checkpoint(str(tiny)).fingerprint
    assert load_weights(checkpoint).mix is None


# What is refused


def save(folder: Path, state: object) -> None:
    torch.save(state, folder / "model_cur_best.pt")


def test_missing_and_unexpected_names_are_listed(complete: Path, state: dict[str, torch.Tensor]) -> None:
    kept = {name: value for name, value in state.items() if "layer.0.output.dense" not in name}
    save(complete, kept)
    told = refused(complete)
    assert "lacks 2 of its weights: encoder.layer.0.output.dense.bias, encoder.layer.0.output.dense.weight" in told
    save(complete, state | {"sent_encoder.weight": torch.zeros(1), "bert_encoder.extra": torch.zeros(1)})
    told = refused(complete)
    assert "unexpected" in told
    assert "extra" in told
    assert "sent_encoder.weight" in told


def test_a_release_without_its_mix_is_refused(complete: Path, state: dict[str, torch.Tensor]) -> None:
    del state["bert_layer_weights.weight"]
    save(complete, state)
    assert "bert_layer_weights.weight" in refused(complete)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 2), (1, 4), (1, 3, 1), ()])
def test_a_mix_of_a_wrong_shape_is_refused(
    complete: Path, state: dict[str, torch.Tensor], shape: tuple[int, ...]
) -> None:
    save(complete, state | {"bert_layer_weights.weight": torch.zeros(shape)})
    assert f"bert_layer_weights.weight has the shape {shape}, not (1, 3)" in refused(complete)


def test_a_mix_that_is_no_number_is_refused(complete: Path, state: dict[str, torch.Tensor]) -> None:
    save(complete, state | {"bert_layer_weights.weight": torch.tensor([[0.5, float("nan"), 1]])})
    assert "not numbers, in bert_layer_weights.weight" in refused(complete)


class Bomb:
    """Unpickled, it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        import os

        return os.mkdir, (str(self.target),)


def test_code_in_the_weights_does_not_run(
    complete: Path, state: dict[str, torch.Tensor], tmp_path: Path, zip_of: Callable[..., Path]
) -> None:
    save(complete, state | {"bomb": Bomb(tmp_path / "ran")})
    packed = zip_of(complete, tmp_path / "packed.zip", root="x")
    assert "could not be read as a model" in refused(complete)
    assert "could not be read as a model" in refused(packed)
    assert not (tmp_path / "ran").exists()


# The base model


def test_the_base_that_is_not_here_is_named(full_copy: Path, cache: Path) -> None:
    told = refused(full_copy)
    assert "allenai/specter" in told
    assert "config.json and vocab.txt" in told


@pytest.mark.parametrize("flat", [False, True])
def test_the_base_is_fetched_once_without_its_weights_and_used_offline(
    full_copy: Path, tiny: Path, hub, flat: bool
) -> None:
    if flat:
        (full_copy / "run_info.json").write_text(json.dumps({"base-pt-layer": "allenai/specter"}))
    hub.publish("allenai/specter", "3" * 40, {path.name: path.read_bytes() for path in tiny.iterdir()})
    fetched = find_checkpoint(str(full_copy))
    asked = len(hub.asked)
    assert not any("safetensors" in path for _, path, _ in hub.asked)
    assert find_checkpoint(str(full_copy), local_files_only=True) == fetched
    assert find_checkpoint(str(full_copy)) == fetched
    assert len(hub.asked) == asked
    assert load_weights(fetched).mix is not None


@pytest.mark.parametrize(
    "run",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"all_hparams": []}',
        '{"all_hparams": {"base-pt-layer": 3}}',
        '{"all_hparams": {"base-pt-layer": "../../outside"}}',
        '{"all_hparams": {"base-pt-layer": "/etc/passwd"}}',
        '{"all_hparams": {"base-pt-layer": "https://x.org/y"}}',
        '{"all_hparams": {"base-pt-layer": "bert-base-uncased"}}',
        '{"all_hparams": {"base-pt-layer": "' + "x" * 5000 + '"}}',
        "[" * 100_000,
    ],
    ids=range(13),
)
def test_a_run_that_names_no_model_of_the_hub_asks_nobody(full_copy: Path, hub, run: str) -> None:
    (full_copy / "run_info.json").write_text(run)
    with pytest.raises(EncoderUnavailable, match=r"run_info\.json"):
        find_checkpoint(str(full_copy))
    assert hub.asked == []


def test_a_release_without_run_info_says_what_it_needs(full_copy: Path, hub) -> None:
    (full_copy / "run_info.json").unlink()
    assert "run_info.json" in refused(full_copy)


# As the catalogue has them


@pytest.fixture
def released(full: Path, tiny: Path, hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zip_of) -> str:
    """The name of a -full release that is published on the test's own web, with its base."""
    from components.encoder.catalogue import CATALOGUE

    name = "aspire-biencoder-biomed-spec-full"
    packed = zip_of(full, tmp_path / "published.zip", root=name)
    hub.files[f"/{name}.zip"] = packed.read_bytes()
    hub.etags[f"/{name}.zip"] = '"one"'
    hub.publish("allenai/specter", "3" * 40, {path.name: path.read_bytes() for path in tiny.iterdir()})
    for entry in (CATALOGUE[name], CATALOGUE[f"{name}-last-layer"]):
        monkeypatch.setitem(CATALOGUE, entry.name, replace(entry, url=f"{hub.url}/{name}.zip"))
    return name


def test_a_release_and_its_last_layer_are_one_download_and_two_encoders(released: str, hub) -> None:
    full = find_checkpoint(released)
    last = find_checkpoint(f"{released}-last-layer", local_files_only=True)
    assert hub.got(f"/{released}.zip") == [""]
    assert full.folder == last.folder
    assert (full.form.pooling, last.form.pooling) == ("scalar_mix", "cls")
    assert full.fingerprint != last.fingerprint
    assert (full.source, last.source) == (released, f"{released}-last-layer")
    assert torch.equal(load_weights(full).mix, load_weights(last).mix)


def test_a_release_with_another_base_than_is_known_is_refused(released: str, hub, full: Path, tmp_path, zip_of) -> None:
    folder = Path(shutil.copytree(full, tmp_path / "other"))
    (folder / "run_info.json").write_text('{"all_hparams": {"base-pt-layer": "someone/else"}}')
    hub.files[f"/{released}.zip"] = zip_of(folder, tmp_path / "other.zip", root=released).read_bytes()
    with pytest.raises(EncoderUnavailable, match="someone/else"):
        find_checkpoint(released)
    assert not any("someone" in path for _, path, _ in hub.asked)
