"""Vectors → neighbours: hnswlib, exact search (its oracle), and the index that chooses between them."""

from components.index.base import Index, Mask, Neighbours, Vectors
from components.index.exact import ExactIndex
from components.index.hnsw import HnswIndex, HnswSettings, Tuning
from components.index.neighbour_index import GRAPH_FROM, NeighbourIndex
from components.index.recall_queries import Questions, questions
from components.index.tuned import tuned_graph

__all__ = [
    "GRAPH_FROM",
    "ExactIndex",
    "HnswIndex",
    "HnswSettings",
    "Index",
    "Mask",
    "NeighbourIndex",
    "Neighbours",
    "Questions",
    "Tuning",
    "Vectors",
    "questions",
    "tuned_graph",
]
