"""Encoding at BERT-base size: ours beside sentence-transformers and a plain loop, and what many people at once wait.

The weights are random (no released checkpoint can be fetched where this runs), the texts are abstracts of the default
corpus, chosen so that they have 252 word pieces on average. Speed does not depend on what the weights say.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from report import Row, percentiles

from components.atlas.build import ENCODING
from components.atlas.corpora import atlas_name_for, discard_unfinished
from components.atlas.store import Atlas
from components.encoder.bi_encoder import BiEncoder, has_fast_bfloat16, load_encoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.jobs import runner
from components.jobs.model import encode_request
from components.search.search import search, text_query
from corpus.paper import Paper

MEAN_PIECES = 252  # what title and abstract come to in the sets that the paper was evaluated on
MOST_PIECES = 512
PEOPLE = 32
HIDDEN, LAYERS, WIDE = 768, 12, 3072
_SEED = 3
Texts = list[tuple[str, str]]


def measure(atlas: Atlas, *, quick: bool) -> tuple[list[Row], str]:
    """The rows, and why some are missing."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "bert-base"
        write_bert_base(checkpoint)
        ours = load_encoder(str(checkpoint), device=device, precision="float32")
        texts, pieces = chosen_texts(atlas, ours, count=(4_000 if device == "cuda" else 48) // (4 if quick else 1))
        rows = rates(checkpoint, ours, texts, pieces, device=device, rounds=1 if quick else 2)
        rows += together(ours, texts)
    rows += beside_background_build(atlas)
    return rows, "" if has_fast_bfloat16() else "bfloat16: this processor has no instructions for it"


def write_bert_base(folder: Path) -> None:
    """A BERT-base with random weights, a real vocabulary and the pooling of SPECTER-CoCite, as sentence-transformers
    saves it too.
    """
    from transformers import AutoTokenizer, BertConfig, BertModel

    embedded = find_checkpoint(EMBEDDED).folder
    tokenizer = AutoTokenizer.from_pretrained(embedded, model_max_length=MOST_PIECES)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def chosen_texts(atlas: Atlas, encoder: BiEncoder, *, count: int) -> tuple[Texts, int]:
    """`count` abstracts with MEAN_PIECES word pieces on average, in a random order, and how many they have in all."""
    rng = np.random.default_rng(_SEED)
    papers = [atlas.paper(int(row)) for row in rng.permutation(len(atlas))[: 3 * count]]
    lengths = np.array([encoder.reading(paper.title, paper.abstract).tokens_read for paper in papers])
    # Those whose sum comes nearest: windows of the papers sorted by length, the spread kept by taking every third.
    order = np.argsort(lengths, kind="stable")
    shifted = min(range(3), key=lambda shift: abs(lengths[order[shift::3]].mean() - MEAN_PIECES))
    chosen = list(order[shifted::3][:count])
    # Swap single papers until the mean is right.
    spare = [place for place in order if place not in set(chosen)]
    while abs(lengths[chosen].mean() - MEAN_PIECES) > 1 and spare:
        missing = MEAN_PIECES * len(chosen) - lengths[chosen].sum()
        out = int(np.argmin(lengths[chosen])) if missing > 0 else int(np.argmax(lengths[chosen]))
        wanted = np.clip(lengths[chosen[out]] + missing, 0, MOST_PIECES)
        best = min(spare, key=lambda place: abs(lengths[place] - wanted))
        spare.remove(best)
        chosen[out] = best
    rng.shuffle(chosen)
    return [(papers[place].title, papers[place].abstract) for place in chosen], int(lengths[chosen].sum())


def rates(checkpoint: Path, ours: BiEncoder, texts: Texts, pieces: int, *, device: str, rounds: int) -> list[Row]:
    """Abstracts a second, one abstract, and the share of the processor's peak; each way in turn."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    peer = SentenceTransformer(
        modules=[Transformer(str(checkpoint), max_seq_length=MOST_PIECES), Pooling(HIDDEN, "cls")], device=device
    )
    joined = [f"{title}[SEP]{abstract}" for title, abstract in texts]
    peers: dict[str, Callable[[], np.ndarray]] = {
        "float32": lambda: ours.encode(texts),
        "sentence-transformers": lambda: peer.encode(joined, show_progress_bar=False),
        "plain loop": lambda: plain_loop(peer, joined),
    }
    if has_fast_bfloat16():
        fast = load_encoder(str(checkpoint), device=device, precision="bfloat16")
        peers["bfloat16"] = lambda: fast.encode(texts)
    if device == "cuda":
        half = SentenceTransformer(
            modules=[Transformer(str(checkpoint), max_seq_length=MOST_PIECES), Pooling(HIDDEN, "cls")], device=device
        ).bfloat16()
        peers["sentence-transformers, bfloat16"] = lambda: half.encode(joined, show_progress_bar=False)
    expected = peers["sentence-transformers"]()
    error = float(np.abs(peers["float32"]() - expected).max())
    took: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, work in peers.items():
            took[name].append(seconds(work))
    rate = {name: len(texts) / min(times) for name, times in took.items()}
    measured = f"{len(texts)} abstracts, {pieces / len(texts):.0f} word pieces each"
    st = "sentence-transformers"
    rows = [
        Row("encoding", f"{measured}, float32", "a second", rate["float32"], rate[st], st, more_is_better=True),
        Row(
            "encoding", "the same", "a second", rate["float32"], rate["plain loop"], "transformers loop, batches of 32",
            more_is_better=True,
        ),
        Row("encoding", "largest difference from sentence-transformers, float32", "", error),
    ]  # fmt: skip
    precisions = [name for name in ("float32", "bfloat16") if name in rate]
    if "bfloat16" in rate:
        rows.append(
            Row("encoding", "the same, bfloat16", "a second", rate["bfloat16"], rate[st], st, more_is_better=True)
        )
    if device == "cuda":
        half_name = "sentence-transformers, bfloat16"
        rows.append(
            Row("encoding", "the same", "a second", rate["bfloat16"], rate[half_name], half_name, more_is_better=True)
        )
    work = flops(ours, texts)
    for name in precisions:
        peak = matrix_peak(device, getattr(torch, name))
        share = 100 * work * rate[name] / len(texts) / peak
        rows.append(Row("encoding", f"share of the matrix peak ({peak / 1e9:,.0f} GFLOP/s), {name}", "%", share))
    middle = sorted(zip(texts, joined, strict=True), key=lambda pair: len(pair[1]))[len(texts) // 2]
    one: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(10):
        one["ours"].append(seconds(lambda: ours.encode([middle[0]])))
        one["peer"].append(seconds(lambda: peer.encode([middle[1]], show_progress_bar=False)))
    medians = {who: percentiles(times)[0] for who, times in one.items()}
    rows.append(Row("encoding", "one abstract, float32, median", "ms", medians["ours"], medians["peer"], st))
    return rows


def together(encoder: BiEncoder, texts: Texts) -> list[Row]:
    """32 people at once against one batch of their texts; and one person beside a long encoding."""
    asked = (texts * (1 + PEOPLE // len(texts)))[:PEOPLE]
    batch = min(seconds(lambda: encoder.encode(asked)) for _ in range(2))
    waits: list[float] = []
    whole = min(_all_at_once(encoder, asked, waits) for _ in range(2))
    last = waits[-PEOPLE:]
    rows = [
        Row(
            "many at once", f"{PEOPLE} searches at the same time", "a second", PEOPLE / whole, PEOPLE / batch,
            "the same texts as one batch", more_is_better=True,
        ),
        Row("many at once", "slowest of them over the median", "×", max(last) / float(np.median(last))),
    ]  # fmt: skip
    alone = [seconds(lambda text=text: encoder.encode([text])) for text in asked[:12]]
    stop = threading.Event()

    def build() -> None:
        def on_progress(_: int) -> None:
            if stop.is_set():
                raise InterruptedError

        try:
            while True:
                encoder.encode(texts * 4, on_progress=on_progress)
        except InterruptedError:
            return

    thread = threading.Thread(target=build)
    thread.start()
    time.sleep(1)
    beside = [seconds(lambda text=text: encoder.encode([text])) for text in asked[:12]]
    stop.set()
    thread.join()
    rows.append(
        Row(
            "many at once", "one search beside a build in the same process, median", "ms", percentiles(beside)[0],
            percentiles(alone)[0], "the same search alone",
        )
    )  # fmt: skip
    return rows


def beside_background_build(atlas: Atlas) -> list[Row]:
    """A search by the embedded encoder while the app's own kind of build encodes in a process beside it."""
    encoder = load_encoder(EMBEDDED)
    papers = [atlas.paper(row) for row in range(40)]

    def ask(paper: Paper) -> float:
        return seconds(lambda: search(atlas, text_query(encoder, paper.title, paper.abstract), k=10))

    ask(papers[0])
    alone = [ask(paper) for paper in papers]
    job = runner.start(encode_request(atlas.name, encoder=EMBEDDED))
    while (now := job.status()).stage != ENCODING or not now.done:
        if now.over:
            raise RuntimeError(f"{now.request.words}: {now.state}. {now.message}")
        time.sleep(0.05)
    beside = [ask(paper) for paper in papers]
    job.stop()
    job.wait()
    discard_unfinished(atlas_name_for(atlas.manifest.corpus, EMBEDDED))
    return [
        Row(
            "many at once", "one search beside a build in the background, median", "ms", percentiles(beside)[0],
            percentiles(alone)[0], "the same search alone",
        )
    ]  # fmt: skip


def _all_at_once(encoder: BiEncoder, texts: Texts, waits: list[float]) -> float:
    barrier = threading.Barrier(len(texts) + 1)

    def ask(text: tuple[str, str]) -> float:
        barrier.wait()
        return seconds(lambda: encoder.encode([text]))

    with ThreadPoolExecutor(len(texts)) as pool:
        asking = [pool.submit(ask, text) for text in texts]
        barrier.wait()
        start = time.perf_counter()
        waits.extend(each.result() for each in asking)
    return time.perf_counter() - start


def plain_loop(model: object, texts: list[str]) -> np.ndarray:
    """What one would write first: batches of 32 in the order given, padded to their longest."""
    transformer = model[0].auto_model  # type: ignore[index]
    tokenizer = model.tokenizer  # type: ignore[attr-defined]
    found = []
    for start in range(0, len(texts), 32):
        inputs = tokenizer(
            texts[start : start + 32], padding=True, truncation=True, max_length=MOST_PIECES, return_tensors="pt"
        ).to(transformer.device)
        with torch.no_grad():
            found.append(transformer(**inputs).last_hidden_state[:, 0].float().cpu().numpy())
    return np.concatenate(found)


def flops(encoder: BiEncoder, texts: Texts) -> float:
    """Multiplications and additions that the packed forward does: all of 11 layers; of the last one keys and values."""
    lengths = np.array([encoder.reading(*text).tokens_read for text in texts], dtype=float)
    layer = 2 * lengths * (4 * HIDDEN**2 + 2 * HIDDEN * WIDE) + 4 * lengths**2 * HIDDEN
    last = 2 * lengths * 2 * HIDDEN**2 + 4 * lengths * HIDDEN + 2 * (2 * HIDDEN**2 + 2 * HIDDEN * WIDE)
    return float(((LAYERS - 1) * layer + last).sum())


def matrix_peak(device: str, dtype: torch.dtype) -> float:
    """FLOP a second of the fastest product of matrices that we know how to ask for here."""
    from components.encoder.linear import linear

    best = 0.0
    for rows, inner, columns in ((2048, HIDDEN, WIDE), (512, HIDDEN, WIDE), (2048, 2048, 2048), (8192, 8192, 8192)):
        if device == "cpu" and rows > 4096:
            continue
        x = torch.randn(rows, inner, device=device, dtype=dtype)
        weight, bias = torch.randn(columns, inner, device=device, dtype=dtype), torch.zeros(columns, device=device)
        packed = linear(weight, bias.to(dtype))
        for product in (lambda x=x, packed=packed: packed(x), lambda x=x, weight=weight: x @ weight.T):
            with torch.inference_mode():
                took = min(seconds(lambda product=product: _synchronised(product, device)) for _ in range(12))
            best = max(best, 2 * rows * inner * columns / took)
    return best


def _synchronised(work: Callable[[], object], device: str) -> None:
    work()
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
