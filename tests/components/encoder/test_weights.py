"""Weights: what is read from a BERT's files is what transformers reads, whatever the names and the form of the file."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel

from components.encoder.base import EncoderUnavailable
from components.encoder.checkpoints import find_checkpoint
from components.encoder.weights import load_weights

State = dict[str, torch.Tensor]


def oracle(folder: Path) -> State:
    """The weights as transformers has them, without the pooler."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    return {name: value for name, value in model.state_dict().items() if not name.startswith("pooler.")}


def saved(folder: Path) -> State:
    return safetensors.torch.load_file(folder / "model.safetensors")


def write_safetensors(folder: Path, state: State) -> None:
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def write_bin(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def write_old_bin(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()


WRITERS = [write_safetensors, write_bin, write_old_bin]


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def refused(folder: Path) -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        load_weights(find_checkpoint(str(folder)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


# What is read


@pytest.mark.parametrize("write", WRITERS)
def test_weights_are_those_that_transformers_reads(
    tiny: Path, tiny_copy: Path, write: Callable[[Path, State], None]
) -> None:
    write(tiny_copy, saved(tiny))
    weights = load_weights(find_checkpoint(str(tiny_copy)))
    expected = oracle(tiny)
    assert weights.tensors.keys() == expected.keys()
    assert all(torch.equal(weights.tensors[name], expected[name]) for name in expected)
    assert weights.mix is None
    config = weights.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size) == (
        32,
        2,
        2,
        64,
    )
    assert (config.max_position_embeddings, config.type_vocab_size, config.hidden_act, config.pad_token_id) == (
        24,
        2,
        "gelu",
        0,
    )
    assert config.layer_norm_eps == 1e-12


@pytest.mark.parametrize("write", WRITERS)
def test_old_names_heads_and_buffers_are_understood(
    tiny: Path, tiny_copy: Path, write: Callable[[Path, State], None]
) -> None:
    old = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in saved(tiny).items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(24)[None]
    old["cls.predictions.bias"] = torch.zeros(15)
    old["cls.seq_relationship.weight"] = torch.zeros(2, 32)
    write(tiny_copy, old)
    expected = oracle(tiny)
    tensors = load_weights(find_checkpoint(str(tiny_copy))).tensors
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(tiny: Path, tiny_copy: Path, dtype: torch.dtype) -> None:
    state = saved(tiny)
    write_safetensors(tiny_copy, {name: value.to(dtype) for name, value in state.items()})
    tensors = load_weights(find_checkpoint(str(tiny_copy))).tensors
    for name, value in tensors.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name].to(dtype).float())


def test_a_model_of_another_kind_is_left_to_transformers(tiny_copy: Path) -> None:
    change_config(tiny_copy, model_type="mpnet")
    assert load_weights(find_checkpoint(str(tiny_copy))) is None
    change_config(tiny_copy, model_type="bert", is_decoder=True)
    assert load_weights(find_checkpoint(str(tiny_copy))) is None


def test_reading_weights_does_not_import_transformers(tiny: Path) -> None:
    script = (
        "import sys\n"
        "from components.encoder.checkpoints import find_checkpoint\n"
        "from components.encoder.tokenizer import load_tokenizer\n"
        "from components.encoder.weights import load_weights\n"
        "checkpoint = find_checkpoint(sys.argv[1])\n"
        "load_weights(checkpoint); load_tokenizer(checkpoint)\n"
        "assert 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tiny)], cwd=Path.cwd(), check=True, timeout=120)


# What is refused


@pytest.mark.parametrize("write", WRITERS)
def test_missing_weights_are_listed(tiny: Path, tiny_copy: Path, write: Callable[[Path, State], None]) -> None:
    gone = ["embeddings.LayerNorm.bias", "encoder.layer.1.output.dense.weight"]
    write(tiny_copy, {name: value for name, value in saved(tiny).items() if name not in gone})
    told = refused(tiny_copy)
    assert "lacks 2 of its weights: embeddings.LayerNorm.bias, encoder.layer.1.output.dense.weight" in told


def test_unexpected_weights_are_listed_and_the_list_is_bounded(tiny: Path, tiny_copy: Path) -> None:
    layer = {name: value for name, value in saved(tiny).items() if name.startswith("encoder.layer.1.")}
    more = {name.replace(".1.", ".2."): value.clone() for name, value in layer.items()}
    write_safetensors(tiny_copy, saved(tiny) | more | {"x" * 10_000: torch.zeros(1)})
    told = refused(tiny_copy)
    assert "holds unexpected 17 of its weights: encoder.layer.2.attention" in told
    assert "and 12 more" in told


def test_a_name_that_is_there_twice_is_refused(tiny: Path, tiny_copy: Path) -> None:
    state = saved(tiny)
    write_safetensors(tiny_copy, state | {"embeddings.LayerNorm.gamma": torch.ones(32)})
    assert "duplicate" in refused(tiny_copy)
    both = {f"bert.{name}": value.clone() for name, value in state.items()}
    write_safetensors(tiny_copy, state | both)
    assert "duplicate" in refused(tiny_copy)


def test_a_wrong_shape_is_named(tiny: Path, tiny_copy: Path) -> None:
    write_safetensors(tiny_copy, saved(tiny) | {"embeddings.word_embeddings.weight": torch.zeros(14, 32)})
    assert "embeddings.word_embeddings.weight has the shape (14, 32), not (15, 32)" in refused(tiny_copy)


@pytest.mark.parametrize(
    "value", [torch.zeros(32, dtype=torch.int64), torch.zeros(32).to_sparse(), "a text", torch.zeros(32).bool()]
)
def test_what_is_no_array_of_floats_is_refused(tiny: Path, tiny_copy: Path, value: object) -> None:
    write_bin(tiny_copy, saved(tiny) | {"embeddings.LayerNorm.bias": value})
    assert "embeddings.LayerNorm.bias" in refused(tiny_copy)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused(tiny: Path, tiny_copy: Path, bad: float) -> None:
    state = saved(tiny)
    state["encoder.layer.0.output.dense.bias"][3] = bad
    write_safetensors(tiny_copy, state)
    assert "values that are not finite, in encoder.layer.0.output.dense.bias" in refused(tiny_copy)


def test_a_view_that_repeats_one_number_costs_no_memory(tiny: Path, tiny_copy: Path) -> None:
    # 2,000,000 × 8,192 numbers on one stored: 64 GB, were it copied.
    change_config(tiny_copy, vocab_size=2_000_000, hidden_size=8_192, num_attention_heads=64, intermediate_size=1)
    shapes = {
        "embeddings.word_embeddings.weight": (2_000_000, 8_192),
        "embeddings.position_embeddings.weight": (24, 8_192),
        "embeddings.token_type_embeddings.weight": (2, 8_192),
        "intermediate.dense.weight": (1, 8_192),
        "intermediate.dense.bias": (1,),
        "output.dense.weight": (8_192, 1),
    }
    state = {}
    for name, value in saved(tiny).items():
        part = name.removeprefix("encoder.layer.0.").removeprefix("encoder.layer.1.")
        shape = shapes.get(part, (8_192,) * value.dim())
        state[name] = torch.zeros(1).expand(shape)
    write_bin(tiny_copy, state)
    assert (tiny_copy / "pytorch_model.bin").stat().st_size < 100_000
    assert "claims" in refused(tiny_copy)


def test_a_compressed_file_of_weights_is_refused(tiny: Path, tiny_copy: Path) -> None:
    write_bin(tiny_copy, saved(tiny))
    path = tiny_copy / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "compressed" in refused(tiny_copy)


@pytest.mark.parametrize("state", [[torch.zeros(3)], torch.zeros(3), {}, {3: torch.zeros(3)}])
def test_a_file_that_holds_no_names_is_refused(tiny_copy: Path, state: object) -> None:
    write_bin(tiny_copy, state)
    refused(tiny_copy)


_SIZES = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "pad_token_id"]
_ODD = st.one_of(
    st.integers(max_value=0), st.integers(min_value=10**7), st.floats(), st.booleans(), st.text(max_size=50)
)


@given(key=st.sampled_from([*_SIZES, "type_vocab_size", "layer_norm_eps", "hidden_act"]), value=_ODD)
def test_no_configuration_does_more_than_be_refused(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    for path in tiny.iterdir():
        (folder / path.name).hardlink_to(path)
    (folder / "config.json").unlink()
    config = json.loads((tiny / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    harmless = (
        (key == "hidden_act" and isinstance(value, str))
        or (key == "pad_token_id" and value == 0 and not isinstance(value, bool))
        or (key == "layer_norm_eps" and isinstance(value, float) and 0 < value < 1)
    )
    if harmless:
        assert load_weights(find_checkpoint(str(folder))) is not None
    else:
        assert "config.json" in refused(folder)
