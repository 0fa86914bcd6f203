"""The one base class of every error that this project raises on purpose, and the words for invalid files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class CociteAtlasError(Exception):
    """What happened, to what, and what to do next, in words for the person at the screen.

    Pages and the command line catch this and nothing broader.
    """


def validation_reason(error: "ValidationError") -> str:
    """The first problem that pydantic found in a file, on one line: where it is, and what is wrong."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}"[:200] if place else problem["msg"][:200]
