"""Sources: web services that answer queries and look papers up by id. Only queries and ids leave the machine.

from corpus.sources.fetch import fetch
from corpus.sources.lookup import SOURCES, look_up

fetch(SOURCES["pubmed"], "asthma[mesh]", Path("asthma"), limit=1_000).summary()
look_up(identifier_in("10.1000/abc"))
"""
