"""Background jobs, as real processes."""

import sys

import pytest

from components.atlas.corpora import unfinished
from components.atlas.store import open_atlas, read_manifest
from components.jobs import runner
from components.jobs.model import Event, JobStatus, curve_request, encode_request, evaluate_request
from components.jobs.runner import BackgroundJob, JobRunning

MAX_SECONDS = 150


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app remembers its latest job; each test starts as a new process does."""
    monkeypatch.setattr(runner, "_latest", None)


def ended(job: BackgroundJob) -> JobStatus:
    job.wait(MAX_SECONDS)
    return job.status()


def test_a_job_runs_in_the_background_and_leaves_an_atlas(topics: str) -> None:
    job = runner.start(encode_request(topics, encoder="tfidf-svd"))
    first = runner.latest()
    assert first is not None
    assert (first.request.base, first.request.encoder, first.state) == (topics, "tfidf-svd", "running")
    with pytest.raises(JobRunning, match="building an atlas with tfidf-svd"):
        runner.start(encode_request(topics, encoder="all-minilm-l6-v2"))
    runner.forget()  # it runs: nothing to forget
    assert runner.latest() is not None
    last = ended(job)
    assert (last.state, last.message, last.over) == ("done", "", True)
    assert last.stage == "Writing the atlas"
    assert last.built == "topics--tfidf-svd"
    manifest = read_manifest("topics--tfidf-svd")
    assert (manifest.corpus, manifest.encoder.name) == (topics, "tfidf-svd")
    assert open_atlas("topics--tfidf-svd").papers.equals(open_atlas(topics).papers)
    runner.forget()
    assert runner.latest() is None


def test_a_cancelled_job_stops_and_is_resumed(topics: str) -> None:
    job = runner.start(encode_request(topics, encoder="tfidf-svd"))
    runner.stop()
    runner.stop()  # twice is the same as once
    assert job.status().state in ("stopping", "stopped")
    assert ended(job).state == "stopped"
    assert [build.encoder for build in unfinished()] in ([], ["tfidf-svd"])
    assert ended(runner.start(encode_request(topics, encoder="tfidf-svd"))).state == "done"
    assert unfinished() == []


def test_the_error_of_a_failed_job_is_its_message(topics: str) -> None:
    last = ended(runner.start(encode_request(topics, encoder="no-such-encoder")))
    assert last.state == "failed"
    assert "no-such-encoder" in last.message


def test_a_killed_job_has_failed(topics: str) -> None:
    job = runner.start(encode_request(topics, encoder="tfidf-svd"))
    job._process.kill()
    last = ended(job)
    assert last.state == "failed"
    assert "ended without an error message" in last.message


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no niceness")
def test_a_job_has_low_priority(topics: str) -> None:
    import psutil

    job = runner.start(encode_request(topics, encoder="tfidf-svd"))
    process = psutil.Process(job._process.pid)
    assert job._process.stdout is not None
    while job.status().stage == "Starting" and not job.status().over:
        job._readers[0].join(0.05)  # its first event comes after it has lowered its priority
    nice = process.nice()
    job.stop()
    ended(job)
    assert nice == 19


def test_the_time_left_follows_the_pace_of_the_stage(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 10.0, 30.0, 30.0])
    job = BackgroundJob(encode_request(topics, encoder="no-such-encoder"))
    ended(job)
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))
    job._event, job._since = Event(stage="Encoding", done=50, total=200), (0.0, 0)
    next(clock)
    status = job.status()  # 10 s for 50 of 200
    assert (status.seconds, status.rate, status.seconds_left) == (10.0, 5.0, 30.0)
    job._event = Event(stage="Encoding", done=0, total=200)
    assert (job.status().rate, job.status().seconds_left) == (None, None)


def test_requests_say_what_they_do() -> None:
    request = evaluate_request("relish", encoder="specter", split="test", facet="method", encoder_title="SPECTER")
    assert request.words == "evaluating SPECTER on relish (method)"
    assert evaluate_request("relish", encoder="tfidf", split="test").words == "evaluating tfidf on relish"
    assert curve_request("topics", title="Hearts").words == "measuring the index of Hearts"
