"""Texts → word pieces: a checkpoint's tokenizer, from its own file or from a vocabulary, equal to transformers'."""

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from components.encoder.base import EncoderUnavailable, first_line
from components.encoder.files import CONFIG, StoredFiles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from components.encoder.checkpoints import Checkpoint

MAX_CHARS = 50_000  # far longer than any abstract; tokenising a longer paste would take seconds
_VOCABULARIES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_JSON_OBJECT = TypeAdapter(dict[str, Any])


def joined_text(title: str, abstract: str, *, separator: str, separator_token: str) -> str:
    """Title and abstract as one text for the tokenizer. separator: as in `InputForm`."""
    if separator:
        joined = separator.join(part for part in (title.strip(), abstract.strip()) if part)
    else:
        joined = f"{title.strip()}{separator_token}{abstract.strip()}"
    # A lone surrogate (half a character, from a broken paste or argument) is an error in the tokenizers library.
    return joined[:MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def load_tokenizer(checkpoint: "Checkpoint") -> "tuple[Tokenizer, str]":
    """A checkpoint's tokenizer, with its truncation and without padding, and its separator token.

    Truncation and padding are only set here: the tokenizers library cannot change them while another thread encodes.
    """
    from tokenizers import Tokenizer

    files = checkpoint.files
    if "tokenizer.json" in files:
        content = files["tokenizer.json"].read()
        try:
            tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the Rust library raises no narrower class
            raise EncoderUnavailable(
                f"{checkpoint.name}: tokenizer.json could not be read ({first_line(error)})."
            ) from error
    elif not any(name in files for name in _VOCABULARIES):
        # transformers would build a tokenizer of no words, to which every text is equal.
        raise EncoderUnavailable(
            f"{checkpoint.name}: there is no tokenizer (tokenizer.json or vocab.txt). Put its file there."
        )
    else:
        tokenizer = _bert_tokenizer(checkpoint.name, files) or _transformers_tokenizer(checkpoint)
    tokenizer.enable_truncation(max_length=checkpoint.form.max_tokens)
    tokenizer.no_padding()
    separator = "[SEP]" if tokenizer.token_to_id("[SEP]") is not None else "</s>"
    if checkpoint.form.separator == "" and tokenizer.token_to_id(separator) is None:
        raise EncoderUnavailable(f"{checkpoint.name}: its tokenizer has no separator token ([SEP] or </s>).")
    return tokenizer, separator


def _bert_tokenizer(name: str, files: StoredFiles) -> "Tokenizer | None":
    """BERT's tokenizer from its vocabulary; None where the files ask for anything unusual."""
    from tokenizers import BertWordPieceTokenizer

    if "vocab.txt" not in files or any(
        other in files for other in ("added_tokens.json", "vocab.json", "merges.txt", "sentencepiece.bpe.model")
    ):
        return None
    settings = {**_object(files, CONFIG), **_object(files, "tokenizer_config.json")}
    if settings.get("model_type", "bert") != "bert":
        return None
    if settings.get("tokenizer_class") not in (None, "BertTokenizer", "BertTokenizerFast"):
        return None
    for stated in (settings, _object(files, "special_tokens_map.json")):
        if any(_content(stated.get(key, token)) != token for key, token in _SPECIAL.items()):
            return None
        if stated.get("additional_special_tokens") or stated.get("extra_special_tokens"):
            return None
    added = settings.get("added_tokens_decoder", {})
    if not isinstance(added, dict) or any(_content(token) not in _SPECIAL.values() for token in added.values()):
        return None
    lower, chinese = settings.get("do_lower_case", True), settings.get("tokenize_chinese_chars", True)
    accents = settings.get("strip_accents")
    if not isinstance(lower, bool) or not isinstance(chinese, bool) or not isinstance(accents, bool | None):
        return None
    try:
        text = files["vocab.txt"].read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise EncoderUnavailable(f"{name}: vocab.txt is not UTF-8 text ({first_line(error)}).") from error
    # Not splitlines: U+2028 and the like are word pieces.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    vocabulary = {piece: number for number, piece in enumerate(lines[:-1] if lines[-1] == "" else lines)}
    if not all(token in vocabulary for token in _SPECIAL.values()):
        return None
    wrapper = BertWordPieceTokenizer(
        vocabulary, lowercase=lower, handle_chinese_chars=chinese, strip_accents=accents, clean_text=True
    )
    tokenizer: Tokenizer = wrapper._tokenizer  # the wrapper hides `overflowing`
    return tokenizer


def _transformers_tokenizer(checkpoint: "Checkpoint") -> "Tokenizer":
    config = checkpoint.files[CONFIG]
    if config.member:
        raise EncoderUnavailable(
            f"{checkpoint.name}: its tokenizer can only be read from a folder. Unpack the zip and give the folder."
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(config.path.parent, local_files_only=True, trust_remote_code=False)
        return tokenizer.backend_tokenizer
    except Exception as error:  # as many kinds as there are tokenizers
        raise EncoderUnavailable(
            f"{checkpoint.name}: its tokenizer could not be read ({first_line(error)})."
        ) from error


def _object(files: StoredFiles, name: str) -> dict[str, Any]:
    """The object of a JSON file; empty where it is missing or invalid, on which transformers then reports."""
    try:
        return _JSON_OBJECT.validate_json(files[name].read()) if name in files else {}
    except ValidationError:
        return {}


def _content(token: Any) -> Any:
    """The text of a special token, which may be written with its properties; None where these are unusual."""
    if not isinstance(token, dict):
        return token
    unusual = any(token.get(key) for key in ("lstrip", "rstrip", "single_word", "normalized"))
    return None if unusual else token.get("content")
