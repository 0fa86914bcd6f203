"""Tests. A package, because a dependency leaves a top-level `tests` of its own in site-packages."""
