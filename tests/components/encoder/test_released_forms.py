"""Every released form of checkpoint against transformers and a textbook mix, small and at BERT-base size.

The weights are random, as the released ones cannot be downloaded where tests run. All else is as released: 512
positions, and the files of a hub repository or of a -full zip; at BERT-base size also 12 layers of 768 dimensions.
"""

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertModel

from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import EMBEDDED
from corpus.readers import read
from corpus.sources.bundled import bundled_medline

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
    """A BERT of random weights, its tokenizer's folder, its mix, and the oracle's [CLS] of all layers.

    states: (texts, layers + 1, d), one text at a time through AutoTokenizer and BertModel.
    """

    model: BertModel
    tokenizer: Path
    mix: torch.Tensor
    states: torch.Tensor


@pytest.fixture(scope="module", params=["small", pytest.param("base", marks=pytest.mark.slow)])
def released(request: pytest.FixtureRequest, encoder: BiEncoder) -> Released:
    folder = encoder.checkpoint.folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    small: dict[str, Any] = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
    small |= {"intermediate_size": 80, "initializer_range": 0.2}  # wide enough that one word piece makes a difference
    config = BertConfig(vocab_size=len(tokenizer), **(small if request.param == "small" else {}))
    model = BertModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:  # initially 0 and 1, which would hide a mistake
                parameter += 0.1 * torch.randn_like(parameter)
    states = []
    for title, abstract in TEXTS:
        text = title.strip() + tokenizer.sep_token + abstract.strip()
        inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            hidden = model(input_ids=inputs["input_ids"], output_hidden_states=True).hidden_states
        states.append(torch.stack([state[0, 0] for state in hidden]))
    return Released(model, folder, torch.randn(1, config.num_hidden_layers + 1), torch.stack(states))


def write_configuration(released: Released, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    released.model.config.save_pretrained(folder)
    # As the released ones have it: no tokenizer.json.
    shutil.copy(released.tokenizer / "vocab.txt", folder)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 512}')


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
def test_a_hub_release_gives_the_last_layers_cls(released: Released, tmp_path: Path, pickled: bool) -> None:
    write_configuration(released, tmp_path)
    state = released.model.state_dict()
    if pickled:
        state["embeddings.position_ids"] = torch.arange(512)[None]  # the buffer that old releases hold
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        save_file(state, tmp_path / "model.safetensors")
    encoder = load_encoder(str(tmp_path), device="cpu")
    assert encoder.dimensions == released.model.config.hidden_size
    assert encoder.mix_weights is None
    vectors = encoder.encode(TEXTS)
    assert np.abs(vectors - released.states[:, -1].numpy()).max() < 1e-4
    assert np.array_equal(vectors[5].round(4), vectors[7].round(4))  # word piece 513 is not read
    assert np.abs(vectors[5] - vectors[6]).max() > 1e-3  # word piece 511 is
    for path in tmp_path.glob("*model*"):
        path.unlink()  # 440 MB each


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_a_full_release_gives_the_mix_of_all_layers_cls(released: Released, tmp_path: Path, zipped: bool) -> None:
    folder = path = tmp_path / "aspire-full"
    write_configuration(released, folder)
    state = {f"bert_encoder.{name}": tensor for name, tensor in released.model.state_dict().items()}
    state["bert_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    state["bert_layer_weights.weight"] = released.mix
    torch.save(state, folder / "model_cur_best.pt")
    run = {"all_hparams": {"base-pt-layer": "allenai/specter", "model_name": "cospecter"}}
    (folder / "run_info.json").write_text(json.dumps(run))
    if zipped:
        path = tmp_path / "aspire-full.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, f"{folder.name}/{file.name}")
        shutil.rmtree(folder)
    encoder = load_encoder(str(path), device="cpu")
    # By the textbook: the exponentials over their sum, times the states, added up.
    shares = torch.exp(released.mix[0]) / torch.exp(released.mix[0]).sum()
    expected = sum(share * released.states[:, layer] for layer, share in enumerate(shares)).numpy()
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-4
    assert np.abs(released.states[:, -1].numpy() - expected).max() > 0.1  # the mix is not the last layer
    assert encoder.mix_weights == pytest.approx(shares.numpy(), abs=1e-6)
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_bfloat16_keeps_the_ten_nearest_on_real_weights(encoder: BiEncoder) -> None:
    texts: list[tuple[str, str]] = []
    with read(bundled_medline()) as papers:
        for paper in papers:
            texts.append((paper.title, paper.abstract))
            if len(texts) == 250:
                break

    def nearest(encoder: BiEncoder) -> list[set[int]]:
        vectors = encoder.encode(texts).astype(np.float64)
        distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
        np.fill_diagonal(distances, np.inf)
        return [set(row[:10].tolist()) for row in np.argsort(distances, axis=1)]

    rounded = load_encoder(EMBEDDED, device="cpu", precision="bfloat16")
    assert (encoder.precision, rounded.precision) == ("float32", "bfloat16")
    pairs = zip(nearest(encoder), nearest(rounded), strict=True)
    assert np.mean([len(one & other) / 10 for one, other in pairs]) >= 0.95
