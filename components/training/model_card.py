"""The model card: what a trained checkpoint is, how it was made, what it reached and how to use it, as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from components.encoder.catalogue import CATALOGUE, InputForm
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.encoder.mix_file import MIX_FILE, MIX_KEY
from components.encoder.weights import bert_settings
from components.evaluation.format import cell, code, percent, table
from components.evaluation.statistics import PairedTest
from components.training.curves import LookRecord, StepRecord
from components.training.held_out import HeldOut, HeldOutChange
from components.training.settings import TrainingSettings
from components.training.wording import setting_words, told_words
from corpus.cocitations.pairs import TrainingPairs

_MOST_TOLD = 200  # lines of what the pairs tell of themselves
_LONGEST_TOLD = 300  # characters of one value
_ENDS = 0.1  # of the steps, over which the loss at the beginning and at the end is a mean
_PAPER = "[Mysore, Cohan and Hope, NAACL 2022](https://arxiv.org/abs/2111.08366)"


def model_card(
    checkpoint: Path,
    *,
    name: str,
    start: Checkpoint,
    settings: TrainingSettings,
    pairs: TrainingPairs,
    steps: Sequence[StepRecord],
    looks: Sequence[LookRecord],
    scores: HeldOutChange | None = None,
) -> str:
    """The README.md of a folder by `write_checkpoint`. Text that is not ours is escaped.

    steps, looks: the run's curves, in their order. scores: on the test pairs; None where they were not ranked.
    Raises EncoderUnavailable where the checkpoint is damaged.
    """
    found = find_checkpoint(str(checkpoint.resolve()), local_files_only=True)
    parts = [
        _front(start),
        f"# {cell(name)}",
        "A bi-encoder for scientific papers: it reads a title and an abstract and gives one vector, and papers that "
        "are cited together in one sentence lie near each other by L2 distance. It was trained by Cocite Atlas from "
        f"{cell(start.name)}, by the procedure of SPECTER-CoCite ({_PAPER}).",
        "## How to use it",
        "\n".join(_usage(found)),
        "## Training data",
        "\n".join(_data(pairs)),
        "## Training",
        "\n".join([*_settings(settings), "", *_curves(steps, looks)]),
        "## Scores",
        "\n".join(_scores(scores)),
        "## Licence",
        _licence(start),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(start: Checkpoint) -> str:
    """What the Hugging Face hub reads; of the start only what the catalogue says of it."""
    entry = CATALOGUE.get(start.source)
    lines = ["---", "library_name: transformers", "pipeline_tag: feature-extraction"]
    lines += ["tags:", "- bi-encoder", "- scientific-papers", "- co-citation"]
    if entry is not None:
        lines.append(f"license: {entry.licence.lower()}")
        if entry.hub_id:
            lines.append(f"base_model: {entry.hub_id}")
    return "\n".join([*lines, "---"])


def _usage(found: Checkpoint) -> Iterator[str]:
    form = found.form
    yield (
        f"Title and abstract are one sequence, cut off at {form.max_tokens:,} word pieces; the vector is "
        f"{_POOLED[form.pooling]}{', and has length 1' if form.normalised else ''}. With this folder as the working "
        "directory:"
    )
    yield ""
    yield "```python"
    yield from _code(form, bert=bert_settings(found) is not None)
    yield "```"
    if form.pooling != "scalar_mix":
        yield ""
        yield (
            "sentence-transformers loads the folder, too, and takes the same texts. Should it report a pooler as "
            "missing: none is used."
        )
    yield ""
    yield "In Cocite Atlas: `cocite build PAPERS --name NAME --encoder FOLDER`, or put it into `own/`."


_POOLED = {
    "cls": "the last layer's [CLS]",
    "mean": "the mean of the last layer over all word pieces",
    "scalar_mix": "the [CLS] of all layers, in the mix that was learned",
}


def _code(form: InputForm, *, bert: bool) -> Iterator[str]:
    """Lines of Python that give the vectors of two papers."""
    mixed = form.pooling == "scalar_mix"
    yield "import torch"
    if mixed:
        yield "from safetensors.torch import load_file"
    yield "from transformers import AutoModel, AutoTokenizer"
    yield ""
    yield 'tokenizer = AutoTokenizer.from_pretrained(".")'
    yield f'model = AutoModel.from_pretrained("."{", add_pooling_layer=False" if bert else ""}).eval()'
    yield 'papers = [("A title", "Its abstract."), ("Another title", "Another abstract.")]'
    if form.separator:
        yield f"texts = [{form.separator!r}.join(part for part in paper if part) for paper in papers]"
    else:
        yield "texts = [title + tokenizer.sep_token + abstract for title, abstract in papers]"
    yield 'inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")'
    yield "with torch.no_grad():"
    yield f"    outputs = model(**inputs{', output_hidden_states=True' if mixed else ''})"
    if mixed:
        yield f'mix = torch.softmax(load_file("{MIX_FILE}")["{MIX_KEY}"], dim=0)'
        yield "states = torch.stack([state[:, 0] for state in outputs.hidden_states])"
        yield 'vectors = torch.einsum("l,lbd->bd", mix, states)'
    elif form.pooling == "cls":
        yield "vectors = outputs.last_hidden_state[:, 0]"
    else:
        yield "mask = inputs.attention_mask.unsqueeze(-1).float()"
        yield "vectors = (outputs.last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)"
    if form.normalised:
        yield "vectors = torch.nn.functional.normalize(vectors, dim=1)"
    yield "distances = torch.cdist(vectors, vectors)  # smaller is nearer"


def _data(pairs: TrainingPairs) -> Iterator[str]:
    yield (
        f"Pairs of papers that were cited together, from {cell(pairs.name)}: {len(pairs.train):,} to train on, "
        f"{len(pairs.dev):,} to choose the checkpoint by, {len(pairs.test):,} held out, of {pairs.papers.num_rows:,} "
        f"papers. Fingerprint `{code(pairs.fingerprint)}`."
    )
    told = list(_flat(pairs.told, []))
    if told:
        yield ""
        yield table(["How the pairs were made", ""], [[cell(key), cell(value)] for key, value in told[:_MOST_TOLD]])
    if len(told) > _MOST_TOLD:
        yield ""
        yield f"And {len(told) - _MOST_TOLD:,} more; they stand in the pairs' own folder."


def _flat(value: Any, path: list[str]) -> Iterator[tuple[str, str]]:
    """JSON values as lines of a name and a text, what lies inside others under both names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, [*path, str(key)])
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for number, inner in enumerate(value, start=1):
            yield from _flat(inner, [*path, str(number)])
    else:
        told = ", ".join(map(_word, value)) if isinstance(value, list) else _word(value)
        yield told_words(path)[:_LONGEST_TOLD], told[:_LONGEST_TOLD] or "–"


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    # Years have no comma in them.
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def _settings(settings: TrainingSettings) -> Iterator[str]:
    given, usual = asdict(settings), asdict(TrainingSettings())
    other = [one.name for one in fields(settings) if given[one.name] != usual[one.name]]
    yield (
        f"Triplet margin loss (p = 2, margin {settings.margin:g}), negatives in the batch by {settings.negatives}; "
        f"Adam, learning rate {settings.learning_rate:g}, {_steps(settings.warmup_steps)} of warm-up, then linearly "
        f"to 0; {settings.batch} triplets a step, {settings.micro_batch} at a time; {settings.precision}; "
        f"seed {settings.seed}."
    )
    yield ""
    ours = "" if "negatives" in other else ", but for the negatives, which its authors drew by a plain permutation"
    yield (
        f"All {'other ' if other else ''}settings are those of the SPECTER-CoCite card{ours}; where it is silent, the "
        "defaults of Cocite Atlas."
    )
    if not other:
        return
    yield ""
    rows = [[name.replace("_", " "), _set(name, given[name]), _set(name, usual[name])] for name in other]
    yield table(["Setting", "Here", "Default"], rows)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"


def _set(name: str, value: Any) -> str:
    return setting_words(name, value) or _word(value)


def _curves(steps: Sequence[StepRecord], looks: Sequence[LookRecord]) -> Iterator[str]:
    """What the curves of a run show, in sentences."""
    if steps:
        few = max(1, round(len(steps) * _ENDS))
        ends = f"means over the first and the last {few:,}" if few > 1 else "the first and the last one"
        first, last = (float(np.mean([step.loss for step in some])) for some in (steps[:few], steps[-few:]))
        active = float(np.mean([step.active for step in steps[-few:]]))
        yield (
            f"{_steps(steps[-1].step)} ({steps[-1].epoch:.2f} epochs). The loss of a triplet went from {first:.3f} to "
            f"{last:.3f} ({ends}); "
            f"at the end {100 * active:.0f} % of the triplets still had a loss above 0."
        )
        if wasted := sum(step.self_negatives for step in steps):
            yield f"{wasted:,} triplets had their own positive as the negative, and taught nothing."
    if looks:
        best = min(looks, key=lambda look: look.dev_loss)
        yield (
            f"On the dev pairs the loss went from {looks[0].dev_loss:.4f} to {best.dev_loss:.4f} at step "
            f"{best.step:,}, which is the checkpoint that was kept, and the share of pairs that are nearer than their "
            f"negative from {100 * looks[0].dev_accuracy:.1f} % to {100 * best.dev_accuracy:.1f} %."
        )
        if best.mix:
            strongest = int(np.argmax(best.mix))
            where = f"layer {strongest}" if strongest else "the embedding layer"
            weights = ", ".join(f"{weight:.3f}" for weight in best.mix)
            yield (
                f"Of the scalar mix {where} weighs most ({max(best.mix):.3f}); from the embedding layer on: {weights}."
            )


def _scores(scores: HeldOutChange | None) -> Iterator[str]:
    if scores is None:
        yield "It was not scored on held-out pairs."
        return
    before, after = scores.before, scores.after
    drawn = " (drawn, the same for both, where the pairs have more)" if before.sampled else ""
    yield (
        f"On pairs that training never saw: for {before.queries:,} papers, up to {before.papers:,} papers{drawn} are "
        "ranked by L2 distance, and those that are cited with it should come first. Intervals are 95 % bootstrap "
        "intervals over the queries; p-values are of a paired randomisation test."
    )
    yield ""
    rows = [
        ["Mean rank, lower is better", *(_rank(one) for one in (before, after)), _p(scores.tests["mean_rank"])],
        ["Median rank", f"{before.median_rank:,.1f}", f"{after.median_rank:,.1f}", "–"],
        ["MAP, %", *(_percent(one, "MAP") for one in (before, after)), _p(scores.tests["MAP"])],
        ["Recall@10, %", *(_percent(one, "recall@10") for one in (before, after)), _p(scores.tests["recall@10"])],
    ]
    yield table(["", f"Before: {cell(before.encoder)}", "After", "p"], rows)


def _rank(one: HeldOut) -> str:
    low, high = one.intervals["mean_rank"]
    return f"{one.means['mean_rank']:,.1f} ({low:,.1f} to {high:,.1f})"


def _percent(one: HeldOut, metric: Any) -> str:
    low, high = one.intervals[metric]
    return f"{percent(one.means[metric])} ({percent(low)} to {percent(high)})"


def _p(test: PairedTest) -> str:
    return f"{test.p_value:.4f}" if test.p_value >= 0.0001 else "below 0.0001"


def _licence(start: Checkpoint) -> str:
    entry = CATALOGUE.get(start.source)
    if entry is None:
        return (
            f"The licence of {cell(start.name)}, from which it was trained, is not known here. Look there before you "
            "pass this checkpoint on. The texts that it was trained on have licences of their own."
        )
    return (
        f"{cell(start.name)}, from which it was trained, is under {entry.licence}. The texts that it was trained on "
        "have licences of their own."
    )
