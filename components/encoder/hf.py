"""Any checkpoint through transformers, with padding: for models that are not BERT."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.encoder.bert import Pause, WordPieces
from components.encoder.catalogue import Pooling
from components.encoder.checkpoints import load_model
from components.encoder.errors import unreadable

if TYPE_CHECKING:
    from components.encoder.checkpoints import Checkpoint


class PaddedModel:
    """A transformers model for inference, in one precision, on one device."""

    def __init__(self, checkpoint: "Checkpoint", *, pooling: Pooling, device: torch.device, dtype: torch.dtype) -> None:
        """Raises EncoderUnavailable where transformers cannot read the checkpoint, and for a scalar mix."""
        if pooling == "scalar_mix":
            raise unreadable(checkpoint.name, "a scalar mix is for a BERT with a GELU activation")
        self._model = load_model(checkpoint).to(device=device, dtype=dtype)
        self._pooling = pooling
        self._device = device
        try:
            self.dimensions = int(self._model.config.hidden_size)
            self.vocabulary = int(self._model.config.vocab_size)
        except (AttributeError, TypeError, ValueError) as error:
            raise unreadable(checkpoint.name, "its configuration tells no hidden_size or no vocab_size") from error

    @torch.inference_mode()
    def __call__(self, rows: Sequence[WordPieces], *, pause: Pause | None = None) -> torch.Tensor:
        """Word pieces of n texts, special ones included → float32 (n, d), on the CPU.

        pause: called once before the pass, which cannot be interrupted; what it raises stops the work.
        """
        if pause is not None:
            pause()
        longest = max(len(row) for row in rows)
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        inputs, attended = torch.from_numpy(ids).to(self._device), torch.from_numpy(mask).to(self._device)
        hidden = self._model(input_ids=inputs, attention_mask=attended).last_hidden_state.float()
        if self._pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = attended.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        found: torch.Tensor = pooled.cpu()
        return found
