"""The command line of corpora: python -m corpus build | list | info | verify | search | encoders.

Exit codes: 0 done; 1 an error, said in a sentence; 2 a wrong call; 3 a verification that found a difference;
130 interrupted.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components import atlas as store
from components.build import build_atlas
from components.encoder import CATALOGUE, EMBEDDED, load_encoder
from components.facets import Filters
from components.medline import NAME as MEDLINE
from components.medline import ensure_medline, make_shipped_files, rebuild_medline
from components.query_text import understand
from components.search import MOST_HITS, search, text_query
from components.verify import SAMPLE, verify_atlas
from corpus import encoders_verb
from corpus.errors import CociteAtlasError

_DIFFERENT, _INTERRUPTED = 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except CociteAtlasError as error:
        print(f"corpus: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncorpus: stopped. What was done is kept; the same command goes on from there.", file=sys.stderr)
        return _INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m corpus", description="Build, inspect and search atlases.")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    build = verbs.add_parser("build", help="build an atlas from files of papers")
    build.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=f"MEDLINE XML or JSON Lines; {MEDLINE!r}: encode the default corpus again",
    )
    build.add_argument("--name", help="the atlas's name (by default that of the first file)")
    build.add_argument(
        "--encoder", default=EMBEDDED, help=f"a folder, a zip, or one of: {', '.join(CATALOGUE)} (default: {EMBEDDED})"
    )
    build.add_argument(
        "--assemble",
        action="store_true",
        help=f"repair {MEDLINE!r}: put it together from the shipped files again, without encoding (20 s)",
    )
    build.set_defaults(run=_build)

    everything = verbs.add_parser("list", help="list all atlases")
    everything.add_argument("--json", action="store_true", help="as JSON")
    everything.set_defaults(run=_list)

    info = verbs.add_parser("info", help="say what an atlas is")
    info.add_argument("name")
    info.add_argument("--json", action="store_true", help="the whole manifest, as JSON")
    info.set_defaults(run=_info)

    verify = verbs.add_parser("verify", help="check an atlas's files, and encode a sample of its rows again")
    verify.add_argument("name")
    verify.add_argument("--rows", type=int, default=SAMPLE, help=f"rows to encode again (default: {SAMPLE})")
    verify.set_defaults(run=_verify)

    ask = verbs.add_parser("search", help="find the papers nearest to a text")
    ask.add_argument("name")
    ask.add_argument("--text", required=True, help="title, a blank line, abstract; '-' reads standard input")
    ask.add_argument("-k", type=int, default=10, help=f"how many papers, up to {MOST_HITS} (default: 10)")
    ask.add_argument("--years", type=_years, metavar="FIRST-LAST", help="papers of these years alone")
    ask.add_argument("--venue", action="append", default=[], help="papers of this venue alone (may be repeated)")
    ask.add_argument("--topic", action="append", default=[], help="papers with this topic alone (may be repeated)")
    ask.add_argument("--json", action="store_true", help="as JSON")
    ask.set_defaults(run=_search)

    encoders_verb.add_parser(verbs)
    return parser


def _build(options: argparse.Namespace) -> int:
    with _Bars() as progress:
        if options.assemble:
            if (options.files, options.encoder, options.name or MEDLINE) != ([MEDLINE], EMBEDDED, MEDLINE):
                raise CociteAtlasError(
                    f"--assemble is for the default atlas alone: python -m corpus build {MEDLINE} --assemble"
                )
            manifest = rebuild_medline(progress=progress)
        elif options.files == [MEDLINE] and not Path(MEDLINE).exists():
            if options.encoder != EMBEDDED or options.name not in (None, MEDLINE):
                raise CociteAtlasError(
                    f"{MEDLINE!r} is the default atlas, made with {EMBEDDED}. To encode its papers with another "
                    "encoder, give the MEDLINE file itself and a --name."
                )
            manifest = make_shipped_files(progress=progress)
        else:
            files = [Path(file) for file in options.files]
            for file in files:
                if not os.path.isfile(file):  # noqa: PTH113  (Path raises where a folder may not be looked into)
                    raise CociteAtlasError(f"{file}: there is no such file.")
            name = options.name or _name_of(files[0])
            manifest = build_atlas(name, files, encoder=options.encoder, progress=progress)
    for report in manifest.source["reports"]:
        print(f"{report['file']}: {report['kept']:,} of {report['read']:,} records kept")
        for problem in report["problems"][:5]:
            print(f"  {problem['place']}: {problem['reason']}")
    print(f"{manifest.name}: {manifest.papers:,} papers. Search it: python -m corpus search {manifest.name} --text …")
    return 0


def _list(options: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = []
    for name in store.atlas_names():
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
            size = f"{row['bytes'] / 1e6:.0f} MB"
            print(f"{row['name']}: {row['papers']:,} papers, {row['encoder']}, {size}, {row['created']}")
    if not rows:
        print(f"No atlas yet. The default one is made on first use: python -m corpus info {MEDLINE}")
    return 0


def _info(options: argparse.Namespace) -> int:
    _ensure(options.name)
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
        "map": f"UMAP, {len(manifest.regions)} regions",
        "built": manifest.created,
        "size": f"{sum(seal.bytes for seal in manifest.files.values()) / 1e6:.0f} MB",
        "folder": str(store.atlas_folder(manifest.name) / manifest.folder),
    }
    print(manifest.name)
    for name, fact in facts.items():
        print(f"  {name:<12} {fact}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    _ensure(options.name)
    report = verify_atlas(options.name, rows=options.rows)
    print(report.summary())
    return 0 if report.passed else _DIFFERENT


def _search(options: argparse.Namespace) -> int:
    _ensure(options.name)
    text = understand(_standard_input() if options.text == "-" else options.text)
    if not text:
        raise CociteAtlasError("The text is empty: give a title and an abstract.")
    if not 1 <= options.k <= MOST_HITS:
        raise CociteAtlasError(f"-k {options.k}: between 1 and {MOST_HITS} papers can be asked for.")
    atlas = store.open_atlas(options.name)
    encoder = load_encoder(atlas.manifest.encoder.source)
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


def _standard_input() -> str:
    """All of standard input. Bytes that are no text, from a paste in another encoding, spoil a word and no more."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read()


def _ensure(name: str) -> None:
    """The default atlas comes into being when it is first asked for."""
    if name == MEDLINE:
        with _Bars() as progress:
            ensure_medline(progress=progress)


def _name_of(path: Path) -> str:
    stem = path.name.split(".")[0].lower()
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in stem).strip("-_")[:64] or "corpus"


def _years(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST-LAST")
    return int(first), int(last or first)


class _Bars:
    """One progress bar a stage, on standard error, so that standard output stays the answer."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            if self._bar is not None:
                self._bar.close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, disable=None)
        self._bar.update(done - self._bar.n)


if __name__ == "__main__":
    sys.exit(main())
