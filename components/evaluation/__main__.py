"""The command line of evaluations: python -m components.evaluation --set NAME --encoder E, or a verb; see --help.

Exit codes: 0 all that was asked was computed; 1 it was not, and a sentence says why; 2 a wrong call; 130 stopped.
"""

import argparse
import sys
from collections.abc import Sequence

from components.cli.corpus.shared import KEPT, exit_code
from components.cli.evaluation import evaluate, index, kept, make, sets

_VERBS = (sets, make, kept, index)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    return exit_code(options, name="evaluation", stopped=KEPT)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a call, `run` among them. Two parsers: a verb, and what stands without one."""
    verbs = argparse.ArgumentParser(prog="python -m components.evaluation")
    found = verbs.add_subparsers(required=True, metavar="VERB", title="verbs")
    for verb in _VERBS:
        verb.add(found)
    parser = evaluate.parser(verbs=list(found.choices))
    is_verb = bool(arguments) and not arguments[0].startswith("-")
    return (verbs if is_verb else parser).parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
