"""The command line of evaluations: python -m components.evaluation --set NAME --encoder E, or a verb; see --help.

Exit codes: 0 all that was asked was computed; 1 it was not, and a sentence says why; 2 a wrong call; 130 stopped.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from components.build import Cancelled
from components.evaluation.commands import evaluate, index, kept, make, sets
from corpus.errors import CociteAtlasError

_INTERRUPTED = 130
_VERBS = (sets, make, kept, index)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except (Cancelled, KeyboardInterrupt, BrokenPipeError) as stopped:
        if isinstance(stopped, BrokenPipeError):  # else Python would try again as it ends, and complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("\nevaluation: stopped. What was done is kept; the same command goes on from there.", file=sys.stderr)
        return _INTERRUPTED
    except CociteAtlasError as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 1
    return code


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
