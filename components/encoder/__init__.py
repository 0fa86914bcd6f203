"""Texts → vectors: the catalogue, downloads, safe loading of checkpoints, the bi-encoder and the lexical encoder."""
