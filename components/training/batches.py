"""Batches: which pairs each step takes, the negatives within a micro-batch, and the papers' word pieces."""

import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from components.encoder.catalogue import InputForm
from components.encoder.checkpoints import Checkpoint
from components.encoder.tokenizer import joined_text, load_tokenizer
from components.training.settings import Negatives, TrainingError, TrainingSettings
from corpus.cocitations.pairs import Rows, TrainingPairs
from corpus.progress import Progress, no_progress

PLANNING = "Planning the batches"
Positions = NDArray[np.int32]
WordPieces = NDArray[np.int32]

_TRIES = 64  # pairs tried per place of a micro-batch, and tries per pair on average: keeps the time linear
_TEXTS = 512  # tokenised at a time: their encodings take some 40 kB each
_REPAIRS = 5  # rounds in which finished micro-batches are taken apart for pairs that found no place


# -- The plan: pairs → micro-batches → steps ---------------------------------------------------------------------------


class Cocited:
    """Which papers are cited together, in either order. pairs: int32 (n, 2), rows of papers."""

    def __init__(self, pairs: Rows) -> None:
        self.papers = int(pairs.max()) + 1 if len(pairs) else 0
        ends = np.concatenate([pairs, pairs[:, ::-1]]).T
        self._matrix = csr_array((np.ones(ends.shape[1], np.bool_), tuple(ends)), shape=(self.papers, self.papers))
        self.partners = lru_cache(10_000)(self._partners)

    def together(self, a: Rows, b: Rows) -> NDArray[np.bool_]:
        """Whether a[i] and b[i] are cited together; the shape of both."""
        return np.asarray(self._matrix[a.ravel(), b.ravel()]).reshape(a.shape)

    def _partners(self, paper: int) -> frozenset[int]:
        start, end = self._matrix.indptr[paper : paper + 2]
        return frozenset(self._matrix.indices[start:end].tolist())


@dataclass(frozen=True, slots=True, eq=False)
class EpochPlan:
    """One epoch. micro_batches: int32 (m, micro_batch), positions in the pairs, each at most once.

    left_over: the number of pairs in none of them: the remainder, and pairs that fitted in nowhere.
    """

    micro_batches: Positions
    left_over: int


def plan_epoch(pairs: Rows, cocited: Cocited, *, micro_batch: int, seed: int, epoch: int) -> EpochPlan:
    """The micro-batches of an epoch in their order: a function of pairs, seed and epoch.

    pairs: int32 (n, 2), anchor and positive. Within a micro-batch no paper appears twice, and no row's positive is
    co-cited with another row's anchor: such a row waits for a later micro-batch. Takes a second per million pairs.
    """
    random = np.random.default_rng([seed, epoch, 0xE90C])
    order = random.permutation(len(pairs)).astype(np.int32)
    whole = len(order) // micro_batch * micro_batch
    drawn = order[:whole].reshape(-1, micro_batch)
    conflicting = _conflicts(pairs[drawn], cocited)
    rest = np.concatenate([drawn[conflicting].ravel(), order[whole:]])
    placed, left = _place(pairs, rest, cocited, micro_batch)
    planned = np.concatenate([drawn[~conflicting], placed])
    for _ in range(_REPAIRS):
        if len(left) < micro_batch or not len(planned):
            break
        # The pairs that are left share papers with each other: mix them with others.
        planned = random.permutation(planned)
        apart, kept = planned[: 2 * len(left)], planned[2 * len(left) :]
        placed, still_left = _place(pairs, np.concatenate([left, apart.ravel()]), cocited, micro_batch)
        if len(still_left) < len(left):
            planned, left = np.concatenate([kept, placed]), still_left
    return EpochPlan(random.permutation(planned), len(left))  # shuffled: those placed one by one must not come last


def _conflicts(rows: Rows, cocited: Cocited) -> NDArray[np.bool_]:
    """Which micro-batches (m, micro_batch, 2) repeat a paper or would have a co-cited negative: bool (m,)."""
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    papers = np.sort(rows.reshape(len(rows), 2 * rows.shape[1]), axis=1)
    conflicting: NDArray[np.bool_] = (papers[:, 1:] == papers[:, :-1]).any(axis=1)
    anchors, positives = rows[:, :, 0], rows[:, :, 1]
    for shift in range(1, rows.shape[1]):
        conflicting |= cocited.together(anchors, np.roll(positives, shift, axis=1)).any(axis=1)
    return conflicting


def _place(pairs: Rows, rest: Positions, cocited: Cocited, micro_batch: int) -> tuple[Positions, Positions]:
    """Fill micro-batches with these pairs one row at a time. Returns the full ones, and the pairs without a place."""
    full: list[list[int]] = []
    waiting = deque(zip(rest.tolist(), *pairs[rest].T.tolist(), strict=True))
    failed, tries = 0, _TRIES * len(rest)
    while len(waiting) >= micro_batch and failed <= len(waiting) and tries > 0:
        taken: list[tuple[int, int, int]] = []
        passed: list[tuple[int, int, int]] = []
        for _ in range(min(len(waiting), _TRIES * micro_batch)):
            row = waiting.popleft()
            tries -= 1
            if any(_conflict(row, other, cocited) for other in taken):
                passed.append(row)
                continue
            taken.append(row)
            if len(taken) == micro_batch:
                break
        if len(taken) == micro_batch:
            waiting.extendleft(reversed(passed))  # first in line: pairs of frequent papers must spread over all batches
            failed = 0
            full.append([position for position, _, _ in taken])
        else:
            waiting.extend(taken + passed)
            failed += len(taken) + len(passed)
    left = np.array([position for position, _, _ in waiting], dtype=np.int32)
    return np.array(full, dtype=np.int32).reshape(-1, micro_batch), left


def _conflict(row: tuple[int, int, int], other: tuple[int, int, int], cocited: Cocited) -> bool:
    """Whether two (position, anchor, positive) must not share a micro-batch."""
    _, anchor, positive = row
    _, other_anchor, other_positive = other
    return (
        not {anchor, positive}.isdisjoint((other_anchor, other_positive))
        or positive in cocited.partners(other_anchor)
        or anchor in cocited.partners(other_positive)
    )


@dataclass(frozen=True, slots=True, eq=False)
class RunPlan:
    """The micro-batches of a run, epoch after epoch; each step takes the next `per_step` of them.

    micro_batches: int32 (m, micro_batch), positions in the training pairs. epoch_ends: int64 (epochs,), the number of
    micro-batches up to the end of each epoch. left_over: pairs left out of each epoch.
    """

    micro_batches: Positions
    epoch_ends: NDArray[np.int64]
    left_over: tuple[int, ...]
    per_step: int
    total_steps: int

    def places(self, step: int) -> range:
        """The micro-batches of a step, 1 ≤ step ≤ total_steps."""
        return range((step - 1) * self.per_step, step * self.per_step)

    def epochs_done(self, step: int) -> float:
        """The number of epochs done after a step."""
        return float(np.interp(step * self.per_step, [0, *self.epoch_ends], np.arange(len(self.epoch_ends) + 1)))


def plan_run(pairs: TrainingPairs, settings: TrainingSettings, *, progress: Progress = no_progress) -> RunPlan:
    """The plan, a function of pairs and settings. An incomplete last step is dropped.

    Raises TrainingError if there is not one whole step, or if the run would end before its warm-up.
    """
    per_step = settings.batch // settings.micro_batch
    needed = settings.max_steps * per_step or math.inf
    cocited = Cocited(pairs.train)
    plans: list[EpochPlan] = []
    for epoch in range(settings.epochs):
        progress(PLANNING, epoch, settings.epochs)
        plans.append(
            plan_epoch(pairs.train, cocited, micro_batch=settings.micro_batch, seed=settings.seed, epoch=epoch)
        )
        needed -= len(plans[-1].micro_batches)
        if needed <= 0:
            break
    progress(PLANNING, settings.epochs, settings.epochs)
    micro_batches = np.concatenate([plan.micro_batches for plan in plans])
    steps = len(micro_batches) // per_step
    if not steps:
        raise TrainingError(
            f"{pairs.name}: its {len(pairs.train):,} training pairs make {len(micro_batches):,} micro-batches of "
            f"{settings.micro_batch} without a repeated paper, and a step takes {per_step}. Use a smaller batch, more "
            "epochs or more pairs."
        )
    steps = min(steps, settings.max_steps or steps)
    if settings.warmup_steps and settings.warmup_steps >= steps:
        raise TrainingError(
            f"warmup_steps is {settings.warmup_steps:,} and the whole run has {steps:,} step{'s' * (steps != 1)}, so "
            "the learning rate would never reach its peak. The default suits 30,000 pairs and more. Set --warmup-steps "
            f"{steps // 10}, a tenth of the run, or more --epochs."
        )
    return RunPlan(
        micro_batches=micro_batches,
        epoch_ends=np.cumsum([len(plan.micro_batches) for plan in plans]),
        left_over=tuple(plan.left_over for plan in plans),
        per_step=per_step,
        total_steps=steps,
    )


def draw_negatives(kind: Negatives, *, rows: int, random: np.random.Generator) -> NDArray[np.intp]:
    """For each of `rows` ≥ 2 rows the row whose positive is its negative: int (rows,).

    derangement: uniform among the permutations that leave no row in place, so that no row meets its own positive.
    permutation: uniform among all, like the authors; a row meets its own positive with probability 1/rows.
    """
    while True:
        drawn = random.permutation(rows).astype(np.intp)
        # One permutation in e is a derangement, for any number of rows. Rejection keeps it uniform.
        if kind == "permutation" or not (drawn == np.arange(rows)).any():
            return drawn


# -- Word pieces -------------------------------------------------------------------------------------------------------


class PaperTokens:
    """The papers' word pieces, the same that a `BiEncoder` of form `form` reads. Made on demand and kept.

    vocabulary: the number of word pieces that the model knows.
    """

    def __init__(self, papers: pa.Table, start: Checkpoint, *, form: InputForm, vocabulary: int) -> None:
        self._titles, self._abstracts = papers["title"], papers["abstract"]
        self._name, self._form, self._vocabulary = start.name, form, vocabulary
        self._tokenizer, self._separator_token = load_tokenizer(replace(start, form=form))
        self._dtype = np.dtype(np.uint16 if vocabulary <= 2**16 else np.int32)  # some 500 bytes per paper
        self._pieces: dict[int, NDArray[np.generic]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenise")
        self._coming: Future[None] | None = None

    def of(self, rows: Sequence[int] | NDArray[np.integer]) -> list[WordPieces]:
        """int32 (length,) for each paper, special tokens included. Raises TrainingError for pieces the model lacks."""
        if self._coming is not None:
            coming, self._coming = self._coming, None
            coming.result()
        self._make(rows)
        return [self._pieces[int(row)].astype(np.int32) for row in rows]

    def prepare(self, rows: Sequence[int] | NDArray[np.integer]) -> None:
        """Tokenise these papers in another thread; the next `of` waits for it. Not to be called twice before that."""
        self._coming = self._thread.submit(self._make, rows)

    def _make(self, rows: Sequence[int] | NDArray[np.integer]) -> None:
        missing = [row for row in dict.fromkeys(map(int, rows)) if row not in self._pieces]
        for start in range(0, len(missing), _TEXTS):
            some = missing[start : start + _TEXTS]
            for row, encoding in zip(some, self._tokenizer.encode_batch(list(map(self._text, some))), strict=True):
                ids = np.array(encoding.ids, dtype=np.int64)
                if not len(ids) or int(ids.max()) >= self._vocabulary:  # on a GPU it would break the whole process
                    raise TrainingError(
                        f"{self._name}: its tokenizer and its model do not belong together: the tokenizer gives word "
                        "pieces that the model does not know, or none. Fetch the checkpoint again."
                    )
                self._pieces[row] = ids.astype(self._dtype)

    def _text(self, row: int) -> str:
        return joined_text(
            self._titles[row].as_py(),
            self._abstracts[row].as_py(),
            separator=self._form.separator,
            separator_token=self._separator_token,
        )


def padded(rows: Sequence[WordPieces], *, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Word pieces and attention mask, padded on the right: two int64 (n, longest) on the CPU."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(row)
        mask[i, : len(row)] = 1
    return ids, mask
