"""The command line of evaluations as a process: exit codes, reports, what is kept, and being stopped."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.cli.main import main
from components.evaluation import store
from corpus.judged_sets.model import RawPool, judged_set, pool_paper
from corpus.judged_sets.released import write_released
from corpus.paper import Paper
from corpus.readers import write_jsonl

ROOT = Path(__file__).resolve().parents[3]
EMBEDDED = "all-minilm-l6-v2"
Planted = Callable[[int], list[Paper]]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Run:
    """run("--set", …): the command as a process, in a home of this test's own."""

    def call(*arguments: object, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "components.evaluation", *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"COCITE_ATLAS_HOME": str(home)},
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return call


@pytest.fixture
def here(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """here("--set", …): the command in this process, which is sooner done."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in arguments]
        try:
            code = main(words)
        except SystemExit as ended:  # how argparse refuses a call
            code = int(str(ended.code))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return call


@pytest.fixture
def data(planted: Planted, tmp_path: Path) -> Path:
    """A folder of the released format: 2 × 6 papers of two topics; relevant to each are those of its own topic."""
    papers = planted(6)
    topic = {paper.id: paper.id.partition("-")[0] for paper in papers}
    judged = judged_set(
        name="two-topics",
        origin="own",
        papers={paper.id: pool_paper(paper.id, paper.title, paper.abstract) for paper in papers},
        pools=[
            RawPool(
                one.id,
                one.id,
                [other.id for other in papers if other is not one],
                [2 * (topic[other.id] == topic[one.id]) for other in papers if other is not one],
                topic[one.id],
            )
            for one in papers
        ],
        splits={"dev": [[one.id for one in papers[:4]]], "test": [[one.id for one in papers[4:]]]},
        relevant_from=2,
    )
    write_released(judged, tmp_path / "two-topics")
    return tmp_path / "two-topics"


def truth(data: Path, *, best_first: bool = True) -> dict[str, list[list[object]]]:
    """The order that every metric likes best, or least."""
    grades = json.loads((data / "test-pid2anns-two-topics.json").read_text())
    return {
        query: [
            [one, 1.0 if grade else 0.5]
            for grade, one in sorted(zip(pool["relevance_adju"], pool["cands"], strict=True), reverse=best_first)
        ]
        for query, pool in grades.items()
    }


def test_encoder_peers_and_rankings_in_one_report(run: Run, here: Run, data: Path, tmp_path: Path, home: Path) -> None:
    (tmp_path / "true.json").write_text(json.dumps(truth(data)))
    (tmp_path / "worst.json").write_text(json.dumps(truth(data, best_first=False)))
    outputs = [tmp_path / f"report{suffix}" for suffix in (".md", ".csv", ".json")]
    done = run(
        "--set", "two-topics", "--data", data, "--encoder", EMBEDDED, "--peer", "tfidf", "--peer", "bm25",
        "--rankings", tmp_path / "true.json", "--rankings", tmp_path / "worst.json",
        *(word for path in outputs for word in ("--output", path)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert outputs[0].read_text() == done.stdout
    # Two topics without a word of substance in common: every system finds them, but for the one that was told not to.
    rows = list(csv.DictReader(outputs[1].read_text().splitlines()))
    assert [row["system"] for row in rows] == [EMBEDDED, "TF-IDF", "BM25", "true.json", "worst.json"]
    assert [float(row["MAP"]) for row in rows[:4]] == [1.0] * 4
    assert [float(row["NDCG%20"]) for row in rows] == [1.0] * 4 + [0.0]
    # Five of eleven are relevant, and stand last: ranks 7 to 11.
    assert float(rows[4]["MAP"]) == pytest.approx(sum(i / (6 + i) for i in range(1, 6)) / 5)
    assert {row["queries"] for row in rows} == {"8"}
    assert {row["split"] for row in rows} == {"test"}
    assert {row["comparable"] for row in rows} == {"no"}
    told = json.loads(outputs[2].read_text())
    assert [one["system"]["kind"] for one in told["evaluations"]] == [
        "encoder", "tfidf", "bm25", "rankings", "rankings",
    ]  # fmt: skip
    worst = next(one for one in told["tests"] if one["id"] == rows[4]["id"] and one["metric"] == "MAP")
    assert worst["against"] == rows[0]["id"]
    assert worst["test"]["losses"] == 8
    assert {group["group"] for group in told["groups"]} == {"heart", "galaxy"}
    assert "| all-minilm-l6-v2 | **100.00** |" in done.stdout
    assert "it is not nDCG@20" in done.stdout
    assert str(tmp_path) not in done.stdout

    # All are kept, and what is kept scores as it did.
    kept = {one.id: one for one in store.evaluations()}
    assert set(kept) == {row["id"] for row in rows}
    shutil.copy(store.run_path(rows[4]["id"]), tmp_path / "again.txt.gz")
    again = here("--set", "two-topics", "--data", data, "--rankings", tmp_path / "again.txt.gz", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["evaluations"][0]["means"] == kept[rows[4]["id"]].means

    shown = here("show", *(row["id"] for row in rows))
    assert shown.returncode == 0
    assert shown.stdout == done.stdout
    listed = here("list", "--json")
    assert {row["id"] for row in json.loads(listed.stdout)} >= set(kept)
    assert here("delete", rows[0]["id"]).returncode == 0
    assert here("show", rows[0]["id"]).returncode == 1


def test_a_checkpoint_in_a_folder_and_the_lexical_encoder(here: Run, data: Path, tiny: Path, home: Path) -> None:
    done = here(
        "--set", "two-topics", "--data", data, "--split", "dev", "--encoder", tiny, "--encoder", "tfidf-svd",
        "--precision", "float32", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["evaluations"]
    assert first["system"]["name"] == "tiny"
    assert first["system"]["source"] == str(tiny)
    assert first["split"] == "dev"
    assert second["system"]["name"] == "tfidf-svd"
    assert second["notes"] == ["tfidf-svd learned its words from the 12 papers of this set."]
    assert second["means"]["MAP"] == 1.0
    assert "scikit-learn" in second["versions"] and "torch" not in second["versions"]
    assert list((home / ".evaluations" / ".vectors").rglob("*.npz"))


def test_what_could_not_be_computed_is_told_and_the_rest_is_there(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text(json.dumps(dict(list(truth(data).items())[:5])))
    output = tmp_path / "report.md"
    done = run(
        "--set", "two-topics", "--data", data, "--peer", "tfidf", "--rankings", tmp_path / "part.json",
        "--encoder", "nobody", "--output", output,
    )  # fmt: skip
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("cocite: ")]
    assert len(lines) == 3
    assert "nobody" in lines[0]
    assert "it does not rank 7 of 8 queries" in lines[1]
    assert "2 of 3 systems could not be evaluated. Nothing was written to --output." in lines[2]
    assert "| TF-IDF | **100.00** |" in done.stdout
    assert not output.exists()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "--set"),
        (("--set", "DATA"), 2, "name at least one system"),
        (("--set", "DATA", "--peer", "luck"), 2, "invalid choice"),
        (("--set", "DATA", "--peer", "tfidf", "--split", "train"), 1, "has no split 'train'. It has: dev, test"),
        (("--set", "DATA", "--peer", "tfidf", "--facet", "method"), 1, "facet"),
        (("--set", "nobody", "--peer", "tfidf"), 1, "nobody"),
        (("--set", "../x", "--peer", "tfidf"), 1, "cannot be the name of a set"),
        (("--set", "DATA", "--rankings", "none.json"), 1, "there is no such file"),
        (("--set", "DATA", "--peer", "tfidf", "--output", "report.pdf"), 1, "must end with one of"),
        (("--set", "DATA", "--peer", "tfidf", "--output", "nowhere/report.md"), 1, "there is no folder"),
        (("show", "x"), 1, "cannot be the id"),
        (("show", "0" * 16), 1, "No evaluation has the id"),
        (("delete-set", "x"), 1, "No judged set"),
        (("nonsense",), 2, "invalid choice"),
        (("make",), 2, "{relish,treccovid,screening,topics,plain,released}"),
        (("make", "plain", "--name", "A/b", "--judgements", "x", "--texts", "y"), 1, "--name"),
        (("make", "plain", "--name", "a", "--judgements", "x", "--texts", "y"), 1, "there is no such file"),
        (("make", "topics", "--name", "a"), 1, "either --atlas NAME or --papers FILE"),
    ],
)
def test_a_wrong_call_has_its_exit_code_and_a_sentence(
    here: Run, data: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = here(*(word for one in arguments for word in (["two-topics", "--data", data] if one == "DATA" else [one])))
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert code == 2 or done.stderr.splitlines()[-1].startswith("cocite: ")


@pytest.mark.parametrize("form", ["--json", "--progress=json"])
def test_a_reader_that_went_away_is_no_fault_of_the_program(home: Path, data: Path, form: str) -> None:
    words = ["--set", "two-topics", "--data", str(data), "--peer", "bm25", form]
    with subprocess.Popen(
        [sys.executable, "-m", "components.evaluation", *words],
        cwd=ROOT,
        env=os.environ | {"COCITE_ATLAS_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(timeout=240) == 130
    assert "Traceback" not in told and "BrokenPipe" not in told
    assert "cocite: stopped" in told


def test_help_tells_of_the_verbs(here: Run) -> None:
    done = here("--help")
    assert done.returncode == 0
    told = " ".join(done.stdout.split())
    assert "sets, delete-set, make, list, show, delete, index" in told
    assert "NDCG%20" in told


def test_progress_for_a_program_ends_with_what_came_of_it(run: Run, data: Path) -> None:
    done = run("--set=two-topics", "--data", data, "--peer=bm25", "--progress", "json", "--low-priority")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"Ranking the pools", "Scoring"} <= {line.get("stage") for line in lines}
    last = lines[-1]
    assert store.read(last["built"]).system.name == "BM25"
    assert last["result"] == "BM25 on two-topics, split test: MAP 100.00 %, NDCG%20 100.00 %, over 8 queries."


def test_a_run_whose_standard_input_ends_stops_and_is_taken_up_again(
    run: Run, data: Path, tiny: Path, home: Path
) -> None:
    arguments = ("--set", "two-topics", "--data", data, "--encoder", tiny, "--progress", "json", "--stop-with-stdin")
    stopped = run(*arguments, stdin=subprocess.DEVNULL)
    assert stopped.returncode == 130, stopped.stderr
    assert "cocite: stopped." in stopped.stderr
    assert store.evaluations() == []
    # Held open, it goes on to its end.
    process = subprocess.Popen(
        [sys.executable, "-m", "components.evaluation", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"COCITE_ATLAS_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [json.loads(line) for line in process.stdout]
    assert process.wait(60) == 0
    process.communicate()
    assert lines[-1]["built"] == store.evaluations()[0].id
    # What was encoded is there for the next split and the next time.
    again = run(*arguments[:-1])
    encoding = [json.loads(line) for line in again.stdout.splitlines() if '"Encoding papers"' in line]
    assert encoding[0]["done"] == encoding[0]["total"] == 12


# Sets


def test_a_set_is_made_kept_listed_written_and_deleted(here: Run, planted: Planted, tmp_path: Path) -> None:
    papers = planted(3)
    write_jsonl(papers, tmp_path / "papers.jsonl")
    ids = [paper.id for paper in papers]
    judgements = {one: {other: int(other[:3] == one[:3]) for other in ids if other != one} for one in ids}
    with gzip.open(tmp_path / "judged.json.gz", "wt") as file:
        json.dump(judgements | {"lost": {"heart-0": 1}}, file)
    make = ("make", "plain", "--judgements", tmp_path / "judged.json.gz", "--texts", tmp_path / "papers.jsonl")
    made = here(*make, "--name", "mine", "--output", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    assert "mine: 6 papers, 6 pools of 30 candidates in all, queries by split: all 6; own" in made.stdout
    assert "  1 queries without a text, left out (such as lost)" in made.stdout
    assert here("sets").stdout == made.stdout
    assert here(*make, "--name", "mine").returncode == 1
    scored = [
        here("--set", "mine", *more, "--peer", "tfidf", "--json").stdout for more in ((), ("--data", tmp_path / "out"))
    ]
    first, second = (json.loads(text)["evaluations"][0] for text in scored)
    assert first["means"]["MAP"] == 1.0
    assert first["split"] == "all"
    assert first["means"] == second["means"]
    assert first["set_fingerprint"] == second["set_fingerprint"]
    copied = here("make", "released", "--data", tmp_path / "out", "--name", "copy", "--progress", "json")
    assert copied.returncode == 0, copied.stderr
    assert json.loads(copied.stdout.splitlines()[-1])["built"] == "copy"
    assert [one["name"] for one in json.loads(here("sets", "--json").stdout)] == ["copy", "mine"]
    assert here("delete-set", "copy").returncode == 0
    assert re.findall(r"^\w+(?=:)", here("sets").stdout, re.MULTILINE) == ["mine"]


def test_an_atlas_s_topics_make_a_set(here: Run, topics: str, home: Path) -> None:
    done = here("make", "topics", "--atlas", topics, "--name", "from-topics")
    # Twelve papers are too few to have rare topics: it is said in a sentence, and nothing is kept.
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("cocite: from-topics")
    assert "No judged set is kept yet" in here("sets").stdout


def test_a_damaged_evaluation_is_told_and_the_list_goes_on(here: Run, data: Path) -> None:
    assert here("--set", "two-topics", "--data", data, "--peer", "tfidf", "--peer", "bm25").returncode == 0
    damaged, whole = store.evaluations()
    assert here("list").returncode == 0
    (store.evaluations_folder() / damaged.id / "result.json").write_text("{}")
    told = here("list")
    assert told.returncode == 1
    assert whole.id in told.stdout
    assert damaged.id not in told.stdout
    assert f"{damaged.id} is damaged" in told.stderr
