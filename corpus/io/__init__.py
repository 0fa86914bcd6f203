"""Streams, decoding, limits, atomic writes and checksums."""
