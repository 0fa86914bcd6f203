"""`cocite train` and `cocite train-report` from end to end on a toy BERT: trained, stopped, planned, refused."""

from __future__ import annotations

import inspect
import json
import os
import signal
from dataclasses import fields
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from components.cli import training
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import CATALOGUE, COCITE_FORM, EMBEDDED
from components.training.run import CHECKPOINT, CURVES, HELD_OUT, append_record, read_curves, read_run
from components.training.settings import TrainingSettings
from corpus.cocitations.pairs_folder import read_pairs, write_pairs
from tests.components.cli.conftest import Cocite
from tests.components.training.training_toys import toy_pairs, toy_start

pytestmark = pytest.mark.usefixtures("home", "one_thread")

FEW = ("--micro-batch=3", "--batch=6", "--learning-rate=1e-3", "--warmup-steps=2", "--dev-every=5", "--cpu")


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs`, 40 of them held out, and `start`. Not to be changed."""
    folder = tmp_path_factory.mktemp("toys")
    random = np.random.default_rng(1)
    cited = random.permutation(list(combinations(range(60), 2)))[:260].astype(np.int32)
    together = {frozenset(pair) for pair in cited.tolist()}
    negatives = [
        random.choice([i for i in range(60) if i != anchor and frozenset((anchor, i)) not in together])
        for anchor in cited[:20, 0].tolist()
    ]
    write_pairs(
        folder / "pairs",
        papers=toy_pairs().papers,
        train=cited[60:],
        dev=np.column_stack([cited[:20], negatives]).astype(np.int32),
        test=cited[20:60],
        provenance={"of": "<b>toys</b>"},
    )
    toy_start(folder / "start")
    return folder


def train(toys: Path, run: Path, *more: str) -> list[str]:
    return ["train", f"--pairs={toys / 'pairs'}", f"--start={toys / 'start'}", f"--out={run}", *FEW, *more]


def test_a_training_leaves_everything_that_is_promised(toys: Path, tmp_path: Path, cocite: Cocite) -> None:
    run = tmp_path / "a run"
    code, out, err = cocite(*train(toys, run, "--max-steps=12", "--own=toy"))
    assert code == 0, err
    assert read_run(run).record.status == "finished"
    for words in ("Done after 12 of 12 steps", "Mean rank on", "own/toy", "toy-full.zip"):
        assert words in out
    assert "step 5: dev loss" in err
    texts = [("w1 w2", "w3 w4 w5"), ("w6", "")]
    sources = (str(run / CHECKPOINT), "own/toy", str(run / "toy-full.zip"))
    vectors = [load_encoder(source, device="cpu").encode(texts) for source in sources]
    for other in vectors[1:]:
        np.testing.assert_allclose(other, vectors[0], atol=1e-5)
    assert "| Mean rank |" in (run / CHECKPOINT / "README.md").read_text()
    page = (run / "report.html").read_text()
    assert "Mean rank, held out" in page and "&lt;b&gt;toys&lt;/b&gt;" in page
    # Once more: nothing is trained or measured again, and the result is the same.
    times = {path: path.stat().st_mtime_ns for path in (run / HELD_OUT, run / CURVES, run / "toy-full.zip")}
    assert cocite(*train(toys, run, "--max-steps=12", "--own=toy"))[:2] == (0, out)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    # Another run may not take the name.
    code, _, err = cocite(*train(toys, tmp_path / "two", "--max-steps=6", "--own=toy"))
    assert code == 1 and "another encoder has this name" in err
    assert not (tmp_path / "two").exists()


def test_a_run_that_is_interrupted_resumes(
    toys: Path, tmp_path: Path, cocite: Cocite, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--max-steps=12", "--save-every=4", "--held-out=0")
    assert cocite(*train(toys, tmp_path / "whole", *arguments))[0] == 0
    run = tmp_path / "stopped"

    def interrupt(folder: Path, record: object) -> None:
        append_record(folder, record)
        if len(read_curves(folder).steps) == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("components.training.loop.append_record", interrupt)
        code, out, err = cocite(*train(toys, run, *arguments))
    assert (code, out) == (130, "")
    assert "Stopping after the state is saved." in err
    assert err.splitlines()[-1] == "cocite: Stopped after step 6 of 12. The same command continues from there."
    assert read_run(run).record.status == "interrupted" and (run / "report.html").exists()
    assert cocite(*train(toys, run, *arguments))[0] == 0
    once, twice = read_curves(tmp_path / "whole"), read_curves(run)
    assert [step.loss for step in twice.steps] == [step.loss for step in once.steps]
    assert [one.dev_loss for one in twice.validations] == [one.dev_loss for one in once.validations]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(number: signal.Signals) -> None:
    messages: list[str] = []
    before = signal.getsignal(number)
    with training._stopping(messages.append) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop() and len(messages) == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_signal_during_output_is_not_lost() -> None:
    def say(message: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")  # Python's own

    with training._stopping(say) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()


def test_a_dry_run_writes_nothing(toys: Path, tmp_path: Path, cocite: Cocite) -> None:
    code, out, err = cocite(*train(toys, tmp_path / "run", "--max-steps=9", "--dry-run"))
    assert code == 0, err
    assert out.startswith("Nothing was written. 12 typical steps were measured on cpu.\nThe whole training takes about")
    assert "--held-out ranks fewer" in out
    code, out, _ = cocite(*train(toys, tmp_path / "run", "--max-steps=9", "--dry-run", "--json", "--held-out=0"))
    plan = json.loads(out)
    assert (plan["total_steps"], plan["validations"], plan["ranking_seconds"]) == (9, 3, 0)
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_an_option_with_the_same_default() -> None:
    options = inspect.signature(training.train).parameters
    for field in fields(TrainingSettings):
        assert options[field.name].default == (None if field.name == "margin" else field.default)


@pytest.mark.parametrize(
    ("form", "pooling", "asked", "margin"),
    [
        (COCITE_FORM, "start", None, 1.0),
        (CATALOGUE[EMBEDDED].form, "start", None, 0.1),
        (CATALOGUE[EMBEDDED].form, "cls", None, 1.0),  # no longer normalised
        (CATALOGUE[EMBEDDED].form, "start", 1.0, 1.0),
    ],
)
def test_the_default_margin_follows_the_length_of_the_vectors(
    form: object, pooling: str, asked: float | None, margin: float
) -> None:
    # With the card's margin of 1 the embedded encoder's dev loss fell, and papers it never saw ranked worse.
    assert training._with_margin(TrainingSettings(pooling=pooling), form, asked).margin == margin


def test_a_divergence_is_explained_and_drawn(toys: Path, tmp_path: Path, cocite: Cocite) -> None:
    run = tmp_path / "run"
    code, out, err = cocite(*train(toys, run, "--max-steps=40", "--learning-rate=1e6", "--warmup-steps=0"))
    assert (code, out) == (1, "")
    assert "the training diverged." in err and "a lower learning_rate" in err
    assert "The training diverged." in (run / "report.html").read_text()


def test_reports_of_runs(toys: Path, tmp_path: Path, cocite: Cocite) -> None:
    runs = [tmp_path / name for name in ("one", "two")]
    for seed, run in enumerate(runs):
        assert cocite(*train(toys, run, "--max-steps=6", "--held-out=0", f"--seed={seed}"))[0] == 0
    both = tmp_path / "both.html"
    assert cocite("train-report", *runs, "--out", both)[:2] == (0, f"{both}\n")
    assert "2 training runs" in both.read_text()
    for arguments, message in (
        (runs, "--out FILE.html"),
        ([tmp_path], "there is no training run here"),
        ([runs[0], "--out", tmp_path / "no" / "x.html"], "No such file or directory"),
    ):
        code, _, err = cocite("train-report", *arguments)
        assert code == 1 and message in err


def test_bad_calls_are_refused_before_any_work(toys: Path, tmp_path: Path, cocite: Cocite) -> None:
    run = tmp_path / "run"
    assert cocite("train", f"--pairs={toys / 'pairs'}", f"--start={toys / 'start'}")[0] == 2
    assert cocite(*train(toys, run, "--max-steps=6", "--held-out=-1"))[0] == 2
    for more, message in (
        (("--batch=7",), "not a multiple of micro_batch"),
        (("--own=../x",), "../x"),
        (("--start=nothing",), "nothing"),
        ((f"--pairs={tmp_path}",), str(tmp_path)),
        ((f"--out={toys}",), "holds other files and no run"),
        (("--max-tokens=999",), "positions for 24"),
    ):
        code, out, err = cocite(*train(toys, run, "--max-steps=6", *more))
        assert (code, out) == (1, ""), more
        assert message in err, err
    assert not (run / CHECKPOINT).exists()


def test_without_test_pairs_the_scores_are_left_out(toys: Path, tmp_path: Path, cocite: Cocite) -> None:
    pairs = read_pairs(toys / "pairs")
    write_pairs(tmp_path / "pairs", papers=pairs.papers, train=pairs.train, dev=pairs.dev, test=pairs.test[:0])
    code, out, err = cocite(*train(toys, tmp_path / "run", "--max-steps=6", f"--pairs={tmp_path / 'pairs'}"))
    assert code == 0, err
    assert "has no test pairs" in out and "Model card: " in out
