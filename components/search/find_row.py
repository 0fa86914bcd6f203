"""Find a paper of an atlas by its id, PMID or DOI."""

import pyarrow.compute as pc

from components.atlas.store import Atlas
from corpus.identifiers import normalised_doi, parse_identifier

_MAX_CHARS = 300  # no id is longer


def find_row(atlas: Atlas, text: str) -> int | None:
    """The row of the paper that `text` as a whole is an id of, in any of its written forms; None without one."""
    plain = text.strip()
    if not plain or len(plain) > _MAX_CHARS or "\n" in plain:
        return None
    if (known := atlas.row_of(plain)) is not None:
        return known
    identifier = parse_identifier(plain)
    if identifier is None:
        return None
    papers, value = atlas.papers, identifier.value
    if identifier.kind == "pmid" and (row := pc.index(papers["pmid"], value).as_py()) >= 0:
        return int(row)
    if identifier.kind == "doi":
        # Files write one DOI in many ways: those of papers that contain its letters are normalised and compared.
        likely = pc.match_substring(papers["doi"], value, ignore_case=True)
        for candidate in pc.indices_nonzero(likely).to_pylist():
            if normalised_doi(papers["doi"][candidate].as_py()) == value:
                return int(candidate)
    return atlas.row_of(value)
