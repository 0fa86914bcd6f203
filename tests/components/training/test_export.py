"""Exports: transformers, sentence-transformers and the app give the vectors that training had; model cards."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt

from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import InputForm
from components.encoder.checkpoints import find_checkpoint
from components.encoder.tokenizer import load_tokenizer
from components.training.export import copy_checkpoint, model_card, recover_folder, write_checkpoint, write_full
from components.training.model import TrainedEncoder, load_trained
from components.training.run import Curves
from components.training.settings import TrainingError, TrainingSettings
from tests.components.training.test_report import scores
from tests.components.training.test_run import RUN
from tests.components.training.training_toys import planted_step, planted_validation

TEXTS = [("Heart failure", "of the galaxy"), ("star", "a star " * 20), ("the galaxy", ""), ("", "hearts")]
OTHER_MIX = torch.tensor([0.5, -1.0, 2.0])


def declare(folder: Path, *, pooling: str, longest: int, normalised: bool) -> None:
    """Write what sentence-transformers writes of a folder."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalised else [])]
    modules = [{"idx": i, "path": f"{i}_{kind}" if i else "", "type": f"x.{kind}"} for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": longest}))


@pytest.fixture(params=["hub", "sentence-transformers", "vocabulary", "full"])
def start(request: pytest.FixtureRequest, tiny_copy: Path, full: Path, tmp_path: Path, zip_of) -> Path:
    """What training may start from: each of the forms that checkpoints are released in."""
    if request.param == "sentence-transformers":
        declare(tiny_copy, pooling="mean", longest=16, normalised=True)
    elif request.param == "vocabulary":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (tiny_copy / name).unlink()
    elif request.param == "full":
        folder = shutil.copytree(full, tmp_path / "base")
        for name in ("config.json", "vocab.txt"):
            shutil.copy(tiny_copy / name, folder)
        return zip_of(folder, tmp_path / "base.zip", root="base")
    return tiny_copy


def trained(start: Path, *, scalars: torch.Tensor | None = None, **settings: object) -> TrainedEncoder:
    """An encoder as training leaves it: every weight has moved a little."""
    encoder = load_trained(find_checkpoint(str(start)), TrainingSettings(**settings)).eval()
    torch.manual_seed(8)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        if scalars is not None and encoder.mix is not None:
            encoder.mix.scalars.copy_(scalars)
    return encoder


def vectors_of(encoder: TrainedEncoder, start: Path) -> np.ndarray:
    """What training itself computes, its texts put together here."""
    form: InputForm = encoder.form
    tokenizer, token = load_tokenizer(find_checkpoint(str(start)))
    tokenizer.enable_truncation(max_length=form.max_tokens)
    texts = [
        form.separator.join(part.strip() for part in (title, abstract) if part.strip())
        if form.separator
        else f"{title.strip()}{token}{abstract.strip()}"
        for title, abstract in TEXTS
    ]
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        return encoder(ids, mask).numpy()


def read(path: Path) -> np.ndarray:
    return load_encoder(str(path), device="cpu").encode(TEXTS)


@pytest.mark.parametrize("pooling", ["start", "scalar_mix", "cls", "mean"])
@pytest.mark.parametrize("longest", [0, 9])
def test_an_export_gives_the_vectors_of_training(start: Path, pooling: str, longest: int, tmp_path: Path) -> None:
    encoder = trained(start, pooling=pooling, max_tokens=longest)
    folder = tmp_path / "written" / "mine"
    write_checkpoint(folder, encoder, start=find_checkpoint(str(start)))
    expected = vectors_of(encoder, start)
    assert find_checkpoint(str(folder)).form == encoder.form
    assert np.abs(read(folder) - expected).max() < 1e-5
    packed = tmp_path / "mine-full.zip"
    if encoder.mix is None:
        with pytest.raises(TrainingError, match="mine has no scalar mix.*Release the folder"):
            write_full(packed, folder, start=find_checkpoint(str(start)))
        assert not packed.exists()
    else:
        write_full(packed, folder, start=find_checkpoint(str(start)))
        assert find_checkpoint(str(packed)).form == encoder.form
        assert np.abs(read(packed) - expected).max() < 1e-5
    assert {path.name for path in folder.parent.iterdir()} == {"mine"}


@pytest.mark.skipif(os.name != "posix", reason="files have no such rights there")
@pytest.mark.parametrize("pooling", ["scalar_mix", "mean"])
def test_all_files_have_the_same_permissions(tiny: Path, pooling: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_checkpoint(folder, trained(tiny, pooling=pooling), start=find_checkpoint(str(tiny)))
    assert len({path.stat().st_mode for path in folder.iterdir() if path.is_file()}) == 1


def test_training_starts_from_an_export(start: Path, tmp_path: Path) -> None:
    encoder = trained(start, pooling="scalar_mix")
    first, second = tmp_path / "first", tmp_path / "second"
    write_checkpoint(first, encoder, start=find_checkpoint(str(start)))
    again = load_trained(find_checkpoint(str(first)), TrainingSettings()).eval()
    assert again.form == encoder.form
    assert torch.equal(again.mix.scalars, encoder.mix.scalars)
    write_checkpoint(second, again, start=find_checkpoint(str(first)))
    assert find_checkpoint(str(second)).fingerprint == find_checkpoint(str(first)).fingerprint
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_equal_weights_are_the_mean_of_the_states(tiny: Path, tmp_path: Path) -> None:
    encoder = load_trained(find_checkpoint(str(tiny)), TrainingSettings()).eval()
    assert encoder.mix.scalars.tolist() == [0, 0, 0]
    write_checkpoint(tmp_path / "equal", encoder, start=find_checkpoint(str(tiny)))
    ids = torch.tensor([load_tokenizer(find_checkpoint(str(tiny)))[0].encode("heart[SEP]star").ids])
    with torch.no_grad():
        states = encoder.bert(ids, output_hidden_states=True).hidden_states
    expected = torch.stack([state[0, 0] for state in states]).mean(dim=0).numpy()
    found = load_encoder(str(tmp_path / "equal"), device="cpu")
    assert found.mix_weights == pytest.approx([1 / 3] * 3)
    assert np.abs(found.encode([("heart", "star")])[0] - expected).max() < 1e-5


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_sentence_transformers_gives_the_same_vectors(start: Path, pooling: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = trained(start, pooling=pooling)
    write_checkpoint(tmp_path / "mine", encoder, start=find_checkpoint(str(start)))
    separator = encoder.form.separator or "[SEP]"
    oracle = SentenceTransformer(str(tmp_path / "mine"), device="cpu")
    expected = oracle.encode([separator.join(text) for text in TEXTS[:2]], show_progress_bar=False)
    assert np.abs(read(tmp_path / "mine")[:2] - expected).max() < 1e-5


def test_the_embedded_model_keeps_its_word_pieces(encoder: BiEncoder, planted, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    texts = [(paper.title, paper.abstract) for paper in planted(6)]
    texts += [("ÜBER-naïve \u00adsoft\u00ad 東京 β₂", "x\u2028y [SEP] [MASK] ﬁ 🧬 " + "word " * 400), (" padded ", "")]
    kept = load_trained(encoder.checkpoint, TrainingSettings())
    write_checkpoint(tmp_path / "mine", kept, start=encoder.checkpoint)
    again = load_encoder(str(tmp_path / "mine"), device="cpu")
    assert again.checkpoint.form == encoder.checkpoint.form
    assert np.abs(again.encode(texts) - encoder.encode(texts)).max() < 1e-5
    joined = [" ".join(part.strip() for part in text if part.strip()) for text in texts]
    theirs = AutoTokenizer.from_pretrained(tmp_path / "mine")(joined, truncation=True)["input_ids"]
    assert theirs == [one.ids for one in load_tokenizer(encoder.checkpoint)[0].encode_batch(joined)]


def test_another_model_is_exported_with_its_own_inputs(tiny_copy: Path, tiny_words: list[str], tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer, DistilBertConfig, DistilBertModel

    config = DistilBertConfig(
        vocab_size=len(tiny_words), dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=24
    )
    DistilBertModel(config).save_pretrained(tiny_copy)
    encoder = trained(tiny_copy, pooling="mean")
    write_checkpoint(tmp_path / "mine", encoder, start=find_checkpoint(str(tiny_copy)))
    assert np.abs(read(tmp_path / "mine") - vectors_of(encoder, tiny_copy)).max() < 1e-5
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "mine")
    inputs = tokenizer(["a heart", "star"], padding=True, return_tensors="pt")
    assert AutoModel.from_pretrained(tmp_path / "mine")(**inputs).last_hidden_state.shape == (2, 4, 32)
    with pytest.raises(TrainingError, match="Set pooling to cls or mean"):
        trained(tiny_copy, pooling="scalar_mix")


def test_a_mix_without_gelu_is_refused_before_training(tiny_copy: Path) -> None:
    config = json.loads((tiny_copy / "config.json").read_text())
    (tiny_copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(TrainingError, match="GELU"):
        trained(tiny_copy)


def test_no_pointer_to_code_is_exported(tiny_copy: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_copy / "config.json").read_text())
    (tiny_copy / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "someone/else--m.Own"}}))
    (tiny_copy / "m.py").write_text("raise SystemExit\n")
    write_checkpoint(tmp_path / "mine", trained(tiny_copy), start=find_checkpoint(str(tiny_copy)))
    assert "someone" not in "".join(path.read_text() for path in (tmp_path / "mine").glob("*.json"))
    assert not list((tmp_path / "mine").glob("*.py"))


# The -full release


def test_a_full_release_has_the_released_form_and_always_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    encoder = trained(tiny, scalars=OTHER_MIX)
    start = find_checkpoint(str(tiny))
    write_checkpoint(tmp_path / "mine", encoder, start=start)
    for folder in ("one", "other"):
        write_full(tmp_path / folder / "mine-full.zip", tmp_path / "mine", start=start)
    one, other = (tmp_path / folder / "mine-full.zip" for folder in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert list(one.parent.iterdir()) == [one]
    with zipfile.ZipFile(one) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"mine-full"}
        run = json.loads(archive.read("mine-full/run_info.json"))
        archive.extractall(tmp_path / "unpacked")
    assert run["all_hparams"]["base-pt-layer"] == "tiny"
    state = torch.load(tmp_path / "unpacked" / "mine-full" / "model_cur_best.pt", weights_only=True)
    assert state["bert_layer_weights.weight"].shape == (1, 3)
    assert state["bert_layer_weights.weight"].tolist() == [OTHER_MIX.tolist()]
    plain = {name for name in state if name != "bert_layer_weights.weight"}
    assert plain == {f"bert_encoder.{name}" for name in encoder.bert.state_dict()}
    assert np.array_equal(read(tmp_path / "unpacked" / "mine-full"), read(one))


def test_a_full_release_names_a_known_base_model(tiny: Path, tmp_path: Path) -> None:
    start = find_checkpoint(str(tiny))
    write_checkpoint(tmp_path / "mine", trained(tiny), start=start)
    write_full(tmp_path / "x.zip", tmp_path / "mine", start=replace(start, source="aspire-biencoder-biomed-scib-full"))
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        run = json.loads(archive.read("x/run_info.json"))
    assert run["all_hparams"]["base-pt-layer"] == "allenai/scibert_scivocab_uncased"


# Whole or not at all


def test_a_checkpoint_is_replaced_whole(tiny: Path, tmp_path: Path) -> None:
    start = find_checkpoint(str(tiny))
    folder = tmp_path / "mine"
    write_checkpoint(folder, trained(tiny), start=start)
    (folder / "README.md").write_text("of the first")
    write_checkpoint(folder, trained(tiny, pooling="mean"), start=start)
    assert find_checkpoint(str(folder)).form.pooling == "mean"
    assert not (folder / "README.md").exists()
    assert not (folder / "scalar_mix.safetensors").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_kill_between_two_renames_loses_nothing(tiny: Path, tmp_path: Path) -> None:
    start, folder = find_checkpoint(str(tiny)), tmp_path / "mine"
    write_checkpoint(folder, trained(tiny, scalars=OTHER_MIX), start=start)
    fingerprint = find_checkpoint(str(folder)).fingerprint
    folder.rename(tmp_path / ".mine.old")  # which is what a kill would leave
    (tmp_path / ".mine.partial").mkdir()
    recover_folder(folder)
    assert find_checkpoint(str(folder)).fingerprint == fingerprint
    shutil.copytree(folder, tmp_path / ".mine.old")  # or this, a moment later
    write_checkpoint(folder, trained(tiny, pooling="mean"), start=start)
    assert list(tmp_path.iterdir()) == [folder]
    assert find_checkpoint(str(folder)).form.pooling == "mean"


def test_a_copy_is_the_checkpoint_and_is_one_of_the_apps_own(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.encoder.cache import own_checkpoints

    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", str(tmp_path / "encoders"))
    own = tmp_path / "encoders" / "own" / "mine"
    own.parent.mkdir(parents=True)
    write_checkpoint(tmp_path / "mine", trained(tiny), start=find_checkpoint(str(tiny)))
    for _ in range(2):
        copy_checkpoint(tmp_path / "mine", own)
    assert own_checkpoints() == {"own/mine": own}
    assert load_encoder("own/mine", device="cpu").fingerprint == find_checkpoint(str(tmp_path / "mine")).fingerprint


# -- The model card ----------------------------------------------------------------------------------------------------

PAPERS = [("Heart failure", "of the galaxy"), ("star", "a star and the heart")]
CURVES = Curves(
    [planted_step(i + 1, epoch=(i + 1) / 20, loss=1.0 - i / 40, self_negatives=i % 2) for i in range(20)],
    [
        planted_validation(0, 1.25, best=True, mix=(0.3, 0.3, 0.4)),
        planted_validation(10, 0.75, best=True, mix=(0.25, 0.5, 0.25)),
        planted_validation(20, 0.8, best=False, mix=(0.25, 0.5, 0.25)),
    ],
)
PROVENANCE = {
    "filters": {"too_long": 1200, "by word": [1, 2]},
    "sources": [{"name": "plos", "documents": 60}],
    "seed": 3,
}


def card(folder: Path, tiny: Path, **changes: object) -> str:
    """The card of an encoder that is written into `folder`."""
    start = find_checkpoint(str(tiny))
    if not folder.exists():
        write_checkpoint(folder, trained(tiny, scalars=OTHER_MIX), start=start)
    pairs = RUN.pairs.model_copy(update={"name": "plos-60", "train": 2_500, "provenance": PROVENANCE})
    record = RUN.model_copy(update={"settings": TrainingSettings(), "pairs": pairs})
    return model_card(
        folder, **{"name": "mine", "start": start, "record": record, "curves": CURVES, "scores": scores()} | changes
    )


@pytest.mark.parametrize("pooling", ["scalar_mix", "cls", "mean", "normalised"])
def test_the_code_in_the_card_gives_the_vectors(
    tiny_copy: Path, tmp_path: Path, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pooling == "normalised":
        declare(tiny_copy, pooling="mean", longest=16, normalised=True)
        pooling = "mean"
    folder = tmp_path / "mine"
    write_checkpoint(folder, trained(tiny_copy, pooling=pooling), start=find_checkpoint(str(tiny_copy)))
    text = card(folder, tiny_copy)
    source = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]
    source, replaced = re.subn(r"(?m)^papers = .*$", f"papers = {PAPERS!r}", source)
    assert replaced == 1
    monkeypatch.chdir(folder)
    scope: dict[str, torch.Tensor] = {}
    exec(source, scope)
    expected = load_encoder(str(folder), device="cpu").encode(PAPERS)
    assert np.abs(scope["vectors"].numpy() - expected).max() < 1e-5
    assert scope["distances"].shape == (2, 2)
    assert ("sentence-transformers" in text) == (pooling != "scalar_mix")


def test_the_card_says_what_was_done(tiny: Path, tmp_path: Path) -> None:
    text = card(tmp_path / "mine", tiny)
    for words in (
        "2,500 to train on, 2 to choose the checkpoint by, 1 held out",
        "| filters › too long | 1,200 |",
        "| filters › by word | 1, 2 |",
        "| sources › 1 › documents | 60 |",
        "All settings are those of the SPECTER-CoCite card, except for the negatives, which its authors drew by a "
        "plain permutation; where the card is silent, the defaults of Cocite Atlas.",
        "20 steps (1.00 epochs)",
        "from 0.988 to 0.538",
        "10 triplets had their own positive as the negative",
        "from 1.2500 to 0.7500 at step 10",
        "layer 1 weighs most (0.500)",
        "| Mean rank | 20.00 | 10.00 | −10.00 | 9.00 to 11.00 | 0.0100 |",
        "cut off at 24 word pieces",
        "The licence of tiny, from which it was trained, is not known here",
    ):
        assert words in text, words
    assert text.startswith("---\nlibrary_name: transformers\n") and "license:" not in text
    settings = TrainingSettings(learning_rate=2e-5, batch=60, negatives="permutation")
    record = RUN.model_copy(update={"settings": settings})
    other = card(tmp_path / "mine", tiny, record=record, scores=None, curves=Curves())
    for words in (
        "All other settings are those of the SPECTER-CoCite card; where the card is silent",
        "| learning rate | 2e-05 | 1e-05 |",
        "| batch | 60 | 30 |",
        "not scored on held-out pairs",
    ):
        assert words in other, words
    known = replace(find_checkpoint(str(tiny)), name="specter", source="specter")
    assert "license: apache-2.0\nbase_model: allenai/specter\n---" in card(tmp_path / "mine", tiny, start=known)


def test_hostile_text_in_a_card_stays_text(tiny: Path, tmp_path: Path) -> None:
    bad = "<script>x</script> [a](javascript:b) | ![i](http://x.y/z) \n\n# Head `c` \u202e"
    provenance = {bad: {bad: [bad], "deep": [[bad]]}, "none": None} | {f"key {i}": "x" * 10_000 for i in range(1_000)}
    text = card(
        tmp_path / "mine",
        tiny,
        record=RUN.model_copy(
            update={"pairs": RUN.pairs.model_copy(update={"name": bad, "fingerprint": bad, "provenance": provenance})}
        ),
        name=bad,
        start=replace(find_checkpoint(str(tiny)), name=bad),
        scores=scores().model_copy(update={"before": scores().before.model_copy(update={"encoder": bad})}),
    )
    assert "more, in the folder of the pairs" in text and len(text) < 120_000
    assert text.count("\n# ") == 1 and "\u202e" not in text
    html = MarkdownIt("commonmark").enable("table").render(text.partition("\n---\n")[2])
    assert "<script" not in html and html.count("<h1>") == 1
    assert re.findall(r'(?:href|src)="([^"]*)"', html) == ["https://arxiv.org/abs/2111.08366"]
