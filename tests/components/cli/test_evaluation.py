"""Verbs of evaluation: reports, exit codes, and what is stored."""

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.atlas.store import AtlasParts, open_atlas, write_atlas
from components.evaluation import store
from components.evaluation.index_curve import measure_atlas, read_curve, save_curve, to_csv, to_json, to_markdown
from corpus.export import write_jsonl
from corpus.judged_sets.model import RawPool, judged_set, pool_paper
from corpus.judged_sets.released import write_released
from corpus.paper import Paper
from tests.components.cli.conftest import Cocite
from tests.components.evaluation.test_index_curve import SMALL

EMBEDDED = "all-minilm-l6-v2"
Planted = Callable[[int], list[Paper]]


@pytest.fixture
def data(planted: Planted, home: Path, tmp_path: Path) -> Path:
    """A folder in the released format: 2 × 6 papers of two topics; relevant to each are those of its own topic."""
    papers = planted(6)
    topic = {paper.id: paper.id.partition("-")[0] for paper in papers}
    judged = judged_set(
        name="two-topics",
        origin="own",
        papers={paper.id: pool_paper(paper.id, paper.title, paper.abstract) for paper in papers},
        pools=[
            RawPool(
                paper.id,
                paper.id,
                [other.id for other in papers if other is not paper],
                [2 * (topic[other.id] == topic[paper.id]) for other in papers if other is not paper],
                topic[paper.id],
            )
            for paper in papers
        ],
        splits={"dev": [[paper.id for paper in papers[:4]]], "test": [[paper.id for paper in papers[4:]]]},
        relevant_from=2,
    )
    write_released(judged, tmp_path / "two-topics")
    return tmp_path / "two-topics"


def perfect(data: Path, *, reverse: bool = False) -> dict[str, list[list[object]]]:
    """The ranking with the best scores, or the worst."""
    pools = json.loads((data / "test-pid2anns-two-topics.json").read_text())
    return {
        query: [
            [candidate, float(grade)]
            for grade, candidate in sorted(zip(pool["relevance_adju"], pool["cands"], strict=True), reverse=not reverse)
        ]
        for query, pool in pools.items()
    }


def test_encoders_baselines_and_rankings_in_one_report(cocite: Cocite, data: Path, tmp_path: Path) -> None:
    (tmp_path / "best.json").write_text(json.dumps(perfect(data)))
    (tmp_path / "worst.json").write_text(json.dumps(perfect(data, reverse=True)))
    outputs = [tmp_path / f"report{suffix}" for suffix in (".md", ".csv", ".json")]
    result = cocite(
        "evaluate", "--set", "two-topics", "--data", data, "--encoder", EMBEDDED, "--baseline", "tfidf",
        "--baseline", "bm25", "--rankings", tmp_path / "best.json", "--rankings", tmp_path / "worst.json",
        *(word for path in outputs for word in ("--output", path)),
    )  # fmt: skip
    assert result.code == 0, result.err
    assert outputs[0].read_text() == result.out
    # The topics share no word of substance: every system separates them, except the worst ranking.
    rows = list(csv.DictReader(outputs[1].read_text().splitlines()))
    assert [row["system"] for row in rows] == [EMBEDDED, "TF-IDF", "BM25", "best.json", "worst.json"]
    assert [float(row["MAP"]) for row in rows[:4]] == [1.0] * 4
    assert [float(row["NDCG%20"]) for row in rows] == [1.0] * 4 + [0.0]
    # Five of eleven are relevant and come last, at ranks 7 to 11.
    assert float(rows[4]["MAP"]) == pytest.approx(sum(i / (6 + i) for i in range(1, 6)) / 5)
    assert {(row["queries"], row["split"], row["comparable"]) for row in rows} == {("8", "test", "no")}
    report = json.loads(outputs[2].read_text())
    worst = next(test for test in report["tests"] if test["id"] == rows[4]["id"] and test["metric"] == "MAP")
    assert (worst["against"], worst["test"]["losses"]) == (rows[0]["id"], 8)
    assert {group["group"] for group in report["groups"]} == {"heart", "galaxy"}
    assert "| all-minilm-l6-v2 | **100.00** |" in result.out
    assert str(tmp_path) not in result.out

    # All are stored; a stored run scores the same again.
    stored = {evaluation.id: evaluation for evaluation in store.evaluations()}
    assert set(stored) == {row["id"] for row in rows}
    shutil.copy(store.run_path(rows[4]["id"]), tmp_path / "again.txt.gz")
    again = cocite("evaluate", "--set", "two-topics", "--data", data, "--rankings", tmp_path / "again.txt.gz", "--json")
    assert again.json["evaluations"][0]["means"] == stored[rows[4]["id"]].means
    assert cocite("evaluations", "show", *(row["id"] for row in rows)).out == result.out
    assert {row["id"] for row in cocite("evaluations", "list", "--json").json} >= set(stored)
    assert cocite("evaluations", "delete", rows[0]["id"], "--json").json == {"deleted": [rows[0]["id"]]}
    cocite("evaluations", "show", rows[0]["id"]).assert_error("No evaluation")


def test_a_checkpoint_in_a_folder_and_the_lexical_encoder(cocite: Cocite, data: Path, tiny: Path, home: Path) -> None:
    result = cocite(
        "evaluate", "--set", "two-topics", "--data", data, "--split", "dev", "--encoder", tiny,
        "--encoder", "tfidf-svd", "--precision", "float32", "--json",
    )  # fmt: skip
    first, second = result.json["evaluations"]
    assert (first["system"]["name"], first["system"]["source"], first["split"]) == ("tiny", str(tiny), "dev")
    assert second["system"]["name"] == "tfidf-svd"
    assert second["means"]["MAP"] == 1.0
    assert list((home / ".evaluations" / ".vectors").rglob("*.npz"))


def test_what_cannot_be_evaluated_is_reported_and_the_rest_is_there(cocite: Cocite, data: Path, tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text(json.dumps(dict(list(perfect(data).items())[:5])))
    output = tmp_path / "report.md"
    result = cocite(
        "evaluate", "--set", "two-topics", "--data", data, "--baseline", "tfidf",
        "--rankings", tmp_path / "part.json", "--encoder", "nobody", "--output", output,
    )  # fmt: skip
    assert result.code == 1
    first, second, last = (line for line in result.err.splitlines() if line.startswith("cocite: "))
    assert "nobody" in first
    assert "7 of 8 queries" in second
    assert "2 of 3 systems could not be evaluated. Nothing was written to --output." in last
    assert "| TF-IDF | **100.00** |" in result.out
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "DATA", "--baseline", "tfidf", "--split", "train"), "has no split 'train'. It has: dev, test"),
        (("evaluate", "DATA", "--baseline", "tfidf", "--facet", "method"), "facet"),
        (("evaluate", "--set", "nobody", "--baseline", "tfidf"), "nobody"),
        (("evaluate", "--set", "../x", "--baseline", "tfidf"), "../x"),
        (("evaluate", "DATA", "--rankings", "none.json"), "there is no such file"),
        (("evaluate", "DATA", "--baseline", "tfidf", "--output", "report.pdf"), "must end with one of"),
        (("evaluate", "DATA", "--baseline", "tfidf", "--output", "nowhere/report.md"), "there is no folder"),
        (("evaluations", "show", "x"), "'x'"),
        (("evaluations", "show", "0" * 16), "No evaluation"),
        (("judged-sets", "delete", "x"), "There is no judged set"),
        (("judged-sets", "make", "plain", "--name", "A/b", "--judgements", "x", "--texts", "y"), "A/b"),
        (("judged-sets", "make", "plain", "--name", "a", "--judgements", "x", "--texts", "y"), "no such file"),
        (("judged-sets", "make", "topics", "--name", "a"), "either --atlas NAME or --papers FILE"),
    ],
)
def test_errors_are_sentences(cocite: Cocite, data: Path, arguments: tuple[str, ...], message: str) -> None:
    words = [w for word in arguments for w in (["--set", "two-topics", "--data", data] if word == "DATA" else [word])]
    cocite(*words).assert_error(message)


@pytest.mark.parametrize("arguments", [(), ("--set", "x"), ("--set", "x", "--baseline", "luck")])
def test_wrong_calls_exit_with_2(cocite: Cocite, home: Path, arguments: tuple[str, ...]) -> None:
    cocite("evaluate", *arguments).assert_wrong_call()


def test_a_judged_set_is_made_listed_written_and_deleted(
    cocite: Cocite, home: Path, planted: Planted, tmp_path: Path
) -> None:
    papers = planted(3)
    write_jsonl(papers, tmp_path / "papers.jsonl")
    ids = [paper.id for paper in papers]
    judgements = {query: {other: int(other[:3] == query[:3]) for other in ids if other != query} for query in ids}
    with gzip.open(tmp_path / "judged.json.gz", "wt") as file:
        json.dump(judgements | {"lost": {"heart-0": 1}}, file)
    plain = ("--judgements", tmp_path / "judged.json.gz", "--texts", tmp_path / "papers.jsonl")
    make = ("judged-sets", "make", "plain", *plain, "--name", "mine", "--output", tmp_path / "out")
    made = cocite(*make)
    assert "mine: 6 papers, 6 pools of 30 candidates in all, queries by split: all 6; own" in made.out
    assert "lost" in made.out
    assert cocite("judged-sets", "list").out == made.out
    assert cocite(*make).code == 1
    first, second = (
        cocite("evaluate", "--set", "mine", *more, "--baseline", "tfidf", "--json").json["evaluations"][0]
        for more in ((), ("--data", tmp_path / "out"))
    )
    assert (first["means"]["MAP"], first["split"]) == (1.0, "all")
    assert (first["means"], first["set_fingerprint"]) == (second["means"], second["set_fingerprint"])
    copied = cocite("judged-sets", "make", "released", "--data", tmp_path / "out", "--name", "copy", "--json")
    assert (copied.json["name"], copied.json["papers"]) == ("copy", 6)
    assert cocite("judged-sets", "delete", "copy").code == 0
    assert [card["name"] for card in cocite("judged-sets", "list", "--json").json] == ["mine"]


def test_too_few_topics_are_an_error_and_store_nothing(cocite: Cocite, topics: str) -> None:
    cocite("judged-sets", "make", "topics", "--atlas", topics, "--name", "from-topics").assert_error("from-topics")
    assert "There is no judged set yet" in cocite("judged-sets", "list").out


def test_a_damaged_evaluation_is_reported_and_the_others_are_listed(cocite: Cocite, data: Path) -> None:
    baselines = ("--baseline", "tfidf", "--baseline", "bm25")
    assert cocite("evaluate", "--set", "two-topics", "--data", data, *baselines).code == 0
    damaged, whole = store.evaluations()
    (store.evaluations_folder() / damaged.id / "result.json").write_text("{}")
    result = cocite("evaluations", "list")
    assert result.code == 1
    assert whole.id in result.out and damaged.id not in result.out
    assert f"{damaged.id} is damaged" in result.err


def test_the_index_benchmark_is_measured_stored_and_written(
    written: AtlasParts, atlas_parts: Callable[..., AtlasParts], tmp_path: Path, cocite: Cocite
) -> None:
    options = ("-k", "3", "--m", "2,4", "--ef-search", "4,20", "--sizes", "30,60", "--queries", "10")
    cocite("index-benchmark", "one", "--stored").assert_error("Nothing is measured")
    result = cocite("index-benchmark", "one", *options, "--json", "--output", tmp_path / "curve.csv")
    curve = read_curve("one")
    assert curve is not None
    assert result.out == to_json(curve)
    assert (tmp_path / "curve.csv").read_text() == to_csv(curve)
    assert cocite("index-benchmark", "one", "--stored").out == to_markdown(curve)
    for arguments, message in (
        (("--output", "curve.pdf"), "must end with one of .md, .csv, .json"),
        (("--sizes", "61"), "61"),
    ):
        cocite("index-benchmark", "one", *arguments).assert_error(message)
    cocite("index-benchmark", "one", "--m", "8;16").assert_wrong_call()
    # A partial or outdated result is printed, and the exit code says so.
    save_curve(replace(measure_atlas(open_atlas("one"), settings=SMALL), points=curve.points[:2]))
    partial = cocite("index-benchmark", "one", "--stored")
    assert partial.code == 1 and "| 30 | 2 |" in partial.out and "2 of 8" in partial.err
    write_atlas(atlas_parts(seed=9))
    assert "changed" in cocite("index-benchmark", "one", "--stored").err
