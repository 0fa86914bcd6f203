"""`python -m corpus encoders`: list, show, fetch and clear what papers can be encoded with."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from components.encoder import (
    CATALOGUE,
    CatalogueEntry,
    UnknownEncoder,
    cache_folder,
    cached,
    clear,
    fetch,
    find_checkpoint,
    is_here,
    own_checkpoints,
    partial_of,
)


def add_encoders(verbs: Any) -> None:
    """Add the verb to the command line's others."""
    parser = verbs.add_parser("encoders", help="list the encoders that are known by name; show, fetch or clear one")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(metavar="ACTION")

    show = actions.add_parser("show", help="all that is known of one")
    show.add_argument("name")
    # Suppressed: a default here would undo what stands before the action.
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    show.set_defaults(run=_show)

    get = actions.add_parser("fetch", help="download one; a stopped download goes on")
    get.add_argument("name")
    get.set_defaults(run=_fetch)

    remove = actions.add_parser("clear", help="remove a downloaded one, or what is left of a stopped download")
    remove.add_argument("name")
    remove.add_argument(
        "--forget", action="store_true", help="let the next fetch take what is published then, not what was met first"
    )
    remove.set_defaults(run=_clear)


def _list(options: argparse.Namespace) -> int:
    rows = [_facts(entry) for entry in CATALOGUE.values()]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        print(f"{row['name']} ({_state(row)})")
        how = f"{row['dimensions']} dimensions, {row['pooling']}"
        print(f"  {row['base']}, {how}, {row['licence']}; for {row['domain']}")
        print(f"  {row['note']}")
    for name in own_checkpoints():
        print(f"{name} (your own)")
    print("A folder or zip that holds a checkpoint can be given in place of a name.")
    print(f"Downloads lie in {cache_folder()} and in the Hugging Face cache: {_megabytes(_held())} in all.")
    return 0


def _show(options: argparse.Namespace) -> int:
    own = own_checkpoints()
    if options.name in own:
        checkpoint = find_checkpoint(options.name, local_files_only=True)
        form = checkpoint.form
        facts: dict[str, Any] = {
            "name": options.name,
            "path": str(own[options.name]),
            "pooling": form.pooling,
            "max_tokens": form.max_tokens,
            "fingerprint": checkpoint.fingerprint,
        }
    else:
        entry = _entry(options.name)
        facts = _facts(entry)
        # Something made for each corpus has as many fingerprints as there are corpora.
        if facts["on_this_machine"] and entry.origin != "corpus":
            facts["fingerprint"] = find_checkpoint(entry.name, local_files_only=True).fingerprint
    if options.json:
        print(json.dumps(facts, indent=1))
        return 0
    print(f"{facts['name']} ({_state(facts) if 'note' in facts else 'your own'})")
    words = {**facts, "scores": ""}
    if "download_bytes" in facts:
        words["download"] = f"about {_megabytes(facts['download_bytes'])}" if facts["download_bytes"] else "none"
    hidden = {"name", "on_this_machine", "partial_bytes", "download_bytes", "scores", "origin"}
    for fact, value in words.items():
        if fact not in hidden and value != "":
            print(f"  {fact:<12} {value}")
    for score in facts.get("scores", []):
        print(f"  {score['set'] + ' ' + score['metric']:<28} {score['percent']:.2f} %")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    name = _entry(options.name).name
    with tqdm(desc=name, unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            if total:
                bar.total = total
            bar.update(done - bar.n)

        fetch(name, progress=progress)
    print(f"{name} is on this machine: fingerprint {find_checkpoint(name, local_files_only=True).fingerprint[:16]}")
    return 0


def _clear(options: argparse.Namespace) -> int:
    cleared = clear(options.name, forget=options.forget)
    print(f"{options.name}: {_megabytes(cleared.bytes)} freed.")
    if others := [name for name in cleared.names if name != options.name]:
        print(f"What went with it, as they share its files: {', '.join(others)}.")
    return 0


def _facts(entry: CatalogueEntry) -> dict[str, Any]:
    here = is_here(entry.name)
    return {
        "name": entry.name,
        "on_this_machine": here,
        "partial_bytes": 0 if here else partial_of(entry.name),
        "base": entry.base,
        "domain": entry.domain,
        "pooling": entry.form.pooling,
        "dimensions": entry.dimensions,
        "max_tokens": entry.form.max_tokens,
        "licence": entry.licence,
        "origin": entry.origin,
        "hub_id": entry.hub_id,
        "url": entry.url,
        "download_bytes": entry.download_bytes,
        "note": entry.note,
        "advice": entry.advice,
        "scores": [asdict(score) for score in entry.scores],
    }


def _state(facts: dict[str, Any]) -> str:
    if facts["on_this_machine"]:
        return "on this machine"
    if facts["partial_bytes"]:
        return f"not on this machine yet; {_megabytes(facts['partial_bytes'])} of it are"
    size = f", about {_megabytes(facts['download_bytes'])} to fetch" if facts["download_bytes"] else ""
    return f"not on this machine yet{size}"


def _entry(name: str) -> CatalogueEntry:
    if entry := CATALOGUE.get(name):
        return entry
    raise UnknownEncoder(
        f"No encoder is called {name!r:.200}. Known by name: {', '.join([*CATALOGUE, *own_checkpoints()])}."
    )


def _held() -> int:
    return sum(one.bytes for one in cached())


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.0f} MB" if number >= 1e6 else f"{number / 1e3:,.0f} kB"
