"""Settings: all that decides how a model is trained. The defaults are those of the SPECTER-CoCite model card."""

from dataclasses import dataclass, replace
from typing import Literal

from components.encoder.catalogue import InputForm
from corpus.errors import CociteAtlasError

# start: as the checkpoint that training starts from declares it, but a scalar mix where that is the last layer's [CLS].
TrainedPooling = Literal["start", "scalar_mix", "cls", "mean"]
Negatives = Literal["derangement", "permutation"]
MixedPrecision = Literal["float32", "bfloat16", "float16"]

_UNIT_MARGIN = 0.1  # about a tenth of the distance of unit vectors that have nothing to do with each other


class TrainingError(CociteAtlasError):
    """Training that cannot begin or cannot go on; it says why, what is kept, and what to do."""


_LARGEST = 10**15  # of any number: what a report still shows, and Adam can step by


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a model is trained. Raises TrainingError where a number is out of its range, or two do not go together.

    A step is one update of the weights by `batch` triplets, `micro_batch` of which go through the model at once;
    negatives are drawn within a micro-batch.
    """

    pooling: TrainedPooling = "start"
    margin: float = 1.0  # of the triplet margin loss, with p = 2
    negatives: Negatives = "derangement"  # the authors' permutation wastes one row in `micro_batch`
    learning_rate: float = 1e-5  # of Adam
    warmup_steps: int = 1_000  # linear, from 0; then the rate falls linearly to 0 at the last step
    epochs: int = 1
    max_steps: int = 0  # 0: as many as the epochs have
    micro_batch: int = 3  # what fits beside BERT-base in the authors' GPU memory; 2 at least, for a negative
    batch: int = 30  # a multiple of micro_batch
    dev_every: int = 500  # steps between two looks at the dev loss; one at step 0 and one at the end are always taken
    patience: int = 0  # looks without a lower dev loss until training stops early; 0: never
    save_every: int = 500  # steps between two resumable states
    max_gradient_norm: float = 0.0  # 0: gradients are not clipped, as the authors had it
    precision: MixedPrecision = "float32"
    gradient_checkpointing: bool = False  # a third more time, much less memory
    max_tokens: int = 0  # word pieces read of a text; 0: as many as the start checkpoint reads
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("micro_batch", 2),
            ("batch", 2),
            ("dev_every", 1),
            ("save_every", 1),
            ("warmup_steps", 0),
            ("max_steps", 0),
            ("patience", 0),
            ("seed", 0),
        ):
            if not least <= (value := getattr(self, name)) < _LARGEST:
                raise TrainingError(f"{name} is {value}; it must be {least} or more, and below {_LARGEST:.0e}.")
        for name in ("learning_rate", "margin"):
            if not 0 < (number := getattr(self, name)) < _LARGEST:
                raise TrainingError(f"{name} is {number}; it must be above 0, and below {_LARGEST:.0e}.")
        if not 0 <= self.max_gradient_norm < _LARGEST:
            raise TrainingError(
                f"max_gradient_norm is {self.max_gradient_norm}; it must be 0 or more, and below {_LARGEST:.0e}."
            )
        if self.max_tokens and self.max_tokens < 3:
            raise TrainingError(f"max_tokens is {self.max_tokens}; [CLS], one word piece and [SEP] take 3.")
        if self.batch % self.micro_batch:
            raise TrainingError(
                f"batch is {self.batch}, which is no multiple of micro_batch, {self.micro_batch}. A step takes whole "
                "micro-batches."
            )


def trained_form(form: InputForm, settings: TrainingSettings) -> InputForm:
    """How a paper becomes a vector of the model that is trained from a start of that form."""
    pooling = settings.pooling
    if pooling == "start":
        pooling = "scalar_mix" if form.pooling == "cls" else form.pooling
    return replace(
        form,
        pooling=pooling,
        # A normalised vector belongs to the pooling that it was trained with.
        normalised=form.normalised and pooling == form.pooling,
        max_tokens=settings.max_tokens or form.max_tokens,
    )


def usual_margin(form: InputForm) -> float:
    """The margin to train a form with where none is asked for: the card's, 1, but 0.1 for vectors of length 1.

    Vectors of length 1 lie 2 apart at most: a margin of 1 keeps nearly every triplet active, and what it teaches is to
    push apart what is far already. On real pairs the dev loss fell and held-out papers ranked worse (TRAINING.md).
    """
    return _UNIT_MARGIN if form.normalised else TrainingSettings().margin
