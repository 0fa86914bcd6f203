"""The command line of corpora: python -m corpus COMMAND; `--help` lists the commands.

Exit codes: 0 done; 1 an error, said in a sentence; 2 a wrong call; 3 a verification that found a difference;
130 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from components.atlas import paths, store
from components.atlas.encoders import encoder_of
from components.atlas.facets import Filters
from components.atlas.map_state import map_words
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.verify import SAMPLE, verify_atlas
from components.cli.corpus.build import add_build
from components.cli.corpus.carry import add_carry
from components.cli.corpus.compare import add_compare
from components.cli.corpus.encoders import add_encoders
from components.cli.corpus.grow import add_grow
from components.cli.corpus.shared import KEPT, ensure, exit_code, papers_words, standard_input
from components.cli.corpus.sources import add_count, add_fetch, add_look_up
from components.search.query_text import understand
from components.search.search import MAX_HITS, search, text_query
from corpus.errors import CociteAtlasError
from corpus.io.files import size_words

_DIFFERENT = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code(options, name="corpus", stopped=KEPT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m corpus", description="Build, inspect and search atlases.")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    add_build(verbs)
    add_grow(verbs)

    everything = verbs.add_parser("list", help="list all atlases")
    everything.add_argument("--json", action="store_true", help="as JSON")
    everything.set_defaults(run=_list)

    info = verbs.add_parser("info", help="say what an atlas is")
    info.add_argument("name", help="of an atlas, as `list` says it")
    info.add_argument("--json", action="store_true", help="the whole manifest, as JSON")
    info.set_defaults(run=_info)

    verify = verbs.add_parser("verify", help="check an atlas's files, and encode a sample of its rows again")
    verify.add_argument("name", help="of an atlas, as `list` says it")
    verify.add_argument("--rows", type=int, default=SAMPLE, help=f"rows to encode again (default: {SAMPLE})")
    verify.set_defaults(run=_verify)

    ask = verbs.add_parser("search", help="find the papers nearest to a text")
    ask.add_argument("name", help="of an atlas, as `list` says it")
    ask.add_argument("--text", required=True, help="title, a blank line, abstract; '-' reads standard input")
    ask.add_argument("-k", type=int, default=10, help=f"how many papers, up to {MAX_HITS} (default: 10)")
    ask.add_argument("--years", type=_years, metavar="FIRST-LAST", help="papers of these years alone")
    ask.add_argument("--venue", action="append", default=[], help="papers of this venue alone (may be repeated)")
    ask.add_argument("--topic", action="append", default=[], help="papers with this topic alone (may be repeated)")
    ask.add_argument("--json", action="store_true", help="as JSON")
    ask.set_defaults(run=_search)

    add_carry(verbs)
    add_compare(verbs)
    add_encoders(verbs)
    add_count(verbs)
    add_fetch(verbs)
    add_look_up(verbs)
    return parser


def _list(options: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = []
    for name in paths.atlas_names():
        try:
            manifest = store.read_manifest(name)
        except CociteAtlasError as error:
            rows.append({"name": name, "error": str(error)})
            continue
        rows.append(
            {
                "name": name,
                "papers": manifest.papers,
                "encoder": manifest.encoder.name,
                "created": manifest.created,
                "bytes": sum(seal.bytes for seal in manifest.files.values()),
            }
        )
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        if "error" in row:
            print(f"{row['name']}: {row['error']}")
        else:
            size = size_words(row["bytes"])
            print(f"{row['name']}: {papers_words(row['papers'])}, {row['encoder']}, {size}, {row['created']}")
    if not rows:
        print(f"No atlas yet. The default one is made on first use: python -m corpus info {MEDLINE}")
    return 0


def _info(options: argparse.Namespace) -> int:
    ensure(options.name)
    manifest = store.read_manifest(options.name)
    if options.json:
        print(manifest.to_json(), end="")
        return 0
    index = manifest.index
    searched = (
        f"hnswlib, M {index.m}, ef_search {index.ef_search}, ann_recall_at_10 {index.ann_recall_at_10} "
        f"on {index.sample} of its rows, {index.ann_recall_at_10_outside} off them"
        if index.ef_search
        else "exact"
    )
    facts = {
        "papers": f"{manifest.papers:,}",
        "encoder": f"{manifest.encoder.name}, {manifest.dimensions} dimensions",
        "fingerprint": manifest.encoder.fingerprint[:16],
        "search": searched,
        "map": map_words(manifest),
        "built": manifest.created,
        "size": size_words(sum(seal.bytes for seal in manifest.files.values())),
        "folder": str(paths.atlas_folder(manifest.name) / manifest.folder),
    }
    print(manifest.name)
    for name, fact in facts.items():
        print(f"  {name:<12} {fact}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    ensure(options.name)
    report = verify_atlas(options.name, rows=options.rows)
    print(report.summary())
    return 0 if report.passed else _DIFFERENT


def _search(options: argparse.Namespace) -> int:
    ensure(options.name)
    text = understand(standard_input() if options.text == "-" else options.text)
    if not text:
        raise CociteAtlasError("The text is empty: give a title and an abstract.")
    if not 1 <= options.k <= MAX_HITS:
        raise CociteAtlasError(f"-k {options.k}: between 1 and {MAX_HITS} papers can be asked for.")
    atlas = store.open_atlas(options.name)
    encoder = encoder_of(atlas.manifest, local_files_only=True)
    filters = Filters(years=options.years, venues=tuple(options.venue), topics=tuple(options.topic))
    result = search(atlas, text_query(encoder, text.title, text.abstract), k=options.k, filters=filters)
    hits: list[dict[str, Any]] = []
    for hit in result.hits:
        paper = atlas.paper(hit.row)
        hits.append(
            {
                "rank": hit.rank,
                "row": hit.row,
                "id": paper.id,
                "title": paper.title,
                "l2_distance": round(hit.l2_distance, 6),
            }
        )
    if options.json:
        print(json.dumps(hits, indent=1, ensure_ascii=False))
        return 0
    for note in text.notes:
        print(note, file=sys.stderr)
    for hit_row in hits:
        print(f"{hit_row['rank']:>3}  {hit_row['l2_distance']:.3f}  {hit_row['id']:<10} {hit_row['title']}")
    for row in result.own:
        print(f"Left out, because it is the text itself: {atlas.paper(row).title}", file=sys.stderr)
    return 0


def _years(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST-LAST")
    return int(first), int(last or first)


if __name__ == "__main__":
    sys.exit(main())
