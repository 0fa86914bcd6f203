"""Texts → word pieces: a checkpoint's tokenizer, from its own file or a vocabulary, equal to transformers'."""

import json
from typing import TYPE_CHECKING, Any

from components.encoder.errors import EncoderUnavailable, first_line
from components.encoder.stored import StoredFiles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from components.encoder.checkpoints import Checkpoint

_VOCABULARIES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


# Longer than any abstract (a thousand times over at most); past it, tokenising a paste would take seconds.
MAX_TEXT = 50_000  # characters


def joined_text(title: str, abstract: str, *, separator: str, separator_token: str) -> str:
    """A paper as the one text that a tokenizer reads. separator: as in `InputForm`."""
    if separator:
        joined = separator.join(part for part in (title.strip(), abstract.strip()) if part)
    else:
        joined = f"{title.strip()}{separator_token}{abstract.strip()}"
    # A lone surrogate (half a character, from a broken paste or argument) is an error in the tokenizers library.
    return joined[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")


def load_tokenizer(checkpoint: "Checkpoint") -> "tuple[Tokenizer, str]":
    """A checkpoint's tokenizer, set to its truncation and to no padding, and its separator token.

    Truncation and padding are set once, here: changing them while another thread encodes is an error in the
    tokenizers library, and leaving them alone makes one tokenizer safe to share.
    """
    from tokenizers import Tokenizer

    files = checkpoint.files
    if "tokenizer.json" in files:
        try:
            tokenizer = Tokenizer.from_buffer(files["tokenizer.json"].read())
        except EncoderUnavailable:
            raise
        except Exception as error:  # the Rust side raises bare Exception, and nothing narrower
            raise EncoderUnavailable(
                f"{checkpoint.name}: tokenizer.json could not be read ({first_line(error)})."
            ) from error
    elif not any(name in files for name in _VOCABULARIES):
        # transformers would make a tokenizer of no words, to which every text is the same.
        raise EncoderUnavailable(
            f"{checkpoint.name}: the folder holds no tokenizer (tokenizer.json or vocab.txt). Put its file there."
        )
    else:
        tokenizer = _bert_tokenizer(checkpoint.name, files) or _by_transformers(checkpoint)
    tokenizer.enable_truncation(max_length=checkpoint.form.max_tokens)
    tokenizer.no_padding()
    separator = "[SEP]" if tokenizer.token_to_id("[SEP]") is not None else "</s>"
    if checkpoint.form.separator == "" and tokenizer.token_to_id(separator) is None:
        raise EncoderUnavailable(f"{checkpoint.name}: its tokenizer has no separator token ([SEP] or </s>).")
    return tokenizer, separator


def _bert_tokenizer(name: str, files: StoredFiles) -> "Tokenizer | None":
    """BERT's tokenizer from its vocabulary; None where the files ask for anything that is not plainly that."""
    from tokenizers import BertWordPieceTokenizer

    if "vocab.txt" not in files or any(
        other in files for other in ("added_tokens.json", "vocab.json", "merges.txt", "sentencepiece.bpe.model")
    ):
        return None
    settings = {**_object(files, "config.json"), **_object(files, "tokenizer_config.json")}
    if settings.get("model_type", "bert") != "bert":
        return None
    if settings.get("tokenizer_class") not in (None, "BertTokenizer", "BertTokenizerFast"):
        return None
    for stated in (settings, _object(files, "special_tokens_map.json")):
        if any(_text(stated.get(key, token)) != token for key, token in _SPECIAL.items()):
            return None
        if stated.get("additional_special_tokens") or stated.get("extra_special_tokens"):
            return None
    added = settings.get("added_tokens_decoder", {})
    if not isinstance(added, dict) or any(_text(token) not in _SPECIAL.values() for token in added.values()):
        return None
    lower, chinese = settings.get("do_lower_case", True), settings.get("tokenize_chinese_chars", True)
    accents = settings.get("strip_accents")
    if not isinstance(lower, bool) or not isinstance(chinese, bool) or not isinstance(accents, bool | None):
        return None
    try:
        text = files["vocab.txt"].read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise EncoderUnavailable(f"{name}: vocab.txt is no text ({first_line(error)}).") from error
    # A line ends where Python's text files end one, and nowhere else: U+2028 and the like are word pieces.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    vocabulary = {piece: number for number, piece in enumerate(lines[:-1] if lines[-1] == "" else lines)}
    if not all(token in vocabulary for token in _SPECIAL.values()):
        return None
    made = BertWordPieceTokenizer(
        vocabulary, lowercase=lower, handle_chinese_chars=chinese, strip_accents=accents, clean_text=True
    )
    tokenizer: Tokenizer = made._tokenizer  # the wrapper hides its encodings' overflow
    return tokenizer


def _by_transformers(checkpoint: "Checkpoint") -> "Tokenizer":
    place = checkpoint.files["config.json"]
    if place.member:
        raise EncoderUnavailable(
            f"{checkpoint.name}: its tokenizer can be read from a folder alone. Unpack the zip and give the folder."
        )
    from transformers import AutoTokenizer

    try:
        slow_or_fast = AutoTokenizer.from_pretrained(place.path.parent, local_files_only=True, trust_remote_code=False)
        return slow_or_fast.backend_tokenizer
    except Exception as error:  # as many kinds as there are tokenizers
        raise EncoderUnavailable(f"{checkpoint.name}: no tokenizer could be read ({first_line(error)}).") from error


def _object(files: StoredFiles, name: str) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none, or none that can be read: transformers says what is."""
    if name not in files:
        return {}
    try:
        value = json.loads(files[name].read())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(token: Any) -> Any:
    """The text of a special token, which may be written with its properties; None where these make it another."""
    if not isinstance(token, dict):
        return token
    odd = any(token.get(key) for key in ("lstrip", "rstrip", "single_word", "normalized"))
    return None if odd else token.get("content")
