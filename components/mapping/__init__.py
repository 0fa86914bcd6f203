"""Vectors → map coordinates, regions, their names and colours."""
