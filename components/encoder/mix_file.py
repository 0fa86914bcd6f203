"""The scalar mix in a file of its own, beside weights that transformers reads."""

from typing import TYPE_CHECKING

from components.encoder.errors import EncoderUnavailable, first_line, unreadable
from components.encoder.stored import StoredFile

if TYPE_CHECKING:
    import torch

MIX_FILE = "scalar_mix.safetensors"
MIX_KEY = "scalars"  # (layers + 1,), before the softmax
_LARGEST = 64 * 1024  # bytes


def mix_bytes(scalars: "torch.Tensor") -> bytes:
    """The content of MIX_FILE. scalars: (layers + 1,), the embedding layer's first, before their softmax."""
    from safetensors.torch import save

    return save({MIX_KEY: scalars.detach().float().cpu().contiguous()}, metadata={"format": "pt"})


def read_mix(name: str, file: StoredFile, *, layers: int) -> "torch.Tensor":
    """The scalars in MIX_FILE: float32 (layers + 1,), finite. Raises EncoderUnavailable where they are not."""
    import torch
    from safetensors.torch import load

    content = file.read(most=_LARGEST)
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
