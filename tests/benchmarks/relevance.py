"""Does the embedded encoder find what reviewers included? It beside TF-IDF, on eight systematic reviews.

Each included paper (grade 2) is a query against the other records of its review; a candidate is relevant where it
was included too, and NDCG%20 takes the grades 2, 1 and 0 as gains. Records of one review with the same text count
once, with their highest grade: a copy of the query in its own pool would be found by anything. The reviews lie
beside the repository, in `../shared/data/sysrev`, and not in it.

    .venv/bin/python tests/benchmarks/relevance.py [--encoder NAME_OR_FOLDER] [--limit QUERIES_PER_REVIEW]
"""

import argparse
import gzip
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from components.encoder import EMBEDDED, load_encoder  # noqa: E402
from components.evaluation import Run, Scores, evaluate, rank_pool  # noqa: E402

RECORDS = Path("shared", "data", "sysrev", "sysrev_graded.jsonl.gz")  # from the repository's parent
INCLUDED = 2
Ranker = Callable[[int, np.ndarray], np.ndarray]  # (query row, candidate rows) -> order of the candidates


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a review's search. grade: 2 included, 1 passed the abstract screen, 0 left out."""

    topic: str
    title: str
    abstract: str
    grade: int


def read_records(path: Path) -> list[Record]:
    """The records of all reviews in the file's order, each text once a review, with its highest grade."""
    kept: dict[tuple[str, str, str], int] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            text = (row["topic"], row["title"].strip(), row["abstract"].strip())
            kept[text] = max(int(row["rel"]), kept.get(text, 0))
    return [Record(*text, grade) for text, grade in kept.items()]


def encoder_ranker(records: list[Record], name: str) -> tuple[Ranker, str]:
    """Ranking by the L2 distance of an encoder's vectors, and what its encoding took."""
    encoder = load_encoder(name)
    texts = list(dict.fromkeys((record.title, record.abstract) for record in records))
    start = time.perf_counter()
    encoded = encoder.encode(texts)
    seconds = time.perf_counter() - start
    at = {text: i for i, text in enumerate(texts)}
    vectors = encoded[[at[record.title, record.abstract] for record in records]]
    took = f"{encoder.name}: {len(texts):,} texts encoded in {seconds:.0f} s, {len(texts) / seconds:.1f} a second"
    return lambda query, pool: rank_pool(vectors[query], vectors[pool]), took


def tf_idf_ranker(records: list[Record]) -> Ranker:
    """Ranking by the cosine of TF-IDF vectors over all records: sublinear counts, English stop words left out."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [f"{record.title} {record.abstract}" for record in records]
    rows = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(texts)
    # Rows come L2-normalised: their products are cosines.
    return lambda query, pool: np.argsort(-(rows[pool] @ rows[[query]].T).toarray().ravel(), kind="stable")


def runs_of(records: list[Record], rank: Ranker, *, limit: int | None) -> dict[str, list[Run]]:
    """Every query's pool, ranked, by review."""
    found: dict[str, list[Run]] = {}
    grades = np.array([record.grade for record in records])
    topics = np.array([record.topic for record in records])
    for topic in dict.fromkeys(record.topic for record in records):
        review = np.flatnonzero(topics == topic)
        found[topic] = []
        for query in review[grades[review] == INCLUDED][:limit]:
            pool = review[review != query]
            ranked = grades[pool[rank(int(query), pool)]]
            found[topic].append(Run(query=records[query].title, grades=tuple(ranked.tolist())))
    return found


def table(systems: dict[str, dict[str, list[Run]]]) -> str:
    """A markdown table, percent: a row a review, then the mean over all queries and the mean over reviews."""
    scores = {
        name: {topic: evaluate(runs, relevant_from=INCLUDED) for topic, runs in by_topic.items()}
        for name, by_topic in systems.items()
    }
    head = "| review | queries | pool | " + " | ".join(f"{name} MAP | NDCG%20" for name in systems) + " |"
    lines = [head, "| --- |" + " ---: |" * (2 + 2 * len(systems))]
    first = next(iter(systems.values()))
    for topic, runs in first.items():
        cells = _cells([scores[name][topic] for name in systems])
        lines.append(f"| {topic} | {len(runs)} | {len(runs[0].grades):,} | {cells} |")
    pooled = [
        evaluate((run for runs in by_topic.values() for run in runs), relevant_from=INCLUDED)
        for by_topic in systems.values()
    ]
    lines.append(f"| **mean over queries** | {pooled[0].queries} | | {_cells(pooled)} |")
    means = [
        Scores(
            queries=len(by_topic),
            mean_average_precision=float(np.mean([one.mean_average_precision for one in by_topic.values()])),
            ndcg_at_20_percent=float(np.mean([one.ndcg_at_20_percent for one in by_topic.values()])),
        )
        for by_topic in scores.values()
    ]
    lines.append(f"| **mean over reviews** | | | {_cells(means)} |")
    return "\n".join(lines)


def _cells(scores: list[Scores]) -> str:
    return " | ".join(f"{100 * s.mean_average_precision:.2f} | {100 * s.ndcg_at_20_percent:.2f}" for s in scores)


def main() -> int:
    """Run the benchmark, or say why not; 0 either way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=EMBEDDED, help="catalogue name or folder (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="queries a review, the first ones (default: all)")
    arguments = parser.parse_args()
    if arguments.limit is not None and arguments.limit < 1:
        parser.error("--limit is a number of queries, 1 or more")
    path = ROOT.parent / RECORDS
    if not path.is_file():
        print(f"skipped: ../{RECORDS} is not there; it holds the judged records")
        return 0
    records = read_records(path)
    rank, took = encoder_ranker(records, arguments.encoder)
    systems = {
        arguments.encoder: runs_of(records, rank, limit=arguments.limit),
        "TF-IDF": runs_of(records, tf_idf_ranker(records), limit=arguments.limit),
    }
    print(table(systems))
    print(f"\nCommand: `python {' '.join(sys.argv)}`")
    print(f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. {took}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
