"""Fixtures that tests of the command line share with those of sources."""

from tests.corpus.conftest import client_of, place, time_of

__all__ = ["client_of", "place", "time_of"]
