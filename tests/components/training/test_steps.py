"""Training steps against plain torch: losses, gradients, Adam, looks; word pieces; and what must not change a step."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.encoder import BiEncoder, find_checkpoint
from components.encoder.catalogue import InputForm
from components.training import training as module
from components.training.loss import triplet_losses
from components.training.schedule import learning_rate_at
from components.training.settings import TrainingError, TrainingSettings
from components.training.tokens import PaperTokens, padded
from components.training.training import Diverged, Stopped, Training
from corpus.cocitations.pairs import TrainingPairs
from corpus.paper import papers_in, to_table
from tests.components.training.training_toys import TINY, WORDS, toy_pairs, toy_paper, toy_start

pytestmark = pytest.mark.usefixtures("one_thread")

# Of two rows there is one derangement: the other row's positive is the negative.
TWOS = replace(TINY, micro_batch=2, batch=8)


@pytest.fixture(scope="module")
def pairs() -> TrainingPairs:
    return toy_pairs()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A toy BERT without dropout."""
    return toy_start(tmp_path_factory.mktemp("toys") / "plain", dropout=0.0)


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A toy BERT with dropout."""
    return toy_start(tmp_path_factory.mktemp("toys") / "dropping")


class Oracle:
    """The same training in a few lines of torch and transformers, a text at a time, without padding."""

    def __init__(self, folder: Path, pairs: TrainingPairs, settings: TrainingSettings) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.settings, self.papers = settings, list(papers_in(pairs.papers))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.bert = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        self.mix = torch.nn.Parameter(torch.zeros(3))
        self.parameters = [*self.bert.parameters()]
        if settings.pooling in ("start", "scalar_mix"):
            self.parameters.append(self.mix)
        self.optimiser = torch.optim.Adam(self.parameters, lr=settings.learning_rate)
        self.tokens = 0

    def vector(self, row: int) -> torch.Tensor:
        paper = self.papers[row]
        text = f"{paper.title}{self.tokenizer.sep_token}{paper.abstract}"
        ids = self.tokenizer(text, truncation=True, max_length=24, return_tensors="pt")["input_ids"]
        self.tokens += ids.shape[1]
        found = self.bert(input_ids=ids, output_hidden_states=True)
        if self.settings.pooling == "cls":
            return found.last_hidden_state[0, 0]
        if self.settings.pooling == "mean":
            return found.last_hidden_state[0].mean(dim=0)
        weights = torch.softmax(self.mix, dim=0)
        return sum(weight * state[0, 0] for weight, state in zip(weights, found.hidden_states, strict=True))

    def loss(self, anchor: int, positive: int, negative: int) -> torch.Tensor:
        a, p, n = (self.vector(row) for row in (anchor, positive, negative))
        return torch.relu((a - p).norm() - (a - n).norm() + self.settings.margin)

    def step(self, rows: np.ndarray, rate: float) -> tuple[float, float]:
        """rows (micro-batches, 2, 2). Returns the summed loss and the gradient's norm, before clipping."""
        self.optimiser.zero_grad()
        total = torch.zeros(())
        for (a1, p1), (a2, p2) in rows.tolist():
            total = total + self.loss(a1, p1, p2) + self.loss(a2, p2, p1)
        total.backward()
        norm = math.sqrt(sum(float(one.grad.double().square().sum()) for one in self.parameters))
        if self.settings.max_gradient_norm and norm > self.settings.max_gradient_norm:
            for one in self.parameters:
                one.grad *= self.settings.max_gradient_norm / norm
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        return float(total.detach()), norm


@pytest.mark.parametrize(
    "asked",
    [
        TWOS,
        replace(TWOS, pooling="cls"),
        replace(TWOS, pooling="mean", margin=0.3),
        replace(TWOS, max_gradient_norm=5.0),
        replace(TWOS, gradient_checkpointing=True),
    ],
    ids=["mix", "cls", "mean", "clipped", "checkpointing"],
)
def test_a_step_is_that_of_the_summed_triplet_losses(plain: Any, pairs: TrainingPairs, asked: TrainingSettings) -> None:
    training = Training(pairs, plain, asked)
    oracle = Oracle(plain.folder, pairs, asked)
    for number in range(1, 5):
        oracle.tokens = 0
        rate = learning_rate_at(number, asked, total_steps=training.total_steps)
        total, norm = oracle.step(training.rows_of(number), rate)
        record = training.step(number)
        assert record.loss == pytest.approx(total / asked.batch, rel=1e-4)
        assert record.gradient_norm == pytest.approx(norm, rel=1e-3)
        assert record.learning_rate == pytest.approx(rate)
        assert (record.step, record.self_negatives) == (number, 0)
        # The oracle reads anchors and positives again as others' negatives: each positive twice.
        assert 2 * oracle.tokens == pytest.approx(3 * record.tokens, rel=0.2)
    theirs = dict(oracle.bert.named_parameters())
    start = dict(Oracle(plain.folder, pairs, asked).bert.named_parameters())
    for name, ours in training.encoder.bert.named_parameters():
        # A bias of the keys moves every score of a row alike, and the last bias every vector: their gradients are
        # rounding, which Adam makes whole steps of.
        if not name.endswith(("key.bias", "layer.1.output.LayerNorm.bias")):
            moved = float((theirs[name] - start[name]).detach().norm())
            assert float((theirs[name] - ours).detach().norm()) < 0.05 * moved, name
    if training.encoder.mix is not None:
        assert torch.allclose(training.encoder.mix.scalars, oracle.mix, atol=2e-5)
        assert training.encoder.mix.scalars.abs().max() > 1e-4  # it learns with the rest


def test_a_look_is_the_mean_over_the_dev_triplets(plain: Any, pairs: TrainingPairs) -> None:
    training = Training(pairs, plain, TWOS)
    oracle = Oracle(plain.folder, pairs, TWOS)
    told: list[tuple[str, int, int]] = []
    look = training.look(0, told=lambda *words: told.append(words))
    with torch.no_grad():
        losses = [float(oracle.loss(*triplet)) for triplet in pairs.dev.tolist()]
        vectors = [oracle.vector(row) for row in range(pairs.papers.num_rows)]
    assert look.dev_loss == pytest.approx(np.mean(losses), rel=1e-5)
    nearer = [(vectors[a] - vectors[p]).norm() < (vectors[a] - vectors[n]).norm() for a, p, n in pairs.dev.tolist()]
    assert look.dev_accuracy == pytest.approx(np.mean(nearer))
    assert look.best
    assert look.mix == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert told[0][0] == "Reading the dev set"
    assert told[-1][1] == told[-1][2]
    assert not training.look(0).best  # none is lower than itself


def test_a_look_changes_nothing(dropping: Any, pairs: TrainingPairs) -> None:
    def steps(looks: bool) -> list[float]:
        training = Training(pairs, dropping, TWOS)
        found = []
        for number in range(1, 4):
            if looks:
                training.look(number - 1)
            found.append(training.step(number).loss)
        return found

    assert steps(True) == steps(False)


def test_chance_is_of_seed_and_step_alone(dropping: Any, pairs: TrainingPairs) -> None:
    def first(seed: int) -> tuple[float, float]:
        training = Training(pairs, dropping, replace(TINY, seed=seed))
        torch.manual_seed(int(np.random.default_rng().integers(2**31)))
        before = torch.get_rng_state()
        record = training.step(1)
        assert torch.equal(torch.get_rng_state(), before)  # a page's own draws are left alone
        return record.loss, record.gradient_norm

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_gradient_checkpointing_drops_the_same(dropping: Any, pairs: TrainingPairs) -> None:
    plain, checkpointed = (Training(pairs, dropping, replace(TINY, gradient_checkpointing=on)) for on in (False, True))
    for number in (1, 2, 3):
        ours, theirs = plain.step(number), checkpointed.step(number)
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)


def test_bfloat16_learns_what_float32_does(plain: Any, pairs: TrainingPairs) -> None:
    full, half = (Training(pairs, plain, replace(TWOS, precision=precision)) for precision in ("float32", "bfloat16"))
    for number in (1, 2, 3):
        ours, theirs = full.step(number), half.step(number)
        assert ours.loss != theirs.loss
        assert ours.loss == pytest.approx(theirs.loss, rel=0.02)
    assert all(one.dtype == torch.float32 for one in half.encoder.parameters())
    assert full.look(3).dev_loss == pytest.approx(half.look(3).dev_loss, rel=0.02)


def float16_on_a_cpu(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    """Let accelerate do on a CPU what it does on a GPU: autocast to float16, and a scaler."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    def accelerator_for(settings: TrainingSettings, *, cpu: bool) -> Accelerator:
        AcceleratorState._reset_state(reset_partial_state=True)
        made = Accelerator(mixed_precision="fp16", cpu=True)
        made.native_amp, made.scaler = True, torch.amp.GradScaler("cpu", init_scale=scale)
        return made

    monkeypatch.setattr(module, "accelerator_for", accelerator_for)


def test_a_step_that_runs_over_in_float16_is_taken_again(
    plain: Any, pairs: TrainingPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Training(pairs, plain, TWOS)
    float16_on_a_cpu(monkeypatch, 2.0**30)
    half = Training(pairs, plain, replace(TWOS, precision="float16"))
    for number in (1, 2, 3):
        ours, theirs = full.step(number), half.step(number)
        assert ours.loss == pytest.approx(theirs.loss, rel=0.02)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=0.05)
    scale = half.accelerator.scaler.get_scale()
    assert 1 < scale < 2.0**30
    half.save_state(tmp_path / "state")
    again = Training(pairs, plain, replace(TWOS, precision="float16"))
    again.load_state(tmp_path / "state")
    assert again.accelerator.scaler.get_scale() == scale
    assert again.step(4).loss == half.step(4).loss


def test_float16_needs_a_gpu(plain: Any, pairs: TrainingPairs) -> None:
    with pytest.raises(TrainingError, match=r"^precision is float16, which needs a GPU\. Take bfloat16"):
        Training(pairs, plain, replace(TWOS, precision="float16"), cpu=True)


def test_a_permutation_counts_the_rows_that_met_themselves(plain: Any, pairs: TrainingPairs) -> None:
    training = Training(pairs, plain, replace(TWOS, negatives="permutation", micro_batch=2, batch=40, max_steps=3))
    met = [training.step(number).self_negatives for number in (1, 2, 3)]
    assert 30 < sum(met) < 90  # of 120, one in two on the mean
    assert all(count % 2 == 0 for count in met)  # both rows of a micro-batch, or neither


def test_a_loss_that_is_no_number_is_seen_before_the_weights_change(plain: Any, pairs: TrainingPairs) -> None:
    training = Training(pairs, plain, TWOS)
    training.step(1)
    with torch.no_grad():
        training.encoder.mix.scalars[1] = math.inf
    before = [one.detach().clone() for one in training.encoder.bert.parameters()]
    with pytest.raises(Diverged, match=r"^At step 2 the loss is not finite\.$") as caught:
        training.step(2)
    assert math.isnan(caught.value.record.loss)
    assert all(torch.equal(a, b) for a, b in zip(before, training.encoder.bert.parameters(), strict=True))
    assert training.progress.step == 1


def test_a_step_left_in_its_middle_is_taken_again_as_if_it_had_not_begun(dropping: Any, pairs: TrainingPairs) -> None:
    whole, torn = Training(pairs, dropping, TWOS), Training(pairs, dropping, TWOS)
    answers = iter([False, False, True])
    with pytest.raises(Stopped):
        torn.step(1, stop=lambda: next(answers))
    with pytest.raises(Stopped):
        torn.look(1, stop=lambda: True)
    assert torn.progress == whole.progress
    assert torn.step(1).loss == whole.step(1).loss
    assert torn.step(2).gradient_norm == whole.step(2).gradient_norm


def test_a_start_that_tells_no_paper_from_another_is_refused(tmp_path: Path, pairs: TrainingPairs) -> None:
    import safetensors.torch

    start = toy_start(tmp_path / "dull")
    weights = safetensors.torch.load_file(start.weights)
    safetensors.torch.save_file({name: torch.zeros_like(value) for name, value in weights.items()}, start.weights)
    training = Training(pairs, find_checkpoint(str(tmp_path / "dull")), TWOS)
    with pytest.raises(TrainingError, match=r"^dull gives every paper of the dev set the same vector\."):
        training.look(0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": np.empty((0, 2), dtype=np.int32)}, "there is no train pair"),
        ({"dev": np.empty((0, 3), dtype=np.int32)}, "there is no dev pair"),
        ({"train": np.array([[0, 60]], dtype=np.int32)}, "its train pairs name papers that are not there"),
        ({"dev": np.array([[0, 1, -1]], dtype=np.int32)}, "its dev pairs name papers that are not there"),
        (
            {"told": {"deep": json.loads("[" * 900 + "]" * 900)}},
            "what it tells of how it was made lies in more",
        ),
    ],
)
def test_pairs_that_cannot_be_trained_on_are_refused(
    plain: Any, pairs: TrainingPairs, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError, match=rf"^toy: {said}"):
        Training(replace(pairs, **change), plain, TWOS)


# The loss by itself.


def test_the_loss_is_the_textbooks() -> None:
    anchors = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    positives = torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 2.0]])
    negatives = torch.tensor([[0.0, 5.5], [0.0, 9.0], [1.0, 2.0]])
    losses = triplet_losses(anchors, positives, negatives, margin=1.0)
    assert losses.each.tolist() == pytest.approx([0.5, 0.0, 1.0], abs=1e-5)
    assert float(losses.sum) == pytest.approx(1.5, abs=1e-5)
    assert int(losses.active) == 2


def test_a_self_negative_pulls_at_nothing() -> None:
    anchor = torch.randn(1, 8, requires_grad=True)
    positive = torch.randn(1, 8, requires_grad=True)
    losses = triplet_losses(anchor, positive, positive, margin=1.0)
    losses.sum.backward()
    assert float(losses.sum.detach()) == pytest.approx(1.0)
    assert float(anchor.grad.norm()) == float(positive.grad.norm()) == 0.0


# Word pieces.


@pytest.mark.parametrize(
    "form",
    [
        InputForm(pooling="cls", separator="", max_tokens=24, normalised=False),
        InputForm(pooling="mean", separator=" ", max_tokens=24, normalised=True),
        InputForm(pooling="scalar_mix", separator="", max_tokens=7, normalised=False),
    ],
)
def test_papers_are_read_as_a_bi_encoder_reads_them(plain: Any, form: InputForm) -> None:
    papers = [
        toy_paper(0, list(WORDS[:5])),
        replace(toy_paper(1, list(WORDS[:40])), abstract="\ud800 w3 " + "w4 " * 40),
        replace(toy_paper(2, ["w1"]), abstract=""),
        replace(toy_paper(3, ["w1"]), title=" ", abstract="  w2\n"),
        replace(toy_paper(4, ["w1"]), abstract="unknown wörds, <b>&amp;</b> [SEP] w1"),
    ]
    papers[1] = replace(papers[1], abstract=papers[1].abstract.encode("utf-8", "replace").decode())
    start = replace(plain, form=replace(form, pooling="cls"))
    expected = BiEncoder(start, device="cpu")._word_pieces([(paper.title, paper.abstract) for paper in papers])
    tokens = PaperTokens(to_table(papers), plain, form=form, vocabulary=65)
    tokens.prepare([4, 2])
    found = tokens.of([0, 1, 2, 3, 4, 1])
    assert [one.tolist() for one in found] == [one.tolist() for one in [*expected, expected[1]]]
    assert tokens.lengths([1, 0]).tolist() == [len(expected[1]), len(expected[0])]


def test_word_pieces_are_kept_over_many_papers(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.training.tokens._BLOCK", 50)
    pairs = toy_pairs()
    small = PaperTokens(pairs.papers, plain, form=plain.form, vocabulary=65)
    monkeypatch.undo()
    large = PaperTokens(pairs.papers, plain, form=plain.form, vocabulary=2**20)
    order = np.random.default_rng(0).permutation(60)
    assert [one.tolist() for one in small.of(order)] == [one.tolist() for one in large.of(order)]
    assert len(small._blocks) > 5


def test_a_tokenizer_of_another_model_is_refused(plain: Any, pairs: TrainingPairs) -> None:
    tokens = PaperTokens(pairs.papers, plain, form=plain.form, vocabulary=40)
    with pytest.raises(TrainingError, match=r"^plain: its tokenizer gives word pieces that its model does not know"):
        tokens.of(range(60))
    ahead = PaperTokens(pairs.papers, plain, form=plain.form, vocabulary=40)
    ahead.prepare(range(60))
    with pytest.raises(TrainingError, match="does not know"):
        ahead.of([0])


def test_padding_is_on_the_right() -> None:
    ids, mask = padded([np.array([5, 6, 7], dtype=np.int32), np.array([8], dtype=np.int32)], pad=1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
