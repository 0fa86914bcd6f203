"""Cells of spreadsheets: kept from being run as formulas when they are written, and read as what was meant."""

import re

# A spreadsheet runs a cell that begins so; the wide forms count as = + - @ in East Asian settings.
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠\t\r]")
_GUARD = re.compile(r"'(?='*\s*[=+\-@＝＋－＠\t\r])")
_TEXT_FORMULA = re.compile(r'="([^"]*)"')  # how some programs keep Excel from reading 00123 as a number


def guarded(text: str) -> str:
    """The text of a cell, with an apostrophe before what a spreadsheet would run as a formula.

    >>> guarded("=1+1"), guarded("1+1"), unguarded(guarded("'=1"))
    ("'=1+1", '1+1', "'=1")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """The text of a cell that `guarded` or a spreadsheet wrote.

    >>> unguarded("'=1+1"), unguarded('="00123"'), unguarded("'tis")
    ('=1+1', '00123', "'tis")
    """
    if found := _TEXT_FORMULA.fullmatch(text):
        return found[1]
    return text[1:] if _GUARD.match(text) else text
