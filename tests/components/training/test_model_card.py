"""The model card: its code runs and gives the vectors, it says what was done, and no text in it does anything."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from markdown_it import MarkdownIt

from components.encoder import find_checkpoint, load_encoder
from components.evaluation.statistics import PairedTest
from components.training.curves import LookRecord, StepRecord
from components.training.held_out import HeldOut, HeldOutChange
from components.training.model import load_trained
from components.training.release import model_card, write_checkpoint
from components.training.settings import TrainingSettings
from corpus.cocitations.pairs import TrainingPairs
from corpus.paper import Paper, to_table

PAPERS = [("Heart failure", "of the galaxy"), ("star", "a star and the heart")]
STEPS = [
    StepRecord(
        step=i + 1,
        epoch=(i + 1) / 20,
        loss=1.0 - i / 40,
        active=0.5,
        self_negatives=i % 2,
        learning_rate=1e-5,
        gradient_norm=1.0,
        tokens=100,
        seconds=0.1,
    )
    for i in range(20)
]
LOOKS = [
    LookRecord(step=0, dev_loss=1.25, dev_accuracy=0.5, best=True, mix=(0.3, 0.3, 0.4), seconds=1),
    LookRecord(step=10, dev_loss=0.75, dev_accuracy=0.875, best=True, mix=(0.25, 0.5, 0.25), seconds=1),
    LookRecord(step=20, dev_loss=0.8, dev_accuracy=0.9, best=False, mix=(0.25, 0.5, 0.25), seconds=1),
]


def held_out(name: str, rank: float, precision: float) -> HeldOut:
    return HeldOut(
        encoder=name,
        fingerprint="0" * 64,
        queries=1234,
        papers=5678,
        sampled=False,
        median_rank=rank / 2,
        means={"mean_rank": rank, "MAP": precision, "recall@10": precision},
        intervals={"mean_rank": (rank - 1, rank + 1), "MAP": (0.1, 0.2), "recall@10": (0.1, 0.2)},
        values={},
    )


TEST = PairedTest(difference=0.1, p_value=1e-5, wins=3, losses=1, ties=0, samples=100_000)
SCORES = HeldOutChange(
    held_out("start", 1500.25, 0.125),
    held_out("mine", 321.5, 0.2525),
    {"mean_rank": TEST, "MAP": TEST, "recall@10": TEST},
)


@pytest.fixture
def pairs() -> TrainingPairs:
    papers: pa.Table = to_table([Paper(id="1", title="t", abstract="a")])
    told = {"filters": {"too_long": 12, "by word": [1, 2]}, "sources": [{"name": "plos", "documents": 60}], "seed": 3}
    rows = np.zeros((2500, 2), dtype=np.int32)
    return TrainingPairs("plos-60", "ab" * 32, papers, rows, np.zeros((7, 3), np.int32), rows[:9], told)


def written(tiny: Path, folder: Path, **settings: object) -> Path:
    start = find_checkpoint(str(tiny))
    encoder = load_trained(start, TrainingSettings(**settings))
    if encoder.mix is not None:
        encoder.mix.scalars.data = torch.tensor([0.5, -1.0, 2.0])
    write_checkpoint(folder, encoder, start=start)
    return folder


def card(folder: Path, tiny: Path, pairs: TrainingPairs, **changes: object) -> str:
    given = {
        "name": "mine",
        "start": find_checkpoint(str(tiny)),
        "settings": TrainingSettings(),
        "pairs": pairs,
        "steps": STEPS,
        "looks": LOOKS,
        "scores": SCORES,
    }
    return model_card(folder, **given | changes)


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("pooling", ["scalar_mix", "cls", "mean"])
def test_the_code_in_the_card_gives_the_vectors(
    tiny_copy: Path, pairs: TrainingPairs, tmp_path: Path, pooling: str, declared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if declared:
        (tiny_copy / "modules.json").write_text(
            '[{"type": "x.Transformer"}, {"type": "x.Pooling"}, {"type": "x.Normalize"}]'
        )
        (tiny_copy / "1_Pooling").mkdir()
        (tiny_copy / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    folder = written(tiny_copy, tmp_path / "mine", pooling=pooling)
    text = card(folder, tiny_copy, pairs)
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


def test_the_card_says_what_was_done(tiny: Path, pairs: TrainingPairs, tmp_path: Path) -> None:
    folder = written(tiny, tmp_path / "mine")
    text = card(folder, tiny, pairs)
    for words in (
        "2,500 to train on, 7 to choose the checkpoint by, 9 held out",
        "plos-60",
        "| filters › too long | 12 |",
        "| filters › by word | 1, 2 |",
        "| sources › 1 › documents | 60 |",
        "All settings are those of the SPECTER-CoCite card, but for the negatives, which its authors drew by a plain "
        "permutation; where it is silent, the defaults of Cocite Atlas.",
        "20 steps (1.00 epochs)",
        "from 0.988 to 0.538",
        "10 triplets had their own positive as the negative",
        "from 1.2500 to 0.7500 at step 10",
        "from 50.0 % to 87.5 %",
        "layer 1 weighs most (0.500)",
        "1,500.2 (1,499.2 to 1,501.2)",
        "25.25",
        "below 0.0001",
        "cut off at 24 word pieces",
        "The licence of tiny, from which it was trained, is not known here",
    ):
        assert words in text, words
    assert text.startswith("---\nlibrary_name: transformers\n")
    assert "license:" not in text
    changed = TrainingSettings(learning_rate=2e-5, batch=60, negatives="permutation")
    other = card(folder, tiny, pairs, settings=changed, scores=None, steps=[], looks=[])
    assert "All other settings are those of the SPECTER-CoCite card; where it is silent" in other
    assert "| Setting | Here | Default |" in other  # of negatives, the card's is not ours
    assert "| learning rate | 2e-05 | 1e-05 |" in other
    assert "| batch | 60 | 30 |" in other
    assert "not scored on held-out pairs" in other
    assert "margin | 1" not in other


def test_a_known_start_gives_its_licence_and_its_place_on_the_hub(
    tiny: Path, pairs: TrainingPairs, tmp_path: Path
) -> None:
    folder = written(tiny, tmp_path / "mine")
    text = card(folder, tiny, pairs, start=replace(find_checkpoint(str(tiny)), name="specter", source="specter"))
    assert "license: apache-2.0\nbase_model: allenai/specter\n---" in text
    assert "is under Apache-2.0" in text


def test_hostile_text_stays_text(tiny: Path, pairs: TrainingPairs, tmp_path: Path) -> None:
    bad = "<script>x</script> [a](javascript:b) | ![i](http://x.y/z) \n\n# Head `c` \u202e"
    folder = written(tiny, tmp_path / "mine")
    text = card(
        folder,
        tiny,
        replace(
            pairs,
            name=bad,
            fingerprint=bad,
            provenance={bad: {bad: [bad], "deep": [[bad]]}, "none": None, "n": float("nan")},
        ),
        name=bad,
        start=replace(find_checkpoint(str(tiny)), name=bad),
        scores=replace(SCORES, before=replace(SCORES.before, encoder=bad)),
    )
    assert not re.search(r"(?<!\\)<script", re.sub(r"`[^`\n]*`", "", text))
    assert not re.search(r"(?<!\\)\]\((?!https://arxiv)", re.sub(r"`[^`\n]*`", "", text))
    assert text.count("\n# ") == 1
    assert "\u202e" not in text
    html = MarkdownIt("commonmark").enable("table").render(text.partition("\n---\n")[2])
    assert "<script" not in html
    assert re.findall(r'(?:href|src)="([^"]*)"', html) == ["https://arxiv.org/abs/2111.08366"]
    assert html.count("<h1>") == 1


def test_endless_words_of_the_pairs_are_cut_off(tiny: Path, pairs: TrainingPairs, tmp_path: Path) -> None:
    folder = written(tiny, tmp_path / "mine")
    told = {f"key {i}": "x" * 10_000 for i in range(1_000)}
    text = card(folder, tiny, replace(pairs, told=told))
    assert "And 800 more" in text
    assert len(text) < 120_000
