"""The tokenizer made from a vocabulary gives the word pieces of transformers' tokenizer."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from components.encoder.base import EncoderUnavailable
from components.encoder.bi_encoder import BiEncoder
from components.encoder.checkpoints import find_checkpoint
from components.encoder.tokenizer import load_tokenizer

TEXTS = [
    "Heart failure in the 21st century",
    "Naïve Bayes, ÉCOLE, Ångström, façade, x̂ and ﬁne ligatures",
    "心不全とβ-catenin に関する研究 (z < 0.1)",
    "odd\u00a0spaces\u2003between\u200bwords\u2028and\u2029lines\tand\x0btabs\r\n",
    "a title[SEP]an abstract with [MASK], [UNK], [PAD] and [CLS] in it",
    "[sep] [Sep] [ SEP ] [SEP][SEP]",
    "soft\u00adhyphens, nul\x00bytes, \ufffd replaced, \U0001fac0 beats, e\u0301 composed",
    "don't can't U.S.A. 3.14 1,000 $5 a_b c-d e/f \\ # @ ~ ^",
    "word " * 600,
    "x" * 300,
    "",
    " ",
]
PLAIN = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


@pytest.fixture(scope="module")
def vocabulary(encoder: BiEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real vocabulary of 30,522 word pieces, a configuration, and no tokenizer.json."""
    folder = tmp_path_factory.mktemp("vocabulary")
    tokenizer = json.loads((encoder.checkpoint.folder / "tokenizer.json").read_text())
    pieces = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 512}))
    (folder / "pytorch_model.bin").write_bytes(b"not read here")
    return folder


def changed(vocabulary: Path, folder: Path, **settings: object) -> Path:
    shutil.copytree(vocabulary, folder)
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def ours(folder: Path, texts: list[str]) -> list[list[int]]:
    tokenizer, separator = load_tokenizer(find_checkpoint(str(folder)))
    assert separator == "[SEP]"
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def theirs(folder: Path, texts: list[str]) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text, truncation=True, max_length=512).input_ids for text in texts]


@pytest.fixture
def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer must not come from transformers, which would be its own oracle."""

    def fail(checkpoint: object) -> None:
        raise AssertionError("asked transformers")

    monkeypatch.setattr("components.encoder.tokenizer._transformers_tokenizer", fail)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": True},
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"do_lower_case": True, "strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "never_split": None, "do_basic_tokenize": True},
        {"sep_token": {"__type": "AddedToken", **PLAIN, "content": "[SEP]"}},
        {"added_tokens_decoder": {"102": {**PLAIN, "content": "[SEP]", "special": True}}},
    ],
    ids=str,
)
@pytest.mark.usefixtures("without_transformers")
def test_ids_are_those_of_transformers(vocabulary: Path, tmp_path: Path, settings: dict[str, object]) -> None:
    folder = changed(vocabulary, tmp_path / "model", **settings)
    assert ours(folder, TEXTS) == theirs(folder, TEXTS)


@pytest.fixture(scope="module")
def both(vocabulary: Path) -> tuple[object, object]:
    return load_tokenizer(find_checkpoint(str(vocabulary)))[0], AutoTokenizer.from_pretrained(vocabulary)


@given(text=st.text(max_size=300))
def test_ids_of_any_text_are_those_of_transformers(both: tuple[object, object], text: str) -> None:
    mine, oracle = both
    assert mine.encode(text).ids == oracle(text, truncation=True, max_length=512).input_ids


@pytest.mark.parametrize(
    "settings",
    [
        {"sep_token": "</s>"},
        {"sep_token": {**PLAIN, "content": "[SEP]", "lstrip": True}},
        {"additional_special_tokens": ["[NEW]"]},
        {"do_lower_case": "yes"},
        {"tokenizer_class": "RobertaTokenizer"},
        {"added_tokens_decoder": {"5": {"content": "[NEW]"}}},
    ],
    ids=str,
)
@pytest.mark.usefixtures("without_transformers")
def test_unusual_settings_are_left_to_transformers(
    vocabulary: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    folder = changed(vocabulary, tmp_path / "model", **settings)
    with pytest.raises(AssertionError, match="asked transformers"):
        ours(folder, TEXTS)


def test_unusual_vocabularies_have_the_ids_of_transformers(vocabulary: Path, tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "heart", "\u2028", " spaced ", "heart", "", "failure"]
    for end in ("", "\n", "\n\n"):
        folder = changed(vocabulary, tmp_path / f"model{len(end)}")
        (folder / "vocab.txt").write_text("\n".join(pieces) + end)
        texts = ["heart failure", "failure heart spaced", "[SEP]"]
        assert ours(folder, texts) == theirs(folder, texts)


def test_a_vocabulary_that_is_not_text_is_refused(vocabulary: Path, tmp_path: Path) -> None:
    folder = changed(vocabulary, tmp_path / "model")
    (folder / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EncoderUnavailable, match="vocab.txt"):
        ours(folder, TEXTS)
