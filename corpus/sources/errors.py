"""What can go wrong where papers are looked up or fetched, each in a sentence for the person who asked."""

from corpus.errors import CociteAtlasError


class SourceError(CociteAtlasError):
    """A source that did not give what it was asked for. The base class of those below."""


class SourceUnavailable(SourceError):
    """A source that cannot be reached, or not now: no network, a server in trouble, too many questions."""


class SourceRefused(SourceError):
    """A source that answered, and said no: a query that it cannot read, a key that it does not know."""


class BadAnswer(SourceError):
    """An answer that breaks the service's own rules: malformed, of another kind, too large, leading elsewhere."""


class PaperNotFound(SourceError):
    """No source that was asked knows a paper by this identifier."""
