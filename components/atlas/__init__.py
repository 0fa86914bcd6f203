"""Atlases on disk: papers, vectors, index and map, aligned by row."""
