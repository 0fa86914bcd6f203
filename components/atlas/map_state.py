"""What is to be said of an atlas's map: how it was laid out, and whether that is due again."""

from components.atlas.manifest import Manifest
from components.mapping.projection import DEFAULT_SETTINGS
from components.mapping.regions import smallest_region

# Under three points there is nothing to arrange: two lie apart at any distance, and the map has but one.
FEWEST_FOR_A_MAP = 3
# Of the papers that the map was laid out with. A paper that is placed by its neighbours lies a median 0.016 of the
# map's half from where UMAP would have it, so a few do no harm. But the others do not make room for it, regions and
# their names do not follow it: with a quarter added, a fifth of what one sees was never arranged.
_CHANGED = 0.25


def laid_out_with(manifest: Manifest) -> int:
    """How many papers the map was laid out with."""
    return max(manifest.papers - manifest.growth.added + manifest.growth.removed, 0)


def rebuild_due(manifest: Manifest) -> str:
    """Why the map of an atlas should be laid out again, in a sentence; empty where it need not be.

    It is due where papers added and removed since are more than a quarter of those that it was laid out with; where
    papers that are near to none of these would make a region of their own; and where it was laid out with too few
    papers for UMAP, and there are enough now.
    """
    growth, before = manifest.growth, laid_out_with(manifest)
    if not (growth.added or growth.removed) or manifest.papers < FEWEST_FOR_A_MAP:
        return ""
    if before < DEFAULT_SETTINGS.smallest_umap <= manifest.papers:
        return f"The map was laid out with {_papers(before)}, too few for a map of subjects; now there are enough."
    if growth.added + growth.removed > _CHANGED * before:
        told = [f"{growth.added:,} added" * bool(growth.added), f"{growth.removed:,} removed" * bool(growth.removed)]
        return (
            f"The map was laid out with {_papers(before)}; since then {' and '.join(filter(None, told))}. New ones "
            "lie beside their nearest, but nothing made room for them."
        )
    if growth.far >= smallest_region(before):
        return (
            f"{_papers(growth.far).capitalize()} that were added are near to none of those that the map was laid out "
            "with: their subject has no place on it yet."
        )
    return ""


def map_words(manifest: Manifest) -> str:
    """How the map was made, and what is on it, in a few words."""
    before, regions = laid_out_with(manifest), len(manifest.regions)
    if manifest.papers < FEWEST_FOR_A_MAP:
        return "none: too few papers"
    laid_out = (
        "UMAP"
        if before >= DEFAULT_SETTINGS.smallest_umap
        else f"two principal components: under {DEFAULT_SETTINGS.smallest_umap} papers, UMAP would draw noise"
    )
    named = "region named by what sets it apart" if regions == 1 else "regions named by what sets them apart"
    return f"{laid_out}, {regions} {named}" if regions else f"{laid_out}, no regions: nowhere do enough papers gather"


def no_map(manifest: Manifest) -> str:
    """Why there is no map to speak of, in a sentence or two; empty where there is one."""
    if manifest.papers >= FEWEST_FOR_A_MAP:
        return ""
    what = "one paper" if manifest.papers == 1 else f"{manifest.papers} papers"
    return (
        f"This corpus has {what}, so there is no map to speak of: a map shows which papers lie closer together than "
        f"others, and that takes {FEWEST_FOR_A_MAP} at the least. Add papers, and it is drawn."
    )


def _papers(count: int) -> str:
    return "one paper" if count == 1 else f"{count:,} papers"
