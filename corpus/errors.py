"""The one base class of every error that this project raises on purpose."""


class CociteAtlasError(Exception):
    """What happened, to what, and what to do next, in words for the person at the screen.

    Pages and the command line catch this and nothing broader.
    """
