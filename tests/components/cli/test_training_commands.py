"""`train` and `report` from end to end on a toy BERT: stopped, killed, gone on with, planned, refused."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from components.cli.training.setting_options import settings_of
from components.cli.training.stopping import stopping
from components.cli.training.train import add as add_train

from components.cli.main import main
from components.encoder import CATALOGUE, EMBEDDED, load_encoder
from components.encoder.catalogue import COCITE_FORM
from components.training.curves import CURVES, Curves, read_curves
from components.training.held_out_file import HELD_OUT
from components.training.planning import Forecast
from components.training.run_folder import CHECKPOINT, read_run
from components.training.settings import TrainingSettings
from corpus.cocitations.pairs_folder import read_pairs, write_pairs
from tests.components.training.training_toys import toy_pairs, toy_start

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[3]
FEW = ("--micro-batch=3", "--batch=6", "--learning-rate=1e-3", "--warmup-steps=2", "--dev-every=5", "--cpu")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs`, 40 of them held out, and `start`. Not to be changed."""
    folder = tmp_path_factory.mktemp("toys")
    papers = toy_pairs().papers
    random = np.random.default_rng(1)
    cited = random.permutation(list(combinations(range(60), 2)))[:260].astype(np.int32)
    together = {frozenset(pair) for pair in cited.tolist()}
    apart = [
        [i for i in range(60) if i != one and frozenset((one, i)) not in together] for one in cited[:20, 0].tolist()
    ]
    negatives = np.array([random.choice(others) for others in apart], dtype=np.int32)
    write_pairs(
        folder / "pairs",
        papers=papers,
        train=cited[60:],
        dev=np.column_stack([cited[:20], negatives]),
        test=cited[20:60],
        told={"of": "<b>toys</b>"},
    )
    toy_start(folder / "start")
    return folder


@pytest.fixture
def call(home: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """call("report", …): the exit code, standard output and standard error of the command, in this process."""

    def called(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as ended:  # how argparse refuses a call
            code = int(str(ended.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return called


def _train(toys: Path, run: Path, *more: str) -> list[str]:
    return ["train", f"--pairs={toys / 'pairs'}", f"--start={toys / 'start'}", f"--out={run}", *FEW, *more]


def test_what_comes_out_of_a_training(toys: Path, tmp_path: Path, call: Call) -> None:
    run = tmp_path / "a run"
    code, out, err = call(*_train(toys, run, "--max-steps=12", "--own=toy"))
    assert code == 0, err
    assert read_run(run).status == "finished"
    for told in ("Done after 12 of 12 steps", "Mean rank on", "own/toy", "toy-full.zip"):
        assert told in out
    assert "step 5: dev loss" in err
    texts = [("w1 w2", "w3 w4 w5"), ("w6", "")]
    vectors = [
        load_encoder(name, device="cpu").encode(texts)
        for name in (str(run / CHECKPOINT), "own/toy", str(run / "toy-full.zip"))
    ]
    for other in vectors[1:]:
        np.testing.assert_allclose(other, vectors[0], atol=1e-5)
    assert (run / HELD_OUT).exists() and "## Scores" in (run / CHECKPOINT / "README.md").read_text()
    page = (run / "report.html").read_text()
    assert "Mean rank, held out" in page and "&lt;b&gt;toys&lt;/b&gt;" in page
    # Once more: nothing is trained or measured again, and the same is said.
    times = {path: path.stat().st_mtime_ns for path in (run / HELD_OUT, run / CURVES, run / "toy-full.zip")}
    assert call(*_train(toys, run, "--max-steps=12", "--own=toy"))[:2] == (0, out)
    assert {path: path.stat().st_mtime_ns for path in times} == times


LONGER = ("--max-steps=60", "--epochs=2", "--save-every=8", "--dev-every=20", "--held-out=0")


@pytest.fixture(scope="module")
def never_stopped(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """The curves of the run that is stopped below, had it not been."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(_train(toys, run, *LONGER)) == 0
    return read_curves(run / CURVES)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    toys: Path, tmp_path: Path, call: Call, never_stopped: Curves, number: signal.Signals
) -> None:
    run = tmp_path / "stopped"
    slow = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "components.training", *_train(toys, run, *LONGER)],
        cwd=ROOT,
        env=slow,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if (run / CURVES).exists() and (run / CURVES).read_bytes().count(b'"kind": "step"') >= 10:
            process.send_signal(number)
            break
        time.sleep(0.005)
    out, err = process.communicate(timeout=120)
    assert out == ""
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, err
        assert "The same command goes on from there." in err and "Traceback" not in err
        assert read_run(run).status == "interrupted" and (run / "report.html").exists()
    done = len(read_curves(run / CURVES).steps)
    assert 8 <= done < 60
    code, out, err = call(*_train(toys, run, *LONGER))
    assert code == 0 and "Taking up the run" in err
    once, twice = never_stopped, read_curves(run / CURVES)
    assert [one.step for one in twice.steps] == list(range(1, 61))
    assert [one.loss for one in twice.steps] == [one.loss for one in once.steps]
    assert [one.step for one in twice.looks] == [one.step for one in once.looks]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_asked_for_and_the_second_obeyed_at_once(number: signal.Signals) -> None:
    said: list[str] = []
    before = signal.getsignal(number)
    with stopping(said.append, with_stdin=False) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop() and len(said) == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_signal_within_a_line_of_the_display_is_not_lost() -> None:
    def say(words: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")  # as Python has it there

    with stopping(say, with_stdin=False) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()


def test_a_dry_run_says_how_long_and_writes_nothing(toys: Path, tmp_path: Path, call: Call) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call(*_train(toys, tmp_path / "run", "--max-steps=9", "--dry-run"))
    assert code == 0, err
    assert out.startswith("Nothing was written. 9 typical steps and the longest were taken on cpu.")
    assert "Steps: 9, " in out and "for 3 looks at the dev set" in out
    code, out, _ = call(*_train(toys, tmp_path / "run", "--max-steps=9", "--dry-run", "--progress=json"))
    told = json.loads(out.splitlines()[-1])["forecast"]
    assert (told["total_steps"], told["looks"], told["on_gpu"]) == (9, 3, False)
    looked = len(np.unique(read_pairs(toys / "pairs").dev))
    assert told["ranking_seconds"] == pytest.approx(told["look_seconds"] / looked * 2 * 60)  # each of 60 papers, twice
    assert call(*_train(toys, tmp_path / "run", "--max-steps=9", "--dry-run", "--held-out=0"))[1].count("held-out") == 0
    parameters = sum(v.numel() for v in _parameters(toys))
    assert told["parameters"] == parameters + 3  # the scalar mix
    assert told["checkpoint_bytes"] == 4 * told["parameters"] and told["state_bytes"] == 12 * told["parameters"]
    assert (
        told["flops"] > 0 and told["peak_flops"] > 0 and told["seconds"][0] <= told["seconds"][1] <= told["seconds"][2]
    )
    assert sorted(tmp_path.rglob("*")) == before


def _parameters(toys: Path) -> list[object]:
    from components.encoder import find_checkpoint
    from components.encoder.checkpoints import load_model

    model = load_model(find_checkpoint(str(toys / "start")))
    model.pooler = None
    return list(model.parameters())


def _forecast(**changes: object) -> Forecast:
    values: dict[str, object] = {
        "device": "a processor",
        "on_gpu": False,
        "settings": TrainingSettings(),
        "total_steps": 1_000,
        "steps": 10,
        "step_seconds": 2.0,
        "error": 0.5,
        "longest_seconds": 3.0,
        "look_seconds": 10.0,
        "looks": 3,
        "ranking_seconds": 0.0,
        "tokens_a_second": 1_000.0,
        "flops": 1e9,
        "peak_flops": 1e10,
        "memory": 10**9,
        "memory_of_all": 0,
        "parameters": 10**6,
        "checkpoint_bytes": 4 * 10**6,
        "state_bytes": 12 * 10**6,
        "free_bytes": 10**9,
        "text_tokens": 200.0,
        "max_tokens": 512,
        "cut": 0.0,
    }
    return Forecast(**{**values, **changes})  # type: ignore[arg-type]


def test_a_forecast_adds_up() -> None:
    found = _forecast()
    assert found.whole == (1_530.0, 2_030.0, 2_530.0)
    assert found.disk_bytes == 32 * 10**6
    assert found.advice() == []
    assert "Arithmetic: 1 GFLOP/s, 10% of its products of matrices." in found.lines()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"free_bytes": 10**6}, "The disk is too small"),
        ({"total_steps": 10_000}, "On a machine with a GPU"),
        ({"total_steps": 10_000}, "--max-steps 1797 is about"),
        ({"total_steps": 10_000, "step_seconds": 20.0}, "--max-steps 179 --warmup-steps 17 is about"),
        ({"total_steps": 2, "step_seconds": 1e5}, "--max-steps 1 --warmup-steps 0 is about"),
        ({"total_steps": 10_000, "on_gpu": True, "memory_of_all": 10**11}, "--precision bfloat16"),
        ({"total_steps": 10_000, "looks": 2_000}, "raise --dev-every"),
        ({"total_steps": 10_000, "cut": 0.5}, "--max-tokens 256"),
        ({"on_gpu": True, "memory_of_all": 10**9}, "--gradient-checkpointing needs"),
    ],
)
def test_advice_is_given_where_it_is_long_or_does_not_fit(changes: dict[str, object], said: str) -> None:
    assert any(said in line for line in _forecast(**changes).advice())


def test_every_setting_is_an_option_with_the_cards_value() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_train(parser.add_subparsers())
    options = parser.parse_args(["train", "--pairs=x", "--start=y"])
    settings = settings_of(options, COCITE_FORM)
    for field in dataclasses.fields(TrainingSettings):
        assert getattr(settings, field.name) == field.default


@pytest.mark.parametrize(
    ("asked", "margin"),
    [
        ([], 0.1),
        (["--pooling=mean"], 0.1),
        (["--pooling=cls"], 1.0),  # no longer normalised
        (["--margin=1"], 1.0),  # asked for is had
        (["--margin=0.3", "--pooling=cls"], 0.3),
    ],
)
def test_the_margin_goes_by_the_length_of_the_vectors(asked: list[str], margin: float) -> None:
    # Unit vectors lie 2 apart at most. With the card's margin the embedded encoder's dev loss fell, and the papers
    # that it never saw together ranked worse.
    import argparse

    parser = argparse.ArgumentParser()
    add_train(parser.add_subparsers())
    options = parser.parse_args(["train", "--pairs=x", "--start=y", *asked])
    assert settings_of(options, CATALOGUE[EMBEDDED].form).margin == margin


def test_progress_for_a_program_is_a_json_object_a_line(toys: Path, tmp_path: Path, call: Call) -> None:
    code, out, _ = call(*_train(toys, tmp_path / "run", "--max-steps=6", "--held-out=0", "--progress=json"))
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["step"] for line in lines if line.get("kind") == "step"] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if line.get("kind") == "look"] == [0, 5, 6]
    assert lines[-1]["built"] == str(tmp_path / "run" / CHECKPOINT)


def test_a_training_that_diverges_is_explained_and_drawn(toys: Path, tmp_path: Path, call: Call) -> None:
    run = tmp_path / "run"
    code, out, err = call(*_train(toys, run, "--max-steps=40", "--learning-rate=1e6", "--warmup-steps=0"))
    assert code == 1 and out == ""
    assert "cocite: The training diverged." in err and "a lower learning_rate" in err
    page = (run / "report.html").read_text()
    assert "The training diverged." in page
    assert call("report", run)[0] == 0


def test_reports_of_runs(toys: Path, tmp_path: Path, call: Call) -> None:
    runs = [tmp_path / name for name in ("one", "two")]
    for seed, run in enumerate(runs):
        assert call(*_train(toys, run, "--max-steps=6", "--held-out=0", f"--seed={seed}"))[0] == 0
    both = tmp_path / "both.html"
    assert call("report", *runs, "--out", both)[:2] == (0, f"{both}\n")
    assert "2 training runs" in both.read_text()
    code, _, err = call("report", *runs)
    assert code == 1 and "--out FILE.html" in err
    code, _, err = call("report", tmp_path)
    assert code == 1 and "no run lies there" in err
    code, _, err = call("report", runs[0], "--out", tmp_path / "no" / "x.html")
    assert code == 1 and "could not be written" in err


def test_bad_calls_are_refused_before_any_work(toys: Path, tmp_path: Path, call: Call) -> None:
    run = tmp_path / "run"
    assert call("train", f"--pairs={toys / 'pairs'}", f"--start={toys / 'start'}")[0] == 2
    assert call(*_train(toys, run, "--max-steps=6", "--held-out=-1"))[0] == 2
    for more, said in (
        (("--batch=7",), "no multiple of micro_batch"),
        (("--own=../x",), "is no name for an encoder"),
        (("--start=nothing",), "No encoder is called"),
        ((f"--pairs={tmp_path}",), str(tmp_path)),
        ((f"--out={toys}",), "holds files and no run"),
        (("--max-tokens=999",), "positions for 24"),
    ):
        code, out, err = call(*_train(toys, run, "--max-steps=6", *more))
        assert (code, out) == (1, ""), more
        assert said in err and err.count("\n") <= 2, err
    assert not (run / CHECKPOINT).exists()


def test_another_encoders_name_is_not_taken(toys: Path, tmp_path: Path, call: Call) -> None:
    first = _train(toys, tmp_path / "one", "--max-steps=6", "--held-out=0", "--own=mine")
    assert call(*first)[0] == 0
    code, _, err = call(*_train(toys, tmp_path / "two", "--max-steps=6", "--held-out=0", "--own=mine"))
    assert code == 1 and "there is an encoder of that name" in err
    assert not (tmp_path / "two").exists()
    assert call(*first)[0] == 0


def test_without_test_pairs_it_says_so_and_goes_on(toys: Path, tmp_path: Path, call: Call) -> None:
    from corpus.cocitations.pairs_folder import read_pairs

    pairs = read_pairs(toys / "pairs")
    write_pairs(tmp_path / "pairs", papers=pairs.papers, train=pairs.train, dev=pairs.dev, test=pairs.test[:0])
    code, out, err = call(*_train(toys, tmp_path / "run", "--max-steps=6", f"--pairs={tmp_path / 'pairs'}"))
    assert code == 0, err
    assert "has no test pairs" in out and "Model card: " in out
