"""Errors of sources: each message says what happened and what to do next."""

from corpus.errors import CociteAtlasError


class SourceError(CociteAtlasError):
    """A source did not give what it was asked for. The base class of the errors below."""


class SourceUnavailable(SourceError):
    """The source cannot be reached now: no network, a server error, too many requests."""


class SourceRefused(SourceError):
    """The source refused the request: a query that it cannot parse, an unknown key."""


class BadAnswer(SourceError):
    """The answer breaks the service's own rules: malformed, of another type, too large, redirected to another host."""


class PaperNotFound(SourceError):
    """No source that was asked has a paper with this identifier."""
