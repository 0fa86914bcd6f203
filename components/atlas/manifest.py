"""The manifest of an atlas: what it was made of and with, and what its files must be. Refuses what it cannot trust."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, get_type_hints

from corpus.errors import CociteAtlasError

FORMAT = 1
PRECISIONS = ("float32", "bfloat16")
MAX_TITLE_CHARS = 200  # characters
_MOST_COUNTED = 2**53  # papers added or removed; larger numbers are none to reckon with
PRECOMPUTED = "own-vectors"  # source of an atlas whose vectors no encoder here can add to
COLOURS = 8  # places in a palette of regions; components/palette.py has as many
Record = TypeVar("Record")


class ManifestDamaged(CociteAtlasError):
    """A manifest that is not JSON, not of this format, or does not hold what it must."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file was when it was written: its size in bytes and its SHA-256 (hex)."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EncoderRecord:
    """The encoder of an atlas. `source` finds it again: a catalogue name, or a folder's absolute path; or PRECOMPUTED.

    precision: one of PRECISIONS, in which its weights were used. Manifests from before there was a choice lack it.
    """

    name: str
    source: str
    fingerprint: str
    normalised: bool
    precision: str = "float32"

    @property
    def takes_text(self) -> bool:
        """Whether a text can be encoded by it; where not, the vectors are all that there is of it."""
        return self.source != PRECOMPUTED

    @property
    def label(self) -> str:
        """What it is called, and its precision where that is not the usual one."""
        return self.display_name if self.precision == "float32" else f"{self.display_name} ({self.precision})"

    @property
    def display_name(self) -> str:
        """Its name for people."""
        return "the papers' own vectors" if self.name == PRECOMPUTED else self.name


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """hnswlib's parameters, and what exact search said of them (see `components.index.hnsw.Tuning`).

    ef_search 0: there is no graph, search is exact, and recall is 1.
    """

    m: int
    ef_construction: int
    ef_search: int
    ann_recall_at_10: float
    sample: int
    ann_recall_at_10_outside: float = 1.0


@dataclass(frozen=True, slots=True)
class Growth:
    """How an atlas has changed since its map was last laid out: papers placed among the others, and papers removed.

    far: of those added, papers that were near to none. Manifests from before it was counted lack it.
    """

    added: int = 0
    removed: int = 0
    far: int = 0


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
    corpus: what it is an atlas of; another encoder makes another atlas of the same one. Manifests from before there
    were several lack it, and are of the corpus of their own name.
    title: what people call the corpus; empty where nobody gave it another name than that.
    growth: what was added and removed since the map was laid out.
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
    files: dict[str, Checksum] = field(default_factory=dict)
    corpus: str = ""
    title: str = ""
    growth: Growth = Growth()

    @property
    def display_title(self) -> str:
        """The corpus's title; its name where it has none."""
        return self.title or self.corpus

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
            raise ManifestDamaged(f"manifest.json is of format {raw.get('format')!r:.80}; this version reads {FORMAT}")
        try:
            raw["encoder"] = _typed(EncoderRecord, {"precision": "float32", **raw["encoder"]})
            raw["index"] = _typed(IndexRecord, raw["index"])
            raw["regions"] = tuple(_region(number, region) for number, region in enumerate(raw["regions"]))
            raw["files"] = {str(name): _typed(Checksum, seal) for name, seal in raw["files"].items()}
            raw["growth"] = _typed(Growth, {"added": 0, "removed": 0, "far": 0, **raw.get("growth", {})})
            manifest = _typed(cls, {"corpus": raw["name"], "title": "", **raw})
            _check_source(manifest.source)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ManifestDamaged(f"manifest.json does not hold what it must: {error!s:.200}") from error
        if manifest.papers < 0 or manifest.dimensions < 1:
            raise ManifestDamaged(
                f"manifest.json speaks of {manifest.papers!s:.80} papers in {manifest.dimensions!s:.80} dimensions"
            )
        growth = manifest.growth
        counts = (growth.added, growth.removed, growth.far)
        if not all(0 <= count < _MOST_COUNTED for count in counts) or len(manifest.title) > MAX_TITLE_CHARS:
            raise ManifestDamaged(
                "manifest.json speaks of fewer than no papers, or of more than there are, or has a title that fills a "
                "page"
            )
        if manifest.encoder.precision not in PRECISIONS:
            raise ManifestDamaged(f"manifest.json speaks of a precision of {manifest.encoder.precision!r:.80}")
        index = manifest.index
        recalls = (index.ann_recall_at_10, index.ann_recall_at_10_outside)
        if not 0 <= index.ef_search < 2**31 or not all(0 <= recall <= 1 for recall in recalls):
            raise ManifestDamaged(
                f"manifest.json speaks of an index with ef_search {index.ef_search!s:.80} "
                f"and a recall of {recalls!s:.80}"
            )
        return manifest


_PLAIN: dict[type, tuple[type, ...]] = {int: (int,), str: (str,), bool: (bool,), float: (int, float)}


def _typed(kind: type[Record], values: dict[str, Any]) -> Record:
    """`kind(**values)`, every plain field checked: JSON may hold a string where a number must be."""
    for name, hint in get_type_hints(kind).items():
        value = values[name]
        wanted = _PLAIN.get(hint)
        if wanted and (not isinstance(value, wanted) or (hint in (int, float) and isinstance(value, bool))):
            raise TypeError(f"{name} is {value!r:.80}, not {hint.__name__}")
        if getattr(hint, "__origin__", None) is dict and not isinstance(value, dict):
            raise TypeError(f"{name} is no object")
    return kind(**values)


def _region(number: int, values: dict[str, Any]) -> Region:
    """The region in place `number`: regions.npy knows it by that, and the page draws what it holds."""
    terms = values["terms"]
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        raise TypeError(f"terms of region {number} is {terms!r:.80}, not a list of str")
    region = _typed(Region, {**values, "terms": tuple(terms)})
    # Written so that what is no number (NaN) fails, too; no map is a billion wide.
    if not (abs(region.x) < 1e9 and abs(region.y) < 1e9):
        raise ValueError(f"region {number} lies at {(region.x, region.y)!s:.80}")
    if region.id != number or region.size < 0 or not 0 <= region.colour < COLOURS:
        raise ValueError(
            f"region {number} has id {region.id!s:.80}, size {region.size!s:.80} and colour {region.colour!s:.80}"
        )
    return region


_COUNTS = ("read", "kept", "deleted", "empty", "non_english", "duplicate", "damaged", "without_abstract")


def _check_source(source: dict[str, Any]) -> None:
    """Raise unless the accounts of the reading, where there are any, hold numbers where the page shows numbers.

    additions: accounts of the same form, one for each time that papers were added.
    """
    additions = _objects(source, "additions")
    for addition in additions:
        _check_counts(addition, ("added", "already_there"), place="source.additions")
    for account in (source, *additions):
        for report in _objects(account, "reports"):
            _check_counts(report, _COUNTS, place="source.reports")


def _check_counts(account: dict[str, Any], names: Sequence[str], *, place: str) -> None:
    for name in names:
        count = account.get(name, 0)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise TypeError(f"{name} in {place} is {count!r:.80}, not a count")


def _objects(source: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = source.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TypeError(f"source.{name} is {found!r:.80}, not a list of objects")
    return found
