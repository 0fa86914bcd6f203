"""Spreadsheet cells: written so that no spreadsheet runs them as formulas, and read back."""

import re

# A spreadsheet runs a cell that begins so; the wide forms count as = + - @ in East Asian settings.
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠\t\r]")
_GUARD = re.compile(r"'(?='*\s*[=+\-@＝＋－＠\t\r])")
_TEXT_FORMULA = re.compile(r'="([^"]*)"')  # how some programs keep Excel from reading 00123 as a number


def guard_cell(text: str) -> str:
    """The text of a cell, with an apostrophe before what a spreadsheet would run as a formula.

    >>> guard_cell("=1+1"), guard_cell("1+1"), unguard_cell(guard_cell("'=1"))
    ("'=1+1", '1+1', "'=1")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_cell(text: str) -> str:
    """The text of a cell that `guard_cell` or a spreadsheet wrote.

    >>> unguard_cell("'=1+1"), unguard_cell('="00123"'), unguard_cell("'tis")
    ('=1+1', '00123', "'tis")
    """
    if match := _TEXT_FORMULA.fullmatch(text):
        return match[1]
    return text[1:] if _GUARD.match(text) else text
