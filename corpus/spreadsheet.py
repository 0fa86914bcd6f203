"""Cells that no spreadsheet takes for a formula, and the texts that they were made of."""

import re

# A spreadsheet runs a cell that begins so; the wide forms count as = + - @ in East Asian settings.
_SIGN = r"\s*[=+\-@＝＋－＠\t\r]"
# With the apostrophes that a text has of its own, so that the one that was put before it can be told from them.
_TO_GUARD = re.compile(rf"'*{_SIGN}")
_GUARDED = re.compile(rf"'+{_SIGN}")


def guarded(text: str) -> str:
    """A text as a cell: with an apostrophe before it where it would else be run.

    >>> guarded("=1+1"), guarded("a = 1"), guarded("'=1")
    ("'=1+1", 'a = 1', "''=1")
    """
    return f"'{text}" if _TO_GUARD.match(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell: what `guarded` was given.

    >>> unguarded("'=1+1"), unguarded("''=1"), unguarded("'t Hooft")
    ('=1+1', "'=1", "'t Hooft")
    """
    return cell[1:] if _GUARDED.match(cell) else cell
