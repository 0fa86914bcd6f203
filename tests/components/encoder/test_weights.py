"""Weights: what is read from a BERT's files is what transformers reads; damaged and hostile files are refused."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from components.encoder.base import EncoderUnavailable
from components.encoder.bi_encoder import load_encoder
from components.encoder.checkpoints import find_checkpoint
from components.encoder.weights import Weights, load_weights

State = dict[str, torch.Tensor]
TEXTS = [("heart failure", "of the galaxy"), ("star", "a star")]
BIAS = "embeddings.LayerNorm.bias"


@pytest.fixture
def state(tiny: Path) -> State:
    return load_file(tiny / "model.safetensors")


@pytest.fixture(scope="module")
def oracle(tiny: Path) -> State:
    """The weights as transformers reads them, without the pooler."""
    model = AutoModel.from_pretrained(tiny, dtype=torch.float32)
    return {name: value for name, value in model.state_dict().items() if not name.startswith("pooler.")}


def write_safetensors(folder: Path, state: State) -> None:
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def write_bin(folder: Path, state: object) -> None:
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def write_old_bin(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (folder / "model.safetensors").unlink()


WRITERS = [write_safetensors, write_bin, write_old_bin]


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def read(folder: Path) -> Weights | None:
    return load_weights(find_checkpoint(str(folder), local_files_only=True))


def refused(folder: Path) -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


# What is read


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("old", [False, True])
def test_weights_are_those_that_transformers_reads(
    tiny_copy: Path, state: State, oracle: State, write: Callable[[Path, State], None], old: bool
) -> None:
    if old:  # names, buffers and heads as masked-language models of 2019 have them
        state = {
            f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
            for name, t in state.items()
        }
        state["bert.embeddings.position_ids"] = torch.arange(24)[None]
        state["cls.predictions.bias"] = torch.zeros(15)
        state["cls.seq_relationship.weight"] = torch.zeros(2, 32)
    write(tiny_copy, state)
    weights = read(tiny_copy)
    assert weights.tensors.keys() == oracle.keys()
    assert all(torch.equal(weights.tensors[name], oracle[name]) for name in oracle)
    assert weights.mix is None
    config = weights.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 2, 2)
    assert (config.max_position_embeddings, config.hidden_act, config.layer_norm_eps) == (24, "gelu", 1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(tiny_copy: Path, state: State, dtype: torch.dtype) -> None:
    write_safetensors(tiny_copy, {name: value.to(dtype) for name, value in state.items()})
    for name, value in read(tiny_copy).tensors.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name].to(dtype).float())


def test_a_configuration_without_a_model_type_is_a_berts(tiny: Path, tiny_copy: Path) -> None:
    config = json.loads((tiny_copy / "config.json").read_text())
    del config["model_type"]
    (tiny_copy / "config.json").write_text(json.dumps(config))
    found = load_encoder(str(tiny_copy), device="cpu").encode(TEXTS)
    assert np.array_equal(found, load_encoder(str(tiny), device="cpu").encode(TEXTS))


@pytest.mark.parametrize("change", [{"model_type": "mpnet"}, {"is_decoder": True}, {"add_cross_attention": True}])
def test_other_models_are_left_to_transformers(tiny_copy: Path, change: dict[str, object]) -> None:
    edit_config(tiny_copy, **change)
    assert read(tiny_copy) is None


def test_relative_positions_are_refused(tiny_copy: Path) -> None:
    edit_config(tiny_copy, position_embedding_type="relative_key")
    assert "relative_key' is unsupported" in refused(tiny_copy)


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


# Names, shapes and values


@pytest.mark.parametrize("write", WRITERS)
def test_missing_weights_are_named(tiny_copy: Path, state: State, write: Callable[[Path, State], None]) -> None:
    for name in (BIAS, "encoder.layer.1.output.dense.weight"):
        del state[name]
    write(tiny_copy, state)
    assert f"lacks 2 of its weights: {BIAS}, encoder.layer.1.output.dense.weight" in refused(tiny_copy)


def test_unexpected_weights_are_named_up_to_a_limit(tiny_copy: Path, state: State) -> None:
    layer = {name: value for name, value in state.items() if name.startswith("encoder.layer.1.")}
    more = {name.replace(".1.", ".2."): value.clone() for name, value in layer.items()}
    write_safetensors(tiny_copy, state | more | {"x" * 10_000: torch.zeros(1)})
    message = refused(tiny_copy)
    assert "holds unexpected 17 of its weights: encoder.layer.2.attention" in message
    assert "and 12 more" in message


def test_duplicate_names_are_refused(tiny_copy: Path, state: State) -> None:
    write_safetensors(tiny_copy, state | {"embeddings.LayerNorm.gamma": torch.ones(32)})
    assert "duplicate" in refused(tiny_copy)
    write_safetensors(tiny_copy, state | {f"bert.{name}": value.clone() for name, value in state.items()})
    assert "duplicate" in refused(tiny_copy)


def test_a_wrong_shape_is_named(tiny_copy: Path, state: State) -> None:
    name = "embeddings.word_embeddings.weight"
    write_safetensors(tiny_copy, state | {name: torch.zeros(14, 32)})
    assert f"{name} has the shape (14, 32), not (15, 32)" in refused(tiny_copy)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(32, dtype=torch.int64),
        torch.zeros(32).to_sparse(),
        torch.zeros(32).bool(),
        torch.empty(32, device="meta"),
        "nested",
        "a text",
    ],
    ids=["integers", "sparse", "bool", "meta", "nested", "text"],
)
def test_other_values_than_arrays_of_floats_are_refused(tiny_copy: Path, state: State, value: object) -> None:
    if isinstance(value, str) and value == "nested":
        value = torch.nested.nested_tensor([torch.zeros(3), torch.zeros(5)])
    write_bin(tiny_copy, state | {BIAS: value})
    refused(tiny_copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tiny_copy: Path, state: State, value: float) -> None:
    state[BIAS][3] = value
    write_safetensors(tiny_copy, state)
    assert f"values that are not finite, in {BIAS}" in refused(tiny_copy)


def test_a_view_that_repeats_one_number_takes_no_memory(tiny_copy: Path, state: State) -> None:
    # 2,000,000 × 8,192 numbers from a single stored one: 64 GB, if it were copied.
    edit_config(tiny_copy, vocab_size=2_000_000, hidden_size=8_192, num_attention_heads=64, intermediate_size=1)
    shapes = {
        "embeddings.word_embeddings.weight": (2_000_000, 8_192),
        "embeddings.position_embeddings.weight": (24, 8_192),
        "embeddings.token_type_embeddings.weight": (2, 8_192),
        "intermediate.dense.weight": (1, 8_192),
        "intermediate.dense.bias": (1,),
        "output.dense.weight": (8_192, 1),
    }
    views = {}
    for name, value in state.items():
        part = name.removeprefix("encoder.layer.0.").removeprefix("encoder.layer.1.")
        views[name] = torch.zeros(1).expand(shapes.get(part, (8_192,) * value.dim()))
    write_bin(tiny_copy, views)
    assert (tiny_copy / "pytorch_model.bin").stat().st_size < 100_000
    assert "claims" in refused(tiny_copy)


def test_unused_pooler_and_unknown_weights_through_transformers(
    tiny: Path, tiny_copy: Path, state: State, refusal: Callable[[object], str]
) -> None:
    kept = {name: value for name, value in state.items() if not name.startswith("pooler.")}
    assert len(kept) < len(state)
    write_safetensors(tiny_copy, kept)
    found = load_encoder(str(tiny_copy), device="cpu").encode(TEXTS)
    assert np.array_equal(found, load_encoder(str(tiny), device="cpu").encode(TEXTS))
    edit_config(tiny_copy, hidden_act="relu")  # no packed forward pass
    assert load_encoder(str(tiny_copy), device="cpu").dimensions == 32
    write_safetensors(tiny_copy, kept | {"encoder.layer.0.adapter.weight": torch.ones(2, 2)})
    assert "unexpected" in refusal(tiny_copy)
    # transformers would initialise missing weights at random, differently on every start.
    write_safetensors(tiny_copy, {"other.weight": torch.zeros(3)})
    assert "lacks" in refusal(tiny_copy)


# -full releases


@pytest.fixture
def complete(full_copy: Path, tiny: Path) -> Path:
    for name in ("config.json", "vocab.txt"):
        (full_copy / name).write_bytes((tiny / name).read_bytes())
    return full_copy


MIX = "bert_layer_weights.weight"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({MIX: None}, MIX),
        *(({MIX: torch.zeros(shape)}, f"has the shape {shape}, not (1, 3)") for shape in [(3,), (3, 1), (1, 4), ()]),
        ({MIX: torch.tensor([[0.5, float("nan"), 1]])}, f"not finite, in {MIX}"),
        ({"sent_encoder.weight": torch.zeros(1)}, "unexpected 1 of its weights: sent_encoder.weight"),
        ({"bert_encoder.extra": torch.zeros(1)}, "unexpected 1 of its weights: extra"),
        ({"bert_encoder.encoder.layer.0.output.dense.bias": None}, "lacks 1 of its weights: encoder.layer.0.output"),
    ],
)
def test_a_damaged_full_release_is_refused(complete: Path, change: dict[str, object], reason: str) -> None:
    state = {**torch.load(complete / "model_cur_best.pt", weights_only=True), **change}
    torch.save({name: value for name, value in state.items() if value is not None}, complete / "model_cur_best.pt")
    assert reason in refused(complete)


# Hostile and damaged files


class Bomb:
    """Unpickled, it would create a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["alone", "beside weights", "bare pickle", "full", "full zip"])
def test_code_in_a_pickle_does_not_run(
    tiny_copy: Path, complete: Path, state: State, tmp_path: Path, form: str, zip_of: Callable[..., Path]
) -> None:
    bomb, path = Bomb(tmp_path / "ran"), tiny_copy
    if form.startswith("full"):
        full = torch.load(complete / "model_cur_best.pt", weights_only=True)
        torch.save(full | {"bomb": bomb}, complete / "model_cur_best.pt")
        path = zip_of(complete, tmp_path / "packed.zip", root="x") if form == "full zip" else complete
    elif form == "bare pickle":
        (tiny_copy / "pytorch_model.bin").write_bytes(pickle.dumps(bomb))
        (tiny_copy / "model.safetensors").unlink()
    else:
        write_bin(tiny_copy, {"bomb": bomb} | (state if form == "beside weights" else {}))
    assert "could not be read as a model" in refused(path)
    assert not (tmp_path / "ran").exists()


def test_code_in_a_folder_does_not_run(tiny_copy: Path, tmp_path: Path, refusal: Callable[[object], str]) -> None:
    code = {"AutoModel": "modelling.Own", "AutoConfig": "modelling.OwnConfig"}
    edit_config(tiny_copy, model_type="own", auto_map=code)
    (tiny_copy / "modelling.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    refusal(tiny_copy)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-100], lambda data: b"", lambda data: b"\xff" * 8 + data[8:]], ids=range(3)
)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_files_are_refused(tiny_copy: Path, state: State, file: str, damage: Callable[[bytes], bytes]) -> None:
    if file == "pytorch_model.bin":
        write_bin(tiny_copy, state)
    (tiny_copy / file).write_bytes(damage((tiny_copy / file).read_bytes()))
    assert "Fetch the checkpoint again" in refused(tiny_copy)


def test_a_compressed_file_of_weights_is_refused(tiny_copy: Path, state: State) -> None:
    write_bin(tiny_copy, state)
    path = tiny_copy / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "compressed" in refused(tiny_copy)


@pytest.mark.parametrize("content", [[torch.zeros(3)], torch.zeros(3), {}, {3: torch.zeros(3)}])
def test_a_file_without_names_is_refused(tiny_copy: Path, content: object) -> None:
    write_bin(tiny_copy, content)
    refused(tiny_copy)


@pytest.mark.parametrize(
    "config", ["", "{", "[]", "null", "{}", '{"model_type": "bert", "max_position_embeddings": "x"}']
)
def test_an_invalid_configuration_is_refused(tiny_copy: Path, config: str, refusal: Callable[[object], str]) -> None:
    (tiny_copy / "config.json").write_text(config)
    refusal(tiny_copy)


_SIZES = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "pad_token_id"]
_ODD = st.one_of(
    st.integers(max_value=0), st.integers(min_value=10**7), st.floats(), st.booleans(), st.text(max_size=50)
)


@given(key=st.sampled_from([*_SIZES, "type_vocab_size", "layer_norm_eps", "hidden_act"]), value=_ODD)
def test_any_configuration_is_read_or_refused(
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
        assert read(folder) is not None
    else:
        assert "config.json" in refused(folder)
