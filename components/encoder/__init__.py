"""Texts → vectors: the catalogue, loading a checkpoint safely, the bi-encoder, and the lexical encoder."""

from components.encoder.base import Encoder, Reading, TitleAndAbstract
from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import CATALOGUE, EMBEDDED, CatalogueEntry, UnknownEncoder
from components.encoder.checkpoints import Checkpoint, EncoderUnavailable, find_checkpoint
from components.encoder.lexical import (
    LEXICAL,
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
    "CatalogueEntry",
    "Checkpoint",
    "Encoder",
    "EncoderUnavailable",
    "LexicalEncoder",
    "LexicalFileDamaged",
    "NoWordsToLearn",
    "Reading",
    "TitleAndAbstract",
    "UnknownEncoder",
    "find_checkpoint",
    "load_encoder",
    "settings_fingerprint",
]
