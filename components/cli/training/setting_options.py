"""Options of the command line for every setting of a training, with the model card's values as their defaults."""

import argparse
import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

from components.encoder.catalogue import InputForm
from components.training.settings import TrainingSettings, default_margin, trained_form

_TOLD = {
    "pooling": "how a paper's vector is made of the layers; start: as the start has it, but of [CLS] a scalar mix",
    "margin": "of the triplet margin loss; by default 0.1 where the start's vectors are normalised",
    "negatives": "how in-batch negatives are drawn; the authors' permutation wastes one row in a micro-batch",
    "learning_rate": "of Adam, at its highest",
    "warmup_steps": "steps in which the learning rate rises from 0; then it falls to 0 at the last one",
    "epochs": "how often each pair is learned from",
    "max_steps": "stop after so many steps, the learning rate's way made shorter; 0: all of the epochs",
    "micro_batch": "triplets that go through the model at once, negatives drawn within them",
    "batch": "triplets of a step, a multiple of --micro-batch",
    "dev_every": "steps between two looks at the dev set; the best look's encoder is kept",
    "patience": "looks without a lower dev loss until it stops early; 0: never",
    "save_every": "steps between two states that a kill can cost the work since",
    "max_gradient_norm": "clip the gradient at this norm; 0: not",
    "precision": "of the arithmetic; the weights themselves stay float32",
    "gradient_checkpointing": "a third more time and much less memory",
    "max_tokens": "word pieces read of a text; 0: as many as the start reads",
    "seed": "of all chance: the order of pairs, negatives, dropout",
}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for each of `TrainingSettings`."""
    group = parser.add_argument_group("settings", "Their defaults are those of the model card of SPECTER-CoCite.")
    kinds = get_type_hints(TrainingSettings)
    for field in dataclasses.fields(TrainingSettings):
        option = f"--{field.name.replace('_', '-')}"
        told = f"{_TOLD[field.name]} (default: {_default(field.default)})"
        default = None if field.name == "margin" else field.default  # it goes by the start
        kind: Any = kinds[field.name]
        if kind is bool:
            group.add_argument(option, action="store_true", help=told)
        elif get_origin(kind) is Literal:
            group.add_argument(option, choices=get_args(kind), default=default, help=told)
        else:
            group.add_argument(option, type=kind, default=default, metavar="N", help=told)


def settings_of(options: argparse.Namespace, form: InputForm) -> TrainingSettings:
    """The settings that were asked for, to train from a start of that form. Raises TrainingError where two do not go
    together.
    """
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(TrainingSettings)}
    given = {name: value for name, value in asked.items() if value is not None}
    settings = TrainingSettings(**given)
    if "margin" in given:
        return settings
    return dataclasses.replace(settings, margin=default_margin(trained_form(form, settings)))


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
