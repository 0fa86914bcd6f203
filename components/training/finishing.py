"""Finishing: what comes out of a run once its training is done. Each piece is made once, so that a stop costs little.

<run>/held-out.json          how near test papers are to those they were cited with, before and after
<run>/checkpoint/README.md   the model card
<run>/<name>-full.zip        the -full release, of a scalar mix
<run>/report.html            the curves
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.encoder import Checkpoint, load_encoder, own_place
from components.encoder.checkpoints import find_checkpoint
from components.training.curves import CURVES, read_curves
from components.training.held_out import HeldOutChange, before_and_after
from components.training.held_out_file import HELD_OUT, HeldOutRow, read_held_out
from components.training.release import copy_checkpoint, model_card, write_full
from components.training.report import write_report
from components.training.run_folder import CHECKPOINT, disk_errors
from components.training.settings import TrainingError, TrainingSettings
from corpus.cocitations.pairs import TrainingPairs
from corpus.io.files import write_text
from corpus.progress import Progress, no_progress

CARD = "README.md"  # in the checkpoint
WRITING = "Writing what comes out"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What came out. full, own: None or empty where there is none. notes: what there is none of and why."""

    held_out: Sequence[HeldOutRow]
    card: Path
    full: Path | None
    own: str
    report: Path
    notes: Sequence[str]


def finish(
    run: Path,
    pairs: TrainingPairs,
    start: Checkpoint,
    settings: TrainingSettings,
    *,
    own: str | None,
    held_out: int,
    device: str | None = None,
    progress: Progress = no_progress,
) -> Finished:
    """Make what is not there yet of a run whose training is over.

    own: the name among the app's own encoders, if it is to be one. held_out: how many papers are ranked at most; 0:
    nothing is measured. device: as in `load_encoder`.
    Raises TrainingError, EncoderUnavailable, and what `progress` does.
    """
    checkpoint, name = run / CHECKPOINT, run.resolve().name
    notes = []
    with disk_errors(run, kept="The encoder is whole: the same command makes what is missing."):
        if not (checkpoint / CARD).exists() or (held_out and not (run / HELD_OUT).exists()):
            scores = None
            if held_out:
                try:
                    scores = _scores(pairs, start, checkpoint, most_papers=held_out, device=device, progress=progress)
                except TrainingError as error:
                    notes.append(str(error))
            if scores is not None:
                write_text(run / HELD_OUT, json.dumps(scores.as_json(), indent=1, allow_nan=False) + "\n")
            curves = read_curves(run / CURVES)
            card = model_card(
                checkpoint,
                name=own or name,
                start=start,
                settings=settings,
                pairs=pairs,
                steps=curves.steps,
                looks=curves.looks,
                scores=scores,
            )
            write_text(checkpoint / CARD, card)  # the last of it: with it, there is nothing to measure any more
        progress(WRITING, 0, 2)
        full = None
        if find_checkpoint(str(checkpoint.resolve()), local_files_only=True).form.pooling == "scalar_mix":
            full = run / f"{_safe(own or name)}-full.zip"
            if not full.exists():
                write_full(full, checkpoint, start=start)
        progress(WRITING, 1, 2)
        if own:
            target = own_target(own, run=run)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_checkpoint(checkpoint, target)
        progress(WRITING, 2, 2)
        report = write_report([run])
    return Finished(
        held_out=read_held_out(run / HELD_OUT),
        card=checkpoint / CARD,
        full=full,
        own=f"own/{own}" if own else "",
        report=report,
        notes=notes,
    )


def own_target(name: str, *, run: Path | None) -> Path:
    """Where a run's encoder lies among the app's own. Raises TrainingError where another one has that name.

    Raises EncoderUnavailable for a name that none can have.
    """
    target = own_place(name)
    if not target.exists():
        return target
    mine = run / CHECKPOINT if run is not None else None
    if mine is not None and mine.is_dir():
        there, here = (find_checkpoint(str(path.resolve()), local_files_only=True) for path in (target, mine))
        if there.fingerprint == here.fingerprint:
            return target
    raise TrainingError(f"--own {name}: there is an encoder of that name at {target}. Give another name, or remove it.")


def _scores(
    pairs: TrainingPairs,
    start: Checkpoint,
    checkpoint: Path,
    *,
    most_papers: int,
    device: str | None,
    progress: Progress,
) -> HeldOutChange:
    # In float32 both, so that what differs is the training alone.
    before, after = (
        load_encoder(source, device=device, precision="float32") for source in (start.source, str(checkpoint.resolve()))
    )
    return before_and_after(pairs, before, after, most_papers=most_papers, progress=progress)


def _safe(name: str) -> str:
    """A name that any system can have in a zip."""
    return _UNSAFE.sub("-", name).strip("-.")[:100] or "trained"
