"""Papers by what they are called: an id, a PMID or a DOI typed where a text could stand."""

import pyarrow as pa
import pyarrow.compute as pc

from components.atlas.store import Atlas
from corpus.identifiers import Identifier, normalised_doi, parse_identifier

_LONGEST = 300  # characters; no id is longer


def row_called(atlas: Atlas, text: str) -> int | None:
    """The row of the paper whose id a whole text is, or whose id, PMID or DOI it names; None where there is none."""
    plain = text.strip()
    if not plain or len(plain) > _LONGEST or "\n" in plain:
        return None
    if (row := atlas.row_of(plain)) is not None:
        return row
    identifier = parse_identifier(plain)
    return None if identifier is None else _row_of(atlas, identifier)


def _row_of(atlas: Atlas, identifier: Identifier) -> int | None:
    papers, value = atlas.papers, identifier.value
    if identifier.kind == "pmid" and (row := _first(pc.equal(papers["pmid"], value))) is not None:
        return row
    if identifier.kind == "doi":
        # Files write one DOI in many ways; the few papers that hold its letters are looked at one by one.
        likely = pc.match_substring(papers["doi"], value, ignore_case=True)
        for row in pc.indices_nonzero(likely).to_pylist():
            if normalised_doi(papers["doi"][row].as_py()) == value:
                return int(row)
    return atlas.row_of(value)


def _first(found: pa.ChunkedArray) -> int | None:
    row = pc.index(found, True).as_py()
    return None if row < 0 else int(row)
