"""TRECCOVID-RF from its originals: judgements and topics of TREC-COVID's fifth round, and texts of CORD-19."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from lxml import etree

from corpus.judged_sets.checking import RawPool, Tally, judged_set
from corpus.judged_sets.judged import JudgedSet, PoolPaper, SetError
from corpus.judged_sets.reading import SMALL_LIMITS, opened, qrels
from corpus.judged_sets.released import READING_POOLS, relevant_grade
from corpus.judged_sets.texts import complete, read_texts
from corpus.progress import Progress, no_progress
from corpus.text.plain import clean

_RELEVANT = 2  # of TREC-COVID's judgements; 1 is partially relevant
_MOST_QUERIES = 50  # a topic
_QUERY_SEED, _SPLIT_SEED = 472945, 582
_RULES = (
    f"Constructed from TREC-COVID. Relevant to a topic are the papers judged {_RELEVANT} for it. The collection is "
    "the papers that are relevant to any topic and have a title and an abstract; of a paper with several records, the "
    "first that has both counts. Topics are taken from the one with the fewest such papers to the one with the most, "
    "equal ones in the order of the judgements. The papers of each, in that order, are shuffled by one Python "
    f"random.Random({_QUERY_SEED}); its queries are the first {_MOST_QUERIES} at most that are relevant to no other "
    "topic, with text or without, and are not taken yet. A query's candidates are the rest of the collection: grade 1 "
    "for what is relevant to its topic, 0 for all else. Splits: the topics, sorted as text, are shuffled by "
    f"random.Random({_SPLIT_SEED}); the queries of the first half are dev, the others test."
)


def build_treccovid(judgements: Path, topics: Path, texts: Path, *, progress: Progress = no_progress) -> JudgedSet:
    """TRECCOVID-RF from qrels (qrels-covid_d5_j0.5-5.txt), topics (topics-rnd5.xml) and texts, any of them gzip or not.

    texts: CORD-19's metadata.csv, or JSON Lines of cord_uid, title and abstract. Raises SetError, and what `progress`
    does.
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
    queries = _queries(relevant, papers)
    ids = sorted(relevant)
    random.Random(_SPLIT_SEED).shuffle(ids)  # noqa: S311
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
        pools=_pools(queries, relevant, with_text, title_of),
        splits=splits,
        relevant_from=relevant_grade("treccovid"),
        rules=_RULES,
        more_handled=tally.handled(),
    )


def _topics(path: Path) -> dict[str, str]:
    """The words of each topic's query, by its number."""
    with opened(path, limits=SMALL_LIMITS) as stream:
        content = stream.read()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise SetError(f"{path.name}: it is no XML ({error.msg}). Download it again.") from error
    found = {clean(topic.get("number") or ""): clean(topic.findtext("query") or "") for topic in root.iter("topic")}
    if not found or "" in found:
        raise SetError(f"{path.name}: it has no topics, or one without a number. Check that it is topics-rnd5.xml.")
    return found


def _queries(relevant: Mapping[str, Mapping[str, None]], papers: Mapping[str, PoolPaper]) -> dict[str, list[str]]:
    """The queries of each topic."""
    topics_of: dict[str, int] = {}
    for of_topic in relevant.values():
        for document in of_topic:
            topics_of[document] = topics_of.get(document, 0) + 1
    with_text = {topic: [document for document in found if document in papers] for topic, found in relevant.items()}
    draw = random.Random(_QUERY_SEED)  # noqa: S311
    queries: dict[str, list[str]] = {}
    for topic in sorted(with_text, key=lambda topic: len(with_text[topic])):
        draw.shuffle(with_text[topic])
        # What is relevant to one topic alone cannot have been taken for another.
        queries[topic] = [document for document in with_text[topic] if topics_of[document] == 1][:_MOST_QUERIES]
    return queries


def _pools(
    queries: Mapping[str, list[str]],
    relevant: Mapping[str, Mapping[str, None]],
    collection: list[str],
    title_of: Mapping[str, str],
) -> Iterator[RawPool]:
    for topic, asked in queries.items():
        grades = [int(document in relevant[topic]) for document in collection]
        for query in asked:
            own = collection.index(query)
            yield RawPool(
                query=query,
                paper=query,
                candidates=collection[:own] + collection[own + 1 :],
                grades=grades[:own] + grades[own + 1 :],
                group=f"{topic}: {title_of[topic]}",
            )
