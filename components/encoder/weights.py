"""The weights of BERT-type checkpoints, read straight from their files: no code in them runs, and all are checked."""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from components.encoder.errors import EncoderUnavailable, first_line, named, unreadable
from components.encoder.stored import MAX_ARCHIVE, StoredFile

if TYPE_CHECKING:
    import torch

    from components.encoder.checkpoints import Checkpoint

# As the authors of the -full releases named them.
FULL_FILE, FULL_PREFIX, MIX = "model_cur_best.pt", "bert_encoder.", "bert_layer_weights.weight"

# Well above any BERT that was released; a configuration beyond them is damaged or hostile.
_LARGEST = {
    "hidden_size": 8_192,
    "num_hidden_layers": 128,
    "num_attention_heads": 256,
    "intermediate_size": 65_536,
    "vocab_size": 2_000_000,
    "max_position_embeddings": 65_536,
    "type_vocab_size": 64,
}
# What transformers assumes where a configuration does not say.
_ASSUMED: dict[str, int] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3_072,
    "vocab_size": 30_522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # counted up, not learned; old files hold them
_HEADS = ("pooler.", "cls.")  # no pooling of ours reads them


@dataclass(frozen=True, slots=True)
class BertSettings:
    """What config.json says of a BERT: its sizes, bounded and fitting each other, and what is not in the weights.

    hidden: dimensions of a hidden state, `heads` times a whole number. intermediate: of the feed-forward layer.
    vocab, positions, types: rows of the embedding tables. hidden_act: the name of an activation, as in config.json.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab: int
    positions: int
    types: int
    layer_norm_eps: float
    hidden_act: str
    pad_id: int


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """All that a BERT's forward pass needs, on the CPU in float32, finite, each of the shape that `config` asks for.

    tensors: by BERT's plain names ("embeddings.word_embeddings.weight",
        "encoder.layer.0.attention.self.query.weight", …), without pooler and heads. They may be views of the file.
    mix: (layers + 1,), the scalar mix before its softmax, the embedding layer's first; None where there is none.
        Whether it is used is for the pooling of the checkpoint's form to say.
    """

    config: BertSettings
    tensors: "dict[str, torch.Tensor]"
    mix: "torch.Tensor | None"


def load_weights(checkpoint: "Checkpoint") -> Weights | None:
    """A checkpoint's weights; None where it is no BERT, and transformers must read it.

    Raises EncoderUnavailable where files are damaged, foreign or hold code, where names are missing, unexpected or
    twice there, where a shape is not what the configuration says, and where values are not numbers.
    """
    settings = bert_settings(checkpoint)
    if settings is None:
        return None
    state, size = _state(checkpoint.name, checkpoint.files[checkpoint.weights.name])
    full = checkpoint.weights.name == FULL_FILE
    weights = checked(checkpoint.name, checkpoint.weights.name, settings, state, size=size, full=full)
    if full or MIX_FILE not in checkpoint.files:
        return weights
    return replace(weights, mix=read_mix(checkpoint.name, checkpoint.files[MIX_FILE], layers=settings.layers))


def bert_settings(checkpoint: "Checkpoint") -> BertSettings | None:
    """What a checkpoint's config.json says of its BERT; None where it is of another kind. Raises EncoderUnavailable."""
    try:
        config = json.loads(checkpoint.files["config.json"].read())
    except (ValueError, RecursionError) as error:
        raise unreadable(checkpoint.name, f"config.json is not readable JSON: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise unreadable(checkpoint.name, "config.json holds no object")
    # Configurations that are older than `model_type` are a BERT's.
    if config.get("model_type", "bert") != "bert" or config.get("is_decoder") or config.get("add_cross_attention"):
        return None
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        # transformers dropped it, and would load such a model without a word and without these embeddings.
        raise unreadable(checkpoint.name, f"config.json: position_embedding_type {kind!r:.40} is not supported")
    return _settings(checkpoint.name, config)


def checked(name: str, file: str, config: BertSettings, state: Mapping[Any, Any], *, size: int, full: bool) -> Weights:
    """The weights in a state dict, under plain names and checked.

    size: bytes of the file that it came from. full: whether it is of a -full release, which must hold a scalar mix.
    """
    import torch

    found: dict[str, Any] = {}
    unexpected, twice = [], []
    prefix = FULL_PREFIX if full else "bert."
    prefixed = any(isinstance(key, str) and key.startswith(prefix) for key in state)
    for key in state:
        if full and key == MIX:
            found[MIX] = state[MIX]
            continue
        if not isinstance(key, str) or (full and not key.startswith(prefix)):
            unexpected.append(f"{key!s:.200}")
            continue
        if prefixed and not key.startswith((prefix, *_HEADS)):
            if key.startswith(("embeddings.", "encoder.")):
                twice.append(key)
            continue  # a head: masked words, classes, …
        plain = _plain(key.removeprefix(prefix))
        if plain in _BUFFERS or plain.startswith(_HEADS):
            continue
        if plain in found:
            twice.append(plain)
        found[plain] = state[key]
    wanted = bert_shapes(config, full=full)
    missing = [key for key in wanted if key not in found]
    unexpected += [key for key in found if key not in wanted]
    for names, what in ((missing, "lacks"), (unexpected, "holds unexpected"), (twice, "holds twice")):
        if names:
            raise unreadable(name, f"{file} {what} {len(names)} of its weights: {named(names)}")
    claimed = 0
    for key, shape in wanted.items():
        tensor = found[key]
        if (
            not isinstance(tensor, torch.Tensor)
            or tensor.layout != torch.strided
            or tensor.is_nested
            or tensor.device.type != "cpu"
            or not tensor.is_floating_point()
        ):
            raise unreadable(name, f"{file}: {key} is no array of floating-point numbers")
        if tuple(tensor.shape) != shape:
            raise unreadable(name, f"{file}: {key} has the shape {tuple(tensor.shape)}, not {shape}")
        claimed += tensor.numel() * tensor.element_size()
    # A view may repeat one number a billion times; a file that was saved honestly holds every one of them.
    if claimed > size:
        raise unreadable(name, f"{file} claims {claimed:,} bytes of weights and holds {size:,}")
    tensors = {key: found[key].detach().to(device="cpu", dtype=torch.float32).contiguous() for key in wanted}
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise EncoderUnavailable(
                f"{name}: {file} holds values that are not numbers, in {key}. Its weights are damaged: "
                "fetch them again."
            )
    mix = tensors.pop(MIX).reshape(-1) if full else None
    return Weights(config=config, tensors=tensors, mix=mix)


def _state(name: str, file: StoredFile) -> tuple[Mapping[Any, Any], int]:
    """The state dict in a file of weights, and the file's size in bytes."""
    if file.name.endswith(".safetensors"):
        from safetensors.torch import load, load_file

        try:
            return load(file.read(most=MAX_ARCHIVE)) if file.member else load_file(file.path), file.size
        except EncoderUnavailable:
            raise
        except Exception as error:  # its own, which is no subclass of anything, and OSError
            raise unreadable(name, first_line(error)) from error
    with file.stream() as stream:
        zipped = _refuse_compressed(name, file.name, stream)
        # Mapped, the file is read where it is used, and not copied; the old format and a zip's member cannot be.
        mapped = zipped and not file.member
        return _torch_load(name, file.path if mapped else stream, mmap=mapped), file.size


def _torch_load(name: str, source: Path | IO[bytes], *, mmap: bool) -> dict[Any, Any]:
    import torch

    try:
        state = torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # unpickling, zip, end-of-file, runtime and value errors: no family
        raise unreadable(name, first_line(error)) from error
    if not isinstance(state, dict):
        raise unreadable(name, f"its file of weights holds {type(state).__name__}, not names and arrays")
    return state


def _refuse_compressed(name: str, file: str, stream: IO[bytes]) -> bool:
    """Whether it is a zip, as torch.save writes since 2020. One that is compressed could swell without bound."""
    stream.seek(0)
    zipped = stream.read(4) == b"PK\x03\x04"
    if zipped:
        try:
            with zipfile.ZipFile(stream) as archive:
                packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise unreadable(name, f"{file}: {first_line(error)}") from error
        if packed:
            raise unreadable(name, f"{file} is compressed inside, which torch.save never does")
    stream.seek(0)
    return zipped


def _plain(key: str) -> str:
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _settings(name: str, config: dict[str, Any]) -> BertSettings:
    sizes: dict[str, int] = {}
    for key, largest in _LARGEST.items():
        value = config.get(key, _ASSUMED[key])
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
            raise unreadable(name, f"config.json: {key} is {value!r:.40}, not a number from 1 to {largest:,}")
        sizes[key] = value
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise unreadable(
            name,
            f"config.json: hidden_size {sizes['hidden_size']} does not divide among "
            f"{sizes['num_attention_heads']} attention heads",
        )
    eps = config.get("layer_norm_eps", 1e-12)
    if not isinstance(eps, int | float) or isinstance(eps, bool) or not (math.isfinite(eps) and 0 < eps < 1):
        raise unreadable(name, f"config.json: layer_norm_eps is {eps!r:.40}, not a small number above 0")
    activation = config.get("hidden_act", "gelu")
    if not isinstance(activation, str):
        raise unreadable(name, f"config.json: hidden_act is {activation!r:.40}, not a name")
    pad = config.get("pad_token_id", 0)
    pad = 0 if pad is None else pad
    if not isinstance(pad, int) or isinstance(pad, bool) or not 0 <= pad < sizes["vocab_size"]:
        raise unreadable(name, f"config.json: pad_token_id is {pad!r:.40}, not one of its word pieces")
    return BertSettings(
        hidden=sizes["hidden_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        intermediate=sizes["intermediate_size"],
        vocab=sizes["vocab_size"],
        positions=sizes["max_position_embeddings"],
        types=sizes["type_vocab_size"],
        layer_norm_eps=float(eps),
        hidden_act=activation,
        pad_id=pad,
    )


def bert_shapes(config: BertSettings, *, full: bool) -> dict[str, tuple[int, ...]]:
    """The names and shapes of all of a BERT's weights but the pooler's, and of a -full release's mix."""
    d, wide = config.hidden, config.intermediate
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab, d),
        "embeddings.position_embeddings.weight": (config.positions, d),
        "embeddings.token_type_embeddings.weight": (config.types, d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
    }
    linear = {
        "attention.self.query": (d, d),
        "attention.self.key": (d, d),
        "attention.self.value": (d, d),
        "attention.output.dense": (d, d),
        "intermediate.dense": (wide, d),
        "output.dense": (d, wide),
    }
    for i in range(config.layers):
        layer = f"encoder.layer.{i}."
        for part, shape in linear.items():
            shapes[f"{layer}{part}.weight"] = shape
            shapes[f"{layer}{part}.bias"] = shape[:1]
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{layer}{part}.weight"] = shapes[f"{layer}{part}.bias"] = (d,)
    if full:
        shapes[MIX] = (1, config.layers + 1)
    return shapes


MIX_FILE = "scalar_mix.safetensors"


MIX_KEY = "scalars"  # (layers + 1,), before the softmax


_MAX_MIX_BYTES = 64 * 1024  # bytes


def mix_bytes(scalars: "torch.Tensor") -> bytes:
    """The content of MIX_FILE. scalars: (layers + 1,), the embedding layer's first, before their softmax."""
    from safetensors.torch import save

    return save({MIX_KEY: scalars.detach().float().cpu().contiguous()}, metadata={"format": "pt"})


def read_mix(name: str, file: StoredFile, *, layers: int) -> "torch.Tensor":
    """The scalars in MIX_FILE: float32 (layers + 1,), finite. Raises EncoderUnavailable where they are not."""
    import torch
    from safetensors.torch import load

    content = file.read(most=_MAX_MIX_BYTES)
    try:
        state = load(content)
    except Exception as error:  # its own, which is no subclass of anything
        raise unreadable(name, f"{MIX_FILE}: {first_line(error)}") from error
    if list(state) != [MIX_KEY]:
        raise unreadable(name, f"{MIX_FILE} does not hold {MIX_KEY!r} and nothing else")
    scalars = state[MIX_KEY]
    if tuple(scalars.shape) != (layers + 1,) or not scalars.is_floating_point():
        raise unreadable(
            name,
            f"{MIX_FILE}: {MIX_KEY} is {scalars.dtype} {tuple(scalars.shape)}, not numbers for {layers} layers and 1",
        )
    scalars = scalars.to(torch.float32)
    if not bool(torch.isfinite(scalars).all()):
        raise EncoderUnavailable(f"{name}: {MIX_FILE} holds values that are not numbers. It is damaged.")
    return scalars
