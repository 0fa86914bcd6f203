"""Processes and devices: accelerate, set up for training of ours. One process a GPU, each with the whole model."""

import os
from typing import TYPE_CHECKING, Any

import torch

from components.training.settings import TrainingError, TrainingSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

    from components.training.model import TrainedEncoder

_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
_KINDS = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_XPU", "MULTI_NPU", "MULTI_MLU", "MULTI_MUSA")


def accelerator_for(settings: TrainingSettings, *, cpu: bool) -> "Accelerator":
    """accelerate's accelerator: on the GPU that it finds, else on the CPU; with the processes it was launched with.

    Raises TrainingError where a step's micro-batches do not divide among the processes, and where machine and
    precision do not go together.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

    # Without a GPU it must be told that it is on the CPU: several processes would each take itself for the only one.
    on_cpu = cpu or not torch.accelerator.is_available()
    wanted = _PRECISIONS[settings.precision]
    if AcceleratorState._shared_state and _differs(AcceleratorState(), precision=wanted, cpu=on_cpu):
        # One state is kept a process, and refuses to change: another run of the same process may want another.
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        mixed_precision=wanted,
        cpu=on_cpu,
        # By a plugin, which does not look at the environment: the steps are counted here, not there.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1, sync_with_dataloader=False),
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    kind = str(accelerator.distributed_type.name)
    if kind not in _KINDS:
        raise TrainingError(
            f"This was launched for {kind}; each process must hold the whole model. Launch it with --multi_gpu, or "
            "with python alone."
        )
    if settings.precision == "float16" and accelerator.device.type == "cpu":
        raise TrainingError("precision is float16, which needs a GPU. Take bfloat16 or float32 on a CPU.")
    count, micro_batches = accelerator.num_processes, settings.batch // settings.micro_batch
    if micro_batches % count:
        fitting = settings.micro_batch * count * max(1, round(micro_batches / count))
        raise TrainingError(
            f"A step has {micro_batches} micro-batches (batch {settings.batch}, micro_batch {settings.micro_batch}), "
            f"which do not divide among {count} processes. Set batch to {fitting}, or launch fewer processes."
        )
    return accelerator


def prepared_model(accelerator: "Accelerator", encoder: "TrainedEncoder") -> tuple[Any, Any]:
    """The model on its device, as it is called for training, and Adam over all of its parameters."""
    optimiser = torch.optim.Adam(encoder.parameters(), lr=0.0)
    model, prepared = accelerator.prepare(encoder, optimiser)
    return model, prepared


def device_words(accelerator: "Accelerator") -> str:
    """What it computes on, for people: "NVIDIA H200", "cpu"."""
    device = accelerator.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)


def is_main() -> bool:
    """Whether this process speaks, of those that a launcher started; known before there is an accelerator."""
    return os.environ.get("RANK", "0") == "0"


def _differs(state: Any, *, precision: str, cpu: bool) -> bool:
    return bool(state.mixed_precision != precision or (state.device.type == "cpu") != cpu)
