"""`sets`: the judged sets that are kept; `delete-set`: take one away."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from components.cli.corpus.shared import Bars, papers_words
from components.evaluation.format import issue_descriptions, one_line
from components.evaluation.sets import SetCard, delete_set, describe, set_names
from corpus.errors import CociteAtlasError
from corpus.io.files import size_words
from corpus.judged_sets.model import SetError


def add(verbs: Any) -> None:
    """Add the verbs and their arguments to the parser's verbs."""
    everything = verbs.add_parser("sets", help="list the judged sets that are kept")
    everything.add_argument("--json", action="store_true", help="as JSON")
    everything.set_defaults(run=_list)

    delete = verbs.add_parser("delete-set", help="delete a judged set that is kept; its evaluations stay")
    delete.add_argument("name", help="as `sets` says it")
    delete.set_defaults(run=_delete)


def set_lines(card: SetCard) -> list[str]:
    """What a kept set is: a line of facts, then one for each thing that was met in it, and how it was made."""
    splits = ", ".join(f"{name} {queries:,}" for name, queries in card.splits.items())
    facets = f"; facets {', '.join(card.facets)}" if card.facets else ""
    lines = [
        f"{card.name}: {papers_words(card.papers)}, {card.pools:,} pools of {card.candidates:,} candidates in all, "
        f"queries by split: {splits}{facets}; {card.origin}, relevant from grade {card.relevant_from}, "
        f"{size_words(card.bytes)}"
    ]
    more = [*issue_descriptions(card.handled), *([card.rules] if card.rules else [])]
    return [*lines, *(f"  {one_line(words)}" for words in more)]


def _list(options: argparse.Namespace) -> int:
    cards, damaged = [], []
    with Bars() as progress:
        for name in set_names():
            try:
                cards.append(describe(name, progress=progress))
            except CociteAtlasError as error:
                damaged.append(f"{name}: {error}")
    if options.json:
        print(json.dumps([asdict(card) for card in cards], indent=1))
    else:
        for card in cards:
            print("\n".join(set_lines(card)))
        if not cards:
            print("No judged set is kept yet. Make one: python -m components.evaluation make --help")
    for told in damaged:
        print(f"evaluation: {told}", file=sys.stderr)
    return 1 if damaged else 0


def _delete(options: argparse.Namespace) -> int:
    if options.name not in set_names():
        raise SetError(f"No judged set is kept under the name {options.name!r:.80}. See: sets")
    delete_set(options.name)
    print(f"Deleted {options.name}.")
    return 0
