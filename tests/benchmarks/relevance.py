"""Does the embedded encoder find what reviewers included? Against TF-IDF and BM25, on eight systematic reviews.

The judged set is `corpus.judged_sets`' of screened records: each included paper is a query against the other
records of its
review. The reviews lie beside the repository, in `../shared/data/sysrev`, and not in it.

    .venv/bin/python tests/benchmarks/relevance.py [--encoder NAME_OR_FOLDER] [--limit QUERIES_PER_REVIEW]
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from components.atlas.paths import HOME_VARIABLE  # noqa: E402
from components.encoder.bi_encoder import load_encoder  # noqa: E402
from components.encoder.catalogue import EMBEDDED  # noqa: E402
from components.evaluation.baselines import rank_by_bm25, rank_by_tfidf  # noqa: E402
from components.evaluation.encoding import encode_set  # noqa: E402
from components.evaluation.metrics import MAP, NDCG_20_PERCENT  # noqa: E402
from components.evaluation.ranking import Ranking, rank_by_vectors  # noqa: E402
from components.evaluation.results import QueryScores, score  # noqa: E402
from corpus.judged_sets.builders import build_screening  # noqa: E402
from corpus.judged_sets.model import JudgedSet, Pool  # noqa: E402

RECORDS = Path("shared", "data", "sysrev", "sysrev_graded.jsonl.gz")  # from the repository's parent
Scores = dict[str, list[QueryScores]]  # by review


def by_encoder(judged: JudgedSet, pools: Sequence[Pool], name: str) -> tuple[Ranking, str]:
    """The ranking by the L2 distance of an encoder's vectors, and what its encoding took."""
    encoder = load_encoder(name)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:  # vectors of another run would make this one look fast
        os.environ[HOME_VARIABLE] = home
        vectors = encode_set(judged, pools, encoder)
    seconds = time.perf_counter() - start
    n = len(vectors.vectors)
    took = f"{encoder.name}: {n:,} texts encoded in {seconds:.0f} s, {n / seconds:.1f} a second"
    return rank_by_vectors(judged, pools, vectors), took


def by_review(judged: JudgedSet, pools: Sequence[Pool], ranking: Ranking) -> Scores:
    """The scores of a ranking."""
    found: Scores = {}
    for one in score(judged, [pools], ranking):
        found.setdefault(one.group, []).append(one)
    return found


def table(systems: dict[str, Scores]) -> str:
    """A markdown table, percent: a row a review, then the mean over all queries and the mean over reviews."""
    head = "| review | queries | pool | " + " | ".join(f"{name} MAP | NDCG%20" for name in systems) + " |"
    lines = [head, "| --- |" + " ---: |" * (2 + 2 * len(systems))]
    for review, first in next(iter(systems.values())).items():
        cells = _cells([_means(scores[review]) for scores in systems.values()])
        lines.append(f"| {review} | {len(first)} | {first[0].candidates:,} | {cells} |")
    everything = [[one for found in scores.values() for one in found] for scores in systems.values()]
    lines.append(f"| **mean over queries** | {len(everything[0])} | | {_cells([_means(one) for one in everything])} |")
    reviews = [np.mean([_means(found) for found in scores.values()], axis=0) for scores in systems.values()]
    lines.append(f"| **mean over reviews** | | | {_cells(reviews)} |")
    return "\n".join(lines)


def _means(scores: Sequence[QueryScores]) -> np.ndarray:
    return np.mean([[one.metrics[MAP], one.metrics[NDCG_20_PERCENT]] for one in scores], axis=0)


def _cells(means: Sequence[np.ndarray]) -> str:
    return " | ".join(f"{100 * mean_precision:.2f} | {100 * ndcg:.2f}" for mean_precision, ndcg in means)


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
    judged = build_screening(path)
    reviews: dict[str, list[Pool]] = {}
    for pool in judged.pools:
        reviews.setdefault(pool.group, []).append(pool)
    pools = [pool for review in reviews.values() for pool in review[: arguments.limit]]
    ranking, took = by_encoder(judged, pools, arguments.encoder)
    rankings = {
        arguments.encoder: ranking,
        "TF-IDF": rank_by_tfidf(judged, pools),
        "BM25": rank_by_bm25(judged, pools),
    }
    print(table({name: by_review(judged, pools, one) for name, one in rankings.items()}))
    print(f"\nCommand: `python {' '.join(sys.argv)}`")
    print(f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. {took}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
