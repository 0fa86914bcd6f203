"""How well a ranking finds what people judged relevant: ranking pools, metrics and their statistics, evaluations."""

from components.evaluation.baselines import bm25_system, rank_by_bm25, rank_by_tfidf, tfidf_system
from components.evaluation.encoding import clear_vectors, encode_set, kept_vectors
from components.evaluation.metrics import average_precision, ndcg_at, ndcg_at_percent
from components.evaluation.ranking import RankingError, SetVectors, TieOrder, rank_by_scores, rank_by_vectors
from components.evaluation.scoring import METRICS, by_fold, means, ranked_grades, score
from components.evaluation.standard_metrics import USUAL, usual_metrics
from components.evaluation.statistics import PairedTest, bootstrap_interval, paired_test

__all__ = [
    "METRICS",
    "USUAL",
    "PairedTest",
    "RankingError",
    "SetVectors",
    "TieOrder",
    "average_precision",
    "bm25_system",
    "bootstrap_interval",
    "by_fold",
    "clear_vectors",
    "encode_set",
    "kept_vectors",
    "means",
    "ndcg_at",
    "ndcg_at_percent",
    "paired_test",
    "rank_by_bm25",
    "rank_by_scores",
    "rank_by_tfidf",
    "rank_by_vectors",
    "ranked_grades",
    "score",
    "tfidf_system",
    "usual_metrics",
]
