"""Verbs of encoders: list, show, fetch and clear."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.cli.output import AsJson, print_json, progress_bars

if TYPE_CHECKING:
    from components.encoder.catalogue import CatalogueEntry

EncoderName = Annotated[str, typer.Argument(metavar="ENCODER", help="As `encoders list` names it.")]


def add(app: typer.Typer) -> None:
    """Add the group `encoders`."""
    group = typer.Typer(help="List, show, fetch and clear encoders.", no_args_is_help=True)
    group.command("list")(list_encoders)
    group.command("show")(show)
    group.command("fetch")(fetch)
    group.command("clear")(clear)
    app.add_typer(group, name="encoders")


def list_encoders(as_json: AsJson = False) -> None:
    """List the encoders of the catalogue and your own."""
    import humanize

    from components.encoder.cache import cache_folder, own_checkpoints
    from components.encoder.catalogue import CATALOGUE
    from components.encoder.download import cached_encoders

    rows = [_facts(entry) for entry in CATALOGUE.values()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['name']} ({_state(row)})")
        form = f"{row['dimensions']} dimensions, {row['pooling']}"
        print(f"  {row['base']}, {form}, {row['licence']}; for {row['domain']}")
        print(f"  {row['note']}")
    for name in own_checkpoints():
        print(f"{name} (your own)")
    print("Everywhere, the path of a folder or zip with a checkpoint can be given in place of a name.")
    total = humanize.naturalsize(sum(download.bytes for download in cached_encoders()))
    print(f"Downloads are in {cache_folder()} and in the Hugging Face cache: {total} in all.")


def show(name: EncoderName, as_json: AsJson = False) -> None:
    """Show all that is known of an encoder."""
    import humanize

    from components.encoder.cache import own_checkpoints
    from components.encoder.checkpoints import find_checkpoint

    own = own_checkpoints()
    if name in own:
        checkpoint = find_checkpoint(name, local_files_only=True)
        facts: dict[str, Any] = {
            "name": name,
            "path": str(own[name]),
            "pooling": checkpoint.form.pooling,
            "max_tokens": checkpoint.form.max_tokens,
            "fingerprint": checkpoint.fingerprint,
        }
    else:
        entry = _entry(name)
        facts = _facts(entry)
        # An encoder that is learned from each corpus has no single fingerprint.
        if facts["on_this_machine"] and entry.origin != "corpus":
            facts["fingerprint"] = find_checkpoint(entry.name, local_files_only=True).fingerprint
    if as_json:
        print_json(facts)
        return
    print(f"{facts['name']} ({_state(facts) if 'note' in facts else 'your own'})")
    if "download_bytes" in facts:
        size = humanize.naturalsize(facts["download_bytes"])
        facts["download"] = f"about {size}" if facts["download_bytes"] else "none"
    hidden = {"name", "on_this_machine", "partial_bytes", "download_bytes", "scores", "origin"}
    for fact, value in facts.items():
        if fact not in hidden and value != "":
            print(f"  {fact:<12} {value}")
    for score in facts.get("scores", []):
        print(f"  {score['set'] + ' ' + score['metric']:<28} {score['percent']:.2f} %")


def fetch(name: EncoderName, as_json: AsJson = False) -> None:
    """Download an encoder. Resumes a stopped download."""
    from components.encoder.checkpoints import find_checkpoint
    from components.encoder.download import fetch as download

    name = _entry(name).name
    with progress_bars(as_json=as_json) as progress:
        download(name, progress=progress)
    fingerprint = find_checkpoint(name, local_files_only=True).fingerprint
    if as_json:
        print_json({"fetched": name, "fingerprint": fingerprint})
    else:
        print(f"{name} is on this machine: fingerprint {fingerprint[:16]}")


def clear(
    name: EncoderName,
    forget: Annotated[
        bool, typer.Option("--forget", help="Accept another version at the next download than the one recorded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a downloaded encoder, or the rest of a stopped download."""
    import humanize

    from components.encoder.download import clear as clear_downloads

    cleared = clear_downloads(name, forget=forget)
    others = [other for other in cleared.names if other != name]
    if as_json:
        print_json({"cleared": name, "bytes": cleared.bytes, "others": others})
        return
    print(f"{name}: {humanize.naturalsize(cleared.bytes)} freed.")
    if others:
        print(f"Deleted as well, because they share its files: {', '.join(others)}.")


def _facts(entry: "CatalogueEntry") -> dict[str, Any]:
    from components.encoder.download import is_available, partial_bytes

    here = is_available(entry.name)
    return {
        "name": entry.name,
        "on_this_machine": here,
        "partial_bytes": 0 if here else partial_bytes(entry.name),
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
    import humanize

    if facts["on_this_machine"]:
        return "on this machine"
    if facts["partial_bytes"]:
        return f"not on this machine; {humanize.naturalsize(facts['partial_bytes'])} of it are downloaded"
    size = f", about {humanize.naturalsize(facts['download_bytes'])} to download" if facts["download_bytes"] else ""
    return f"not on this machine{size}"


def _entry(name: str) -> "CatalogueEntry":
    from components.encoder.base import UnknownEncoder
    from components.encoder.cache import own_checkpoints
    from components.encoder.catalogue import CATALOGUE

    if entry := CATALOGUE.get(name):
        return entry
    known = ", ".join([*CATALOGUE, *own_checkpoints()])
    raise UnknownEncoder(f"No encoder is called {name!r:.200}. There are: {known}.")
