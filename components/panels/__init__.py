"""Pieces of a page: each draws one thing and returns what the user asked for."""
