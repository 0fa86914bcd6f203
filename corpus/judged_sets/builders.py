"""Judged sets built from their originals: RELISH, TRECCOVID-RF, reviews' screening decisions, and any judgements."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from corpus.io.safe_xml import PARSER_OPTIONS
from corpus.judged_sets.files import (
    MAX_JUDGEMENTS,
    READING_POOLS,
    READING_TEXTS,
    SMALL_LIMITS,
    Members,
    complete,
    grade_in,
    identifier,
    is_json,
    json_items,
    json_lines,
    json_members,
    opened,
    qrels,
    read_texts,
    texts_of,
    whole_grades,
)
from corpus.judged_sets.model import MAX_QUERIES, JudgedSet, PoolPaper, RawPool, SetError, Tally, judged_set, pool_paper
from corpus.judged_sets.released import relevant_grade
from corpus.progress import Progress, no_progress
from corpus.text.plain import clean

_HALVES_SEED = 582  # of the dev and test halves


# RELISH

_GRADES = {"relevant": 2, "partial": 1, "irrelevant": 0}
_RELISH_RULES = (
    "Constructed from RELISH_v1.json and texts: relevant is grade 2, partial 1, irrelevant 0, and grade 2 is relevant. "
    "Papers without title or abstract are left out. Of a query that is judged more than once, the last judgements "
    "count. Splits: the queries that have texts, in the file's order, one as often as it is judged, are shuffled by "
    f"Python's random.Random({_HALVES_SEED}); the first half is dev, the rest test. Whether the released split was "
    "drawn from the same queries in the same order is not known, and where texts are missing it cannot have been."
)


def build_relish(annotations: Path, texts: Path, *, progress: Progress = no_progress) -> JudgedSet:
    """RELISH from RELISH_v1.json and a file of texts (PMID, title, abstract; see `read_texts`), gzip or not.

    Raises SetError, and what `progress` raises.
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
        for kind, pmids in response.items():
            ids = list(map(identifier, pmids)) if isinstance(pmids, list) else [""]
            if kind not in _GRADES or not all(ids):
                known = ", ".join(_GRADES)
                raise SetError(f"{place}: {kind[:40]!r} should be one of {known}, with a list of PMIDs. Correct it.")
            candidates += ids
            grades += [_GRADES[kind]] * len(ids)
        total += len(candidates)
        if total > MAX_JUDGEMENTS or number > MAX_QUERIES:
            raise SetError(f"{place}: this file has more judgements than any set. Check that it is RELISH_v1.json.")
        pools.append(RawPool(identifier(query), identifier(query), candidates, grades))
    queries = [pool.query for pool in pools if pool.paper in papers]
    random.Random(_HALVES_SEED).shuffle(queries)  # noqa: S311
    half = len(queries) // 2
    return judged_set(
        name="relish",
        origin="constructed",
        papers=papers,
        pools=pools,
        splits={"dev": [queries[:half]], "test": [queries[half:]]},
        relevant_from=relevant_grade("relish"),
        rules=_RELISH_RULES,
        more_handled=tally.handled(),
    )


# TRECCOVID-RF

_RELEVANT = 2  # of TREC-COVID's judgements; 1 is partially relevant
_QUERIES_PER_TOPIC = 50  # a topic
_QUERY_SEED = 472945
_TRECCOVID_RULES = (
    f"Constructed from TREC-COVID. Relevant to a topic are the papers judged {_RELEVANT} for it. The collection is "
    "the papers that are relevant to any topic and have a title and an abstract; of a paper with several records, the "
    "first that has both counts. Topics are taken from the one with the fewest such papers to the one with the most, "
    "equal ones in the order of the judgements. The papers of each, in that order, are shuffled by one Python "
    f"random.Random({_QUERY_SEED}); its queries are the first {_QUERIES_PER_TOPIC} at most that are relevant to no "
    "other topic, with text or without, and are not taken yet. A query's candidates are the rest of the collection: "
    "grade 1 for what is relevant to its topic, 0 for all else. Splits: the topics, sorted as text, are shuffled by "
    f"random.Random({_HALVES_SEED}); the queries of the first half are dev, the others test."
)


def build_treccovid(judgements: Path, topics: Path, texts: Path, *, progress: Progress = no_progress) -> JudgedSet:
    """TRECCOVID-RF from qrels (qrels-covid_d5_j0.5-5.txt), topics (topics-rnd5.xml) and texts, any of them gzip or not.

    texts: CORD-19's metadata.csv, or JSON Lines of cord_uid, title and abstract. Raises SetError, and what `progress`
    raises.
    """
    title_of = _topics(topics)
    relevant: dict[str, dict[str, None]] = {}  # topic → its relevant papers, in the order of the judgements
    for topic, document, judgement in qrels(judgements, stage=READING_POOLS, progress=progress):
        of_topic = relevant.setdefault(topic, {})
        if judgement == _RELEVANT:
            of_topic[document] = None
    if unknown := [topic for topic in relevant if topic not in title_of]:
        raise SetError(f"{topics.name}: no topic {unknown[0]!r:.40}, which {judgements.name} judges. Give its topics.")
    collection = dict.fromkeys(document for of_topic in relevant.values() for document in of_topic)
    tally = Tally()
    papers = complete(read_texts(texts, tally=tally, wanted=collection, progress=progress))
    tally.add("candidate_without_text", *(document for document in collection if document not in papers))
    queries = _topic_queries(relevant, papers)
    ids = sorted(relevant)
    random.Random(_HALVES_SEED).shuffle(ids)  # noqa: S311
    half = len(ids) // 2
    splits = {
        name: [[query for topic in part for query in queries[topic]]]
        for name, part in (("dev", ids[:half]), ("test", ids[half:]))
    }
    with_text = [document for document in collection if document in papers]
    return judged_set(
        name="treccovid",
        origin="constructed",
        papers=papers,
        pools=_topic_pools(queries, relevant, with_text, title_of),
        splits=splits,
        relevant_from=relevant_grade("treccovid"),
        rules=_TRECCOVID_RULES,
        more_handled=tally.handled(),
    )


def _topics(path: Path) -> dict[str, str]:
    """Each topic's query, by the topic's number."""
    with opened(path, limits=SMALL_LIMITS) as stream:
        content = stream.read()
    from lxml import etree

    try:
        root = etree.fromstring(content, etree.XMLParser(**PARSER_OPTIONS))
    except etree.XMLSyntaxError as error:
        raise SetError(f"{path.name}: it is not XML ({error.msg}). Download it again.") from error
    queries = {clean(topic.get("number") or ""): clean(topic.findtext("query") or "") for topic in root.iter("topic")}
    if not queries or "" in queries:
        raise SetError(f"{path.name}: it has no topics, or one without a number. Check that it is topics-rnd5.xml.")
    return queries


def _topic_queries(relevant: Mapping[str, Mapping[str, None]], papers: Mapping[str, PoolPaper]) -> dict[str, list[str]]:
    """The queries of each topic."""
    topics_of: dict[str, int] = {}
    for of_topic in relevant.values():
        for document in of_topic:
            topics_of[document] = topics_of.get(document, 0) + 1
    with_text = {
        topic: [document for document in of_topic if document in papers] for topic, of_topic in relevant.items()
    }
    draw = random.Random(_QUERY_SEED)  # noqa: S311
    queries: dict[str, list[str]] = {}
    for topic in sorted(with_text, key=lambda topic: len(with_text[topic])):
        draw.shuffle(with_text[topic])
        # A paper that is relevant to one topic only cannot have been taken for another.
        queries[topic] = [document for document in with_text[topic] if topics_of[document] == 1][:_QUERIES_PER_TOPIC]
    return queries


def _topic_pools(
    queries: Mapping[str, list[str]],
    relevant: Mapping[str, Mapping[str, None]],
    collection: list[str],
    title_of: Mapping[str, str],
) -> Iterator[RawPool]:
    for topic, of_topic in queries.items():
        grades = [int(document in relevant[topic]) for document in collection]
        for query in of_topic:
            own = collection.index(query)
            yield RawPool(
                query=query,
                paper=query,
                candidates=collection[:own] + collection[own + 1 :],
                grades=grades[:own] + grades[own + 1 :],
                group=f"{topic}: {title_of[topic]}",
            )


# Systematic reviews

_INCLUDED = 2
_SCREENING_RULES = (
    "Constructed from the records that systematic reviews screened, with their grades: 2 included, 1 passed the "
    "screen of abstracts, 0 left out. Each included paper is a query against all other records of its review; relevant "
    "is what was included, too. Records of a review with the same text count once, with their highest grade: a copy of "
    "the query would be found by anything. All queries are one split."
)


def build_screening(records: Path, *, progress: Progress = no_progress) -> JudgedSet:
    """Systematic reviews: each included paper is a query against all other records of its review.

    records: JSON Lines of topic, pid, title, abstract and rel (0, 1, 2), gzip or not.
    Raises SetError, and what `progress` raises.
    """
    tally = Tally()
    papers: dict[str, PoolPaper] = {}
    reviews: dict[str, dict[tuple[str, ...], tuple[str, int]]] = {}  # review → text → id and grade
    for number, record in json_lines(records, stage=READING_TEXTS, progress=progress):
        place = f"{records.name}, line {number}"
        topic, pid, grade = identifier(record.get("topic")), identifier(record.get("pid")), grade_in(record.get("rel"))
        if not topic or not pid or grade is None or grade > _INCLUDED:
            raise SetError(f"{place}: it needs a topic, a pid, and rel as 0, 1 or 2. Correct it.")
        try:
            paper = pool_paper(pid, texts_of(record, "title", place=place), texts_of(record, "abstract", place=place))
        except SetError as error:
            raise SetError(f"{place}: {error}") from error
        review = reviews.setdefault(topic, {})
        # Records without a text are not copies of each other.
        text = (paper.title, paper.abstract) if paper.title or paper.abstract else ("", "", str(number))
        if text in review:
            tally.add("repeated_paper", pid)
            review[text] = (review[text][0], max(grade, review[text][1]))
        else:
            # A paper may be in two reviews and is a query in each.
            id = pid if pid not in papers else f"{topic}-{pid}"
            while id in papers:
                id += "+"
            papers[id] = pool_paper(id, paper.title, paper.abstract)
            review[text] = (id, grade)
    return judged_set(
        name="screening",
        origin="constructed",
        papers=papers,
        pools=(
            RawPool(
                query=query,
                paper=query,
                candidates=[id for id, _ in review.values() if id != query],
                grades=[grade for id, grade in review.values() if id != query],
                group=topic,
            )
            for topic, review in reviews.items()
            for query, included in review.values()
            if included == _INCLUDED
        ),
        splits={},
        relevant_from=_INCLUDED,
        rules=_SCREENING_RULES,
        more_handled=tally.handled(),
    )


# Any judgements

_PLAIN_RULES = (
    "One's own judgements. A query is a paper of the texts, and grade 1 or more is relevant. All are one split."
)
_QRELS_RULES = " Of the rows of TREC's qrels, a judgement below 0 counts as 0."


def read_plain(judgements: Path, texts: Path, *, name: str, progress: Progress = no_progress) -> JudgedSet:
    """A set of the user's own. judgements: {query: {candidate: grade}} as JSON, or TREC's qrels. texts: see
    `read_texts`. Queries and candidates are ids of papers.

    Raises SetError, and what `progress` raises.
    """
    tally = Tally()
    papers = read_texts(texts, tally=tally, progress=progress)
    as_json = is_json(judgements)
    return judged_set(
        name=name,
        origin="own",
        papers=papers,
        pools=_of_json(judgements, progress) if as_json else _of_qrels(judgements, progress),
        splits={},
        relevant_from=1,
        rules=_PLAIN_RULES if as_json else _PLAIN_RULES + _QRELS_RULES,
        more_handled=tally.handled(),
    )


def _of_json(path: Path, progress: Progress) -> Iterator[RawPool]:
    for key, value in json_items(path, stage=READING_POOLS, progress=progress):
        query = identifier(key)
        place = f"{path.name}, query {query[:60]!r}"
        candidates = [identifier(candidate) for candidate, _ in value] if isinstance(value, Members) else [""]
        if not query or not all(candidates):
            raise SetError(f"{place}: it should be an object of candidates and their grades. Correct it.")
        yield RawPool(query, query, candidates, whole_grades([grade for _, grade in value], place=place))


def _of_qrels(path: Path, progress: Progress) -> Iterator[RawPool]:
    judged: dict[str, tuple[list[str], list[int]]] = {}
    for query, document, judgement in qrels(path, stage=READING_POOLS, progress=progress):
        candidates, grades = judged.setdefault(query, ([], []))
        candidates.append(document)
        grades.append(max(0, judgement))
    for query, (candidates, grades) in judged.items():
        yield RawPool(query, query, candidates, grades)
