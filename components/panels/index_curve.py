"""The index curve panel: recall of the neighbour index against its time, one line an M."""

from components.index_curve import Curve


def index_curve(curve: Curve, *, stale: str = "", key: str = "index-curve") -> None:
    """Draw the curve, with what may be chosen of it, the setting that suffices at each size, and downloads.

    stale: why the curve is not this atlas's any more (`components.index_curve.stale`); else empty. key: of the widgets.
    """
    raise NotImplementedError
