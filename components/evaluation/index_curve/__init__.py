"""The neighbour index measured: ann_recall_at_k and time against M, ef_search and the size of the corpus."""

from components.evaluation.index_curve.exports import (
    TARGET,
    Sufficient,
    as_csv,
    as_markdown,
    partial_words,
    sufficient,
    summary,
)
from components.evaluation.index_curve.figure import figure
from components.evaluation.index_curve.kept import (
    CurveBusy,
    CurveDamaged,
    as_json,
    delete_curve,
    read_curve,
    save_curve,
    stale,
)
from components.evaluation.index_curve.measuring import MEASURING, curve, curve_of
from components.evaluation.index_curve.records import (
    Curve,
    CurveRefused,
    CurveSettings,
    ExactTime,
    Measured,
    Point,
    default_sizes,
)

__all__ = [
    "MEASURING",
    "TARGET",
    "Curve",
    "CurveBusy",
    "CurveDamaged",
    "CurveRefused",
    "CurveSettings",
    "ExactTime",
    "Measured",
    "Point",
    "Sufficient",
    "as_csv",
    "as_json",
    "as_markdown",
    "curve",
    "curve_of",
    "default_sizes",
    "delete_curve",
    "figure",
    "partial_words",
    "read_curve",
    "save_curve",
    "stale",
    "sufficient",
    "summary",
]
