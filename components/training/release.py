"""Releases: a trained encoder → a folder that transformers and this app load, and the zip of a -full release.

<folder>/config.json, model.safetensors          what transformers saves of the model
<folder>/tokenizer.json, tokenizer_config.json   the start's word pieces, with the form's truncation
<folder>/scalar_mix.safetensors                  the scalar mix, where there is one
<folder>/cocite_atlas.json                       the input form, as it was trained
<folder>/modules.json, 1_Pooling/config.json, sentence_bert_config.json   where there is no mix: sentence-transformers'
"""

import errno
import inspect
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from components.encoder.catalogue import CATALOGUE, InputForm
from components.encoder.checkpoints import Checkpoint, find_checkpoint, load_tokenizer
from components.encoder.forms import FORM_FILE, POOLING_FILE, form_text
from components.encoder.full_release import RUN
from components.encoder.mix_file import MIX_FILE, mix_bytes
from components.encoder.weights import FULL_FILE, FULL_PREFIX, MIX, load_weights
from components.training.model import TrainedEncoder
from components.training.model_card import model_card as model_card
from components.training.settings import TrainingError
from corpus.io.files import beside

_PARTIAL, _OLD = ".partial", ".old"
_CARRIED = ("config.json", "tokenizer.json", "tokenizer_config.json")
_SPECIAL = {
    "unk_token": ("[UNK]", "<unk>"),
    "sep_token": ("[SEP]", "</s>"),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def write_checkpoint(folder: Path, encoder: TrainedEncoder, *, start: Checkpoint) -> None:
    """Write an encoder as a checkpoint, all of it or nothing; one that is at `folder` is replaced.

    start: what training began from, whose tokenizer it takes. `find_checkpoint(folder)` reads the very same input
    form back. Raises OSError where the disk is full, EncoderUnavailable where the start's tokenizer is gone.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    recover_checkpoint(folder)
    with _beside(folder) as partial, _as_os_errors(folder):
        encoder.bert.save_pretrained(partial, max_shard_size="1000GB")
        _forget_code(partial / "config.json")
        # safetensors makes files that their owner alone may read; a checkpoint is there to be passed on.
        mode = (partial / "config.json").stat().st_mode
        for weights in partial.glob("*.safetensors"):
            weights.chmod(mode)
        if encoder.mix is not None:
            (partial / MIX_FILE).write_bytes(mix_bytes(encoder.mix.scalars))
        _write_tokenizer(partial, start, encoder)
        (partial / FORM_FILE).write_text(form_text(encoder.form), encoding="utf-8")
        if encoder.mix is None:
            _write_modules(partial, encoder.form, dimensions=encoder.dimensions)


def copy_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy a checkpoint's folder, all of it or nothing; one that is at `folder` is replaced. Raises OSError."""
    recover_checkpoint(folder)
    with _beside(folder) as partial:
        shutil.copytree(checkpoint, partial, dirs_exist_ok=True)


def recover_checkpoint(folder: Path) -> None:
    """Put back the checkpoint of a folder that was being replaced when the process was killed."""
    old = _hidden(folder, _OLD)
    if old.is_dir():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)


def write_full(path: Path, checkpoint: Path, *, start: Checkpoint) -> None:
    """Write a checkpoint with a scalar mix as a -full release: a zip, all of it or nothing, the same bytes every time.

    In it, under the zip's own name: run_info.json, model_cur_best.pt, the configuration and tokenizer, and the form.
    checkpoint: a folder by `write_checkpoint`. Raises TrainingError where it has no scalar mix: the folder itself is
    the form in which such models are released. Raises EncoderUnavailable where it is damaged, and OSError.
    """
    found = find_checkpoint(str(checkpoint.resolve()), local_files_only=True)
    weights = load_weights(found) if found.form.pooling == "scalar_mix" else None
    if weights is None or weights.mix is None:
        raise TrainingError(
            f"{found.name} has no scalar mix, which a -full release ends in. Release the folder as it is."
        )
    entry = CATALOGUE.get(start.source)
    base = (entry.hub_id or entry.base_hub_id) if entry else ""
    state = {f"{FULL_PREFIX}{name}": tensor for name, tensor in weights.tensors.items()} | {MIX: weights.mix[None]}
    # The released ones name a model of the hub here, for what lies in this zip itself.
    run = {"all_hparams": {"base-pt-layer": base or start.name}}
    carried = {name: found.files[name].path.read_bytes() for name in (*_CARRIED, FORM_FILE)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in {RUN: json.dumps(run, indent=2).encode() + b"\n", **carried}.items():
            archive.writestr(_member(path, name, zipfile.ZIP_DEFLATED), content)
        # Weights hardly shrink, and stored they are read many times faster.
        with archive.open(_member(path, FULL_FILE, zipfile.ZIP_STORED), "w", force_zip64=True) as file:
            torch.save(state, file)


def _member(path: Path, name: str, compression: int) -> zipfile.ZipInfo:
    """A file in a zip, under the zip's own name; of 1980, and not of now."""
    member = zipfile.ZipInfo(f"{path.stem}/{name}")
    member.external_attr = 0o644 << 16
    member.compress_type = compression
    return member


def _write_tokenizer(folder: Path, start: Checkpoint, encoder: TrainedEncoder) -> None:
    """The start's tokenizer in one file, whatever files the start has it in: the same word pieces everywhere."""
    tokenizer, _ = load_tokenizer(start)
    tokenizer.enable_truncation(max_length=encoder.form.max_tokens)
    try:
        text = tokenizer.to_str()
    except Exception as error:  # the Rust side raises bare Exception, and nothing narrower
        raise TrainingError(f"{start.name}: its tokenizer cannot be written. Start from another checkpoint.") from error
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    special = {
        kind: token
        for kind, tokens in _SPECIAL.items()
        if (token := next((one for one in tokens if tokenizer.token_to_id(one) is not None), None)) is not None
    }
    takes_types = "token_type_ids" in inspect.signature(encoder.bert.forward).parameters
    told = {
        # The class that takes tokenizer.json as it is; a BERT's own makes it anew from its words.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": encoder.form.max_tokens,
        "model_input_names": ["input_ids", *(["token_type_ids"] if takes_types else []), "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **special,
    }
    _write_json(folder / "tokenizer_config.json", told)


def _write_modules(folder: Path, form: InputForm, *, dimensions: int) -> None:
    """The files that sentence-transformers goes by; without them it would take the mean of any model."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if form.normalised else [])]
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    _write_json(folder / "modules.json", modules)
    pooling = {
        "word_embedding_dimension": dimensions,
        "pooling_mode_cls_token": form.pooling == "cls",
        "pooling_mode_mean_tokens": form.pooling == "mean",
    }
    (folder / POOLING_FILE).parent.mkdir()
    _write_json(folder / POOLING_FILE, pooling)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": form.max_tokens, "do_lower_case": False})


def _forget_code(config: Path) -> None:
    """Take out of a configuration where code for it could be fetched: the model was loaded without any."""
    told = json.loads(config.read_text(encoding="utf-8"))
    if told.pop("auto_map", None) is not None:
        _write_json(config, told)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A new folder to write beside `folder`; flushed to the disk and put in its place when all went well."""
    partial, old = _hidden(folder, _PARTIAL), _hidden(folder, _OLD)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in [*sorted(partial.rglob("*")), partial]:
            _flush(path)
        # No folder can replace one that holds files: for a moment there is none, which `recover_checkpoint` mends.
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        _flush(folder.parent)
    except BaseException:
        recover_checkpoint(folder)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _hidden(folder: Path, ending: str) -> Path:
    """Beside a folder, and where folders are listed none of them."""
    return folder.with_name(f".{folder.name}{ending}")


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _as_os_errors(folder: Path) -> Iterator[None]:
    """Raise OSError where safetensors could not write, of which it has an error of its own."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(folder)) from error
