"""Input forms: how a paper becomes a vector, read from a checkpoint's own files; the files of a -full release."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from components.encoder.catalogue import COCITE_FORM, FULL_FORM, InputForm, Pooling
from components.encoder.errors import EncoderUnavailable, first_line
from components.encoder.hub import TOKENIZER, valid_repository
from components.encoder.stored import MAX_SMALL, StoredFiles, in_folder, in_zip
from components.encoder.weights import FULL_FILE, MIX_FILE

if TYPE_CHECKING:
    pass

# As training writes it: a separator and a scalar mix, for which no other format has a place.
FORM_FILE = "cocite_atlas.json"
POOLING_FILE = "1_Pooling/config.json"
_VERSION = 1
_MAX_SEPARATOR = 16  # characters
_MAX_FORM = 64 * 1024  # bytes


def form_of(name: str, files: StoredFiles) -> InputForm:
    """The input form that files declare (training and sentence-transformers write one), else SPECTER-CoCite's.

    Raises EncoderUnavailable where what they declare cannot be, or is not ours as well.
    """
    config = _read_json(name, files, "config.json")
    positions = config.get("max_position_embeddings", COCITE_FORM.max_tokens)
    if not isinstance(positions, int) or positions < 3:
        raise EncoderUnavailable(f"{name}/config.json: max_position_embeddings is {positions!r:.40}, not a length.")
    if FORM_FILE in files:
        return _written_form(name, files, positions)
    longest = min(COCITE_FORM.max_tokens, positions)
    if is_full(files) or MIX_FILE in files:
        return replace(FULL_FORM, max_tokens=longest)
    if "modules.json" not in files:
        return replace(COCITE_FORM, max_tokens=longest)
    kinds = _module_kinds(name, files)
    asked = _read_json(name, files, "sentence_bert_config.json").get("max_seq_length")
    if asked is None:  # from release 6 on it is written here
        asked = _read_json(name, files, "tokenizer_config.json").get("model_max_length")
    return InputForm(
        pooling=_declared_pooling(name, files),
        separator=" ",
        max_tokens=min(longest, asked) if isinstance(asked, int) and asked > 2 else longest,
        normalised="Normalize" in kinds,
    )


def form_text(form: InputForm) -> str:
    """What FORM_FILE holds, to be read back as this very form."""
    return json.dumps({"version": _VERSION, "input_form": asdict(form)}, indent=2, sort_keys=True) + "\n"


def _written_form(name: str, files: StoredFiles, positions: int) -> InputForm:
    """What FORM_FILE says, every value checked."""
    value = _json(name, files, FORM_FILE, most=_MAX_FORM)
    said = value.get("input_form") if isinstance(value, dict) else None
    if not isinstance(said, dict) or type(value.get("version")) is not int or value["version"] != _VERSION:
        raise EncoderUnavailable(f"{name}/{FORM_FILE} holds no input form of version {_VERSION}, which is all we read.")
    if strange := sorted(said.keys() ^ asdict(COCITE_FORM).keys()):
        raise EncoderUnavailable(f"{name}/{FORM_FILE}: {strange[0]!r:.40} is missing, or is nothing that we know.")
    pooling, separator, longest = said["pooling"], said["separator"], said["max_tokens"]
    if pooling not in get_args(Pooling):
        raise EncoderUnavailable(
            f"{name}/{FORM_FILE}: pooling is {pooling!r:.40}, not {' or '.join(get_args(Pooling))}."
        )
    if not isinstance(separator, str) or len(separator) > _MAX_SEPARATOR:
        raise EncoderUnavailable(
            f"{name}/{FORM_FILE}: separator is {separator!r:.40}, not a text of up to {_MAX_SEPARATOR} characters."
        )
    if type(longest) is not int or not 3 <= longest <= positions:
        raise EncoderUnavailable(f"{name}/{FORM_FILE}: max_tokens is {longest!r:.40}, not from 3 to {positions:,}.")
    if type(said["normalised"]) is not bool:
        raise EncoderUnavailable(f"{name}/{FORM_FILE}: normalised is {said['normalised']!r:.40}, not true or false.")
    if pooling == "scalar_mix" and MIX_FILE not in files and not is_full(files):
        raise EncoderUnavailable(
            f"{name}: {FORM_FILE} says that its layers are mixed, and {MIX_FILE} is not there. Put it back beside the "
            "weights."
        )
    return InputForm(pooling=pooling, separator=separator, max_tokens=longest, normalised=said["normalised"])


def _module_kinds(name: str, files: StoredFiles) -> set[str]:
    """The steps that sentence-transformers takes with a model; refused where one of them is not ours as well."""
    modules = _json(name, files, "modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise EncoderUnavailable(f"{name}/modules.json holds no list of modules.")
    kinds = {str(module.get("type", "")).rpartition(".")[2] for module in modules}
    if strange := sorted(kinds - {"Transformer", "Pooling", "Normalize"}):
        raise EncoderUnavailable(
            f"{name}/modules.json asks for {strange[0]!r:.40}; models of a transformer, a pooling and a "
            "normalisation alone are supported."
        )
    return kinds


def _declared_pooling(name: str, files: StoredFiles) -> Pooling:
    """What 1_Pooling/config.json says: one word in new releases, a switch for each mode in old ones."""
    config = _read_json(name, files, POOLING_FILE)
    old = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    modes = [old.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    found = config.get("pooling_mode", modes[0] if len(modes) == 1 else None)
    if found == "cls":
        return "cls"
    if found == "mean":
        return "mean"
    raise EncoderUnavailable(
        f"{name}/{POOLING_FILE}: its pooling is neither [CLS] nor the mean, which is all that is supported."
    )


def _json(name: str, files: StoredFiles, file: str, *, most: int = MAX_SMALL) -> Any:
    """The value in a JSON file. Raises EncoderUnavailable where it is not readable as that."""
    try:
        return json.loads(files[file].read(most=most))
    except (ValueError, RecursionError) as error:
        raise EncoderUnavailable(f"{name}/{file} is not readable JSON ({first_line(error)}).") from error


def _read_json(name: str, files: StoredFiles, file: str) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file."""
    value = _json(name, files, file) if file in files else {}
    if not isinstance(value, dict):
        raise EncoderUnavailable(f"{name}/{file} holds no JSON object.")
    return value


RUN = "run_info.json"
CONFIGURATION = ("config.json", *TOKENIZER)
_MAX_RUN = 4 * 1024**2  # bytes


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
        run = json.loads(files[RUN].read(most=_MAX_RUN))
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
