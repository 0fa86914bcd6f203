"""From a file of papers to an open atlas: the rate of every stage, the memory peak, and the page over that corpus.

The papers are those of `shared/data/acm` beside the project where it is there, else the default corpus's own. They are
encoded by their words (tfidf-svd): what the embedded encoder takes for a paper is measured in `encoding`.
"""

import gzip
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import start
from report import Row

from components.atlas.build import ENCODING, INDEXING, NAMING, PROJECTING, READING, WRITING
from components.atlas.encoders import LEARNING
from components.atlas.paths import HOME_VARIABLE
from components.atlas.store import Atlas, open_atlas
from corpus.export import write_jsonl

ROOT = Path(__file__).resolve().parents[2]
ACM = ROOT.parent / "shared" / "data" / "acm" / "docs.jsonl.gz"
SOME = 20_000  # papers, without --whole
_NAME = "bench"
# Our stages under the peer's names; the peer does not name regions or tune its index.
_AS_ONE = {
    READING: "read",
    LEARNING: "encode",
    ENCODING: "encode",
    PROJECTING: "map",
    NAMING: "name regions",
    INDEXING: "index",
    WRITING: "write",
}
_PEER = "a plain script (pandas, scikit-learn, umap-learn, hnswlib)"


def measure(atlas: Atlas, *, quick: bool, whole: bool) -> tuple[list[Row], str]:
    """Rows of both builds, one after the other, then of the page over our atlas."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        papers, count = _papers(atlas, folder / "papers.jsonl", most=2_000 if quick else None if whole else SOME)
        home = folder / "home"
        ours, our_peak = _run(
            [
                *("-m", "components.cli", "build", str(papers), "--name", _NAME),
                *("--encoder", "tfidf-svd", "--json"),
            ],
            home=home,
        )
        plain, plain_peak = _run([str(Path(__file__).parent / "plain_build.py"), str(papers), str(folder)], home=home)
        part = f"corpus of {count:,}"
        rows = [
            Row(
                part,
                f"{stage}, papers a second",
                "",
                count / seconds,
                count / plain[stage] if stage in plain else None,
                _PEER if stage in plain else "",
                more_is_better=True,
            )
            for stage, seconds in ours.items()
        ]
        rows.append(Row(part, "file to atlas", "s", sum(ours.values()), sum(plain.values()), _PEER))
        rows.append(Row(part, "peak of memory", "MiB", our_peak, plain_peak, _PEER))
        rows += _opened(home, part)
        if not (browser := start.find_browser()):
            return rows, "the page: no Chromium"
        rows += _page(home, atlas, browser, part)
        return rows, ""


def _papers(atlas: Atlas, path: Path, *, most: int | None) -> tuple[Path, int]:
    """A file of papers in plain JSON Lines, and how many it holds."""
    if not ACM.is_file():
        count = min(len(atlas), most or len(atlas))
        return path, write_jsonl((atlas.paper(row) for row in range(count)), path)
    with gzip.open(ACM, "rt", encoding="utf-8") as lines, path.open("w", encoding="utf-8") as out:
        count = 0
        for line in itertools.islice(lines, most):
            out.write(line)
            count += 1
    return path, count


def _run(arguments: Sequence[str], *, home: Path) -> tuple[dict[str, float], float]:
    """Seconds of each stage of a program that reports stages as JSON lines, and its memory peak in MiB."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, HOME_VARIABLE: str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where the command reports its stages
        text=True,
    )
    assert process.stdout is not None
    stages = dict(_stages(process.stdout))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments[0]} {arguments[1]} ended with {process.returncode}")
    return stages, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _stages(lines: Iterator[str]) -> Iterator[tuple[str, float]]:
    seconds: dict[str, float] = {}
    now, since = "", time.perf_counter()
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if not isinstance(said, dict) or "stage" not in said:
            continue
        if "seconds" in said:
            seconds[said["stage"]] = said["seconds"]
            continue
        stage = _AS_ONE.get(said["stage"], said["stage"])
        if now:
            seconds[now] = seconds.get(now, 0.0) + time.perf_counter() - since
        now, since = stage, time.perf_counter()
    if now:
        seconds[now] = seconds.get(now, 0.0) + time.perf_counter() - since
    return iter(seconds.items())


def _opened(home: Path, part: str) -> list[Row]:
    """The time to open the atlas with all files checked, and the recall in its manifest."""
    before = os.environ.get(HOME_VARIABLE)
    os.environ[HOME_VARIABLE] = str(home)
    try:
        began = time.perf_counter()
        atlas = open_atlas(_NAME)
        took = time.perf_counter() - began
    finally:
        if before is None:
            del os.environ[HOME_VARIABLE]
        else:
            os.environ[HOME_VARIABLE] = before
    index = atlas.manifest.index
    return [
        Row(part, "opened and checked", "s", took),
        Row(part, "ann_recall_at_10 on its rows", "", index.ann_recall_at_10),
        Row(part, "ann_recall_at_10 off its rows", "", index.ann_recall_at_10_outside),
    ]


def _page(home: Path, atlas: Atlas, browser: str, part: str) -> list[Row]:
    """The page over this corpus against the page over the default corpus."""
    text = f"{atlas.paper(0).title}\n\n{atlas.paper(0).abstract}"
    here = start.page_times(browser, text, query=f"?atlas={_NAME}", home=home)
    there = start.page_times(browser, text, query=f"?atlas={atlas.name}", home=None)
    peer = f"the page over the {len(atlas):,} papers of the default corpus, by {atlas.manifest.encoder.name}"
    return [Row(part, name, "MiB" if "memory" in name else "s", here[name], there[name], peer) for name in here]
