"""The command line in this process, and fixtures that its tests share with those of sources."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from components.cli.main import main
from tests.corpus.conftest import client_of, place, time_of

__all__ = ["client_of", "place", "time_of"]


class Result(NamedTuple):
    """One call: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def assert_error(self, *parts: str, code: int = 1) -> None:
        """An error: nothing on standard output, one sentence under the command's name as the last line."""
        assert (self.code, self.out) == (code, "")
        assert "Traceback" not in self.err
        last = self.err.rstrip("\n").splitlines()[-1]
        assert last.startswith("cocite: ")
        for part in parts:
            assert part in last

    def assert_wrong_call(self) -> None:
        assert (self.code, self.out) == (2, "")
        assert "Usage: cocite" in self.err


Cocite = Callable[..., Result]


@pytest.fixture
def cocite(capsys: pytest.CaptureFixture[str]) -> Cocite:
    """cocite("list", "--json"): run a verb."""

    def run(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run
