"""BiEncoder: texts → vectors. Query and candidate are encoded separately, by one model."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
from numpy.typing import NDArray

from components.encoder.base import (
    ENCODING,
    EncoderUnavailable,
    Precision,
    TextCoverage,
    TitleAndAbstract,
    Vectors,
    first_line,
)
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.encoder.queue import EncodingQueue, Rows
from components.encoder.tokenizer import MAX_CHARS, joined_text, load_tokenizer
from components.encoder.weights import load_weights
from corpus.progress import Progress, no_progress

if TYPE_CHECKING:
    pass

PRECISION_VARIABLE = "COCITE_ATLAS_PRECISION"

CHUNK = 512  # texts tokenised at a time: bounds memory, and is what a cancelled call loses
# Tokens in one pass. CPU: 4 abstracts; more gain nothing and would keep a query waiting. GPU: enough to keep it busy.
TOKEN_BUDGET = {"cpu": 1_024, "cuda": 65_536}
MAX_QUERY_TEXTS = 8  # more texts are long work, which lets queries through


def token_budget_batches(lengths: Sequence[int], *, budget: int) -> Iterator[NDArray[np.intp]]:
    """Positions of `lengths` in batches whose padded size (count × longest) is at most `budget` tokens.

    Longest first, so that a batch that does not fit into memory fails at once and the estimate of the time left
    errs to the safe side. A single text longer than the budget is a batch of its own.

    >>> [batch.tolist() for batch in token_budget_batches([3, 9, 4, 1], budget=9)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def packed_batches(lengths: Sequence[int], *, budget: int) -> Iterator[NDArray[np.intp]]:
    """Positions of `lengths` in batches, in order, whose sum is at most `budget` tokens: for texts without padding.

    A single text longer than the budget is a batch of its own.

    >>> [batch.tolist() for batch in packed_batches([3, 9, 4, 1], budget=9)]
    [[0], [1], [2, 3]]
    """
    batch: list[int] = []
    tokens = 0
    for position, length in enumerate(lengths):
        if batch and tokens + length > budget:
            yield np.array(batch, dtype=np.intp)
            batch, tokens = [], 0
        batch.append(position)
        tokens += length
    if batch:
        yield np.array(batch, dtype=np.intp)


class BiEncoder:
    """One loaded checkpoint. Immutable after loading, so safe to share between threads."""

    def __init__(
        self, checkpoint: Checkpoint, *, device: str | None = None, precision: Precision | None = None
    ) -> None:
        import torch

        from components.encoder.bert import PackedBert, can_pack

        self.checkpoint = checkpoint
        self.name, self.source, self.fingerprint = checkpoint.name, checkpoint.source, checkpoint.fingerprint
        self.normalised = checkpoint.form.normalised
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.precision = precision or default_precision(self.device.type)
        self._tokenizer, self._separator_token = load_tokenizer(checkpoint)
        dtype = getattr(torch, self.precision)
        pooling = checkpoint.form.pooling
        weights = load_weights(checkpoint)
        self._model: Callable[..., torch.Tensor]
        self.mix_weights: NDArray[np.float32] | None = None  # (layers + 1,), of a scalar mix
        if weights is not None and can_pack(weights.config):
            packed = PackedBert(weights, pooling=pooling, device=self.device, dtype=dtype)
            self._model, self._batches = packed, packed_batches
            self.dimensions, self._vocabulary = weights.config.hidden_size, weights.config.vocab_size
            if packed.mix is not None:
                self.mix_weights = packed.mix.weights.detach().cpu().numpy()
        else:
            from components.encoder.hf import PaddedModel

            padded = PaddedModel(checkpoint, pooling=pooling, device=self.device, dtype=dtype)
            self._model, self._batches = padded, token_budget_batches
            self.dimensions, self._vocabulary = padded.dimensions, padded.vocabulary
        if (tokens := self._tokenizer.get_vocab_size()) > self._vocabulary:
            raise EncoderUnavailable(
                f"{checkpoint.name}: its tokenizer has {tokens:,} word pieces and its model {self._vocabulary:,}, so "
                "they do not belong together. Fetch the checkpoint again."
            )
        self._token_budget = TOKEN_BUDGET["cpu" if self.device.type == "cpu" else "cuda"]
        self._queue = EncodingQueue(self._forward)

    def encode(self, texts: Sequence[TitleAndAbstract], *, progress: Progress = no_progress) -> Vectors:
        """Vectors of (title, abstract) pairs: float32 (len(texts), dimensions), row i for text i.

        A few texts are a query: they are encoded with the queries of other threads, before long work.
        progress: in texts, after each batch; may raise to stop the work.
        Raises EncoderUnavailable where the pass fails, or gives values that are not finite.
        """
        if 0 < len(texts) <= MAX_QUERY_TEXTS:
            vectors = self._checked(self._queue.encode_query(self._word_pieces(texts)))
            progress(ENCODING, len(texts), len(texts))
            return vectors
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        start = 0
        for part in self.stream(texts, progress=lambda stage, done, _: progress(stage, done, len(texts))):
            vectors[start : start + len(part)] = part
            start += len(part)
        return vectors

    def stream(
        self, texts: Iterable[TitleAndAbstract], *, chunk: int = CHUNK, progress: Progress = no_progress
    ) -> Iterator[Vectors]:
        """Vectors of any number of texts, `chunk` of them at a time, in order: float32 (≤ chunk, dimensions).

        Holds at most two chunks: while one is encoded, another thread reads and tokenises the next.
        progress: in texts, of 0. Raises as `encode` does, and what reading `texts` raises.
        """
        source = iter(texts)

        def next_rows() -> list[NDArray[np.int32]]:
            return self._word_pieces(list(islice(source, chunk)))

        done = 0
        with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as ahead:
            coming = ahead.submit(next_rows)
            while rows := coming.result():
                coming = ahead.submit(next_rows)
                vectors = np.empty((len(rows), self.dimensions), dtype=np.float32)
                for batch in self._batches([len(row) for row in rows], budget=self._token_budget):
                    vectors[batch] = self._queue.encode_long([rows[i] for i in batch])
                    done += len(batch)
                    progress(ENCODING, done, 0)
                yield self._checked(vectors)

    def coverage(self, title: str, abstract: str) -> TextCoverage:
        """How much of a title and abstract `encode` reads before it cuts the rest off."""
        joined = self._joined(title, abstract)
        encoding = self._tokenizer.encode(joined)
        words = read = len(f"{title} {abstract}".split())
        # Only of a cut text: the last word piece's end misses what the tokenizer drops (soft hyphens, say).
        if encoding.overflowing or len(joined) == MAX_CHARS:
            end = max((stop for _, stop in encoding.offsets), default=0)
            # The separator token is no word of the text; a word cut in its middle was not read.
            read = len(joined[:end].replace(self._separator_token, " ").split())
            if 0 < end < len(joined) and not joined[end - 1].isspace() and not joined[end].isspace():
                read -= 1
        return TextCoverage(
            words_read=max(0, min(read, words)),
            words=words,
            tokens_read=len(encoding.ids),
            max_tokens=self.checkpoint.form.max_tokens,
        )

    def _joined(self, title: str, abstract: str) -> str:
        separator = self.checkpoint.form.separator
        return joined_text(title, abstract, separator=separator, separator_token=self._separator_token)

    def _word_pieces(self, texts: Sequence[TitleAndAbstract]) -> list[NDArray[np.int32]]:
        encodings = self._tokenizer.encode_batch([self._joined(title, abstract) for title, abstract in texts])
        rows = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        # A vocabulary of the right size may hold ids beyond it, and on a GPU such an id would break the whole process.
        if any(len(row) == 0 or int(row.max()) >= self._vocabulary or int(row.min()) < 0 for row in rows):
            raise EncoderUnavailable(
                f"{self.name}: its tokenizer gives word pieces that its model does not have, or none, so they do not "
                "belong together. Fetch the checkpoint again."
            )
        return rows

    def _forward(self, rows: Rows, pause: Callable[[], None] | None) -> Vectors:
        import torch

        pooled = torch.empty((len(rows), self.dimensions))
        try:
            # Queries that are encoded together may exceed one batch.
            for batch in self._batches([len(row) for row in rows], budget=self._token_budget):
                pooled[batch] = self._model([rows[i] for i in batch], pause=pause)
        # What PyTorch and transformers raise of a pass: too little memory, a model with other inputs.
        except (RuntimeError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise EncoderUnavailable(
                f"{self.name} could not encode on this machine ({first_line(error)}). Close other programs, or choose "
                "another encoder."
            ) from error
        if self.normalised:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return cast(Vectors, pooled.numpy())

    def _checked(self, vectors: Vectors) -> Vectors:
        if not np.isfinite(vectors).all():
            raise EncoderUnavailable(
                f"{self.name} gave values that are not finite. Its weights are damaged: fetch them again."
            )
        return vectors


def default_precision(device: str | None = None) -> Precision:
    """bfloat16 on a GPU, float32 on a CPU, or what $COCITE_ATLAS_PRECISION says.

    device: "cpu", "cuda", …; by default CUDA where there is one. Raises EncoderUnavailable for an invalid setting.
    """
    import torch

    setting = os.environ.get(PRECISION_VARIABLE, "")
    if setting in get_args(Precision):
        return cast(Precision, setting)
    if setting:
        raise EncoderUnavailable(
            f"{PRECISION_VARIABLE} is {setting!r:.40}; it may be {' or '.join(get_args(Precision))}."
        )
    return "bfloat16" if (device or ("cuda" if torch.cuda.is_available() else "cpu")).startswith("cuda") else "float32"


def has_fast_bfloat16() -> bool:
    """Whether this machine computes in bfloat16 faster than in float32: a GPU, or a CPU with instructions for it."""
    import torch

    if torch.cuda.is_available():
        return True
    # Private functions of PyTorch, for AVX-512 BF16 and AMX on x86.
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        try:
            if getattr(torch.cpu, name)():
                return True
        except (AttributeError, RuntimeError):
            continue
    return False


def load_encoder(
    name_or_path: str,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    local_files_only: bool = False,
    progress: Progress = no_progress,
) -> BiEncoder:
    """The encoder of a catalogue name, or of a folder or zip on disk.

    device: "cpu", "cuda", …; by default CUDA where there is one.
    precision: by default bfloat16 on CUDA and float32 on a CPU, or what $COCITE_ATLAS_PRECISION says.
    local_files_only: download nothing. progress: of a download, in bytes; may raise to stop it.
    Raises UnknownEncoder, EncoderUnavailable.
    """
    checkpoint = find_checkpoint(name_or_path, local_files_only=local_files_only, progress=progress)
    return BiEncoder(checkpoint, device=device, precision=precision)
