"""Training settings. The defaults are those of the SPECTER-CoCite model card."""

from dataclasses import dataclass, replace
from typing import Literal

from components.encoder.catalogue import InputForm
from corpus.errors import CociteAtlasError

# start: the pooling of the start checkpoint, except that its last layer's [CLS] becomes a scalar mix.
TrainedPooling = Literal["start", "scalar_mix", "cls", "mean"]
Negatives = Literal["derangement", "permutation"]
MixedPrecision = Literal["float32", "bfloat16", "float16"]

_UNIT_MARGIN = 0.1  # about a tenth of the distance between unrelated vectors of length 1
_LIMIT = 1e15  # of every number: beyond it floats and reports lose digits


class TrainingError(CociteAtlasError):
    """Training cannot start or continue. The message says why, what is kept, and what to do next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """All that decides how a model is trained. Raises TrainingError for values out of range or at odds.

    A step is one update of the weights by `batch` triplets. They pass through the model `micro_batch` at a time, and
    negatives are drawn within a micro-batch.
    """

    pooling: TrainedPooling = "start"
    margin: float = 1.0  # of the triplet margin loss, p = 2
    negatives: Negatives = "derangement"  # the authors' permutation wastes one row per micro-batch
    learning_rate: float = 1e-5  # peak, of Adam
    warmup_steps: int = 1_000  # linear from 0; then linear decay to 0 at the last step
    epochs: int = 1
    max_steps: int = 0  # 0: all steps of the epochs
    micro_batch: int = 3  # the authors' choice; a negative needs at least 2
    batch: int = 30  # a multiple of micro_batch
    dev_every: int = 500  # steps between validations; steps 0 and the last are always validated
    patience: int = 0  # validations without a lower dev loss before training stops early; 0: never
    save_every: int = 500  # steps between saved states
    max_gradient_norm: float = 0.0  # 0: no clipping, like the authors
    precision: MixedPrecision = "float32"
    gradient_checkpointing: bool = False  # a third more time, much less memory
    max_tokens: int = 0  # word pieces read per text; 0: as many as the start checkpoint reads
    seed: int = 0

    def __post_init__(self) -> None:
        at_least_one = ("epochs", "dev_every", "save_every")
        at_least_zero = ("warmup_steps", "max_steps", "patience", "seed", "max_gradient_norm")
        minimums = dict.fromkeys(at_least_one, 1) | dict.fromkeys(at_least_zero, 0) | {"micro_batch": 2, "batch": 2}
        for name, minimum in minimums.items():
            if not minimum <= (value := getattr(self, name)) < _LIMIT:
                raise TrainingError(f"{name} is {value}; it must be at least {minimum} and below {_LIMIT:.0e}.")
        for name in ("learning_rate", "margin"):
            if not 0 < (value := getattr(self, name)) < _LIMIT:
                raise TrainingError(f"{name} is {value}; it must be above 0 and below {_LIMIT:.0e}.")
        if self.max_tokens and self.max_tokens < 3:
            raise TrainingError(f"max_tokens is {self.max_tokens}; [CLS], one word piece and [SEP] need 3.")
        if self.batch % self.micro_batch:
            raise TrainingError(
                f"batch is {self.batch}, which is not a multiple of micro_batch ({self.micro_batch}). A step consists "
                "of whole micro-batches."
            )


def trained_form(form: InputForm, settings: TrainingSettings) -> InputForm:
    """The input form of the model that is trained from a start checkpoint of form `form`."""
    pooling = settings.pooling
    if pooling == "start":
        pooling = "scalar_mix" if form.pooling == "cls" else form.pooling
    return replace(
        form,
        pooling=pooling,
        normalised=form.normalised and pooling == form.pooling,  # the start was normalised for its own pooling only
        max_tokens=settings.max_tokens or form.max_tokens,
    )


def default_margin(form: InputForm) -> float:
    """The default margin for a trained form: the card's 1, but 0.1 for normalised vectors.

    Vectors of length 1 are at most 2 apart: a margin of 1 keeps nearly every triplet active and pushes apart what is
    far already. On real pairs the dev loss fell and held-out papers ranked worse (TRAINING.md).
    """
    return _UNIT_MARGIN if form.normalised else TrainingSettings().margin


_IN_WORDS = {
    ("pooling", "start"): "that of the start; a scalar mix for [CLS]",
    ("pooling", "scalar_mix"): "scalar mix",
    ("max_steps", 0): "all steps of the epochs",
    ("patience", 0): "never stop early",
    ("max_gradient_norm", 0.0): "no clipping",
    ("max_tokens", 0): "as many as the start reads",
}


def setting_text(name: str, value: object) -> str:
    """A setting's value in words."""
    return next((words for key, words in _IN_WORDS.items() if key == (name, value)), value_text(value))


def value_text(value: object) -> str:
    """A JSON value in words.

    >>> value_text(True), value_text(None), value_text(12_500), value_text(1e-5)
    ('yes', '–', '12,500', '1e-05')
    """
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
