"""The page of a report: one HTML file that asks no server, all text of unknown origin in it escaped."""

import base64
import hashlib
import html
import importlib.resources
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from components.training.chart_lines import colours
from components.training.charts import Chart

_ASSETS = Path(__file__).with_name("assets")
# What would end a script, or a line of one.
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def page(title: str, *, head: str, charts: Sequence[Chart], tail: str) -> str:
    """The whole file. title: text. head, tail: HTML before the charts and after them, made by what follows here."""
    data = {
        "charts": [{"id": chart.id, "figure": chart.figure} for chart in charts],
        "colours": {"light": colours(dark=False), "dark": colours(dark=True)},
    }
    scripts = [_plotly(), (_ASSETS / "report.js").read_text(encoding="utf-8")]
    style = (_ASSETS / "report.css").read_text(encoding="utf-8")
    # By their hashes: whatever else came to stand in the page could not run, and nothing can be asked of a server.
    allowed = " ".join(map(_seal, scripts))
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {allowed}"
    cards = "\n".join(map(_card, charts))
    content = json.dumps(data, allow_nan=False).translate(_UNSAFE)
    run = "\n".join(f"<script>{script}</script>" for script in scripts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{text(title)}</h1>
{head}
<section aria-label="Charts">
<noscript><p class="note">The charts are drawn by a script in this file, which your browser did not run.</p></noscript>
<div class="charts">
{cards}
</div>
</section>
{tail}
</main>
<script id="charts" type="application/json">{content}</script>
{run}
</body>
</html>
"""


def text(value: str) -> str:
    """A text of unknown origin as HTML that shows just that text, without what no screen shows."""
    return html.escape("".join(c if c.isprintable() else " " for c in value))


def paragraph(value: str, *, kind: str = "") -> str:
    """A paragraph of a text. kind: its class."""
    return f"<p{_class(kind)}>{text(value)}</p>"


def part(title: str, *content: str) -> str:
    """A part of the page under its own heading. content: HTML."""
    return "\n".join([f"<section>\n<h2>{text(title)}</h2>", *content, "</section>"])


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """Facts as (label, value, more): large numbers in a row; `more` may be empty."""
    made = []
    for label, value, more in facts:
        below = f"<dd>{text(more)}</dd>" if more else ""
        made.append(f'<dl class="tile"><dt>{text(label)}</dt><dd>{text(value)}</dd>{below}</dl>')
    return f'<div class="tiles">\n{"".join(made)}\n</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, marked: Collection[int] = ()) -> str:
    """A table of texts; columns of numbers, but for the first column, are set to the right. marked: bold rows."""
    kinds = [
        _class("number" if i and rows and all(_is_number(row[i]) for row in rows) else "") for i in range(len(head))
    ]
    made = []
    for place, row in enumerate(rows):
        cells = "".join(f"<td{kind}>{text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        made.append(f"<tr{_class('differs' if place in marked else '')}>{cells}</tr>")
    heads = "".join(f'<th scope="col"{kind}>{text(one)}</th>' for kind, one in zip(kinds, head, strict=True))
    body = "\n".join(made)
    return f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _card(chart: Chart) -> str:
    words = "".join(paragraph(one) for one in chart.words)
    return (
        f'<article class="card"><h2>{text(chart.title)}</h2>'
        f'<div class="plot" id="{text(chart.id)}" role="img" aria-label="{text(chart.title)}"></div>'
        f'<div class="words">{words}</div></article>'
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _is_number(cell: str) -> bool:
    return bool(cell) and len(cell) < 24 and (cell[0].isdigit() or cell[0] in "+−–<")


def _plotly() -> str:
    path: Any = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return str(path.read_text(encoding="utf-8")).replace("\r\n", "\n").replace("</script", "<\\/script")


def _seal(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
