"""The command as a whole: its verbs, its alias, a closed pipe, and how little it loads."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.atlas import verify
from components.cli import atlases, judged_sets, training
from components.index.benchmark import CurveSettings
from components.search import compare
from components.training import held_out
from tests.components.cli.conftest import Cocite

ROOT = Path(__file__).resolve().parents[3]
VERBS = (
    "build", "add", "remove", "rebuild", "list", "info", "verify", "search", "compare", "export", "archive", "import",
    "count", "fetch", "look-up", "evaluate", "index-benchmark", "pairs", "train", "train-report",
    "encoders list", "encoders show", "encoders fetch", "encoders clear",
    "evaluations list", "evaluations show", "evaluations delete", "judged-sets list", "judged-sets delete",
    *(f"judged-sets make {name}" for name in ("relish", "treccovid", "screening", "topics", "plain", "released")),
)  # fmt: skip


def process(module: str, *arguments: str, home: Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"COCITE_ATLAS_HOME": str(home)},
        capture_output=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(cocite: Cocite, verb: str) -> None:
    result = cocite(*verb.split(), "--help")
    assert result.code == 0
    assert "--json" in result.out


@pytest.mark.parametrize("arguments", [("fly",), ("info",), ("encoders", "fly"), ("list", "--colour")])
def test_a_wrong_call_exits_with_2(cocite: Cocite, arguments: tuple[str, ...]) -> None:
    cocite(*arguments).assert_wrong_call()


def test_the_alias_of_the_corpus_reads_bytes_of_any_encoding(topics: str, home: Path) -> None:
    search = ("search", topics, "--text", "-", "-k", "1", "--json")
    result = process("corpus", *search, home=home, input=b"Heart\xff failure\n\nPatients of a cardiology ward.")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b'"id": "heart-' in result.stdout


def test_a_closed_pipe_is_not_an_error(topics: str, home: Path) -> None:
    command = f"{sys.executable} -m components.cli export {topics} --format ris --output - | head -c 1"
    result = subprocess.run(
        command, shell=True, cwd=ROOT, env=os.environ | {"COCITE_ATLAS_HOME": str(home)}, capture_output=True
    )
    assert (result.stdout, result.stderr) == (b"T", b"")


def test_options_have_the_defaults_of_what_they_set() -> None:
    settings = CurveSettings()
    for verb, option, value in (
        (atlases.verify, "rows", verify.SAMPLE),
        (atlases.compare, "sample", compare.SAMPLE),
        (training.train, "held_out", held_out.MAX_PAPERS),
        *((judged_sets.index_benchmark, name, getattr(settings, name)) for name in ("k", "ef_construction", "queries")),
    ):
        assert inspect.signature(verb).parameters[option].default == value
