"""Texts → vectors: the catalogue, downloads, checkpoints, the bi-encoder and the lexical encoder."""
