"""BiEncoder: texts → vectors, in batches under a budget of tokens. One model encodes query and candidate apart."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from components.encoder.base import Precision, TextCoverage, TitleAndAbstract, Vectors
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.encoder.errors import EncoderUnavailable, first_line
from components.encoder.queue import EncodingQueue, Rows
from components.encoder.tokenizer import MAX_TEXT, joined_text, load_tokenizer
from components.encoder.weights import load_weights
from corpus.progress import Progress

PRECISION_VARIABLE = "COCITE_ATLAS_PRECISION"

CHUNK = 512  # texts tokenised at a time: bounds memory, and is what a cancelled call loses
# Tokens in one pass: 4 abstracts on a CPU, where more gain nothing and would keep a query waiting; on a GPU enough to
# keep all of it at work.
TOKEN_BUDGET = {"cpu": 1_024, "cuda": 65_536}
QUERY_TEXTS = 8  # up to so many texts are a query, which long work lets through


class BiEncoder:
    """One loaded checkpoint. Safe to share between threads: nothing in it changes after loading."""

    def __init__(
        self, checkpoint: Checkpoint, *, device: str | None = None, precision: Precision | None = None
    ) -> None:
        import torch

        from components.encoder.bert import PackedBert, can_pack

        self.checkpoint = checkpoint
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.precision = precision or default_precision(self.device.type)
        self._tokenizer, self._separator_token = load_tokenizer(checkpoint)
        dtype = getattr(torch, self.precision)
        pooling = checkpoint.form.pooling
        weights = load_weights(checkpoint)
        self._model: Callable[..., torch.Tensor]
        # Which states the mix weighs how; None where the pooling is another.
        self.mix_weights: NDArray[np.float32] | None = None
        if weights is not None and can_pack(weights.config):
            model = PackedBert(weights, pooling=pooling, device=self.device, dtype=dtype)
            self._model, self._packed = model, True
            self.dimensions, known = weights.config.hidden, weights.config.vocab
            if model.mix is not None:
                self.mix_weights = model.mix.weights.detach().cpu().numpy()
        else:
            from components.encoder.hf import PaddedModel

            padded = PaddedModel(checkpoint, pooling=pooling, device=self.device, dtype=dtype)
            self._model, self._packed = padded, False
            self.dimensions, known = padded.dimensions, padded.vocabulary
        if (tokens := self._tokenizer.get_vocab_size()) > known:
            raise EncoderUnavailable(
                f"{checkpoint.name}: its tokenizer has {tokens:,} word pieces and its model knows {known:,}, so they "
                "do not belong together. Fetch the checkpoint again."
            )
        self._vocabulary = known
        self._queue = EncodingQueue(self._forward)

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

        A few texts are a query: they go with the queries of other threads, before long work.
        on_progress: called after each batch with the number of texts done so far; may raise to stop the work.
        Raises EncoderUnavailable where the model gives values that are not numbers.
        """
        if 0 < len(texts) <= QUERY_TEXTS:
            vectors = self._numbers(self._queue.query(self._word_pieces(texts)))
            if on_progress is not None:
                on_progress(len(texts))
            return vectors
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        start = 0
        for part in self.stream(texts, on_progress=on_progress):
            vectors[start : start + len(part)] = part
            start += len(part)
        return vectors

    def stream(
        self,
        texts: Iterable[TitleAndAbstract],
        *,
        chunk: int = CHUNK,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Vectors]:
        """Vectors of any number of texts, `chunk` of them at a time, in order: float32 (≤ chunk, dimensions).

        Holds two chunks at most: the next is read, in another thread, and tokenised while one is encoded.
        Raises as `encode` does, and what reading `texts` raises.
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
                for batch in self._batches([len(row) for row in rows]):
                    vectors[batch] = self._queue.long([rows[i] for i in batch])
                    done += len(batch)
                    if on_progress is not None:
                        on_progress(done)
                yield self._numbers(vectors)

    def reading(self, title: str, abstract: str) -> TextCoverage:
        """How much of a title and abstract `encode` reads before it cuts the rest off."""
        joined = self._joined(title, abstract)
        encoding = self._tokenizer.encode(joined)
        words = read = len(f"{title} {abstract}".split())
        # Not told by where the last word piece ends: what the tokenizer drops (soft hyphens, say) would seem unread.
        if encoding.overflowing or len(joined) == MAX_TEXT:
            end = max((stop for _, stop in encoding.offsets), default=0)
            # The separator token is ours, not a word of theirs; a word cut in its middle was not read.
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
        # The count of a vocabulary says nothing of its numbers, and on a GPU a wrong one would break the whole process.
        if any(len(row) == 0 or int(row.max()) >= self._vocabulary or int(row.min()) < 0 for row in rows):
            raise EncoderUnavailable(
                f"{self.name}: its tokenizer gives word pieces that its model does not know, or none, so they do not "
                "belong together. Fetch the checkpoint again."
            )
        return rows

    def _batches(self, lengths: list[int]) -> Iterator[NDArray[np.intp]]:
        budget = TOKEN_BUDGET["cpu" if self.device.type == "cpu" else "cuda"]
        return (packed_batches if self._packed else token_budget_batches)(lengths, budget=budget)

    def _forward(self, rows: Rows, pause: Callable[[], None] | None) -> Vectors:
        import torch

        # Queries that go together may be more than one pass should hold.
        batches = self._batches([len(row) for row in rows])
        pooled = torch.empty((len(rows), self.dimensions))
        try:
            for batch in batches:
                pooled[batch] = self._model([rows[i] for i in batch], pause=pause)
        # What PyTorch and transformers raise of a pass: too little memory, a model that takes other inputs.
        except (RuntimeError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise EncoderUnavailable(
                f"{self.name} could not encode on this machine ({first_line(error)}). Close other programs, or choose "
                "another encoder."
            ) from error
        if self.normalised:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return cast(Vectors, pooled.numpy())

    def _numbers(self, vectors: Vectors) -> Vectors:
        if not np.isfinite(vectors).all():
            raise EncoderUnavailable(
                f"{self.name} gave values that are not numbers. Its weights are damaged: fetch them again."
            )
        return vectors


def default_precision(device: str | None = None) -> Precision:
    """bfloat16 where a GPU makes it worth its rounding; float32 on a CPU, unless the environment says otherwise.

    device: "cpu", "cuda", …; by default CUDA where there is one. Raises EncoderUnavailable for what it cannot be.
    """
    import torch

    asked = os.environ.get(PRECISION_VARIABLE, "")
    if asked in get_args(Precision):
        return cast(Precision, asked)
    if asked:
        raise EncoderUnavailable(
            f"{PRECISION_VARIABLE} is {asked!r:.40}; it may be {' or '.join(get_args(Precision))}."
        )
    return "bfloat16" if (device or ("cuda" if torch.cuda.is_available() else "cpu")).startswith("cuda") else "float32"


def has_fast_bfloat16() -> bool:
    """Whether this machine computes in bfloat16 faster than in float32: a GPU, or a CPU with instructions for it."""
    import torch

    if torch.cuda.is_available():
        return True
    # Private, so asked with care: AVX-512 BF16 and AMX on x86; where PyTorch does not say, the answer is no.
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
    progress: Progress | None = None,
) -> BiEncoder:
    """The encoder of a catalogue name, or of a folder or zip on disk.

    device: "cpu", "cuda", …; by default CUDA where there is one.
    precision: by default bfloat16 on CUDA and float32 on a CPU, or what $COCITE_ATLAS_PRECISION says.
    local_files_only: fetch nothing; what is not on this machine is unavailable.
    progress: told of the bytes of a download; may raise to stop it.
    Raises UnknownEncoder, EncoderUnavailable.
    """
    checkpoint = find_checkpoint(name_or_path, local_files_only=local_files_only, progress=progress)
    return BiEncoder(checkpoint, device=device, precision=precision)


def token_budget_batches(lengths: Sequence[int], *, budget: int) -> Iterator[NDArray[np.intp]]:
    """Positions of `lengths` in batches whose padded size (count × longest) stays within `budget` tokens.

    Longest first, so that a batch that does not fit in memory fails at once and the estimate of the time left
    errs to the safe side. A single text longer than the budget is a batch of its own. Each position comes once.

    >>> [batch.tolist() for batch in token_budget_batches([3, 9, 4, 1], budget=9)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = max(1, budget // longest)
        yield order[start : start + size]
        start += size


def packed_batches(lengths: Sequence[int], *, budget: int) -> Iterator[NDArray[np.intp]]:
    """Positions of `lengths` in batches, in order, whose sum stays within `budget` tokens: for texts without padding.

    A single text longer than the budget is a batch of its own. Each position comes once.

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
