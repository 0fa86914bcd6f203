"""The manifest of an atlas: what it was made from and with, and the checksums of its files. Refuses invalid JSON."""

import dataclasses
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from components.atlas.paths import FOLDER, NAME
from components.encoder.base import Precision
from components.mapping.palette import REGION_COLOURS
from components.mapping.regions import Region
from corpus.errors import CociteAtlasError, validation_reason

FORMAT: Literal[1] = 1
MAX_TITLE_CHARS = 200
PRECOMPUTED = "own-vectors"  # the encoder's source where the vectors came with the papers

_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_MAX_COORDINATE = 1e9  # maps span [-1, 1]; this only keeps drawings finite

AtlasName = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Share = Annotated[float, Field(ge=0, le=1)]


class ManifestDamaged(CociteAtlasError):
    """A manifest that is not JSON, not of this format, or has invalid values."""


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Checksum:
    """A file's size in bytes and its SHA-256 (hex)."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, config=_CONFIG)
class EncoderRecord:
    """The encoder of an atlas. `source` finds it again: a catalogue name, a folder's absolute path, or PRECOMPUTED.

    precision: of the weights when the vectors were made. Older manifests lack it.
    """

    name: str
    source: str
    fingerprint: str
    normalised: bool
    precision: Precision = "float32"

    @property
    def takes_text(self) -> bool:
        """Whether a text can be encoded by it."""
        return self.source != PRECOMPUTED

    @property
    def label(self) -> str:
        """The display name, with the precision unless it is float32."""
        return self.display_name if self.precision == "float32" else f"{self.display_name} ({self.precision})"

    @property
    def display_name(self) -> str:
        """The name that people read."""
        return "the papers' own vectors" if self.name == PRECOMPUTED else self.name


@dataclass(frozen=True, slots=True, config=_CONFIG)
class IndexRecord:
    """hnswlib's parameters and measured recall (see `components.index.hnsw.Tuning`).

    ef_search 0: there is no graph, search is exact, and recall is 1.
    """

    m: int
    ef_construction: int
    ef_search: Annotated[int, Field(ge=0, lt=2**31)]
    ann_recall_at_10: Share
    sample: int
    ann_recall_at_10_outside: Share = 1.0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Growth:
    """Papers added and removed since the map was laid out. far: added papers that are near no other (older: absent)."""

    added: Count = 0
    removed: Count = 0
    far: Count = 0


def _check_regions(regions: tuple[Region, ...]) -> tuple[Region, ...]:
    for number, region in enumerate(regions):
        # Comparisons that NaN fails, too.
        if not (abs(region.x) < _MAX_COORDINATE and abs(region.y) < _MAX_COORDINATE):
            raise ValueError(f"region {number} lies at {(region.x, region.y)!s:.80}")
        if region.id != number or region.size < 0 or not 0 <= region.colour < REGION_COLOURS:
            raise ValueError(
                f"region {number} has id {region.id!s:.80}, size {region.size!s:.80} and colour {region.colour!s:.80}"
            )
    return regions


class _Report(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]
    read: Count
    kept: Count
    deleted: Count
    empty: Count
    non_english: Count
    duplicate: Count
    damaged: Count
    without_abstract: Count


class _Addition(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]
    added: Count
    already_there: Count
    reports: list[_Report]


class _Source(_Addition, total=False):
    additions: list[_Addition]


_SOURCE = TypeAdapter(_Source)


def _check_source(source: dict[str, Any]) -> dict[str, Any]:
    """The page shows the counts of reading reports: they must be counts."""
    _SOURCE.validate_python(source)
    return source


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Manifest:
    """Everything about an atlas that is not one of its arrays.

    folder: where its files lie, beside the manifest: each build has a new one, so that replacing is one rename.
    corpus: what it is an atlas of; every encoder makes another atlas of the same corpus. Older manifests lack it and
    are of the corpus of their own name. title: the corpus's, for people; may be empty.
    source: reports of reading the files, and of additions. projection: settings of the map. files: checksums by name.
    """

    format: Literal[1]
    name: AtlasName
    folder: Annotated[str, Field(pattern=rf"^{FOLDER.pattern}$")]
    created: str
    papers: Annotated[int, Field(ge=0, lt=2**53)]
    dimensions: Annotated[int, Field(ge=1, lt=2**31)]
    encoder: EncoderRecord
    index: IndexRecord
    projection: dict[str, int | float]
    regions: Annotated[tuple[Region, ...], AfterValidator(_check_regions)]
    source: Annotated[dict[str, Any], AfterValidator(_check_source)]
    versions: dict[str, str]
    files: dict[str, Checksum] = Field(default_factory=dict)
    corpus: AtlasName = ""
    title: Annotated[str, Field(max_length=MAX_TITLE_CHARS)] = ""
    growth: Growth = Growth()

    def __post_init__(self) -> None:
        object.__setattr__(self, "corpus", self.corpus or self.name)

    @property
    def display_title(self) -> str:
        """The corpus's title; its name where it has none."""
        return self.title or self.corpus

    def to_json(self) -> str:
        """As JSON text, indented, keys in the order of the fields."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """A manifest from its JSON text. Raises ManifestDamaged, naming the first invalid value."""
        try:
            return _MANIFEST.validate_json(text, strict=True)
        except ValidationError as error:
            raise ManifestDamaged(f"manifest.json is invalid: {validation_reason(error)}") from error


_MANIFEST = TypeAdapter(Manifest)
