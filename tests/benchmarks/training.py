"""Training steps beside sentence-transformers, the plan of an epoch, and full texts read beside pubmed-parser.

Steps are taken on abstracts of the default corpus, paired at random: speed does not depend on what is learned. The
BERT-base has random weights. The peer trains on the same triplets by sentence-transformers' TripletLoss.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from encoding import HIDDEN, LAYERS, WIDE, chosen_texts, matrix_peak, seconds, write_bert_base
from report import Row

from components.atlas.store import Atlas
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.training.batches import Cocited, plan_epoch
from components.training.settings import TrainingSettings
from components.training.trainer import Trainer
from corpus.cocitations.full_text import FullTextReport
from corpus.cocitations.pairs import TrainingPairs
from corpus.cocitations.reading import read_citing_sentences
from corpus.paper import Paper, to_table

PLOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "plos" / "articles.tar.gz"
_PAIRS = 1_300_000  # about as many as the biomedical models were trained on
_COPIES = 6  # of each article: 60 are read in seconds
_ST = "sentence-transformers, TripletLoss"
Texts = Sequence[tuple[str, str]]


def measure(atlas: Atlas, *, quick: bool) -> tuple[list[Row], str]:
    """The rows, and why some are missing."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_bert_base(Path(folder))
        texts, _ = chosen_texts(atlas, load_encoder(folder, device=device), count=60)
        rows += steps(EMBEDDED, "all-MiniLM-L6-v2", texts, batch=30, device=device, count=1 if quick else 4)
        small = 6 if device == "cpu" else 30
        rows += steps(folder, "BERT-base", texts, batch=small, device=device, count=1 if quick else 4)
    rows += planning()
    if not PLOS.is_file():
        return rows, "training: full texts need ../shared/data/plos"
    return rows + reading(quick=quick), ""


def steps(source: str, name: str, texts: Texts, *, batch: int, device: str, count: int) -> list[Row]:
    """Triplets a second of whole steps: tokens that are there, forward, backward, Adam."""
    start = find_checkpoint(source)
    pairs = paired(texts)
    settings = TrainingSettings(batch=batch, warmup_steps=0, epochs=count + 1, max_steps=count + 1)
    ours = Trainer(pairs, start, settings)
    peer = Peer(start.folder, pairs, settings, tokens=start.form.max_tokens, device=device)
    ours.step(1)
    peer.step(1)
    took: dict[str, list[float]] = {"ours": [], "peer": []}
    tokens = 0
    for number in range(2, count + 2):
        found = []
        took["ours"].append(seconds(lambda number=number, found=found: found.append(ours.step(number))))
        tokens += found[0].tokens
        took["peer"].append(seconds(lambda number=number: peer.step(number)))
    rate = {who: batch * count / sum(times) for who, times in took.items()}
    measured = f"{name}, steps of {batch} triplets, micro-batches of 3, float32"
    rows = [Row("training", measured, "triplets/s", rate["ours"], rate["peer"], _ST, more_is_better=True)]
    if name == "BERT-base":
        peak = matrix_peak(device, torch.float32)
        # Forward and backward are three products; attention over one mean length, within a few percent.
        length = tokens / (2 * batch * count)
        flop = 3 * LAYERS * tokens * (2 * (4 * HIDDEN**2 + 2 * HIDDEN * WIDE) + 4 * length * HIDDEN)
        share = 100 * flop / sum(took["ours"]) / peak
        rows.append(Row("training", f"share of the matrix peak ({peak / 1e9:,.0f} GFLOP/s), float32", "%", share))
    return rows


class Peer:
    """sentence-transformers' way to take the same step: three forward passes a triplet, gradients summed."""

    def __init__(self, folder: Path, pairs: TrainingPairs, settings: TrainingSettings, *, tokens: int, device: str):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.losses import TripletDistanceMetric, TripletLoss
        from sentence_transformers.models import Pooling, Transformer

        words = Transformer(str(folder), max_seq_length=tokens)
        pooling = Pooling(words.get_embedding_dimension(), "cls")
        self._model = SentenceTransformer(modules=[words, pooling], device=device).train()
        self._loss = TripletLoss(self._model, TripletDistanceMetric.EUCLIDEAN, triplet_margin=settings.margin)
        self._adam = torch.optim.Adam(self._model.parameters(), lr=settings.learning_rate)
        columns = (pairs.papers["title"].to_pylist(), pairs.papers["abstract"].to_pylist())
        self._texts = [f"{title} {abstract}" for title, abstract in zip(*columns, strict=True)]
        self._pairs, self._settings, self._cocited = pairs, settings, Cocited(pairs.train)

    def step(self, number: int) -> None:
        """Take one step."""
        micro = self._settings.micro_batch
        plan = plan_epoch(self._pairs.train, self._cocited, micro_batch=micro, seed=0, epoch=number - 1)
        for chosen in plan.micro_batches[: self._settings.batch // micro]:
            anchors, positives = self._pairs.train[chosen].T
            features = [self._features(rows) for rows in (anchors, positives, np.roll(positives, 1))]
            (self._loss(features, torch.zeros(micro)) * micro).backward()  # its mean, as a sum
        self._adam.step()
        self._adam.zero_grad()

    def _features(self, rows: np.ndarray) -> dict[str, object]:
        made = self._model.preprocess([self._texts[row] for row in rows])
        # A word on what kind of input it is stands among the tensors.
        return {
            name: value.to(self._model.device) if isinstance(value, torch.Tensor) else value
            for name, value in made.items()
        }


def paired(texts: Texts) -> TrainingPairs:
    """Texts as pairs, the first with the second and so on."""
    rows = np.arange(len(texts) // 2 * 2, dtype=np.int32).reshape(-1, 2)
    return TrainingPairs(
        name="bench",
        fingerprint="0" * 64,
        papers=to_table(Paper(id=str(i), title=title, abstract=text) for i, (title, text) in enumerate(texts)),
        train=rows,
        dev=np.column_stack([rows, np.roll(rows[:, 1], 1)]).astype(np.int32),
        test=rows[:0],
        provenance={},
    )


def planning() -> list[Row]:
    """The plan of an epoch of as many pairs as the released models saw."""
    random = np.random.default_rng(0)
    pairs = random.integers(0, _PAIRS // 3, (_PAIRS, 2), dtype=np.int32)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    took = seconds(lambda: plan_epoch(pairs, Cocited(pairs), micro_batch=3, seed=0, epoch=0))
    return [Row("training", f"plan of an epoch, {len(pairs):,} pairs", "s", took)]


def reading(*, quick: bool) -> list[Row]:
    """Full texts → citing sentences, beside pubmed-parser's paragraphs with references, which splits no sentence."""
    import pubmed_parser

    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(PLOS) as archive:
            archive.extractall(folder, filter="data")
        files = sorted(Path(folder).rglob("*.xml"))[: 10 if quick else None]
        for file in files:  # the start of a process, a second or two, is little beside it
            for copy in range(1 if quick else _COPIES):
                shutil.copy(file, file.with_name(f"{file.stem}-{copy}.xml"))
        files = sorted(Path(folder).rglob("*-*.xml"))
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        rates = {}
        for workers in (1, 2):
            took = seconds(
                lambda workers=workers: list(read_citing_sentences(files, workers=workers, report=FullTextReport()))
            )
            rates[workers] = megabytes / took
        peer = megabytes / seconds(
            lambda: [
                (pubmed_parser.parse_pubmed_paragraph(str(file), all_paragraph=False),
                 pubmed_parser.parse_pubmed_references(str(file)))
                for file in files
            ]
        )  # fmt: skip
    name = "pubmed-parser, paragraphs with references, no sentences"
    return [
        Row(
            "training", f"{len(files)} full texts read, one process", "MB/s", rates[1], peer, name, more_is_better=True
        ),
        Row("training", "the same, two processes", "MB/s", rates[2], rates[1], "one process", more_is_better=True),
    ]
