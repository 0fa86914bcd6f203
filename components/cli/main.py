"""The command `cocite`: all verbs, and their exit codes.

Exit codes: 0 done; 1 an error, printed as a sentence; 2 a wrong call; 3 a verification that found a difference;
130 stopped.
"""

import os
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command
from typer.rich_utils import rich_format_error

from components.cli import atlases, build, encoders, evaluation, files, judged_sets, sources, training
from components.cli.output import Stopped
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled

STOPPED = 130  # exit code

app = typer.Typer(
    name="cocite",
    help="Build, search, compare and evaluate atlases of papers; train encoders.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for group in (build, atlases, files, sources, encoders, evaluation, judged_sets, training):
    group.add(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb, by default the one of the process's own arguments; returns the exit code."""
    command = get_command(app)
    try:
        result = command.main(list(arguments) if arguments is not None else None, "cocite", standalone_mode=False)
        sys.stdout.flush()
    except Stopped as stop:
        return _stopped(str(stop))
    except (Cancelled, KeyboardInterrupt, typer.Abort):
        return _stopped()
    except BrokenPipeError:
        # The reader of our output has closed it. Otherwise Python would write again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED
    except CociteAtlasError as error:
        print(f"cocite: {error}", file=sys.stderr)
        return 1
    except typer.TyperException as error:  # a wrong call
        rich_format_error(error)  # type: ignore[arg-type]
        return error.exit_code
    if result == STOPPED:  # Typer's answer to Ctrl-C
        return _stopped()
    return result if isinstance(result, int) else 0


def _stopped(message: str = "stopped. What was done is kept: the same command resumes.") -> int:
    print(f"cocite: {message}", file=sys.stderr)
    return STOPPED


def run() -> None:
    """The entry point of the installed command."""
    raise SystemExit(main())
