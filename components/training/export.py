"""Export a trained encoder: a folder for transformers and this app, the zip of a -full release, and the model card.

<folder>/config.json, model.safetensors          the model, as transformers saves it
<folder>/tokenizer.json, tokenizer_config.json   the start's tokenizer, with the form's truncation
<folder>/scalar_mix.safetensors                  the scalar mix, if there is one
<folder>/cocite_atlas.json                       the input form
<folder>/modules.json, 1_Pooling/config.json, sentence_bert_config.json   without a mix: for sentence-transformers
"""

import inspect
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import torch

from components.encoder.catalogue import CATALOGUE, InputForm
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.encoder.forms import FORM_FILE, POOLING_FILE, RUN, form_text
from components.encoder.tokenizer import load_tokenizer
from components.encoder.weights import (
    FULL_FILE,
    FULL_PREFIX,
    MIX,
    MIX_FILE,
    MIX_KEY,
    bert_settings,
    load_weights,
    mix_bytes,
)
from components.evaluation.format import cell, code
from components.training.held_out import HeldOutChange, score_rows
from components.training.model import TrainedEncoder
from components.training.run import Curves, RunRecord, tensor_disk_errors
from components.training.settings import TrainingError, TrainingSettings, setting_text, value_text
from corpus.io.files import beside

_CARRIED = ("config.json", "tokenizer.json", "tokenizer_config.json", FORM_FILE)
_SPECIAL = {
    "unk_token": ("[UNK]", "<unk>"),
    "sep_token": ("[SEP]", "</s>"),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
MAX_FACTS = 200  # rows of a table on how the pairs were made
_MAX_CHARACTERS = 300  # of one of its cells
# Facts on pairs whose keys say too little.
_DROPPED = "sentences dropped: "
_FACTS = {
    "contexts › cited alone": _DROPPED + "too few papers cited",
    "contexts › too short": _DROPPED + "too few words",
    "contexts › too long": _DROPPED + "too many words",
    "contexts › without bracket": _DROPPED + "no bracket or parenthesis",
    "contexts › unknown": _DROPPED + "too few of the papers in the corpus",
    "contexts › cited in crowd": _DROPPED + "too many papers cited",
    "contexts › repeated text": _DROPPED + "equal to an earlier one except for digits",
    "contexts › repeated set": _DROPPED + "same papers cited by the same paper before",
    "contexts › kept": "sentences that pairs are made of",
    "ready › unknown": "ready pairs with an unknown id",
    "ready › same": "ready pairs of a paper with itself",
}
_TENTH = 0.1  # of the steps, over which the first and the last loss are means


# -- The checkpoint ----------------------------------------------------------------------------------------------------


def write_checkpoint(folder: Path, encoder: TrainedEncoder, *, start: Checkpoint) -> None:
    """Write an encoder as a checkpoint, atomically; replaces one at `folder`. `find_checkpoint` reads the form back.

    start: the checkpoint that training began from, whose tokenizer is written. Raises OSError, EncoderUnavailable if
    the start's tokenizer is gone.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with replacing_folder(folder) as partial, tensor_disk_errors(folder):
        encoder.bert.save_pretrained(partial, max_shard_size="1000GB")
        config = json.loads((partial / "config.json").read_text(encoding="utf-8"))
        if config.pop("auto_map", None) is not None:  # where to fetch code from: the model was loaded without any
            _write_json(partial / "config.json", config)
        mode = (partial / "config.json").stat().st_mode
        for weights in partial.glob("*.safetensors"):
            weights.chmod(mode)  # safetensors makes files that only their owner may read
        if encoder.mix is not None:
            (partial / MIX_FILE).write_bytes(mix_bytes(encoder.mix.scalars))
        _write_tokenizer(partial, start, encoder)
        (partial / FORM_FILE).write_text(form_text(encoder.form), encoding="utf-8")
        if encoder.mix is None:
            _write_sentence_transformers(partial, encoder.form, dimensions=encoder.dimensions)


def copy_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy a checkpoint's folder, atomically; replaces one at `folder`. Raises OSError."""
    with replacing_folder(folder) as partial:
        shutil.copytree(checkpoint, partial, dirs_exist_ok=True)


def write_full(path: Path, checkpoint: Path, *, start: Checkpoint) -> None:
    """Write a checkpoint with a scalar mix as the zip of a -full release, atomically and always the same bytes.

    In it, in a folder of the zip's name: run_info.json, model_cur_best.pt, configuration, tokenizer and form.
    Raises TrainingError if the checkpoint has no scalar mix, EncoderUnavailable if it is damaged, and OSError.
    """
    found = find_checkpoint(str(checkpoint.resolve()), local_files_only=True)
    weights = load_weights(found)
    if weights is None or weights.mix is None:
        raise TrainingError(
            f"{found.name} has no scalar mix, which a -full release needs. Release the folder as it is."
        )
    entry = CATALOGUE.get(start.source)
    base = (entry.hub_id or entry.base_hub_id) if entry else ""
    state = {f"{FULL_PREFIX}{name}": tensor for name, tensor in weights.tensors.items()} | {MIX: weights.mix[None]}
    run_info = json.dumps({"all_hparams": {"base-pt-layer": base or start.name}}, indent=2).encode() + b"\n"
    carried = {name: found.files[name].path.read_bytes() for name in _CARRIED}
    path.parent.mkdir(parents=True, exist_ok=True)

    def member(name: str, compression: int) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(f"{path.stem}/{name}")  # dated 1980: the same bytes every time
        info.external_attr = 0o644 << 16
        info.compress_type = compression
        return info

    with beside(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in {RUN: run_info, **carried}.items():
            archive.writestr(member(name, zipfile.ZIP_DEFLATED), content)
        # Weights hardly compress, and stored ones are read many times faster.
        with archive.open(member(FULL_FILE, zipfile.ZIP_STORED), "w", force_zip64=True) as file:
            torch.save(state, file)


def _write_tokenizer(folder: Path, start: Checkpoint, encoder: TrainedEncoder) -> None:
    """Write the start's tokenizer, whichever files the start has it in."""
    tokenizer, _ = load_tokenizer(start)
    tokenizer.enable_truncation(max_length=encoder.form.max_tokens)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    special = {
        kind: known[0]
        for kind, tokens in _SPECIAL.items()
        if (known := [token for token in tokens if tokenizer.token_to_id(token) is not None])
    }
    types = ["token_type_ids"] if "token_type_ids" in inspect.signature(encoder.bert.forward).parameters else []
    config = {
        # This class takes tokenizer.json as it is; BERT's own rebuilds it from the vocabulary.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": encoder.form.max_tokens,
        "model_input_names": ["input_ids", *types, "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **special,
    }
    _write_json(folder / "tokenizer_config.json", config)


def _write_sentence_transformers(folder: Path, form: InputForm, *, dimensions: int) -> None:
    """Write the files that sentence-transformers reads; without them it would take the mean of any model."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if form.normalised else [])]
    modules = [
        {"idx": i, "name": f"{i}", "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    pooling = {
        "word_embedding_dimension": dimensions,
        "pooling_mode_cls_token": form.pooling == "cls",
        "pooling_mode_mean_tokens": form.pooling == "mean",
    }
    _write_json(folder / "modules.json", modules)
    (folder / POOLING_FILE).parent.mkdir()
    _write_json(folder / POOLING_FILE, pooling)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": form.max_tokens, "do_lower_case": False})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write beside `folder`; flushed to the disk and moved to its place if all went well."""
    recover_folder(folder)
    partial, old = (folder.with_name(f".{folder.name}{ending}") for ending in (".partial", ".old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in [*partial.rglob("*"), partial]:
            _flush(path)
        if folder.exists():  # a folder with files cannot be replaced: `recover_folder` mends a kill between the two
            folder.rename(old)
        partial.rename(folder)
        _flush(folder.parent)
    except BaseException:
        recover_folder(folder)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Put back a folder that was being replaced when the process was killed."""
    old = folder.with_name(f".{folder.name}.old")
    if not old.is_dir():
        return
    if folder.exists():
        shutil.rmtree(old)
    else:
        old.rename(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- The model card ----------------------------------------------------------------------------------------------------


def model_card(
    checkpoint: Path,
    *,
    name: str,
    start: Checkpoint,
    record: RunRecord,
    curves: Curves,
    scores: HeldOutChange | None = None,
) -> str:
    """The README.md of a checkpoint, as Markdown in which text of unknown origin is escaped.

    scores: on the test pairs; None if they were not ranked. Raises EncoderUnavailable if the checkpoint is damaged.
    """
    found = find_checkpoint(str(checkpoint.resolve()), local_files_only=True)
    settings, defaults = asdict(record.settings), asdict(TrainingSettings())
    facts = list(flat_facts(record.pairs.provenance))
    tenth = max(1, round(len(curves.steps) * _TENTH))
    template = templates().get_template("model_card.md.j2")
    return template.render(
        name=name,
        entry=CATALOGUE.get(start.source),
        start=start,
        form=found.form,
        bert=bert_settings(found) is not None,
        mix_file=MIX_FILE,
        mix_key=MIX_KEY,
        pairs=record.pairs,
        facts=facts[:MAX_FACTS],
        more_facts=len(facts) - MAX_FACTS,
        settings=record.settings,
        other_settings=[
            (key, setting_text(key, value), setting_text(key, defaults[key]))
            for key, value in settings.items()
            if value != defaults[key]
        ],
        steps=curves.steps,
        tenth=tenth,
        validations=curves.validations,
        best=curves.best,
        self_negatives=sum(step.self_negatives for step in curves.steps),
        scores=scores,
        rows=score_rows(scores),
    )


@cache
def templates() -> jinja2.Environment:
    """The templates of this package. HTML is escaped; Markdown escapes with the filters `cell` and `code`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": cell, "code": code, "mean": _mean}
    return environment


def flat_facts(facts: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """JSON values of any depth as pairs of a name and a value, each of bounded length.

    >>> list(flat_facts({"contexts": {"too_long": 1200, "sentences": 9}, "files": ["a", "b"]}))
    [('sentences dropped: too many words', '1,200'), ('contexts › sentences', '9'), ('files', 'a, b')]
    """
    for key, value in facts.items():
        names = (*path, str(key).replace("_", " "))
        if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            value = {str(i): item for i, item in enumerate(value, start=1)}
        if isinstance(value, dict):
            yield from flat_facts(value, names)
        else:
            text = ", ".join(map(value_text, value)) if isinstance(value, list) else value_text(value)
            name = " › ".join(names)
            yield _FACTS.get(name, name)[:_MAX_CHARACTERS], text[:_MAX_CHARACTERS] or "–"


def _mean(values: Iterator[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
