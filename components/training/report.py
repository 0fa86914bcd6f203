"""Reports of runs: the story of one, or several laid over one another, as one HTML file that needs no network."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.training.chart_lines import MOST_RUNS, Run
from components.training.charts import charts
from components.training.held_out_file import verdict
from components.training.report_page import page, paragraph, part, table, tiles
from components.training.run_folder import disk_errors
from components.training.settings import TrainingError, TrainingSettings
from components.training.stories import Story, story_of
from components.training.wording import setting_words, time_words, told_words
from corpus.io.files import write_text

REPORT = "report.html"  # in the run's folder

_MOST_FACTS = 200  # rows of a table of what was told of the pairs
_LONGEST = 300  # characters of one of them


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of runs; where it was written. By default into the folder of a run; several need `out`.

    Raises TrainingError where a folder holds no run, or it cannot be written.
    """
    if out is None:
        if len(runs) != 1:
            raise TrainingError("A report of several runs needs a name of its own. Name its file: --out FILE.html")
        out = runs[0] / REPORT
    content = report_of([story_of(run) for run in runs])
    with disk_errors(out.parent):
        write_text(out, content)
    return out


def report_of(stories: Sequence[Story]) -> str:
    """The report of one run, or of several side by side, as HTML. Raises TrainingError where they are too many."""
    if not 0 < len(stories) <= MOST_RUNS:
        raise TrainingError(f"A report shows 1 to {MOST_RUNS} runs, not {len(stories)}. Name fewer.")
    stories = _named_apart(stories)
    runs = [Run(one.name, one.curves, one.settings.margin, one.settings.batch) for one in stories]
    alone = stories[0] if len(stories) == 1 else None
    if alone:
        title = f"Training run “{alone.name}”"
        head = [paragraph(f"{alone.start}, trained on {alone.pairs}: {alone.status}.", kind="soft"), _tiles(alone)]
    else:
        title = f"{len(stories)} training runs"
        head = [paragraph("What they came to, side by side; the lines of the charts have the same order.", kind="soft")]
        head.append(part("The runs", _comparison(stories)))
    head += [
        paragraph(f"{one.trouble if alone else f'{one.name}: {one.trouble}'}", kind="note")
        for one in stories
        if one.trouble
    ]
    tail = [_held_out_part(stories), _settings_part(stories), *_told_parts(stories)]
    return page(title, head="\n".join(head), charts=charts(runs), tail="\n".join(one for one in tail if one))


def _named_apart(stories: Sequence[Story]) -> list[Story]:
    """The stories, those of one name told apart by a number."""
    seen: dict[str, int] = {}
    found = []
    for one in stories:
        seen[one.name] = count = seen.get(one.name, 0) + 1
        found.append(dataclasses.replace(one, name=f"{one.name} ({count})") if count > 1 else one)
    return found


def _tiles(story: Story) -> str:
    """The numbers that a reader looks for first."""
    steps, looks, best = story.curves.steps, story.curves.looks, story.curves.best()
    done = steps[-1].step if steps else 0
    of_all = f"of {story.total_steps:,}" if story.total_steps else ""
    seconds = sum(one.seconds for one in steps) + sum(one.seconds for one in looks)
    facts = [
        ("Steps", f"{done:,}", of_all),
        ("Pairs learned from", f"{done * story.settings.batch:,}", f"{steps[-1].epoch:.2f} epochs" if steps else ""),
    ]
    if best is not None:
        first = looks[0]
        facts += [
            ("Dev loss", f"{best.dev_loss:.4f}", f"{first.dev_loss:.4f} before; kept: step {best.step:,}"),
            ("Right choices on dev", _percent(best.dev_accuracy), f"{_percent(first.dev_accuracy)} before"),
        ]
    facts += [(f"{row.called}, held out", row.after_words, f"{row.before_words} before") for row in story.held_out]
    facts.append(("Time", time_words(seconds), f"{sum(one.tokens for one in steps):,} word pieces read"))
    return tiles(facts)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"  # as the scores beside it


def _comparison(stories: Sequence[Story]) -> str:
    head = ["run", "status", "steps", "dev loss", "kept at step", "right on dev"]
    metrics = list(dict.fromkeys(row.called for one in stories for row in one.held_out))
    for metric in metrics:
        head += [f"{metric} before", "after"]
    rows = []
    for one in stories:
        best = one.curves.best()
        row = [one.name, one.status, f"{one.curves.steps[-1].step:,}" if one.curves.steps else "0"]
        row += [f"{best.dev_loss:.4f}", f"{best.step:,}", _percent(best.dev_accuracy)] if best else ["–", "–", "–"]
        found = {held.called: held for held in one.held_out}
        for metric in metrics:
            row += [found[metric].before_words, found[metric].after_words] if metric in found else ["–", "–"]
        rows.append(row)
    return table(head, rows)


def _held_out_part(stories: Sequence[Story]) -> str:
    """Scores before and after, where they were measured."""
    told = [one for one in stories if one.held_out]
    if not told:
        return ""
    first = told[0].held_out[0]
    words = (
        f"{first.queries:,} papers of the test pairs, which training never saw, each asked about among "
        f"{first.papers:,} papers: how near are those that were cited together with it? Mean rank: 1 would be the "
        "nearest of all, so lower is better. MAP (mean average precision) and recall in the ten nearest: higher is "
        "better. Intervals are 95 % bootstrap intervals; p is of a paired randomisation test of after against before."
    )
    head = [*(["run"] if len(stories) > 1 else []), "", "before", "after", "difference", "95 % interval after", "p"]
    rows = [
        [
            *([one.name] if len(stories) > 1 else []),
            row.called,
            row.before_words,
            row.after_words,
            row.difference_words,
            row.interval_words,
            row.p_words,
        ]
        for one in told
        for row in one.held_out
    ]
    said = [f"{f'{one.name}: ' if len(stories) > 1 else ''}{words}" for one in told if (words := verdict(one.held_out))]
    return part("Pairs that training never saw", paragraph(words), table(head, rows), *map(paragraph, said))


def _settings_part(stories: Sequence[Story]) -> str:
    """Every setting beside its default; bold where a run has another."""
    card = TrainingSettings()
    rows, marked = [], []
    for place, one in enumerate(dataclasses.fields(TrainingSettings)):
        values = [getattr(story.settings, one.name) for story in stories]
        if any(value != getattr(card, one.name) for value in values):
            marked.append(place)
        told = [setting_words(one.name, value) or _value(value) for value in (*values, getattr(card, one.name))]
        rows.append([one.name.replace("_", " "), *told])
    names = [story.name if len(stories) > 1 else "this run" for story in stories]
    words = (
        "In bold where it is not the default: what the model card of SPECTER-CoCite has, or, where the card is silent, "
        "our own. One default is ours against the card: negatives by a derangement in place of the authors' plain "
        "permutation; see the chart of triplets that teach."
    )
    return part("Settings", paragraph(words), table(["setting", *names, "default"], rows, marked=marked))


def _told_parts(stories: Sequence[Story]) -> list[str]:
    """How the pairs were made, and what the run ran on; each kind of pairs once."""
    parts = []
    seen: list[Mapping[str, Any]] = []
    for one in stories:
        if one.told and one.told not in seen:
            seen.append(one.told)
            rows = flattened(one.told)
            left_out = [paragraph(f"… and {len(rows) - _MOST_FACTS:,} more.")] if len(rows) > _MOST_FACTS else []
            parts.append(part(f"Pairs: {one.pairs}", table(["", ""], rows[:_MOST_FACTS]), *left_out))
    names = list(dict.fromkeys(name for one in stories for name in one.facts))
    if names:
        head = ["", *([one.name for one in stories] if len(stories) > 1 else [""])]
        facts = table(head, [[name, *(_cut(one.facts.get(name, "–")) for one in stories)] for name in names])
        parts.append(part("The run" if len(stories) == 1 else "Machines and versions", facts))
    return parts


def flattened(told: Mapping[str, Any]) -> list[list[str]]:
    """What was told, of any depth, as rows of a name and a value.

    >>> flattened({"filters": {"too long": 1200, "kept": 7}, "seed": 0, "files": ["a", "b"]})
    [['filters › too long', '1,200'], ['filters › kept', '7'], ['seed', '0'], ['files', 'a, b']]
    """
    rows: list[list[str]] = []
    waiting: list[tuple[list[str], Any]] = [([str(name)], value) for name, value in reversed(list(told.items()))]
    while waiting and len(rows) <= 10 * _MOST_FACTS:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [([*name, str(inner)], one) for inner, one in reversed(list(value.items()))]
        elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
            waiting += [([*name, str(place)], one) for place, one in reversed(list(enumerate(value, start=1)))]
        else:
            words = ", ".join(map(_value, value)) if isinstance(value, list) else _value(value)
            rows.append([_cut(told_words(name)), _cut(words) or "–"])
    return rows


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else "a huge number"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
