"""BiEncoder: texts → vectors. Query and candidate are encoded apart, by one model."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.encoder.base import Reading, TitleAndAbstract, Vectors
from components.encoder.batching import token_budget_batches
from components.encoder.checkpoints import (
    Checkpoint,
    EncoderUnavailable,
    find_checkpoint,
    load_model,
    load_tokenizer,
)
from components.encoder.turns import Turns

if TYPE_CHECKING:
    import torch

TOKEN_BUDGET = 4096  # tokens a batch: 16 abstracts of 256; larger ones gain nothing on a CPU and cost memory
CHUNK = 512  # texts tokenised and sorted at a time: bounds memory, and is what a cancelled call loses
# Longer than any abstract (a thousand times over at most); past it, tokenising a paste would take seconds.
LONGEST_TEXT = 50_000  # characters


class BiEncoder:
    """One loaded checkpoint. Safe to share between threads: nothing in it changes after loading."""

    def __init__(self, checkpoint: Checkpoint, *, device: str | None = None) -> None:
        import torch

        self.checkpoint = checkpoint
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._tokenizer, self._separator_token = load_tokenizer(checkpoint)
        # bfloat16 where a GPU makes it worth its rounding; full precision on a CPU.
        self._dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self._model = load_model(checkpoint).to(device=self.device, dtype=self._dtype)
        self.dimensions = int(self._model.config.hidden_size)
        tokens, known = self._tokenizer.get_vocab_size(), int(self._model.config.vocab_size)
        if tokens > known:
            raise EncoderUnavailable(
                f"{checkpoint.name}: its tokenizer has {tokens:,} word pieces and its model knows {known:,}, so they "
                "do not belong together. Fetch the checkpoint again."
            )
        # Two passes at once on one CPU only slow each other down; a waiting query comes after the batch under way.
        self._turn = Turns()

    @property
    def name(self) -> str:
        """The catalogue name, or the folder's."""
        return self.checkpoint.name

    @property
    def fingerprint(self) -> str:
        """The checkpoint's fingerprint: vectors compare only where this is the same."""
        return self.checkpoint.fingerprint

    @property
    def source(self) -> str:
        """What finds it again: a catalogue name, or the absolute path of its folder."""
        return self.checkpoint.source

    @property
    def normalised(self) -> bool:
        """Whether its vectors have length 1."""
        return self.checkpoint.form.normalised

    def encode(self, texts: Sequence[TitleAndAbstract], *, on_progress: Callable[[int], None] | None = None) -> Vectors:
        """Vectors of (title, abstract) pairs: float32 (len(texts), dimensions), row i for text i.

        on_progress: called after each batch with the number of texts done so far; may raise to stop the work.
        Raises EncoderUnavailable where the model gives values that are not numbers.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        done = 0
        for start in range(0, len(texts), CHUNK):
            encodings = self._tokenizer.encode_batch(
                [self._joined(title, abstract) for title, abstract in texts[start : start + CHUNK]]
            )
            ids = [encoding.ids for encoding in encodings]
            for batch in token_budget_batches([len(row) for row in ids], budget=TOKEN_BUDGET):
                with self._turn:
                    vectors[start + batch] = self._forward([ids[i] for i in batch])
                done += len(batch)
                if on_progress is not None:
                    on_progress(done)
        if not np.isfinite(vectors).all():
            raise EncoderUnavailable(
                f"{self.name} gave values that are not numbers. Its weights are damaged: fetch them again."
            )
        return vectors

    def reading(self, title: str, abstract: str) -> Reading:
        """How much of a title and abstract `encode` reads before it cuts the rest off."""
        joined = self._joined(title, abstract)
        encoding = self._tokenizer.encode(joined)
        words = read = len(f"{title} {abstract}".split())
        # Not told by where the last word piece ends: what the tokenizer drops (soft hyphens, say) would seem unread.
        if encoding.overflowing or len(joined) == LONGEST_TEXT:
            end = max((stop for _, stop in encoding.offsets), default=0)
            # The separator token is ours, not a word of theirs; a word cut in its middle was not read.
            read = len(joined[:end].replace(self._separator_token, " ").split())
            if 0 < end < len(joined) and not joined[end - 1].isspace() and not joined[end].isspace():
                read -= 1
        return Reading(
            words_read=max(0, min(read, words)),
            words=words,
            tokens_read=len(encoding.ids),
            max_tokens=self.checkpoint.form.max_tokens,
        )

    def _joined(self, title: str, abstract: str) -> str:
        separator = self.checkpoint.form.separator
        if separator:
            joined = separator.join(part for part in (title.strip(), abstract.strip()) if part)
        else:
            joined = f"{title.strip()}{self._separator_token}{abstract.strip()}"
        # A lone surrogate (half a character, from a broken paste or argument) is an error in the tokenizers library.
        return joined[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")

    def _forward(self, rows: list[list[int]]) -> Vectors:
        import torch

        longest = max(len(row) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        with torch.inference_mode():
            ids, mask = ids.to(self.device), mask.to(self.device)
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            pooled = _pool(hidden, mask, self.checkpoint.form.pooling)
            if self.checkpoint.form.normalised:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
            result: Vectors = pooled.cpu().numpy()
        return result


def _pool(hidden: "torch.Tensor", mask: "torch.Tensor", pooling: str) -> "torch.Tensor":
    """(batch, tokens, d) hidden states → (batch, d): [CLS], or the mean over the tokens that are not padding."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def load_encoder(name_or_folder: str, *, device: str | None = None, local_files_only: bool = False) -> BiEncoder:
    """The encoder of a catalogue name or of a folder on disk.

    device: "cpu", "cuda", …; CUDA in bfloat16 where there is one, else the CPU in float32.
    local_files_only: fetch nothing from the hub; what is not on this machine is unavailable.
    Raises UnknownEncoder, EncoderUnavailable.
    """
    return BiEncoder(find_checkpoint(name_or_folder, local_files_only=local_files_only), device=device)
