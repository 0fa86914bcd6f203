"""XML from strangers: no entities, no DTD, no network."""

from typing import Any
from xml.parsers import expat

from corpus.errors import DamagedFileError, UnsafeFileError
from corpus.text.plain import clean

# Of every lxml parser.
PARSER_OPTIONS: dict[str, Any] = {
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
# expat and libxml2 read these alike; in other encodings, one could see markup where the other sees text.
_ENCODINGS = frozenset({"utf-8", "us-ascii", "iso-8859-1"})


class _RootFound(Exception):
    """Stops expat where the root element begins."""


def root_name(head: bytes) -> str:
    """The name of the root element, from a file's first bytes.

    Raises UnsafeFileError if the document type declares anything that a parser could expand, and DamagedFileError if
    no root element begins within `head`.
    """
    parser = expat.ParserCreate()

    def refuse_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise UnsafeFileError(f"it declares the encoding {clean(encoding)!r}", advice="Convert it to UTF-8.")

    def refuse_entity(name: str, *_details: object) -> None:
        raise UnsafeFileError(
            f"it declares the entity {clean(name)!r}, which no MEDLINE file needs and an attack does",
            advice="Take a fresh copy from PubMed.",
        )

    def refuse_default(element: str, attribute: str, *_details: object) -> None:
        raise UnsafeFileError(
            f"it declares the attribute {clean(attribute)!r} of {clean(element)!r}, which no MEDLINE file "
            "needs and an attack does",
            advice="Take a fresh copy from PubMed.",
        )

    def stop(name: str, _attributes: object) -> None:
        raise _RootFound(name)

    parser.XmlDeclHandler = refuse_encoding
    parser.EntityDeclHandler = refuse_entity
    parser.AttlistDeclHandler = refuse_default
    parser.StartElementHandler = stop
    try:
        parser.Parse(head, False)
    except _RootFound as found:
        return str(found)
    except expat.ExpatError as error:
        raise DamagedFileError(f"its XML is malformed ({error})", advice="Download it again.") from error
    raise DamagedFileError(f"no XML element begins in its first {len(head):,} bytes", advice="Download it again.")
