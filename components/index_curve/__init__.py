"""The neighbour index measured: ann_recall_at_k and time against M, ef_search and the size of the corpus.

Public names: Curve, CurveSettings, Point, ExactTime, Measured, CurveRefused; `curve` of vectors, `curve_of` an atlas
(which keeps its points as it goes); `read_curve`, `save_curve`, `delete_curve`, `stale`, CurveDamaged; `as_markdown`,
`as_csv`, `as_json`; `figure`; `targets`.
"""

from components.index_curve.records import Curve, CurveRefused, CurveSettings, ExactTime, Measured, Point

__all__ = ["Curve", "CurveRefused", "CurveSettings", "ExactTime", "Measured", "Point"]
