"""Judged sets: papers to ask with, the pool of candidates of each, and the grades that people gave them."""

from corpus.pools.judged import Handled, HandledKind, JudgedSet, Pool, PoolPaper, SetError

__all__ = ["Handled", "HandledKind", "JudgedSet", "Pool", "PoolPaper", "SetError"]
