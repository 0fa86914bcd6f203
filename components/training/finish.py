"""Finish a run: held-out scores, model card, -full zip, own copy and report; whatever is missing of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.encoder.bi_encoder import load_encoder
from components.encoder.cache import own_path
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.training.export import copy_checkpoint, model_card, write_full
from components.training.held_out import HeldOutChange, compare_held_out, read_held_out
from components.training.report import write_report
from components.training.run import CHECKPOINT, HELD_OUT, read_run, write_model
from components.training.settings import TrainingError
from corpus.cocitations.pairs import TrainingPairs
from corpus.io.disk import disk_errors
from corpus.io.files import write_text
from corpus.progress import Progress, no_progress

CARD = "README.md"  # in the checkpoint
_EXPORTING = "Exporting the encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What came out of a run. full: None without a scalar mix. own: its name in the app; "" if not asked for.

    held_out: None if it was not measured; note says why, if it was asked for.
    """

    card: Path
    report: Path
    full: Path | None
    own: str
    held_out: HeldOutChange | None
    note: str


def finish(
    run: Path,
    pairs: TrainingPairs,
    start: Checkpoint,
    *,
    own: str = "",
    held_out: int,
    device: str | None = None,
    progress: Progress = no_progress,
) -> Finished:
    """Make what is missing for a run whose training is over.

    own: a name among the app's own encoders for a copy of the checkpoint. held_out: papers that are ranked at most; 0:
    none. device: as in `load_encoder`. Raises TrainingError, EncoderUnavailable, NoSpaceLeft, CannotWrite, and what
    `progress` raises.
    """
    summary = read_run(run)
    checkpoint, name, note = run / CHECKPOINT, own or run.resolve().name, ""
    with disk_errors(run, advice="The encoder is complete: the same command makes what is missing."):
        scores = read_held_out(run)
        if not (checkpoint / CARD).exists() or (held_out and scores is None):
            if held_out and scores is None:
                try:
                    # Both in float32, so that only the training differs.
                    before, after = (
                        load_encoder(source, device=device, precision="float32")
                        for source in (start.source, str(checkpoint.resolve()))
                    )
                    scores = compare_held_out(pairs, before, after, max_papers=held_out, progress=progress)
                    write_model(run / HELD_OUT, scores)
                except TrainingError as error:
                    note = str(error)
            card = model_card(
                checkpoint, name=name, start=start, record=summary.record, curves=summary.curves, scores=scores
            )
            write_text(checkpoint / CARD, card)  # last: with it there is nothing to measure any more
        progress(_EXPORTING, 0, 2)
        full = None
        if summary.record.model["pooling"] == "scalar_mix":
            full = run / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.')[:100] or 'trained'}-full.zip"
            if not full.exists():
                write_full(full, checkpoint, start=start)
        progress(_EXPORTING, 1, 2)
        if own:
            target = own_folder(own, run=run)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_checkpoint(checkpoint, target)
        progress(_EXPORTING, 2, 2)
        report = write_report([run])
    return Finished(
        card=checkpoint / CARD,
        report=report,
        full=full,
        own=f"own/{own}" if own else "",
        held_out=scores,
        note=note,
    )


def own_folder(name: str, *, run: Path | None) -> Path:
    """The folder of a run's copy among the app's own encoders. Raises TrainingError if another encoder has the name.

    Raises EncoderUnavailable for an invalid name.
    """
    target = own_path(name)
    if not target.exists():
        return target
    if run is not None and (run / CHECKPOINT).is_dir():
        there, here = (
            find_checkpoint(str(path.resolve()), local_files_only=True) for path in (target, run / CHECKPOINT)
        )
        if there.fingerprint == here.fingerprint:
            return target
    raise TrainingError(f"--own {name}: another encoder has this name ({target}). Give another name, or remove it.")
