"""The weights of BERT checkpoints, read safely: no code in the files runs, all names, shapes and values are checked.

The names are those of the authors of the -full releases and of transformers.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.encoder.base import EncoderUnavailable, first_line, unreadable
from components.encoder.files import CONFIG, FULL_WEIGHTS, MAX_ARCHIVE_BYTES, MIX_FILE, StoredFile
from corpus.errors import validation_reason

if TYPE_CHECKING:
    import torch

    from components.encoder.checkpoints import Checkpoint

FULL_PREFIX, FULL_MIX_KEY = "bert_encoder.", "bert_layer_weights.weight"  # in a -full release
MIX_KEY = "scalars"  # in MIX_FILE: (layers + 1,), before the softmax
_MAX_MIX_BYTES = 64 * 1024
_MAX_NAMES = 5  # in an error message
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # constants that old files hold
_HEADS = ("pooler.", "cls.")  # no pooling of ours reads them


class BertConfig(BaseModel):
    """The config.json of a BERT: defaults are those of transformers, limits are well above any released BERT."""

    model_config = ConfigDict(strict=True, frozen=True)

    hidden_size: int = Field(768, ge=1, le=8_192)
    num_hidden_layers: int = Field(12, ge=1, le=128)
    num_attention_heads: int = Field(12, ge=1, le=256)
    intermediate_size: int = Field(3_072, ge=1, le=65_536)
    vocab_size: int = Field(30_522, ge=1, le=2_000_000)
    max_position_embeddings: int = Field(512, ge=1, le=65_536)
    type_vocab_size: int = Field(2, ge=1, le=64)
    layer_norm_eps: float = Field(1e-12, gt=0, lt=1, allow_inf_nan=False)
    hidden_act: str = "gelu"
    pad_token_id: int | None = Field(0, ge=0)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "BertConfig":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by {self.num_attention_heads} attention heads"
            )
        if (self.pad_token_id or 0) >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is not in a vocabulary of {self.vocab_size:,}")
        return self

    def shapes(self) -> "dict[str, tuple[int, ...]]":
        """Name → shape of every weight but the pooler's."""
        d, wide = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, d),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, d),
            "embeddings.token_type_embeddings.weight": (self.type_vocab_size, d),
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
        for i in range(self.num_hidden_layers):
            layer = f"encoder.layer.{i}."
            for part, shape in linear.items():
                shapes[f"{layer}{part}.weight"] = shape
                shapes[f"{layer}{part}.bias"] = shape[:1]
            for part in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes[f"{layer}{part}.weight"] = shapes[f"{layer}{part}.bias"] = (d,)
        return shapes


class _Kind(BaseModel):
    """What config.json says of the kind of model. Configurations older than `model_type` are a BERT's."""

    model_type: Any = "bert"
    is_decoder: Any = False
    add_cross_attention: Any = False
    position_embedding_type: Any = "absolute"


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The weights of a BERT's forward pass, on the CPU, float32, finite, of the shapes of `config`.

    tensors: by plain name ("encoder.layer.0.attention.self.query.weight", …), without pooler and heads. They may be
        views of the file.
    mix: (layers + 1,), the scalar mix before its softmax, the embedding layer first; None where there is none.
    """

    config: BertConfig
    tensors: "dict[str, torch.Tensor]"
    mix: "torch.Tensor | None"


def load_weights(checkpoint: "Checkpoint") -> Weights | None:
    """A checkpoint's weights; None where it is no BERT, and transformers must read it.

    Raises EncoderUnavailable where files are damaged or hold code, where names are missing, unexpected or duplicate,
    where a shape is not the configuration's, and where values are not finite.
    """
    config = bert_config(checkpoint)
    if config is None:
        return None
    name, file = checkpoint.name, checkpoint.files[checkpoint.weights.name]
    state = _read_state(name, file)
    if file.name == FULL_WEIGHTS:
        return checked_weights(name, file.name, config, state, size=file.size, full=True)
    weights = checked_weights(name, file.name, config, state, size=file.size, full=False)
    if MIX_FILE not in checkpoint.files:
        return weights
    return Weights(config, weights.tensors, _read_mix(name, checkpoint.files[MIX_FILE], config))


def bert_config(checkpoint: "Checkpoint") -> BertConfig | None:
    """A checkpoint's config.json; None where it is not a BERT's. Raises EncoderUnavailable."""
    content = checkpoint.files[CONFIG].read()
    try:
        kind = _Kind.model_validate_json(content)
        if kind.model_type != "bert" or kind.is_decoder or kind.add_cross_attention:
            return None
        if kind.position_embedding_type != "absolute":
            # transformers dropped it, and would silently load such a model without these embeddings.
            raise unreadable(
                checkpoint.name,
                f"{CONFIG}: position_embedding_type {kind.position_embedding_type!r:.40} is unsupported",
            )
        return BertConfig.model_validate_json(content)
    except ValidationError as error:
        raise unreadable(checkpoint.name, f"{CONFIG}: {validation_reason(error)}") from error


def checked_weights(
    name: str, file: str, config: BertConfig, state: Mapping[Any, Any], *, size: int, full: bool
) -> Weights:
    """Check a state dict and rename its weights to plain names.

    size: bytes of its file. full: whether it is a -full release's, which must hold a scalar mix.
    """
    import torch

    found: dict[str, Any] = {}
    unexpected, duplicate = [], []
    prefix = FULL_PREFIX if full else "bert."
    prefixed = any(isinstance(key, str) and key.startswith(prefix) for key in state)
    for key in state:
        if full and key == FULL_MIX_KEY:
            found[FULL_MIX_KEY] = state[key]
            continue
        if not isinstance(key, str) or (full and not key.startswith(prefix)):
            unexpected.append(f"{key!s:.200}")
            continue
        if prefixed and not key.startswith((prefix, *_HEADS)):
            if key.startswith(("embeddings.", "encoder.")):
                duplicate.append(key)
            continue  # a head: masked words, classes, …
        plain = key.removeprefix(prefix)
        plain = plain.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if plain in _BUFFERS or plain.startswith(_HEADS):
            continue
        if plain in found:
            duplicate.append(plain)
        found[plain] = state[key]
    shapes = config.shapes()
    if full:
        shapes[FULL_MIX_KEY] = (1, config.num_hidden_layers + 1)
    check_names(
        name, file, missing=shapes.keys() - found.keys(), unexpected={*unexpected, *(found.keys() - shapes.keys())}
    )
    if duplicate:
        raise unreadable(name, f"{file} holds duplicate weights: {_listed(duplicate)}")
    claimed = 0
    for key, shape in shapes.items():
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
    # A view may repeat one number a billion times; an honest file holds every one of them.
    if claimed > size:
        raise unreadable(name, f"{file} claims {claimed:,} bytes of weights and holds {size:,}")
    tensors = {key: found[key].detach().to(device="cpu", dtype=torch.float32).contiguous() for key in shapes}
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise EncoderUnavailable(
                f"{name}: {file} holds values that are not finite, in {key}. Its weights are damaged: fetch them again."
            )
    mix = tensors.pop(FULL_MIX_KEY).reshape(-1) if full else None
    return Weights(config=config, tensors=tensors, mix=mix)


def check_names(name: str, file: str, *, missing: "set[str]", unexpected: "set[str]") -> None:
    """Raise EncoderUnavailable, naming some, where a file of weights lacks weights or holds others."""
    for names, problem in ((missing, "lacks"), (unexpected, "holds unexpected")):
        if names:
            raise unreadable(name, f"{file} {problem} {len(names)} of its weights: {_listed(names)}")


def _listed(names: "set[str] | list[str]") -> str:
    shown = ", ".join(f"{name:.80}" for name in sorted(names)[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown} and {len(names) - _MAX_NAMES:,} more"


def mix_bytes(scalars: "torch.Tensor") -> bytes:
    """The content of MIX_FILE. scalars: (layers + 1,), the embedding layer first, before their softmax."""
    from safetensors.torch import save

    return save({MIX_KEY: scalars.detach().float().cpu().contiguous()}, metadata={"format": "pt"})


def _read_mix(name: str, file: StoredFile, config: BertConfig) -> "torch.Tensor":
    """The scalars of MIX_FILE: float32 (layers + 1,), finite."""
    import torch
    from safetensors.torch import load

    content = file.read(max_bytes=_MAX_MIX_BYTES)
    try:
        state = load(content)
    except Exception as error:  # of safetensors: a subclass of nothing narrower
        raise unreadable(name, f"{MIX_FILE}: {first_line(error)}") from error
    if list(state) != [MIX_KEY]:
        raise unreadable(name, f"{MIX_FILE} must hold {MIX_KEY!r} and nothing else")
    scalars, layers = state[MIX_KEY], config.num_hidden_layers
    if tuple(scalars.shape) != (layers + 1,) or not scalars.is_floating_point():
        raise unreadable(
            name, f"{MIX_FILE}: {MIX_KEY} is {scalars.dtype} {tuple(scalars.shape)}, not {layers + 1} numbers"
        )
    scalars = scalars.to(torch.float32)
    if not bool(torch.isfinite(scalars).all()):
        raise EncoderUnavailable(f"{name}: {MIX_FILE} holds values that are not finite. It is damaged.")
    return scalars


def _read_state(name: str, file: StoredFile) -> Mapping[Any, Any]:
    """The state dict in a file of weights."""
    if file.name.endswith(".safetensors"):
        from safetensors.torch import load, load_file

        try:
            return load(file.read(max_bytes=MAX_ARCHIVE_BYTES)) if file.member else load_file(file.path)
        except EncoderUnavailable:
            raise
        except Exception as error:  # of safetensors, and OSError
            raise unreadable(name, first_line(error)) from error
    with file.stream() as stream:
        zipped = _refuse_compressed(name, file.name, stream)
        # A mapped file is read where it is used and not copied; the old format and a zip's member cannot be mapped.
        mapped = zipped and not file.member
        return _torch_load(name, file.path if mapped else stream, mmap=mapped)


def _torch_load(name: str, source: Path | IO[bytes], *, mmap: bool) -> dict[Any, Any]:
    import torch

    try:
        state = torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # unpickling, zip, end-of-file, runtime and value errors share no base class
        raise unreadable(name, first_line(error)) from error
    if not isinstance(state, dict):
        raise unreadable(name, f"its file of weights holds {type(state).__name__}, not names and arrays")
    return state


def _refuse_compressed(name: str, file: str, stream: IO[bytes]) -> bool:
    """Whether a file is a zip, as torch.save writes since 2020. A compressed one could unpack to any size."""
    stream.seek(0)
    zipped = stream.read(4) == b"PK\x03\x04"
    if zipped:
        try:
            with zipfile.ZipFile(stream) as archive:
                compressed = any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise unreadable(name, f"{file}: {first_line(error)}") from error
        if compressed:
            raise unreadable(name, f"{file} is compressed inside, which torch.save never does")
    stream.seek(0)
    return zipped
