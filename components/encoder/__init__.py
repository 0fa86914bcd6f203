"""Texts → vectors: the catalogue, loading a checkpoint safely, the bi-encoder, and the lexical encoder."""

from components.encoder.base import Encoder, Reading, TitleAndAbstract
from components.encoder.bi_encoder import BiEncoder, Precision, default_precision, has_fast_bfloat16, load_encoder
from components.encoder.cache import Progress, cache_folder, own_checkpoints, own_place
from components.encoder.catalogue import CATALOGUE, EMBEDDED, LEXICAL, CatalogueEntry, Score
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.encoder.downloads import CachedEncoder, Cleared, cached, clear, fetch, is_here, partial_of
from components.encoder.errors import EncoderUnavailable, UnknownEncoder
from components.encoder.lexical import (
    LexicalEncoder,
    LexicalFileDamaged,
    NoWordsToLearn,
    settings_fingerprint,
)

__all__ = [
    "CATALOGUE",
    "EMBEDDED",
    "LEXICAL",
    "BiEncoder",
    "CachedEncoder",
    "CatalogueEntry",
    "Checkpoint",
    "Cleared",
    "Encoder",
    "EncoderUnavailable",
    "LexicalEncoder",
    "LexicalFileDamaged",
    "NoWordsToLearn",
    "Precision",
    "Progress",
    "Reading",
    "Score",
    "TitleAndAbstract",
    "UnknownEncoder",
    "cache_folder",
    "cached",
    "clear",
    "default_precision",
    "fetch",
    "find_checkpoint",
    "has_fast_bfloat16",
    "is_here",
    "load_encoder",
    "own_checkpoints",
    "own_place",
    "partial_of",
    "settings_fingerprint",
]
