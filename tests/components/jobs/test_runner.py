"""Jobs in the background, as real processes of the real command line."""

import sys
from pathlib import Path

import pytest

from components.atlas.corpora import unfinished
from components.atlas.store import open_atlas, read_manifest
from components.jobs import runner as background
from components.jobs.runner import BackgroundJob, JobUnderWay, Progress, curve_job, encode_job, evaluate_job

PATIENCE = 300  # seconds; a busy machine is slow, not wrong


@pytest.fixture(autouse=True)
def nothing_runs() -> None:
    """The app remembers its last build; each test begins as a new process does."""
    background._last = None


def ended(build: BackgroundJob) -> Progress:
    build.wait(PATIENCE)
    return build.progress()


def test_a_build_goes_on_in_the_background_and_leaves_an_atlas(topics: str) -> None:
    build = background.start(encode_job(topics, encoder="tfidf-svd"))
    first = background.latest()
    assert first is not None
    assert (first.job.base, first.job.encoder, first.state) == (topics, "tfidf-svd", "running")
    last = ended(build)
    assert (last.state, last.told) == ("done", "")
    assert last.over
    assert last.stage == "Writing the atlas"
    assert last.built == "topics--tfidf-svd"
    manifest = read_manifest("topics--tfidf-svd")
    assert (manifest.corpus, manifest.encoder.name) == (topics, "tfidf-svd")
    assert open_atlas("topics--tfidf-svd").papers.equals(open_atlas(topics).papers)
    background.forget()
    assert background.latest() is None


def test_one_at_a_time(topics: str) -> None:
    build = background.start(encode_job(topics, encoder="tfidf-svd"))
    with pytest.raises(JobUnderWay, match="building an atlas by tfidf-svd"):
        background.start(encode_job(topics, encoder="all-minilm-l6-v2"))
    background.forget()  # it runs: nothing to forget
    assert background.latest() is not None
    ended(build)
    again = background.start(encode_job(topics, encoder="tfidf-svd"))
    assert ended(again).state == "done"


def test_a_build_that_is_cancelled_stops_and_can_be_taken_up(topics: str) -> None:
    build = background.start(encode_job(topics, encoder="tfidf-svd"))
    background.stop()
    background.stop()  # twice is once
    now = build.progress()
    assert now.state in ("stopping", "stopped")
    assert ended(build).state == "stopped"
    assert [one.encoder for one in unfinished()] in ([], ["tfidf-svd"])
    assert ended(background.start(encode_job(topics, encoder="tfidf-svd"))).state == "done"
    assert unfinished() == []


def test_a_build_that_fails_says_why_in_its_own_words(topics: str) -> None:
    last = ended(background.start(encode_job(topics, encoder="no-such-encoder")))
    assert last.state == "failed"
    assert "No encoder is called 'no-such-encoder'" in last.told
    assert "Known by name: all-minilm-l6-v2" in last.told


def test_a_build_that_is_killed_failed_and_says_so(topics: str) -> None:
    build = background.start(encode_job(topics, encoder="tfidf-svd"))
    build._process.kill()
    last = ended(build)
    assert last.state == "failed"
    assert "ended without a word of its own" in last.told


@pytest.mark.skipif(sys.platform == "win32", reason="niceness is not Windows's")
def test_a_build_lets_every_other_program_go_first(topics: str) -> None:
    import psutil

    build = background.start(encode_job(topics, encoder="tfidf-svd"))
    process = psutil.Process(build._process.pid)
    nice = 0
    while build.progress().state == "running" and nice != 19:
        try:
            nice = process.nice()
        except psutil.NoSuchProcess:
            break
    ended(build)
    assert nice == 19


def test_time_left_is_told_by_what_was_done(topics: str) -> None:
    build = background.start(encode_job(topics, encoder="tfidf-svd"))
    seen = []
    while not (now := build.progress()).over:
        seen.append(now)
    assert all(now.seconds >= 0 for now in seen)
    assert all(now.seconds_left is None or now.seconds_left >= 0 for now in seen)
    assert all((now.rate is None) == (now.seconds_left is None) and (now.rate or 1) > 0 for now in seen)


def test_an_evaluation_is_asked_for_in_its_own_command_line() -> None:
    job = evaluate_job("relish", system="specter", split="--rankings", facet="-x", precision="bfloat16")
    assert job.module == "components.evaluation"
    # A split that is called like an option stays a value.
    assert job.arguments == (
        "--set=relish", "--split=--rankings", "--facet=-x", "--encoder=specter", "--precision=bfloat16",
    )  # fmt: skip
    assert job.words == "evaluating specter on relish (-x)"
    peer = evaluate_job("relish", system="tfidf", split="test", called="TF-IDF")
    assert peer.arguments == ("--set=relish", "--split=test", "--peer=tfidf")
    assert peer.words == "evaluating TF-IDF on relish"
    index = curve_job("topics", title="Hearts")
    assert (index.module, index.arguments) == ("components.evaluation", ("index", "--atlas", "topics"))
    assert index.words == "measuring the index of Hearts"
    assert encode_job("topics", encoder="m").module == "corpus"


def test_an_evaluation_that_fails_says_why_in_its_own_words(home: Path) -> None:
    last = ended(background.start(evaluate_job("nothing", system="tfidf", split="all")))
    assert last.state == "failed"
    assert last.told.startswith("No judged set is kept under the name 'nothing'")
