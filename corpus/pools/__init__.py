"""Judged sets: papers to ask with, the pool of candidates of each, and the grades that people gave them."""

from corpus.pools.judged import Handled, HandledKind, JudgedSet, Pool, PoolPaper, SetError
from corpus.pools.released import read_released
from corpus.pools.writing import write_released

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
