"""Training steps and validations against plain torch, and what must not change a step."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.encoder.bi_encoder import BiEncoder
from components.encoder.catalogue import InputForm
from components.encoder.checkpoints import Checkpoint
from components.training import trainer as module
from components.training.batches import PaperTokens, padded
from components.training.settings import TrainingError, TrainingSettings
from components.training.trainer import Trainer, learning_rate
from corpus.cocitations.pairs import TrainingPairs
from corpus.paper import papers_in, to_table
from tests.components.training.training_toys import TINY, WORDS, toy_pairs, toy_paper, toy_start

pytestmark = pytest.mark.usefixtures("one_thread")

TWOS = replace(TINY, micro_batch=2, batch=8)  # two rows have one derangement, so the oracle knows the negatives


@pytest.fixture(scope="module")
def pairs() -> TrainingPairs:
    return toy_pairs()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A toy BERT without dropout."""
    return toy_start(tmp_path_factory.mktemp("toys") / "plain", dropout=0.0)


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A toy BERT with dropout."""
    return toy_start(tmp_path_factory.mktemp("toys") / "dropping")


class Oracle:
    """The same training in a few lines of torch and transformers, one text at a time, without padding."""

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

    def vector(self, row: int) -> torch.Tensor:
        paper = self.papers[row]
        text = f"{paper.title}{self.tokenizer.sep_token}{paper.abstract}"
        ids = self.tokenizer(text, truncation=True, max_length=24, return_tensors="pt")["input_ids"]
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
        """rows (micro-batches, 2, 2). Returns the summed loss and the gradient's norm before clipping."""
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
    "settings",
    [
        TWOS,
        replace(TWOS, pooling="cls"),
        replace(TWOS, pooling="mean", margin=0.3),
        replace(TWOS, max_gradient_norm=5.0),
        replace(TWOS, gradient_checkpointing=True),
    ],
    ids=["mix", "cls", "mean", "clipped", "checkpointing"],
)
def test_a_step_follows_the_summed_triplet_losses(
    plain: Checkpoint, pairs: TrainingPairs, settings: TrainingSettings
) -> None:
    trainer, oracle = Trainer(pairs, plain, settings), Oracle(plain.folder, pairs, settings)
    start = {name: value.detach().clone() for name, value in oracle.bert.named_parameters()}
    for number in range(1, 5):
        rate = learning_rate(number, settings, total_steps=trainer.plan.total_steps)
        rows = pairs.train[trainer.plan.micro_batches[trainer.plan.places(number)]]
        total, norm = oracle.step(rows, rate)
        record = trainer.step(number)
        assert record.loss == pytest.approx(total / settings.batch, rel=1e-4)
        assert record.gradient_norm == pytest.approx(norm, rel=1e-3)
        assert record.tokens == sum(map(len, trainer.tokens.of(rows.ravel())))
        assert (record.step, record.learning_rate, record.self_negatives) == (number, rate, 0)
    theirs = dict(oracle.bert.named_parameters())
    for name, ours in trainer.encoder.bert.named_parameters():
        # A bias of the keys moves all scores of a row alike, and the last bias all vectors: their gradients are
        # rounding errors, which Adam scales to whole steps.
        if not name.endswith(("key.bias", "layer.1.output.LayerNorm.bias")):
            moved = float((theirs[name] - start[name]).detach().norm())
            assert float((theirs[name] - ours).detach().norm()) < 0.05 * moved, name
    if trainer.encoder.mix is not None:
        assert torch.allclose(trainer.encoder.mix.scalars, oracle.mix, atol=2e-5)
        assert trainer.encoder.mix.scalars.abs().max() > 1e-4  # it learns with the rest


def test_a_validation_is_the_mean_over_the_dev_triplets(plain: Checkpoint, pairs: TrainingPairs) -> None:
    record = Trainer(pairs, plain, TWOS).validate(0)
    oracle = Oracle(plain.folder, pairs, TWOS)
    with torch.no_grad():
        losses = [float(oracle.loss(*triplet)) for triplet in pairs.dev.tolist()]
        vectors = [oracle.vector(row) for row in range(pairs.papers.num_rows)]
    distances = [[float((vectors[a] - vectors[x]).norm()) for x in (p, n)] for a, p, n in pairs.dev.tolist()]
    assert record.dev_loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert record.dev_accuracy == pytest.approx(np.mean([near < far for near, far in distances]))
    assert record.spread == pytest.approx(np.mean([far for _, far in distances]), rel=1e-4)
    assert record.mix == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_chance_depends_on_seed_and_step_alone(dropping: Checkpoint, pairs: TrainingPairs) -> None:
    def losses(seed: int, *, validate: bool = False) -> list[float]:
        trainer = Trainer(pairs, dropping, replace(TINY, seed=seed))
        torch.manual_seed(int(np.random.default_rng().integers(2**31)))
        before = torch.get_rng_state()
        found = []
        for number in (1, 2):
            if validate:
                trainer.validate(number - 1)
            found.append(trainer.step(number).loss)
        assert torch.equal(torch.get_rng_state(), before)  # others' random draws are left alone
        return found

    assert losses(3) == losses(3, validate=True) != losses(4)


def test_gradient_checkpointing_repeats_the_dropout(dropping: Checkpoint, pairs: TrainingPairs) -> None:
    plain, checkpointed = (Trainer(pairs, dropping, replace(TINY, gradient_checkpointing=on)) for on in (False, True))
    for number in (1, 2, 3):
        ours, theirs = plain.step(number), checkpointed.step(number)
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)


def test_bfloat16_learns_what_float32_does(plain: Checkpoint, pairs: TrainingPairs) -> None:
    full, half = (Trainer(pairs, plain, replace(TWOS, precision=precision)) for precision in ("float32", "bfloat16"))
    for number in (1, 2, 3):
        ours, theirs = full.step(number).loss, half.step(number).loss
        assert ours != theirs == pytest.approx(ours, rel=0.02)
    assert all(one.dtype == torch.float32 for one in half.encoder.parameters())


def test_a_step_that_overflows_in_float16_is_repeated(
    plain: Checkpoint, pairs: TrainingPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    def on_a_cpu(settings: TrainingSettings, *, cpu: bool) -> Accelerator:
        """What accelerate does on a GPU: autocast to float16, and a scaler."""
        AcceleratorState._reset_state(reset_partial_state=True)
        made = Accelerator(mixed_precision="fp16", cpu=True)
        made.native_amp, made.scaler = True, torch.amp.GradScaler("cpu", init_scale=2.0**30)
        return made

    with pytest.raises(TrainingError, match=r"^precision is float16, which needs a GPU\. Use bfloat16"):
        Trainer(pairs, plain, replace(TWOS, precision="float16"), cpu=True)
    full = Trainer(pairs, plain, TWOS)
    monkeypatch.setattr(module, "make_accelerator", on_a_cpu)
    half = Trainer(pairs, plain, replace(TWOS, precision="float16"))
    for number in (1, 2, 3):
        ours, theirs = full.step(number), half.step(number)
        assert ours.loss == pytest.approx(theirs.loss, rel=0.02)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=0.05)
    scale = half.accelerator.scaler.get_scale()
    assert 1 < scale < 2.0**30
    half.save_state(tmp_path / "state", step=3)
    again = Trainer(pairs, plain, replace(TWOS, precision="float16"))
    assert again.load_state(tmp_path / "state") == 3
    assert again.accelerator.scaler.get_scale() == scale
    assert again.step(4).loss == half.step(4).loss


def test_a_permutation_counts_self_negatives(plain: Checkpoint, pairs: TrainingPairs) -> None:
    trainer = Trainer(pairs, plain, replace(TWOS, negatives="permutation", batch=40, max_steps=3))
    counts = [trainer.step(number).self_negatives for number in (1, 2, 3)]
    assert 30 < sum(counts) < 90  # of 120, half on average
    assert all(count % 2 == 0 for count in counts)  # both rows of a micro-batch, or neither


def test_an_infinite_loss_leaves_the_weights_alone(plain: Checkpoint, pairs: TrainingPairs) -> None:
    trainer = Trainer(pairs, plain, TWOS)
    trainer.step(1)
    with torch.no_grad():
        trainer.encoder.mix.scalars[1] = math.inf
    before = [one.detach().clone() for one in trainer.encoder.bert.parameters()]
    assert math.isnan(trainer.step(2).loss)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.encoder.bert.parameters(), strict=True))


@pytest.mark.parametrize(("split", "width"), [("train", 2), ("dev", 3)])
def test_pairs_without_a_split_are_refused(plain: Checkpoint, pairs: TrainingPairs, split: str, width: int) -> None:
    with pytest.raises(TrainingError, match=rf"^toy has no {split}"):
        Trainer(replace(pairs, **{split: np.empty((0, width), dtype=np.int32)}), plain, TWOS)


@pytest.mark.parametrize("warmup", [0, 3, 20])
def test_the_learning_rate_is_that_of_transformers(warmup: int) -> None:
    from transformers import get_linear_schedule_with_warmup

    settings = TrainingSettings(learning_rate=3e-4, warmup_steps=warmup)
    ours = [learning_rate(step, settings, total_steps=40) for step in range(1, 41)]
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_linear_schedule_with_warmup(optimiser, warmup, 40)
    theirs = []
    for _ in range(41):
        theirs.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    # Theirs takes the first step of the warm-up with a rate of 0, which learns nothing; the decay is the same.
    assert ours[:warmup] == pytest.approx(theirs[1 : warmup + 1])
    assert ours[warmup:] == pytest.approx(theirs[warmup:-1])
    assert min(ours) > 0


@pytest.mark.parametrize(
    "form",
    [
        InputForm(pooling="cls", separator="", max_tokens=24, normalised=False),
        InputForm(pooling="mean", separator=" ", max_tokens=24, normalised=True),
        InputForm(pooling="scalar_mix", separator="", max_tokens=7, normalised=False),
    ],
)
def test_papers_are_read_as_a_bi_encoder_reads_them(plain: Checkpoint, form: InputForm) -> None:
    papers = [
        toy_paper(0, list(WORDS[:5])),
        toy_paper(1, list(WORDS[:40])),
        replace(toy_paper(2, ["w1"]), abstract=""),
        replace(toy_paper(3, ["w1"]), title=" ", abstract="  w2\n"),
        replace(toy_paper(4, ["w1"]), abstract="unknown wörds, <b>&amp;</b> [SEP] w1"),
    ]
    start = replace(plain, form=replace(form, pooling="cls"))
    expected = BiEncoder(start, device="cpu")._word_pieces([(paper.title, paper.abstract) for paper in papers])
    tokens = PaperTokens(to_table(papers), plain, form=form, vocabulary=65)
    tokens.prepare([4, 2])
    assert [one.tolist() for one in tokens.of([0, 1, 2, 3, 4, 1])] == [one.tolist() for one in [*expected, expected[1]]]
    ids, mask = padded(tokens.of([0, 2]), pad=1)
    assert ids[1].tolist() == expected[2].tolist() + [1] * (ids.shape[1] - len(expected[2]))
    assert mask.sum(dim=1).tolist() == [len(expected[0]), len(expected[2])]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_tokenizer_of_another_model_is_refused(plain: Checkpoint, pairs: TrainingPairs, ahead: bool) -> None:
    tokens = PaperTokens(pairs.papers, plain, form=plain.form, vocabulary=40)
    if ahead:
        tokens.prepare(range(60))
    with pytest.raises(TrainingError, match=r"^plain: its tokenizer and its model do not belong together"):
        tokens.of(range(60))
