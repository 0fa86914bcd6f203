"""`python -m corpus compare`: how far two atlases agree, and the two lists that they give for a text."""

import argparse
import json
import sys
from typing import Any

from components.atlas import store
from components.atlas.encoders import encoder_of
from components.atlas.store import Atlas
from components.cli.corpus.shared import Bars, ensure, standard_input
from components.search.compare import SAMPLE, ComparedSearch, agreement, compare_queries
from components.search.query_text import QueryText, understand
from components.search.search import MAX_HITS, text_query
from corpus.errors import CociteAtlasError


def add_compare(verbs: Any) -> None:
    """Add the command and its arguments to the parser's commands."""
    compare = verbs.add_parser("compare", help="say how far two atlases agree on which papers are near")
    compare.add_argument("left", metavar="LEFT")
    compare.add_argument("right", metavar="RIGHT")
    compare.add_argument("--text", help="also compare what is nearest to this text; '-' reads standard input")
    compare.add_argument("-k", type=int, default=10, help=f"how many neighbours, up to {MAX_HITS} (default: 10)")
    compare.add_argument("--sample", type=int, default=SAMPLE, help=f"papers looked at (default: {SAMPLE})")
    compare.add_argument("--json", action="store_true", help="as JSON")
    compare.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if not 1 <= options.k <= MAX_HITS:
        raise CociteAtlasError(f"-k {options.k}: between 1 and {MAX_HITS} papers can be asked for.")
    if options.sample < 1:
        raise CociteAtlasError(f"--sample {options.sample}: at least one paper must be looked at.")
    text: QueryText | None = None
    if options.text is not None:
        text = understand(standard_input() if options.text == "-" else options.text)
        if not text:
            raise CociteAtlasError("The text is empty: give a title and an abstract.")
    for name in (options.left, options.right):
        ensure(name)
    left, right = store.open_atlas(options.left), store.open_atlas(options.right)
    found = _asked(left, right, text, options.k) if text else None
    with Bars() as progress:
        overall = agreement(left, right, k=options.k, sample=options.sample, progress=progress)
    if options.json:
        answer = {"agreement": overall.to_dict(), "query": found.comparison.to_dict() if found else None}
        print(json.dumps(answer, indent=1, ensure_ascii=False))
        return 0
    print(overall.summary())
    if text and found:
        for note in text.notes:
            print(note, file=sys.stderr)
        _print_lists(left, right, found)
    return 0


def _asked(left: Atlas, right: Atlas, text: QueryText, k: int) -> ComparedSearch:
    encoders = [encoder_of(atlas.manifest, local_files_only=True) for atlas in (left, right)]
    queries = [text_query(encoder, text.title, text.abstract) for encoder in encoders]
    return compare_queries(left, right, queries=(queries[0], queries[1]), k=k)


def _print_lists(left: Atlas, right: Atlas, found: ComparedSearch) -> None:
    comparison = found.comparison
    for atlas, result in ((left, found.left), (right, found.right)):
        print(f"\n{atlas.name}")
        for hit in result.hits:
            paper = atlas.paper(hit.row)
            print(f"{hit.rank:>3}  {hit.l2_distance:.3f}  {paper.id:<10} {paper.title}")
    told = f"\n{comparison.common} of {comparison.k} papers are in both lists"
    if comparison.rank_overlap is not None:
        told += f"; rank-biased overlap {comparison.rank_overlap:.2f}"
    if comparison.rank_correlation is not None:
        told += f"; Kendall's tau of those in both {comparison.rank_correlation:+.2f}"
    print(f"{told}.")
