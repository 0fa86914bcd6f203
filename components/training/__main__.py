"""The command line of training: python -m components.training VERB; see --help.

Exit codes: 0 all that was asked was done; 1 it was not, and a sentence says why; 2 a wrong call; 130 stopped.
"""

import argparse
import sys
from collections.abc import Sequence

from components.cli.corpus.shared import exit_code
from components.cli.training import pairs, report, train

_VERBS = (pairs, train, report)  # each adds itself to the parser, and `run` to what it parses


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    return exit_code(options, name="training", stopped=options.when_stopped)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a call: `run`, and `when_stopped`, the sentence that says what is kept, among them."""
    parser = argparse.ArgumentParser(
        prog="python -m components.training",
        description="Train a bi-encoder on papers that are cited together: make pairs of full texts, train on them, "
        "and look at the curves.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB", title="verbs")
    for verb in _VERBS:
        verb.add(verbs)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
