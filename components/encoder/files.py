"""The files of a checkpoint, in a folder or a zip. A zip is checked before anything in it is read."""

import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from pydantic import AliasChoices, AliasPath, BaseModel, Field, TypeAdapter, ValidationError

from components.encoder.base import EncoderUnavailable, first_line
from corpus.errors import validation_reason
from corpus.io.streams import ZIP_ERRORS, zip_member_problem

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in order of preference; one is downloaded
FULL_WEIGHTS = "model_cur_best.pt"  # the state dict of a -full release
RUN_FILE = "run_info.json"  # of a -full release: names the base model, whose tokenizer and configuration it uses
MIX_FILE = "scalar_mix.safetensors"  # a scalar mix beside weights in the hub's form
FORM_FILE = "cocite_atlas.json"  # written by our training: no other format can state a separator and a scalar mix
MODULES, POOLING_FILE, SENTENCE_BERT = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
OTHER_VOCABULARIES = ("vocab.json", "merges.txt", "added_tokens.json", "sentencepiece.bpe.model", "spiece.model")
# A folder with both kinds of weights is a -full release into which its whole base model was copied.
ALL_WEIGHTS = (FULL_WEIGHTS, *WEIGHTS)
ALL = (
    *(*ALL_WEIGHTS, MIX_FILE, CONFIG, *TOKENIZER, *OTHER_VOCABULARIES, RUN_FILE),
    *(FORM_FILE, MODULES, POOLING_FILE, SENTENCE_BERT),
)

MAX_ARCHIVE_BYTES = 4 * 1024**3  # unpacked; a BERT-large in float32 is 1.3 GB
MAX_SMALL_BYTES = 64 * 1024**2  # tokenizers of many languages take 20 MB
_MAX_MEMBERS = 10_000
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on disk, or a member of a zip on disk. size: bytes, unpacked."""

    path: Path
    member: str
    size: int

    @property
    def name(self) -> str:
        """File name without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @property
    def label(self) -> str:
        """Name for error messages."""
        return f"{self.path.name}: {self.member}" if self.member else f"{self.path.parent.name}/{self.path.name}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open for reading, forward only in a zip. Raises EncoderUnavailable, also while the body reads."""
        try:
            if not self.member:
                with self.path.open("rb") as file:
                    yield file
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                    yield file
        except PermissionError as error:
            raise EncoderUnavailable(f"{self.label} cannot be opened. Check its permissions.") from error
        # A damaged member raises while it is read: a wrong checksum, a broken stream, an early end.
        except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError, *ZIP_ERRORS) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise EncoderUnavailable(f"{self.label} cannot be read ({reason}). Fetch it again.") from error

    def read(self, *, max_bytes: int = MAX_SMALL_BYTES) -> bytes:
        """All bytes. Raises EncoderUnavailable for more than `max_bytes`, whatever size the zip declares."""
        with self.open() as file:
            content = file.read(min(max_bytes, self.size) + 1)
        if len(content) > max_bytes or (self.member and len(content) != self.size):
            raise EncoderUnavailable(f"{self.label} is too large: more than {max_bytes:,} bytes.")
        return content

    def stream(self) -> IO[bytes]:
        """A seekable stream; a member of a zip is unpacked into memory."""
        if self.member:
            return io.BytesIO(self.read(max_bytes=MAX_ARCHIVE_BYTES))
        try:
            return self.path.open("rb")
        except OSError as error:
            raise EncoderUnavailable(f"{self.label} cannot be opened ({error.strerror}).") from error

    def json(self, kind: type[Value], *, max_bytes: int = MAX_SMALL_BYTES) -> Value:
        """The file's JSON, validated as a pydantic model or another type. Raises EncoderUnavailable."""
        try:
            return TypeAdapter(kind).validate_json(self.read(max_bytes=max_bytes))
        except ValidationError as error:
            raise EncoderUnavailable(f"{self.label} is invalid ({validation_reason(error)}).") from error

    def sha256(self) -> str:
        """SHA-256 (hex) of the unpacked bytes."""
        digest = hashlib.sha256()
        with self.open() as file:
            while piece := file.read(2**20):
                digest.update(piece)
        return digest.hexdigest()


StoredFiles = Mapping[str, StoredFile]


def in_folder(folder: Path, names: tuple[str, ...] = ALL) -> dict[str, StoredFile]:
    """The files of a folder that are in `names`, by relative name."""
    files = {}
    for name in names:
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            files[name] = StoredFile(path=folder / name, member="", size=status.st_size)
    return files


def in_zip(path: Path) -> dict[str, StoredFile]:
    """The files of the model in a zip: those in the outermost folder that holds weights of a -full release or a config.

    Raises EncoderUnavailable for an invalid zip, and for one with a member that no model has.
    """
    sizes = _checked_members(path)
    roots = {
        member.removesuffix(mark)
        for mark in (FULL_WEIGHTS, CONFIG)
        for member in sizes
        if (member == mark or member.endswith(f"/{mark}")) and not member.startswith("__MACOSX/")
    }
    if not roots:
        return {}
    depth = min(root.count("/") for root in roots)
    outermost = [root for root in roots if root.count("/") == depth]
    if len(outermost) > 1:
        raise EncoderUnavailable(f"{path.name} holds several models ({len(outermost)} folders). Give each its own zip.")
    root = outermost[0]
    return {
        name: StoredFile(path=path, member=root + name, size=sizes[root + name]) for name in ALL if root + name in sizes
    }


def _checked_members(path: Path) -> dict[str, int]:
    """The names and unpacked sizes of a zip's files."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, *ZIP_ERRORS) as error:
        raise EncoderUnavailable(f"{path.name} is not a readable zip ({first_line(error)}). Fetch it again.") from error
    if len(members) > _MAX_MEMBERS:
        raise EncoderUnavailable(f"{path.name} holds {len(members):,} files; a model has a few.")
    sizes: dict[str, int] = {}
    for info in members:
        if reason := zip_member_problem(info, sizes, max_bytes=MAX_ARCHIVE_BYTES):
            raise EncoderUnavailable(f"{path.name} is refused: {info.orig_filename!r:.100} in it {reason}.")
        if not info.is_dir():
            sizes[info.filename] = info.file_size
    if sum(sizes.values()) > MAX_ARCHIVE_BYTES:
        raise EncoderUnavailable(f"{path.name} is refused: unpacked it would take {sum(sizes.values()):,} bytes.")
    return sizes


# -full releases


def has_configuration(files: StoredFiles) -> bool:
    """Whether a -full release includes its configuration and tokenizer, so that it needs no base model."""
    return CONFIG in files and any(name in files for name in TOKENIZER[:2])


class _RunInfo(BaseModel):
    base: str = Field(validation_alias=AliasChoices(AliasPath("all_hparams", "base-pt-layer"), "base-pt-layer"))


def base_model(name: str, files: StoredFiles, *, expected: str = "") -> str:
    """The hub id of the model that a -full release takes its configuration and tokenizer from.

    expected: the only id that is accepted; "": any `owner/name`. Raises EncoderUnavailable.
    """
    if RUN_FILE not in files:
        raise EncoderUnavailable(
            f"{name}: there is no {RUN_FILE} beside {FULL_WEIGHTS} to say which model its tokenizer is from. Put that "
            "model's config.json and vocab.txt there."
        )
    base = files[RUN_FILE].json(_RunInfo).base
    if not is_repository(base):
        raise EncoderUnavailable(
            f"{name}: {RUN_FILE} names {base!r:.80} as its base-pt-layer, which is no model of the hub."
        )
    if expected and base != expected:
        raise EncoderUnavailable(
            f"{name}: {RUN_FILE} names {base} as its base model; the known release has {expected}. Fetch it again."
        )
    return base


def is_repository(hub_id: str) -> bool:
    """Whether a text is `owner/name`, and cannot be a path or an address."""
    return bool(_REPOSITORY.fullmatch(hub_id)) and ".." not in hub_id and "--" not in hub_id


def with_base(files: StoredFiles, folder: Path) -> StoredFiles:
    """A -full release's files with the configuration and tokenizer of its base model's folder."""
    configuration = (CONFIG, *TOKENIZER)
    kept = {name: file for name, file in files.items() if name not in configuration}
    return {**kept, **in_folder(folder, configuration)}
