"""The padded forward pass: any checkpoint through transformers. For what the packed forward pass does not support."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from components.encoder.base import EncoderUnavailable, first_line, unreadable
from components.encoder.bert import Pause, WordPieces
from components.encoder.catalogue import Pooling
from components.encoder.checkpoints import Checkpoint
from components.encoder.files import FULL_WEIGHTS
from components.encoder.weights import check_names, load_weights


class PaddedModel:
    """A transformers model for inference, in one precision, on one device."""

    def __init__(self, checkpoint: Checkpoint, *, pooling: Pooling, device: torch.device, dtype: torch.dtype) -> None:
        """Raises EncoderUnavailable where transformers cannot read the checkpoint, and for a scalar mix."""
        if pooling == "scalar_mix":
            raise unreadable(checkpoint.name, "a scalar mix is only supported for a BERT with a GELU activation")
        self._model = load_model(checkpoint).to(device=device, dtype=dtype)
        self._pooling = pooling
        self._device = device
        try:
            self.dimensions = int(self._model.config.hidden_size)
            self.vocabulary = int(self._model.config.vocab_size)
        except (AttributeError, TypeError, ValueError) as error:
            raise unreadable(checkpoint.name, "its configuration has no hidden_size or no vocab_size") from error

    @torch.inference_mode()
    def __call__(self, rows: Sequence[WordPieces], *, pause: Pause | None = None) -> torch.Tensor:
        """Word pieces of n texts, special ones included → float32 (n, d), on the CPU.

        pause: called once, before the pass; may raise to stop the work.
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
        vectors: torch.Tensor = pooled.cpu()
        return vectors


def load_model(checkpoint: Checkpoint) -> Any:
    """The transformers model of a checkpoint, in evaluation mode, float32, on the CPU.

    Remote code is off, and a pickled `.bin` is read with `weights_only`: nothing in a checkpoint can run.
    Raises EncoderUnavailable where transformers cannot read it, or would initialise missing weights at random.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if FULL_WEIGHTS in checkpoint.files or not checkpoint.folder.is_dir():
        return _bert_model(checkpoint)
    try:
        model, loaded = AutoModel.from_pretrained(
            checkpoint.folder,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            use_safetensors=checkpoint.weights.suffix == ".safetensors",
            dtype=torch.float32,
        )
    # What transformers raises for an invalid folder has no common base class.
    except Exception as error:
        raise unreadable(checkpoint.name, first_line(error)) from error
    check_names(
        checkpoint.name,
        checkpoint.weights.name,
        # No pooling of ours reads the pooler.
        missing={name for name in loaded["missing_keys"] if not name.startswith("pooler.")},
        # Heads for other tasks and old buffers are harmless.
        unexpected={
            name
            for name in loaded["unexpected_keys"]
            if name.startswith(("embeddings.", "encoder.")) and not name.endswith("position_ids")
        },
    )
    return model.eval()


def _bert_model(checkpoint: Checkpoint) -> Any:
    """The transformers model of a BERT in a zip or of a -full release, whose files transformers cannot open."""
    from transformers import BertConfig, BertModel

    weights = load_weights(checkpoint)
    if weights is None:
        raise EncoderUnavailable(f"{checkpoint.name}: only a BERT can be read from a zip. Unpack it, give the folder.")
    config = weights.config.model_dump() | {"pad_token_id": weights.config.pad_token_id or 0}
    model = BertModel(BertConfig(**config), add_pooling_layer=False)
    model.load_state_dict(weights.tensors)
    model.requires_grad_(False)
    return model.train(False)
