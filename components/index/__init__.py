"""Vectors → neighbours: exact search, hnswlib graphs, and their recall and speed."""
