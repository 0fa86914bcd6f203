"""The errors of encoders: not known by that name, or known and not to be had."""

from corpus.errors import CociteAtlasError

_MAX_NAMED = 5


class UnknownEncoder(CociteAtlasError):
    """A name that is neither in the catalogue nor a folder or zip that holds a checkpoint."""


class EncoderUnavailable(CociteAtlasError):
    """A checkpoint that is known but cannot be had here and now: offline, missing, damaged or foreign."""


def unreadable(name: str, reason: str) -> EncoderUnavailable:
    """What to raise where a checkpoint's files are no model, or are damaged."""
    return EncoderUnavailable(
        f"{name}: its files could not be read as a model ({reason}). "
        "Fetch the checkpoint again, or choose another encoder."
    )


def first_line(error: BaseException) -> str:
    """An error of a library in one bounded line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def named(names: list[str]) -> str:
    """Some names in words, the first few of them in full.

    >>> named(["a"]), named(["f", "a", "b", "c", "d", "e", "g"])
    ('a', 'a, b, c, d, e and 2 more')
    """
    shown = ", ".join(f"{name:.80}" for name in sorted(names)[:_MAX_NAMED])
    return shown if len(names) <= _MAX_NAMED else f"{shown} and {len(names) - _MAX_NAMED:,} more"
