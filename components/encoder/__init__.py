"""Texts → vectors: the catalogue of checkpoints, loading one safely, and the bi-encoder."""

from components.encoder.bi_encoder import BiEncoder, Reading, TitleAndAbstract, load_encoder
from components.encoder.catalogue import CATALOGUE, EMBEDDED, CatalogueEntry, UnknownEncoder
from components.encoder.checkpoints import Checkpoint, EncoderUnavailable, find_checkpoint

__all__ = [
    "CATALOGUE",
    "EMBEDDED",
    "BiEncoder",
    "CatalogueEntry",
    "Checkpoint",
    "EncoderUnavailable",
    "Reading",
    "TitleAndAbstract",
    "UnknownEncoder",
    "find_checkpoint",
    "load_encoder",
]
