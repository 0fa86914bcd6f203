"""The model in training: a transformers encoder and its pooling, as one module with gradients."""

from typing import Any

import torch

from components.encoder.bert import ScalarMix, can_pack
from components.encoder.catalogue import InputForm
from components.encoder.checkpoints import Checkpoint, load_model
from components.encoder.weights import load_weights
from components.training.settings import TrainingError, TrainingSettings, trained_form


class TrainedEncoder(torch.nn.Module):
    """Word pieces → vectors, the same that `BiEncoder` gives for the exported checkpoint.

    bert: a transformers model without a pooler. mix: the scalar mix if the form's pooling is one, else None.
    """

    def __init__(self, bert: Any, *, mix: ScalarMix | None, form: InputForm) -> None:
        super().__init__()
        self.bert = bert
        self.mix = mix
        self.form = form
        self.dimensions = int(bert.config.hidden_size)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Two int64 (n, longest), padded on the right; the mask is 1 for word pieces → float32 (n, d)."""
        output = self.bert(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=bool(self.mix))
        # Pool in float32 even in mixed precision: rounded to bfloat16, near vectors become equal.
        with torch.autocast(input_ids.device.type, enabled=False):
            if self.mix is not None:
                pooled = self.mix(torch.stack([state[:, 0].float() for state in output.hidden_states]))
            elif self.form.pooling == "cls":
                pooled = output.last_hidden_state[:, 0].float()
            else:
                weights = attention_mask.unsqueeze(-1).float()
                pooled = (output.last_hidden_state.float() * weights).sum(dim=1) / weights.sum(dim=1)
            return torch.nn.functional.normalize(pooled, dim=1) if self.form.normalised else pooled


def load_trained(start: Checkpoint, settings: TrainingSettings) -> TrainedEncoder:
    """The model to train, from its start checkpoint, on the CPU in float32.

    The scalar mix is the start's own if it has one, else equal weights. Raises TrainingError if start and settings do
    not fit together, EncoderUnavailable if the start cannot be read.
    """
    form = trained_form(start.form, settings)
    bert = load_model(start)
    positions = int(getattr(bert.config, "max_position_embeddings", form.max_tokens))
    if settings.max_tokens > positions:
        raise TrainingError(
            f"max_tokens is {settings.max_tokens}; {start.name} has positions for {positions} word pieces."
        )
    if hasattr(bert, "pooler"):
        bert.pooler = None  # unused: it would never get a gradient
    bert.requires_grad_(requires_grad=True)
    if settings.gradient_checkpointing:
        bert.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    mix = None
    if form.pooling == "scalar_mix":
        weights = load_weights(start)
        if weights is None or not can_pack(weights.config):
            raise TrainingError(
                f"{start.name} is not a BERT with GELU activation, which a scalar mix needs. Set pooling to cls or "
                "mean."
            )
        mix = ScalarMix(weights.mix) if weights.mix is not None else ScalarMix.equal(weights.config.layers)
    return TrainedEncoder(bert, mix=mix, form=form)
