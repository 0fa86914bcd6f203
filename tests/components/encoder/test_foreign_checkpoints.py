"""Checkpoints that do not fit together, or ask for too much: an error that says so, wherever it shows."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from components.atlas.encoder_options import cost, encoder_options
from components.atlas.store import open_atlas
from components.encoder.base import EncoderUnavailable
from components.encoder.bi_encoder import load_encoder
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import cached_encoders
from components.encoder.weights import load_weights


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for the user's own checkpoints, empty."""
    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", str(tmp_path / "encoders"))
    folder = tmp_path / "encoders" / "own"
    folder.mkdir(parents=True)
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def make_full(folder: Path) -> torch.Tensor:
    """Write the weights of a folder's model as a -full release beside them; its mix."""
    state = load_file(folder / "model.safetensors")
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    mix = torch.linspace(-1, 1, layers + 1)[None]
    plain = {f"bert_encoder.{name.removeprefix('bert.')}": tensor for name, tensor in state.items()}
    torch.save({**plain, "bert_layer_weights.weight": mix}, folder / "model_cur_best.pt")
    return mix


def test_a_full_release_with_its_whole_base_model_beside_it_is_the_release(tiny_copy: Path) -> None:
    mix = make_full(tiny_copy)
    assert (tiny_copy / "model.safetensors").is_file()
    encoder = load_encoder(str(tiny_copy), device="cpu")
    assert encoder.mix_weights is not None
    assert encoder.mix_weights == pytest.approx(torch.softmax(mix[0], dim=0).numpy())


def test_a_full_release_whose_model_has_no_packed_forward_is_refused(tiny_copy: Path) -> None:
    make_full(tiny_copy)
    edit_config(tiny_copy, hidden_act="relu")
    with pytest.raises(EncoderUnavailable, match="a scalar mix is only supported for a BERT with a GELU"):
        load_encoder(str(tiny_copy), device="cpu")


@pytest.mark.parametrize("number", [500, 5_000_000])
def test_word_pieces_beyond_the_models_words_are_an_error_and_no_crash(tiny_copy: Path, number: int) -> None:
    path = tiny_copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["heart"] = number  # as many entries as before
    path.write_text(json.dumps(tokenizer))
    encoder = load_encoder(str(tiny_copy), device="cpu")
    with pytest.raises(EncoderUnavailable, match="do not belong together"):
        encoder.encode([("heart", "")])
    assert encoder.encode([("star", "")]).shape == (1, 32)  # it works on


def test_a_model_that_asks_for_other_inputs_is_an_error(tmp_path: Path, tiny: Path) -> None:
    encoder = load_encoder(str(tiny), device="cpu")

    def too_large(rows: object, *, pause: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory left")

    encoder._model = too_large
    with pytest.raises(EncoderUnavailable, match="could not encode on this machine \\(no memory left\\)"):
        encoder.encode([("heart", "")])


def test_a_configuration_does_not_decide_how_much_memory_a_look_at_it_takes(
    topics: str, own: Path, tiny_copy: Path
) -> None:
    edit_config(tiny_copy, hidden_size=8192, intermediate_size=65_536, num_attention_heads=64)
    tiny_copy.rename(own / "huge")
    choice = next(choice for choice in encoder_options(topics) if choice.name == "own/huge")
    with pytest.raises(EncoderUnavailable, match="asks for .* weights"):
        cost(choice, open_atlas(topics), precision="float32")


def test_links_that_lead_nowhere_or_round_in_a_circle_are_no_checkpoints(topics: str, own: Path) -> None:
    (own / "gone.zip").symlink_to(own / "unplugged" / "gone.zip")
    (own / "round.zip").symlink_to(own / "round.zip")
    (own / "circle").symlink_to(own / "circle")
    assert [choice.name for choice in encoder_options(topics) if choice.name.startswith("own/")] == []
    assert [one.name for one in cached_encoders() if one.name.startswith("own/")] == []


def test_relative_positions_are_refused_and_not_left_out(tiny_copy: Path) -> None:
    edit_config(tiny_copy, position_embedding_type="relative_key")
    with pytest.raises(EncoderUnavailable, match="relative_key.* is unsupported"):
        load_encoder(str(tiny_copy), device="cpu")


def test_weights_that_the_model_has_no_place_for_are_named(tiny_copy: Path) -> None:
    # Through transformers: another activation has no packed forward.
    edit_config(tiny_copy, hidden_act="relu")
    path = tiny_copy / "model.safetensors"
    state = load_file(path)
    assert load_encoder(str(tiny_copy), device="cpu").dimensions == 32
    save_file({**state, "encoder.layer.0.adapter.weight": torch.ones(2, 2)}, path)
    with pytest.raises(EncoderUnavailable, match="unexpected"):
        load_encoder(str(tiny_copy), device="cpu")


@pytest.mark.parametrize("kind", ["meta", "nested"])
def test_tensors_that_hold_no_numbers_of_their_own_are_refused(tiny_copy: Path, kind: str) -> None:
    state = dict(load_file(tiny_copy / "model.safetensors"))
    name = "embeddings.LayerNorm.weight"
    meta = torch.empty_like(state[name], device="meta")
    state[name] = meta if kind == "meta" else torch.nested.nested_tensor([state[name][:3], state[name][:5]])
    (tiny_copy / "model.safetensors").unlink()
    torch.save(state, tiny_copy / "pytorch_model.bin")
    with pytest.raises(EncoderUnavailable):
        load_weights(find_checkpoint(str(tiny_copy)))


def test_a_configuration_older_than_its_model_type_is_a_berts(tiny_copy: Path, tiny: Path) -> None:
    config = json.loads((tiny_copy / "config.json").read_text())
    del config["model_type"]
    (tiny_copy / "config.json").write_text(json.dumps(config))
    texts = [("heart", "star")]
    expected = load_encoder(str(tiny), device="cpu").encode(texts)
    assert load_encoder(str(tiny_copy), device="cpu").encode(texts) == pytest.approx(expected)
    assert BertModel(BertConfig(**config)).config.hidden_size == 32
