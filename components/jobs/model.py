"""Jobs: what is requested, what a worker reports, and where a job is."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from components.atlas.manifest import MAX_TITLE_CHARS
from components.atlas.paths import FOLDER, atlas_folder, home

# encode: an atlas's papers with another encoder; files, query: a new corpus; add, remove, rebuild: a change of one;
# import: an archive; evaluate: a judged set; curve: the benchmark of a neighbour index.
JobKind = Literal["encode", "files", "query", "add", "remove", "rebuild", "import", "evaluate", "curve"]
JobState = Literal["running", "stopping", "done", "stopped", "failed"]
Precision = Literal["float32", "bfloat16"]  # as in components.encoder, which is slow to import
BASELINES = ("tfidf", "bm25")

MAX_FILES = 100
MAX_QUERY_CHARS = 5_000
MAX_MESSAGE_CHARS = 2_000
SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,99}$"

Text = Annotated[str, Field(max_length=1_000)]  # the path of an encoder is the longest

_WORDS: dict[JobKind, str] = {
    "encode": "building an atlas with {encoder}",
    "files": "building {title}",
    "query": "building {title}",
    "add": "adding papers to {title}",
    "remove": "removing papers from {title}",
    "rebuild": "laying out the map of {title} again",
    "import": "importing {title}",
    "evaluate": "evaluating {encoder} on {title}",
    "curve": "measuring the index of {title}",
}


def _iso_datetime(text: str) -> str:
    TypeAdapter(AwareDatetime).validate_python(text)
    return text


class UploadedFile(BaseModel):
    """A file of a request. name: its safe name on disk. original_name: what the user calls it.

    columns: field of a paper → header of the file, where the user chose them; empty: found by name.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Annotated[str, Field(pattern=SAFE_NAME)]
    original_name: Text
    columns: Annotated[dict[Text, Text], Field(max_length=100)] = {}


class JobRequest(BaseModel):
    """What a job does. Requests with files, queries or changes are stored under their id until they are done.

    name, title: of the corpus, or of the judged set. base: the atlas that is encoded again or measured. encoder: a name
    of the catalogue, or the path of a folder or zip; for "evaluate" what ranks, a baseline too. vectors: the column of
    a Parquet file with precomputed vectors. source, query, limit: where papers are fetched, and how many at most.
    split, facet: of the judged set. created: ISO 8601, UTC.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    id: str = ""
    kind: JobKind
    name: Text = ""
    title: Annotated[str, Field(max_length=MAX_TITLE_CHARS)] = ""
    base: Text = ""
    encoder: Text = ""
    precision: Precision = "float32"
    files: Annotated[tuple[UploadedFile, ...], Field(max_length=MAX_FILES)] = ()
    keep_without_abstract: bool = False
    vectors: Text = ""
    source: Text = ""
    query: Annotated[str, Field(max_length=MAX_QUERY_CHARS)] = ""
    limit: Annotated[int, Field(ge=0, lt=2**31)] = 0
    split: Text = ""
    facet: Text = ""
    encoder_title: Text = ""
    created: Annotated[str, AfterValidator(_iso_datetime)] = Field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds")
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.id and not FOLDER.fullmatch(self.id):
            raise ValueError("the id is not 16 hexadecimal digits")
        if self.id:
            atlas_folder(self.name)  # raises NoSuchAtlas for a name that no atlas can have
        return self

    @property
    def words(self) -> str:
        """What the job does, as in "building an atlas with specter"."""
        return _WORDS[self.kind].format(title=self.title or self.name, encoder=self.encoder_title or self.encoder)

    @property
    def folder(self) -> Path:
        """The folder of a stored request."""
        return home() / ".staged" / self.id

    @property
    def paths(self) -> list[Path]:
        """Its files on disk."""
        return [self.folder / "files" / file.name for file in self.files]

    @property
    def work(self) -> Path:
        """Where the job keeps what it has done, to resume."""
        return self.folder / "work"


def encode_request(base: str, *, encoder: str, precision: Precision = "float32", title: str = "") -> JobRequest:
    """Encode the papers of `base` with another encoder; a stopped job is resumed. title: of the corpus."""
    return JobRequest(kind="encode", title=title or base, base=base, encoder=encoder, precision=precision)


def evaluate_request(
    name: str, *, encoder: str, split: str, facet: str = "", precision: Precision = "float32", encoder_title: str = ""
) -> JobRequest:
    """Rank and score a judged set. encoder: one of BASELINES, or an encoder. encoder_title: for people."""
    return JobRequest(
        kind="evaluate",
        name=name,
        title=f"{name} ({facet})" if facet else name,
        encoder=encoder,
        encoder_title=encoder_title,
        precision=precision,
        split=split,
        facet=facet,
    )


def curve_request(atlas: str, *, title: str = "") -> JobRequest:
    """Measure recall and time of an atlas's neighbour index. title: of its corpus."""
    return JobRequest(kind="curve", title=title or atlas, base=atlas)


class Event(BaseModel):
    """What a worker reports, one JSON line each: progress, the error that ended it, or the result.

    built: the atlas or evaluation that was made. result: a sentence on it.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    built: str = ""
    result: str = ""


class JobStatus(BaseModel):
    """Where a job is. done, total: in the stage's own unit; total 0 or 1: the stage does not count.

    seconds: of the stage so far. seconds_left, rate: the rest and units per second, where the stage counts. message:
    why the job failed.
    """

    model_config = ConfigDict(frozen=True)

    request: JobRequest
    state: JobState
    stage: str
    done: int
    total: int
    seconds: float
    seconds_left: float | None
    rate: float | None
    built: str
    result: str
    message: str

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.state in ("done", "stopped", "failed")
