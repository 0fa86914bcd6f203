"""Trained encoders, written: transformers, sentence-transformers and the app give the vectors that training had."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from components.encoder import BiEncoder, find_checkpoint, load_encoder
from components.encoder.catalogue import InputForm
from components.encoder.word_pieces import load_tokenizer
from components.training.model import TrainedEncoder, load_trained
from components.training.release import copy_checkpoint, recover_checkpoint, write_checkpoint, write_full
from components.training.settings import TrainingError, TrainingSettings

ROOT = Path(__file__).resolve().parents[3]
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
def test_what_is_written_gives_the_vectors_that_training_had(
    start: Path, pooling: str, longest: int, tmp_path: Path
) -> None:
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
def test_whoever_may_read_one_file_may_read_the_weights(tiny: Path, pooling: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_checkpoint(folder, trained(tiny, pooling=pooling), start=find_checkpoint(str(tiny)))
    assert len({path.stat().st_mode for path in folder.iterdir() if path.is_file()}) == 1


def test_what_a_run_left_has_the_name_of_the_run(tiny: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "run-2" / "checkpoint", tmp_path / "mine"):
        write_checkpoint(folder, trained(tiny, pooling="mean"), start=find_checkpoint(str(tiny)))
    found = [find_checkpoint(str(folder)) for folder in (tmp_path / "run-2" / "checkpoint", tmp_path / "mine")]
    assert [one.name for one in found] == ["run-2", "mine"]


def test_training_goes_on_from_what_was_written(start: Path, tmp_path: Path) -> None:
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


def test_the_embedded_model_and_its_word_pieces_are_carried_on_as_they_are(
    encoder: BiEncoder, planted, tmp_path: Path
) -> None:
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


def test_a_model_of_another_kind_is_written_with_its_own_inputs(
    tiny_copy: Path, tiny_words: list[str], tmp_path: Path
) -> None:
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
    with pytest.raises(TrainingError, match="Take pooling cls or mean"):
        trained(tiny_copy, pooling="scalar_mix")


def test_a_mix_that_nothing_could_read_again_is_refused_before_training(tiny_copy: Path) -> None:
    config = json.loads((tiny_copy / "config.json").read_text())
    (tiny_copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(TrainingError, match="GELU"):
        trained(tiny_copy)


def test_no_pointer_to_code_is_carried_on(tiny_copy: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_copy / "config.json").read_text())
    (tiny_copy / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "someone/else--m.Own"}}))
    (tiny_copy / "m.py").write_text("raise SystemExit\n")
    write_checkpoint(tmp_path / "mine", trained(tiny_copy), start=find_checkpoint(str(tiny_copy)))
    assert "someone" not in "".join(path.read_text() for path in (tmp_path / "mine").glob("*.json"))
    assert not list((tmp_path / "mine").glob("*.py"))


# The -full release


def test_a_full_release_is_of_the_released_form_and_the_same_bytes_every_time(tiny: Path, tmp_path: Path) -> None:
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


def test_a_full_release_of_a_known_model_names_it(tiny: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    start = find_checkpoint(str(tiny))
    write_checkpoint(tmp_path / "mine", trained(tiny), start=start)
    write_full(tmp_path / "x.zip", tmp_path / "mine", start=replace(start, source="aspire-biencoder-biomed-scib-full"))
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        run = json.loads(archive.read("x/run_info.json"))
    assert run["all_hparams"]["base-pt-layer"] == "allenai/scibert_scivocab_uncased"


# Whole or not at all


def test_a_checkpoint_is_replaced_as_a_whole(tiny: Path, tmp_path: Path) -> None:
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
    recover_checkpoint(folder)
    assert find_checkpoint(str(folder)).fingerprint == fingerprint
    shutil.copytree(folder, tmp_path / ".mine.old")  # or this, a moment later
    write_checkpoint(folder, trained(tiny, pooling="mean"), start=start)
    assert list(tmp_path.iterdir()) == [folder]
    assert find_checkpoint(str(folder)).form.pooling == "mean"


FULL_DISK = """
import resource, sys
from pathlib import Path
from components.encoder import find_checkpoint
from components.training.model import load_trained
from components.training.release import write_checkpoint, write_full
from components.training.settings import TrainingSettings
tiny, folder = map(Path, sys.argv[1:])
start = find_checkpoint(str(tiny))
encoder = load_trained(start, TrainingSettings(seed=1))
for most in (200, 3_000, 50_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    for write in (
        lambda: write_checkpoint(folder, encoder, start=start),
        lambda: write_full(folder.with_name("x.zip"), folder, start=start),
    ):
        try:
            write()
        except OSError as error:
            print(error.errno)
"""


def test_a_file_that_cannot_grow_leaves_the_earlier_checkpoint_whole(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_checkpoint(folder, trained(tiny, scalars=OTHER_MIX), start=find_checkpoint(str(tiny)))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tiny, folder], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.split() == ["27"] * 6, done.stderr  # EFBIG, each time
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_a_copy_is_the_checkpoint(tiny: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "mine", trained(tiny, pooling="mean"), start=find_checkpoint(str(tiny)))
    (tmp_path / "own").mkdir()
    for _ in range(2):
        copy_checkpoint(tmp_path / "mine", tmp_path / "own" / "mine")
    assert (
        find_checkpoint(str(tmp_path / "own" / "mine")).fingerprint
        == find_checkpoint(str(tmp_path / "mine")).fingerprint
    )
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["mine"]


# Used like any other encoder


def test_the_app_uses_it_by_path_and_as_ones_own(
    tiny: Path,
    planted_file: Path,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from components.cli.corpus.main import main
    from components.evaluation.__main__ import main as evaluate

    from components.atlas.encoder_options import encoder_options
    from components.encoder import own_checkpoints
    from corpus.judged_sets.model import RawPool, judged_set, pool_paper
    from corpus.judged_sets.released import write_released
    from corpus.readers import read

    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", str(tmp_path / "encoders"))
    start = find_checkpoint(str(tiny))
    folder, packed = tmp_path / "encoders" / "own" / "mine", tmp_path / "mine-full.zip"
    write_checkpoint(folder, trained(tiny, scalars=OTHER_MIX), start=start)
    write_full(packed, folder, start=start)
    assert own_checkpoints() == {"own/mine": folder}
    assert load_encoder("own/mine", device="cpu").fingerprint == find_checkpoint(str(folder)).fingerprint

    for name, place in (("by-folder", folder), ("by-zip", packed)):
        assert main(["build", str(planted_file), "--name", name, "--encoder", str(place)]) == 0
    assert any(choice.name == "own/mine" and choice.atlases for choice in encoder_options("by-folder"))
    assert main(["verify", "by-folder"]) == 0
    assert main(["compare", "by-folder", "by-zip", "--text", "Heart failure\n\nOf the heart.", "-k", "3"]) == 0
    told = capsys.readouterr().out
    assert "3 of 3 papers are in both lists" in told

    papers = list(read(planted_file))
    judged = judged_set(
        name="planted",
        origin="own",
        papers={paper.id: pool_paper(paper.id, paper.title, paper.abstract) for paper in papers},
        pools=[
            RawPool(one.id, one.id, [o.id for o in papers if o is not one], [1] * 5 + [0] * 6, "") for one in papers
        ],
        splits={"test": [[one.id for one in papers]]},
        relevant_from=1,
    )
    write_released(judged, tmp_path / "planted")
    arguments = ["--set", "planted", "--data", str(tmp_path / "planted")]
    assert evaluate([*arguments, "--encoder", "own/mine", "--encoder", str(packed), "--precision", "float32"]) == 0
    scores = re.findall(r"^\| mine(?:-full)? \| \**([\d.]+)", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(scores) >= 2
    assert scores[0] == scores[1]
