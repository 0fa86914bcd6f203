"""Papers → word pieces, when they are first needed, the same that a `BiEncoder` of the checkpoint reads."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from components.encoder.catalogue import InputForm
from components.encoder.checkpoints import Checkpoint
from components.encoder.word_pieces import joined_text, load_tokenizer
from components.training.settings import TrainingError

WordPieces = NDArray[np.int32]

_BLOCK = 2**20  # word pieces kept in one array


class PaperTokens:
    """The word pieces of papers, special ones included, cut off where the form says.

    They are kept once they are made: 2 bytes each, or 4 where the vocabulary is larger, some 500 bytes a paper.
    """

    def __init__(self, papers: pa.Table, start: Checkpoint, *, form: InputForm, vocabulary: int) -> None:
        """form: that the model is trained with. vocabulary: how many word pieces the model knows."""
        self._titles, self._abstracts = papers["title"], papers["abstract"]
        self._name, self._form, self._vocabulary = start.name, form, vocabulary
        self._tokenizer, self._separator_token = load_tokenizer(replace(start, form=form))
        self._dtype = np.dtype(np.uint16 if vocabulary <= 2**16 else np.int32)
        self._blocks = [np.empty(max(_BLOCK, form.max_tokens), dtype=self._dtype)]
        self._used = 0  # of the last block
        self._block = np.full(papers.num_rows, -1, dtype=np.int32)
        self._start = np.zeros(papers.num_rows, dtype=np.int32)
        self._length = np.zeros(papers.num_rows, dtype=np.int32)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="tokenise")
        self._coming: Future[None] | None = None

    def of(self, rows: Sequence[int] | NDArray[np.integer]) -> list[WordPieces]:
        """The word pieces of these papers: int32 (length,) each. Raises TrainingError where the model has not those."""
        self._wait()
        self._make(rows)
        return [
            self._blocks[self._block[row]][self._start[row] : self._start[row] + self._length[row]].astype(np.int32)
            for row in rows
        ]

    def lengths(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int32]:
        """How many word pieces each of these papers has."""
        self._wait()
        self._make(rows)
        found: NDArray[np.int32] = self._length[np.asarray(rows, dtype=np.int64)]
        return found

    def prepare(self, rows: Sequence[int] | NDArray[np.integer]) -> None:
        """Make these in another thread, while the caller does other work; `of` waits for it."""
        self._wait()
        self._coming = self._ahead.submit(self._make, rows)

    def _wait(self) -> None:
        if self._coming is not None:
            coming, self._coming = self._coming, None
            coming.result()

    def _make(self, rows: Sequence[int] | NDArray[np.integer]) -> None:
        missing = [row for row in dict.fromkeys(int(row) for row in rows) if self._block[row] < 0]
        if not missing:
            return
        texts = [
            joined_text(
                self._titles[row].as_py(),
                self._abstracts[row].as_py(),
                separator=self._form.separator,
                separator_token=self._separator_token,
            )
            for row in missing
        ]
        for row, encoding in zip(missing, self._tokenizer.encode_batch(texts), strict=True):
            found = np.array(encoding.ids, dtype=np.int64)
            # On a GPU a wrong one would break the whole process.
            if len(found) == 0 or int(found.max()) >= self._vocabulary:
                raise TrainingError(
                    f"{self._name}: its tokenizer gives word pieces that its model does not know, or none, so they do "
                    "not belong together. Fetch the checkpoint again."
                )
            if self._used + len(found) > len(self._blocks[-1]):
                self._blocks.append(np.empty_like(self._blocks[-1]))
                self._used = 0
            self._blocks[-1][self._used : self._used + len(found)] = found
            self._start[row], self._length[row] = self._used, len(found)
            self._block[row] = len(self._blocks) - 1
            self._used += len(found)


def padded(rows: Sequence[WordPieces], *, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Word pieces and their mask as `TrainedEncoder` takes them: two int64 (n, longest), on the CPU."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
