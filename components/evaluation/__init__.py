"""How well a ranking finds what people judged relevant: metrics, and the ranking of a pool."""

from components.evaluation.metrics import average_precision, ndcg_at, ndcg_at_percent
from components.evaluation.ranking import Run, Scores, evaluate, rank_pool

__all__ = ["Run", "Scores", "average_precision", "evaluate", "ndcg_at", "ndcg_at_percent", "rank_pool"]
