"""HTML that several panels draw: lists of facts and tables of bars. Every text is escaped."""

import html
from collections.abc import Iterable, Sequence


def facts_html(facts: Iterable[tuple[str, str]]) -> str:
    """A definition list of (name, fact)."""
    entries = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in facts)
    return f'<dl class="facts">{entries}</dl>'


def bars_html(caption: str, bars: Sequence[tuple[str, float, str]], *, css_class: str) -> str:
    """A table of (label, value, text), with bars as long as the values; the longest bar fills its cell."""
    longest = max(value for _, value, _ in bars) or 1.0
    rows = "".join(
        f'<tr><td>{html.escape(label)}</td><td><span class="bar" style="width:{100 * value / longest:.1f}%"></span>'
        f"</td><td>{html.escape(text)}</td></tr>"
        for label, value, text in bars
    )
    return f'<table class="{css_class}"><caption>{html.escape(caption)}</caption><tbody>{rows}</tbody></table>'


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun.

    >>> plural(1, "paper"), plural(1200, "paper"), plural(2, "query", "queries")
    ('1 paper', '1,200 papers', '2 queries')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"
