"""Judged sets: papers to ask with, the pool of candidates of each, and the grades that people gave them."""

from corpus.judged_sets.judged import Handled, HandledKind, JudgedSet, Pool, PoolPaper, SetError
from corpus.judged_sets.released import read_released
from corpus.judged_sets.writing import write_released

__all__ = [
    "Handled",
    "HandledKind",
    "JudgedSet",
    "Pool",
    "PoolPaper",
    "SetError",
    "read_released",
    "write_released",
]
