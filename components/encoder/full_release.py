"""The -full releases: a state dict with a scalar mix and a note of the run, without tokenizer or configuration."""

import json
from pathlib import Path

from components.encoder.errors import EncoderUnavailable, first_line
from components.encoder.hub import TOKENIZER, valid_repository
from components.encoder.stored import StoredFiles, in_folder, in_zip
from components.encoder.weights import FULL_FILE

RUN = "run_info.json"
CONFIGURATION = ("config.json", *TOKENIZER)
_LARGEST_RUN = 4 * 1024**2  # bytes


def is_full(files: StoredFiles) -> bool:
    """Whether files are a -full release's."""
    return FULL_FILE in files


def carries_configuration(files: StoredFiles) -> bool:
    """Whether a release has its configuration and tokenizer with it, and needs no other model's."""
    return "config.json" in files and any(name in files for name in TOKENIZER[:2])


def base_of(name: str, files: StoredFiles, *, expected: str = "") -> str:
    """The hub id of the model that a -full release takes its configuration and tokenizer from.

    expected: the only one that is accepted; "": any `owner/name`. Raises EncoderUnavailable.
    """
    if RUN not in files:
        raise EncoderUnavailable(
            f"{name}: there is no {RUN} beside {FULL_FILE} to say which model its tokenizer is from. Put that model's "
            "config.json and vocab.txt there."
        )
    try:
        run = json.loads(files[RUN].read(most=_LARGEST_RUN))
    except (ValueError, RecursionError) as error:
        raise EncoderUnavailable(f"{name}: {RUN} is not readable JSON ({first_line(error)}).") from error
    settings = run.get("all_hparams", run) if isinstance(run, dict) else None
    base = settings.get("base-pt-layer") if isinstance(settings, dict) else None
    if not isinstance(base, str) or not valid_repository(base):
        raise EncoderUnavailable(
            f"{name}: {RUN} names {base!r:.80} as its base-pt-layer, which is no model of the hub."
        )
    if expected and base != expected:
        raise EncoderUnavailable(
            f"{name}: {RUN} names {base} as its base model; the release that is known has {expected}. Fetch it again."
        )
    return base


def with_base(files: StoredFiles, folder: Path) -> StoredFiles:
    """A release's files with the configuration and tokenizer that lie in its base model's folder."""
    kept = {name: file for name, file in files.items() if name not in CONFIGURATION}
    return {**kept, **in_folder(folder, CONFIGURATION)}


def files_of_zip(path: Path, names: tuple[str, ...]) -> StoredFiles:
    """The files of a model in a zip, a -full release's or another's. Raises EncoderUnavailable."""
    return in_zip(path, names, marks=(FULL_FILE, "config.json"))
