"""RELISH from its originals: the judgements of RELISH_v1.json, and texts of the papers."""

import random
from pathlib import Path

from corpus.judged_sets.checking import MOST_QUERIES, RawPool, Tally, judged_set
from corpus.judged_sets.judged import JudgedSet, SetError
from corpus.judged_sets.reading import MOST_JUDGEMENTS, identifier, json_members
from corpus.judged_sets.released import READING_POOLS, relevant_grade
from corpus.judged_sets.texts import complete, read_texts
from corpus.progress import Progress, no_progress

_GRADES = {"relevant": 2, "partial": 1, "irrelevant": 0}
_SPLIT_SEED = 582
_RULES = (
    "Constructed from RELISH_v1.json and texts: relevant is grade 2, partial 1, irrelevant 0, and grade 2 is relevant. "
    "Papers without title or abstract are left out. Of a query that is judged more than once, the last judgements "
    "count. Splits: the queries that have texts, in the file's order, one as often as it is judged, are shuffled by "
    f"Python's random.Random({_SPLIT_SEED}); the first half is dev, the rest test. Whether the released split was "
    "drawn from the same queries in the same order is not known, and where texts are missing it cannot have been."
)


def build_relish(annotations: Path, texts: Path, *, progress: Progress = no_progress) -> JudgedSet:
    """RELISH from RELISH_v1.json and a file of texts (see `read_texts`; PMID, title, abstract), either gzip or not.

    Raises SetError, and what `progress` does.
    """
    tally = Tally()
    papers = complete(read_texts(texts, tally=tally, progress=progress))
    pools: list[RawPool] = []
    total = 0
    for number, record in enumerate(json_members(annotations, stage=READING_POOLS, progress=progress), start=1):
        place = f"{annotations.name}, record {number}"
        query, response = (
            (record.get(key) for key in ("pmid", "response")) if isinstance(record, dict) else (None, None)
        )
        if not identifier(query) or not isinstance(response, dict):
            raise SetError(f"{place}: no pmid, or no response with the judgements. Check that it is RELISH_v1.json.")
        candidates: list[str] = []
        grades: list[int] = []
        for kind, found in response.items():
            ids = list(map(identifier, found)) if isinstance(found, list) else [""]
            if kind not in _GRADES or not all(ids):
                known = ", ".join(_GRADES)
                raise SetError(f"{place}: {kind[:40]!r} should be one of {known}, with a list of PMIDs. Correct it.")
            candidates += ids
            grades += [_GRADES[kind]] * len(ids)
        total += len(candidates)
        if total > MOST_JUDGEMENTS or number > MOST_QUERIES:
            raise SetError(f"{place}: these are more judgements than any set has. Check that it is RELISH_v1.json.")
        pools.append(RawPool(identifier(query), identifier(query), candidates, grades))
    queries = [pool.query for pool in pools if pool.paper in papers]
    random.Random(_SPLIT_SEED).shuffle(queries)  # noqa: S311
    half = len(queries) // 2
    return judged_set(
        name="relish",
        origin="constructed",
        papers=papers,
        pools=pools,
        splits={"dev": [queries[:half]], "test": [queries[half:]]},
        relevant_from=relevant_grade("relish"),
        rules=_RULES,
        more_handled=tally.handled(),
    )
