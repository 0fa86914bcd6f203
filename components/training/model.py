"""The model in training: a transformers encoder and its pooling, as one module with gradients."""

from typing import Any

import torch

from components.encoder.catalogue import InputForm
from components.encoder.checkpoints import Checkpoint, load_model
from components.encoder.packed import can_pack
from components.encoder.scalar_mix import ScalarMix
from components.encoder.weights import load_weights
from components.training.settings import TrainingError, TrainingSettings, trained_form


class TrainedEncoder(torch.nn.Module):
    """An encoder that learns: word pieces → vectors, the same vectors that `BiEncoder` gives of what is written of it.

    bert: the transformers model, without a pooler. mix: the scalar mix, where the form's pooling is one.
    form: how a paper becomes a vector, as it is written beside the weights.
    """

    def __init__(self, bert: Any, *, mix: ScalarMix | None, form: InputForm) -> None:
        super().__init__()
        if (mix is None) == (form.pooling == "scalar_mix"):
            raise ValueError(f"the pooling is {form.pooling}, and a scalar mix is {'' if mix else 'not '}there")
        self.bert = bert
        self.mix = mix
        self.form = form

    @property
    def dimensions(self) -> int:
        """Of a vector."""
        return int(self.bert.config.hidden_size)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Two int64 (n, longest), padded on the right; the mask is 1 where there is a word piece → float32 (n, d)."""
        found = self.bert(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=self.mix is not None)
        # In mixed precision too: rounded to bfloat16, vectors that are near each other would be the same.
        with torch.autocast(input_ids.device.type, enabled=False):
            return self._pooled(found, attention_mask)

    def _pooled(self, found: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.mix is not None:
            pooled = self.mix(torch.stack([state[:, 0].float() for state in found.hidden_states]))
        elif self.form.pooling == "cls":
            pooled = found.last_hidden_state[:, 0].float()
        else:
            weights = attention_mask.unsqueeze(-1).float()
            pooled = (found.last_hidden_state.float() * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=1) if self.form.normalised else pooled


def load_trained(start: Checkpoint, settings: TrainingSettings) -> TrainedEncoder:
    """The model that training starts from, on the CPU, in float32.

    A scalar mix is the start's own where it has one, else equal weights. Raises TrainingError where the start and the
    settings do not go together, EncoderUnavailable where the start cannot be read.
    """
    form = trained_form(start.form, settings)
    bert = load_model(start)
    positions = int(getattr(bert.config, "max_position_embeddings", form.max_tokens))
    if settings.max_tokens > positions:
        raise TrainingError(
            f"max_tokens is {settings.max_tokens}; {start.name} has positions for {positions} word pieces."
        )
    if getattr(bert, "pooler", None) is not None:
        bert.pooler = None  # no pooling of ours reads it: it would be carried along without a gradient
    bert.requires_grad_(requires_grad=True)
    mix = None
    if form.pooling == "scalar_mix":
        weights = load_weights(start)
        if weights is None or not can_pack(weights.config):
            raise TrainingError(
                f"{start.name} is no BERT with a GELU activation, and a scalar mix is for those alone. Take pooling "
                "cls or mean."
            )
        mix = ScalarMix(weights.mix) if weights.mix is not None else ScalarMix.equal(weights.config.layers)
    return TrainedEncoder(bert, mix=mix, form=form)
