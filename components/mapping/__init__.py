"""Vectors to map coordinates, regions and their names."""
