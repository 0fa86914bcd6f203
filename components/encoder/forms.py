"""Input forms: what a checkpoint's files declare of how a paper becomes a vector, and what is written to declare it."""

import json
from dataclasses import asdict, replace
from typing import Any, get_args

from components.encoder.catalogue import COCITE_FORM, FULL_FORM, InputForm, Pooling
from components.encoder.errors import EncoderUnavailable, first_line
from components.encoder.full_release import is_full
from components.encoder.mix_file import MIX_FILE
from components.encoder.stored import LARGEST_SMALL, StoredFiles

# As training writes it: a separator and a scalar mix, for which no other format has a place.
FORM_FILE = "cocite_atlas.json"
POOLING_FILE = "1_Pooling/config.json"
_VERSION = 1
_LONGEST_SEPARATOR = 16  # characters
_LARGEST_FORM = 64 * 1024  # bytes


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
    value = _json(name, files, FORM_FILE, most=_LARGEST_FORM)
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
    if not isinstance(separator, str) or len(separator) > _LONGEST_SEPARATOR:
        raise EncoderUnavailable(
            f"{name}/{FORM_FILE}: separator is {separator!r:.40}, not a text of up to {_LONGEST_SEPARATOR} characters."
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


def _json(name: str, files: StoredFiles, file: str, *, most: int = LARGEST_SMALL) -> Any:
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
