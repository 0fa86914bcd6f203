"""Every form that the checkpoints were released in, at BERT-base size, against transformers and a textbook mix.

The weights are random, for the released ones cannot be fetched where tests run; all else is as released: 12 layers,
768 dimensions, 512 positions, the files of a hub repository or of a -full zip.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertModel

from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from corpus.sources.bundled import bundled_medline

pytestmark = pytest.mark.slow  # models of BERT-base size

SENTENCE = "Beta blockers reduced mortality in patients with chronic heart failure and atrial fibrillation. "
TEXTS = [
    ("Heart failure and its treatment", SENTENCE * 6),
    ("No abstract", ""),
    ("", SENTENCE * 2),
    ("", ""),
    ("galaxy " * 600, "never read"),  # a title of 600 words
    # [CLS], one title word, [SEP], the abstract, [SEP]: 512 word pieces, one fewer, one more
    ("heart", "star " * 508),
    ("heart", "star " * 507 + "galaxy"),
    ("heart", "star " * 508 + "galaxy"),
    ("β-catenin, naïve Bayes and 心不全", "Radio interferometry of 12 nearby objects (z < 0.1)."),
]


@dataclass(frozen=True)
class Released:
    """A BERT-base with random weights, its tokenizer's folder, and its scalar mix."""

    model: BertModel
    tokenizer: Path
    mix: torch.Tensor


@pytest.fixture(scope="module")
def released() -> Iterator[Released]:
    tokenizer = find_checkpoint(EMBEDDED).folder
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(AutoTokenizer.from_pretrained(tokenizer)))
    model = BertModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:  # drawn as 0 and 1, which would hide a mistake
                parameter += 0.1 * torch.randn_like(parameter)
    yield Released(model, tokenizer, mix=torch.randn(1, 13))


@pytest.fixture(scope="module")
def states(released: Released) -> list[torch.Tensor]:
    """The oracle: [CLS] of all 13 hidden states, one text at a time through AutoTokenizer and BertModel: (13, d)."""
    tokenizer = AutoTokenizer.from_pretrained(released.tokenizer)
    found = []
    for title, abstract in TEXTS:
        text = title.strip() + tokenizer.sep_token + abstract.strip()
        inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            hidden = released.model(input_ids=inputs["input_ids"], output_hidden_states=True).hidden_states
        found.append(torch.stack([state[0, 0] for state in hidden]))
    return found


def last_layers(states: list[torch.Tensor]) -> np.ndarray:
    return torch.stack([state[-1] for state in states]).numpy()


def mixes(states: list[torch.Tensor], mix: torch.Tensor) -> np.ndarray:
    """By the textbook: the exponentials over their sum, times the states, added up."""
    shares = torch.exp(mix[0]) / torch.exp(mix[0]).sum()
    return torch.stack([sum(shares[layer] * state[layer] for layer in range(13)) for state in states]).numpy()


def write_configuration(released: Released, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    released.model.config.save_pretrained(folder)
    # As the released ones have it: the words alone, and what is done with case.
    shutil.copy(released.tokenizer / "vocab.txt", folder)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 512}')


def write_hub(released: Released, folder: Path, *, pickled: bool) -> Path:
    write_configuration(released, folder)
    state = released.model.state_dict()
    if pickled:
        state["embeddings.position_ids"] = torch.arange(512)[None]  # the buffer that old releases hold
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")
    return folder


def write_full(released: Released, folder: Path) -> Path:
    write_configuration(released, folder)
    state = {f"bert_encoder.{name}": tensor for name, tensor in released.model.state_dict().items()}
    state["bert_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    state["bert_layer_weights.weight"] = released.mix
    torch.save(state, folder / "model_cur_best.pt")
    run = {"all_hparams": {"base-pt-layer": "allenai/specter", "model_name": "cospecter"}}
    (folder / "run_info.json").write_text(json.dumps(run))
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{folder.name}/{file.name}")
    return path


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
def test_a_hub_release_gives_the_last_layers_cls(
    released: Released, states: list[torch.Tensor], tmp_path: Path, pickled: bool
) -> None:
    encoder = load_encoder(str(write_hub(released, tmp_path / "hub", pickled=pickled)), device="cpu")
    assert encoder.dimensions == 768
    assert encoder.mix_weights is None
    found = encoder.encode(TEXTS)
    assert np.abs(found - last_layers(states)).max() < 1e-4
    assert np.array_equal(found[5].round(4), found[7].round(4))  # word piece 513 is not read
    assert np.abs(found[5] - found[6]).max() > 1e-3  # word piece 511 is
    shutil.rmtree(tmp_path / "hub")


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
def test_a_full_release_gives_the_mix_of_all_layers_cls(
    released: Released, states: list[torch.Tensor], tmp_path: Path, as_zip: bool
) -> None:
    folder = write_full(released, tmp_path / "aspire-full")
    path = zipped(folder) if as_zip else folder
    if as_zip:
        shutil.rmtree(folder)
    encoder = load_encoder(str(path), device="cpu")
    expected = mixes(states, released.mix)
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-4
    assert np.abs(last_layers(states) - expected).max() > 0.1  # the mix is no last layer
    assert encoder.mix_weights is not None
    assert encoder.mix_weights == pytest.approx(torch.softmax(released.mix[0], dim=0).numpy(), abs=1e-6)
    shutil.rmtree(tmp_path / "aspire-full", ignore_errors=True)
    path.unlink() if as_zip else None


def medline_texts(count: int) -> list[tuple[str, str]]:
    from corpus.readers import read

    texts = []
    with read(bundled_medline()) as reading:
        for paper in reading:
            texts.append((paper.title, paper.abstract))
            if len(texts) == count:
                return texts
    return texts


def nearest(vectors: np.ndarray, *, k: int = 10) -> list[set[int]]:
    """The k rows nearest to each row, itself left out, by exact L2 distances."""
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    return [set(row[:k].tolist()) for row in np.argsort(distances, axis=1)]


def agreement(one: BiEncoder, other: BiEncoder, texts: list[tuple[str, str]]) -> float:
    pairs = zip(nearest(one.encode(texts)), nearest(other.encode(texts)), strict=True)
    return float(np.mean([len(a & b) / 10 for a, b in pairs]))


def test_bfloat16_keeps_the_ten_nearest_on_real_weights() -> None:
    # Real weights and real text, every vector rounded: the queries' and the papers'.
    texts = medline_texts(250)
    encoders = [load_encoder(EMBEDDED, device="cpu", precision=precision) for precision in ("float32", "bfloat16")]
    assert [encoder.precision for encoder in encoders] == ["float32", "bfloat16"]
    assert agreement(*encoders, texts) >= 0.95
