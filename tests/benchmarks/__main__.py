"""Measure Cocite Atlas against named peers on this machine, and print one table.

    PYTHONPATH=. python tests/benchmarks [--only PART] [--quick] [--whole] [--relevance]

Every row compares with a peer in the same run. Close other programs first.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import corpus_build
import encoding
import evaluation
import index
import map_bytes
import search
import training
from plain import PlainEncoder
from report import Row, machine, table

from components.atlas.default import ensure_medline
from components.atlas.store import Atlas, open_atlas
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint

PARTS = ("start", "search", "encoding", "index", "map", "corpus", "evaluation", "training")


def measure(part: str, atlas: Atlas, *, quick: bool, whole: bool) -> tuple[list[Row], str]:
    """The rows of one part, and the reason why some are missing."""
    folder = find_checkpoint(EMBEDDED).folder
    if part == "start":
        import start

        return start.measure(atlas, folder, quick=quick)
    if part == "search":
        encoder = load_encoder(EMBEDDED, device="cpu")  # the peer is on the CPU too
        return search.measure(atlas, encoder, PlainEncoder(folder), quick=quick), ""
    if part == "encoding":
        return encoding.measure(atlas, quick=quick)
    if part == "index":
        return index.measure(atlas, quick=quick), ""
    if part == "evaluation":
        return evaluation.measure(quick=quick), ""
    if part == "training":
        return training.measure(atlas, quick=quick)
    if part == "corpus":
        return corpus_build.measure(atlas, quick=quick, whole=whole)
    return map_bytes.measure(atlas), ""


def main() -> int:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="only this part")
    parser.add_argument("--quick", action="store_true", help="few repetitions: a smoke test, not a measurement")
    parser.add_argument("--whole", action="store_true", help="build from all papers, a quarter of an hour")
    parser.add_argument("--relevance", action="store_true", help="also the relevance of the encoder, some minutes")
    arguments = parser.parse_args()
    ensure_medline()
    atlas = open_atlas("medline")
    rows, missing = [], []
    for part in [arguments.only] if arguments.only else PARTS:
        print(f"measuring {part} …", file=sys.stderr)
        new_rows, why = measure(part, atlas, quick=arguments.quick, whole=arguments.whole)
        rows += new_rows
        missing += [why] if why else []
    print(table(rows))
    print()
    for why in missing:
        print(f"Left out of {why}")
    print(f"Corpus: {atlas.name}, {len(atlas):,} papers, {atlas.manifest.dimensions} dimensions")
    print(machine())
    if arguments.quick:
        print("Quick: too few repetitions to be quoted.")
    if arguments.relevance:
        return subprocess.run([sys.executable, str(Path(__file__).parent / "relevance.py")], check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
