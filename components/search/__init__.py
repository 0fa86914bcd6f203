"""Queries to hits, and what pages show of them: cards, links, comparisons and the map's bytes."""
