"""Texts → vectors: the catalogue of checkpoints, loading one safely, and the bi-encoder."""

from components.encoder.base import Encoder, Reading, TitleAndAbstract
from components.encoder.bi_encoder import BiEncoder, Precision, has_fast_bfloat16, load_encoder
from components.encoder.catalogue import CATALOGUE, EMBEDDED, CatalogueEntry
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.encoder.errors import EncoderUnavailable, UnknownEncoder

__all__ = [
    "CATALOGUE",
    "EMBEDDED",
    "BiEncoder",
    "CatalogueEntry",
    "Checkpoint",
    "Encoder",
    "EncoderUnavailable",
    "Precision",
    "Reading",
    "TitleAndAbstract",
    "UnknownEncoder",
    "find_checkpoint",
    "has_fast_bfloat16",
    "load_encoder",
]
