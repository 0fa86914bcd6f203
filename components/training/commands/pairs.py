"""`pairs`: full texts, or ready pairs of ids, and a corpus of titles and abstracts → a folder of training pairs."""

import argparse
from typing import Any


def add(verbs: Any) -> None:
    """Add the verb to the parser's verbs."""
    pairs = verbs.add_parser("pairs", help="make training pairs of full texts")
    pairs.set_defaults(run=_run, when_stopped="No pairs were written.")


def _run(options: argparse.Namespace) -> int:
    raise NotImplementedError
