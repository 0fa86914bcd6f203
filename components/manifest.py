"""The manifest of an atlas: what it was made of and with, and what its files must be. Refuses what it cannot trust."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, get_type_hints

from corpus.errors import CociteAtlasError

FORMAT = 1
Record = TypeVar("Record")


class ManifestDamaged(CociteAtlasError):
    """A manifest that is not JSON, not of this format, or does not hold what it must."""


@dataclass(frozen=True, slots=True)
class FileSeal:
    """What a file was when it was written: its size in bytes and its SHA-256 (hex)."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EncoderRecord:
    """The encoder of an atlas. `source` finds it again: a catalogue name, or a folder's absolute path."""

    name: str
    source: str
    fingerprint: str
    normalised: bool


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """hnswlib's parameters, and what exact search said of them (see `components.index.Tuning`).

    ef_search 0: there is no graph, search is exact, and recall is 1.
    """

    m: int
    ef_construction: int
    ef_search: int
    ann_recall_at_10: float
    sample: int
    ann_recall_at_10_outside: float = 1.0


@dataclass(frozen=True, slots=True)
class Region:
    """A labelled gathering of papers on the map.

    id: its number in regions.npy, 0 for the largest. name: unlike every other region's. size: papers.
    x, y: map coordinates of a paper in a dense part of it. terms: what sets it apart, best first; the first ones make
    the name. colour: a place in the palette, other than that of the regions beside it.
    """

    id: int
    name: str
    size: int
    x: float
    y: float
    terms: tuple[str, ...] = ()
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about an atlas that is not one of its arrays.

    folder: where its files lie, beside the manifest: a new build has a new one, so that replacing is one rename.
    files: by name, what each must be.
    """

    format: int
    name: str
    folder: str
    created: str
    papers: int
    dimensions: int
    encoder: EncoderRecord
    index: IndexRecord
    projection: dict[str, Any]
    regions: tuple[Region, ...]
    source: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, FileSeal] = field(default_factory=dict)

    def to_json(self) -> str:
        """As JSON text, indented, keys in the order of the fields."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """A manifest from its JSON text. Raises ManifestDamaged, saying what is wrong, for anything else."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestDamaged("manifest.json is not JSON") from error
        if not isinstance(raw, dict):
            raise ManifestDamaged("manifest.json holds no object")
        if raw.get("format") != FORMAT:
            raise ManifestDamaged(f"manifest.json is of format {raw.get('format')!r}; this version reads {FORMAT}")
        try:
            raw["encoder"] = _typed(EncoderRecord, raw["encoder"])
            raw["index"] = _typed(IndexRecord, raw["index"])
            raw["regions"] = tuple(
                _typed(Region, {**region, "terms": tuple(region["terms"])}) for region in raw["regions"]
            )
            raw["files"] = {str(name): _typed(FileSeal, seal) for name, seal in raw["files"].items()}
            manifest = _typed(cls, raw)
        except (KeyError, TypeError, AttributeError) as error:
            raise ManifestDamaged(f"manifest.json does not hold what it must: {error}") from error
        if manifest.papers < 0 or manifest.dimensions < 1:
            raise ManifestDamaged(
                f"manifest.json speaks of {manifest.papers} papers in {manifest.dimensions} dimensions"
            )
        index = manifest.index
        recalls = (index.ann_recall_at_10, index.ann_recall_at_10_outside)
        if not 0 <= index.ef_search < 2**31 or not all(0 <= recall <= 1 for recall in recalls):
            raise ManifestDamaged(
                f"manifest.json speaks of an index with ef_search {index.ef_search} and a recall of {recalls}"
            )
        return manifest


_PLAIN: dict[type, tuple[type, ...]] = {int: (int,), str: (str,), bool: (bool,), float: (int, float)}


def _typed(kind: type[Record], values: dict[str, Any]) -> Record:
    """`kind(**values)`, every plain field checked: JSON may hold a string where a number must be."""
    for name, hint in get_type_hints(kind).items():
        value = values[name]
        wanted = _PLAIN.get(hint)
        if wanted and (not isinstance(value, wanted) or (hint in (int, float) and isinstance(value, bool))):
            raise TypeError(f"{name} is {value!r}, not {hint.__name__}")
        if getattr(hint, "__origin__", None) is dict and not isinstance(value, dict):
            raise TypeError(f"{name} is no object")
    return kind(**values)
