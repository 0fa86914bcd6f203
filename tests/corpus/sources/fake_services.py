"""A web server on this machine that answers as the services document it, and misbehaves where a test wants it to."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from corpus.sources.client import Client
from corpus.sources.services import PUBMED, Service
from corpus.sources.source import Page, Source
from corpus.sources.values import read_json

Parameters = Mapping[str, str]


@dataclass
class Answer:
    """length: a Content-Length, maybe false. slow: seconds before the body. packed: by gzip. times: of the body."""

    body: bytes | str | dict[str, Any] = b""
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    slow: float = 0.0
    packed: bool = False
    times: int = 1

    def content(self) -> bytes:
        body = json.dumps(self.body) if isinstance(self.body, dict) else self.body
        content = body.encode() if isinstance(body, str) else body
        return gzip.compress(content) if self.packed else content


@dataclass(frozen=True)
class Asked:
    path: str
    parameters: Parameters
    headers: Mapping[str, str]


class Place:
    """services: the first part of a path -> what answers the rest. instead: what the next requests get instead."""

    def __init__(self) -> None:
        self.services: dict[str, Callable[[str, Parameters], Answer]] = {}
        self.instead: list[Answer] = []
        self.asked: list[Asked] = []
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                place.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        split = urlsplit(request.path)
        parameters = {name: values[0] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
        self.asked.append(Asked(unquote(split.path), parameters, dict(request.headers)))
        name, _, rest = unquote(split.path).lstrip("/").partition("/")
        if self.instead:
            answer = self.instead.pop(0)
        elif name in self.services:
            answer = self.services[name](rest, parameters)
        else:
            answer = Answer("nothing here", status=404, kind="text/plain")
        content = answer.content()
        time.sleep(answer.slow)
        try:
            request.send_response(answer.status)
            request.send_header("Content-Type", answer.kind)
            request.send_header(
                "Content-Length", str(len(content) * answer.times if answer.length is None else answer.length)
            )
            if answer.packed:
                request.send_header("Content-Encoding", "gzip")
            for header, value in answer.headers.items():
                request.send_header(header, value)
            request.end_headers()
            for _ in range(answer.times):
                request.wfile.write(content)
        except OSError:
            pass  # who asked has gone
        request.close_connection = answer.length is not None or answer.slow > 0

    def start(self) -> None:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


# The services as they document themselves, over records that a test gives.


class FakePubMed:
    """records: PMID -> (PubmedArticle, day of entry). Refuses what lies beyond the first 9,999 ids, as ESearch does."""

    def __init__(self, records: dict[str, tuple[str, str]], *, most_ids: int = 9_999):
        self.records = records
        self.most_ids = most_ids
        self.retstarts: list[int] = []

    def __call__(self, path: str, parameters: Parameters) -> Answer:
        if path == "esearch.fcgi":
            return self._search(parameters)
        ids = [number for number in parameters.get("id", "").split(",") if number in self.records]
        articles = "".join(self.records[number][0] for number in ids)
        doctype = (
            '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN" '
            '"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">'
        )
        return Answer(
            f'<?xml version="1.0" ?>\n{doctype}\n<PubmedArticleSet>{articles}</PubmedArticleSet>', kind="text/xml"
        )

    def _search(self, parameters: Parameters) -> Answer:
        if not parameters.get("term"):
            return Answer({"esearchresult": {"ERROR": "Empty term and query_key - nothing todo"}})
        start, size = int(parameters.get("retstart", 0)), int(parameters.get("retmax", 20))
        self.retstarts.append(start)
        if start >= self.most_ids:
            return Answer({"esearchresult": {"ERROR": f"'retstart' cannot be larger than {self.most_ids - 1}"}})
        first, last = parameters.get("mindate", "0000"), parameters.get("maxdate", "9999")
        dated = [(day, number) for number, (_, day) in self.records.items() if first <= day <= last]
        ids = [number for _, number in sorted(dated, reverse=True)]  # newest first
        return Answer(
            {
                "header": {"type": "esearch", "version": "0.3"},
                "esearchresult": {
                    "count": str(len(ids)),
                    "retmax": str(size),
                    "retstart": str(start),
                    "idlist": ids[start : min(start + size, self.most_ids)],
                    "translationset": [],
                    "querytranslation": parameters["term"],
                },
            }
        )


def pubmed_article(pmid: str, *, title: str = "", abstract: str | None = "", language: str = "eng") -> str:
    """A record as EFetch gives it. abstract: None for a record without one."""
    told = abstract if abstract else f"We studied the number {pmid}."
    part = "" if abstract is None else f"<Abstract><AbstractText>{escape(told)}</AbstractText></Abstract>"
    return f"""<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">{pmid}</PMID>
<Article PubModel="Print"><Journal><JournalIssue CitedMedium="Internet"><PubDate><Year>2021</Year></PubDate>
</JournalIssue><Title>Journal of numbers</Title></Journal>
<ArticleTitle>{escape(title or f"Title {pmid}.")}</ArticleTitle>
<ELocationID EIdType="doi" ValidYN="Y">10.1000/N.{pmid}</ELocationID>{part}
<AuthorList CompleteYN="Y"><Author ValidYN="Y"><LastName>Noether</LastName><ForeName>Emmy</ForeName></Author>
<Author ValidYN="Y"><CollectiveName>Number Group</CollectiveName></Author></AuthorList>
<Language>{language}</Language></Article><MedlineJournalInfo><MedlineTA>J Num</MedlineTA><NlmUniqueID>1</NlmUniqueID>
</MedlineJournalInfo></MedlineCitation><PubmedData><ArticleIdList><ArticleId IdType="pubmed">{pmid}</ArticleId>
</ArticleIdList></PubmedData></PubmedArticle>"""


class FakeOpenAlex:
    """works: what /works lists. Numbered pages end at the 10,000th; pages by cursor need a key, if `needs_key`."""

    def __init__(self, works: list[Any], *, by_id: dict[str, Any] | None = None, needs_key: bool = False):
        self.works = works
        self.by_id = by_id or {}
        self.needs_key = needs_key

    def __call__(self, path: str, parameters: Parameters) -> Answer:
        if path.startswith("works/"):
            work = self.by_id.get(path.removeprefix("works/"))
            return Answer(work) if work else Answer({"error": "Not found", "message": "Work not found"}, status=404)
        size = int(parameters["per_page"])
        if not 1 <= size <= 100:
            return Answer({"error": "Pagination error.", "message": "per_page must be between 1 and 100"}, status=400)
        meta: dict[str, Any] = {"count": len(self.works), "per_page": size, "cost_usd": 0.001}
        if "cursor" in parameters:
            if self.needs_key and "api_key" not in parameters:
                return Answer({"error": "Unauthorized", "message": "Cursor paging needs an API key"}, status=401)
            start = 0 if parameters["cursor"] == "*" else int(parameters["cursor"].removeprefix("after="))
            results = self.works[start : start + size]
            meta["next_cursor"] = f"after={start + size}" if results else None
        else:
            page = int(parameters.get("page", 1))
            if page * size > 10_000:
                return Answer({"error": "Pagination error.", "message": "Maximum results size"}, status=400)
            results = self.works[(page - 1) * size : page * size]
            meta["page"] = page
        return Answer({"meta": meta, "results": results, "group_by": []})


def openalex_work(number: int, **changes: Any) -> dict[str, Any]:
    """A work as OpenAlex gives it."""
    return {
        "id": f"https://openalex.org/W{number}",
        "doi": f"https://doi.org/10.1000/W.{number}",
        "ids": {"openalex": f"https://openalex.org/W{number}", "mag": "1"},
        "display_name": f"On <i>numbers</i> &amp; {number}",
        "publication_year": 2020,
        "authorships": [
            {
                "author": {"id": "https://openalex.org/A1", "display_name": "Emmy Noether"},
                "raw_author_name": "E. Noether",
            },
            {"author": {"display_name": "Ludwig van Beethoven"}, "raw_author_name": "van Beethoven, Ludwig"},
        ],
        "primary_location": {"source": {"id": "https://openalex.org/S1", "display_name": "Journal of numbers"}},
        "abstract_inverted_index": {"We": [0], "count": [1, 3], "and": [2], f"{number}.": [4]},
        "topics": [{"display_name": "Arithmetic"}],
        "keywords": [{"id": "k", "display_name": "arithmetic", "score": 0.5}, {"display_name": "Counting"}],
    } | changes


class FakeScholar:
    """papers: what the bulk search lists, `size` a page. by_id: what /paper/<id> gives."""

    def __init__(self, papers: list[Any], *, by_id: dict[str, Any] | None = None, size: int = 1_000):
        self.papers = papers
        self.by_id = by_id or {}
        self.size = size

    def __call__(self, path: str, parameters: Parameters) -> Answer:
        if path != "paper/search/bulk":
            number = path.removeprefix("paper/")
            paper = self.by_id.get(number)
            return Answer(paper) if paper else Answer({"error": f"Paper with id {number} not found"}, status=404)
        start = int(parameters.get("token", "token-0").removeprefix("token-"))
        answer: dict[str, Any] = {"total": len(self.papers), "data": self.papers[start : start + self.size]}
        if start + self.size < len(self.papers):
            answer["token"] = f"token-{start + self.size}"
        return Answer(answer)


def scholar_paper(number: int, **changes: Any) -> dict[str, Any]:
    """A paper as Semantic Scholar gives it."""
    return {
        "paperId": f"{number:040x}",
        "corpusId": number,
        "externalIds": {"DOI": f"10.1000/S.{number}", "CorpusId": number, "MAG": "7"},
        "url": f"https://www.semanticscholar.org/paper/{number:040x}",
        "title": f"Title {number}",
        "abstract": f"We count {number}.",
        "venue": "Conference on numbers",
        "publicationVenue": None,
        "year": 2019,
        "journal": {"name": "Proceedings", "volume": "1"},
        "authors": [{"authorId": "1", "name": "Oren Etzioni"}, {"authorId": None, "name": "Waleed Ammar"}],
        "s2FieldsOfStudy": [
            {"category": "Mathematics", "source": "external"},
            {"category": "Mathematics", "source": "s2-fos-model"},
        ],
    } | changes


class FakeEuropePMC:
    """results: what /search lists. The last mark is repeated at the end, as it does."""

    def __init__(self, results: list[Any]):
        self.results = results

    def __call__(self, path: str, parameters: Parameters) -> Answer:
        assert path == "search" and parameters["format"] == "json"
        start = 0 if parameters["cursorMark"] == "*" else int(parameters["cursorMark"].removeprefix("AoI="))
        part = self.results[start : start + int(parameters["pageSize"])]
        return Answer(
            {
                "version": "6.9",
                "hitCount": len(self.results),
                "nextCursorMark": f"AoI={start + len(part)}",
                "request": {"queryString": parameters["query"], "resultType": parameters["resultType"]},
                "resultList": {"result": part},
            }
        )


def europe_pmc_result(number: int, **changes: Any) -> dict[str, Any]:
    """A record as Europe PMC gives it with resultType=core."""
    return {
        "id": str(number),
        "source": "MED",
        "pmid": str(number),
        "doi": f"10.1000/E.{number}",
        "title": f"Numbers of <i>E. coli</i> {number}.",
        "authorString": "Noether E, Number Group.",
        "authorList": {
            "author": [
                {"fullName": "Noether E", "firstName": "Emmy", "lastName": "Noether", "initials": "E"},
                {"collectiveName": "Number Group"},
            ]
        },
        "journalInfo": {"yearOfPublication": 2022, "journal": {"title": "Journal of numbers"}},
        "pubYear": "2022",
        "abstractText": f"<h4>Background</h4>We count.<h4>Results</h4>It is {number}.",
        "language": "eng",
        "meshHeadingList": {"meshHeading": [{"majorTopic_YN": "N", "descriptorName": "Humans"}]},
        "keywordList": {"keyword": ["counting"]},
    } | changes


class FakeArXiv:
    """entries: arXiv id -> (Atom entry, day of submission). Answers errors as one entry, with status 400."""

    def __init__(self, entries: dict[str, tuple[str, str]], *, most: int = 30_000):
        self.entries = entries
        self.most = most

    def __call__(self, path: str, parameters: Parameters) -> Answer:
        assert path == "query"
        if "id_list" in parameters:
            chosen = [self.entries[parameters["id_list"]][0]] if parameters["id_list"] in self.entries else []
            return arxiv_feed(chosen, total=len(chosen))
        start, size = int(parameters["start"]), int(parameters["max_results"])
        if start + size > self.most:
            return arxiv_error("start + max_results must be less than 30000", status=400)
        query = parameters["search_query"]
        if "bad(" in query:
            return arxiv_error("incorrect query syntax", status=400)
        first, last = "00000000", "99999999"
        if "submittedDate:[" in query:
            first, _, last = query.partition("submittedDate:[")[2].rstrip("]").partition(" TO ")
        chosen = [entry for entry, day in self.entries.values() if first[:8] <= day <= last[:8]]
        return arxiv_feed(chosen[start : start + size], total=len(chosen))


def arxiv_feed(entries: list[str], *, total: int, status: int = 200) -> Answer:
    return Answer(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">ArXiv Query</title><id>http://arxiv.org/api/x</id>
<opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">{total}</opensearch:totalResults>
{"".join(entries)}</feed>""",
        kind="application/atom+xml",
        status=status,
    )


def arxiv_error(message: str, *, status: int) -> Answer:
    entry = f"<entry><id>http://arxiv.org/api/errors#x</id><title>Error</title><summary>{message}</summary></entry>"
    return arxiv_feed([entry], total=1, status=status)


def arxiv_entry(number: str, *, summary: str = "", doi: str = "") -> str:
    told = summary or f"We count\n  {number}."
    link = f'<arxiv:doi xmlns:arxiv="http://arxiv.org/schemas/atom">{doi}</arxiv:doi>' if doi else ""
    return f"""<entry><id>http://arxiv.org/abs/{number}v2</id><updated>2021-01-02T00:00:00Z</updated>
<published>2021-01-01T12:00:00Z</published><title>Title of
  {number}</title><summary>  {escape(told)}
</summary><author><name>Emmy Noether</name></author><author><name>ATLAS Collaboration</name></author>{link}
<category term="math.NT" scheme="http://arxiv.org/schemas/atom"/><category term="math.NT"/></entry>"""


# All of them


def dated_article(number: int) -> tuple[str, str]:
    return pubmed_article(str(number)), f"20{number % 20:02d}/03/{1 + number % 28:02d}"


def dated_entry(number: int) -> tuple[str, str]:
    return arxiv_entry(f"2101.{number:05d}"), f"20{number % 20:02d}03{1 + number % 28:02d}"


def stock(place: Place, n: int) -> None:
    """n records in every service."""
    place.services = {
        "pubmed": FakePubMed({str(i): dated_article(i) for i in range(1, n + 1)}),
        "openalex": FakeOpenAlex([openalex_work(i) for i in range(1, n + 1)]),
        "semantic_scholar": FakeScholar([scholar_paper(i) for i in range(1, n + 1)], size=100),
        "europe_pmc": FakeEuropePMC([europe_pmc_result(i) for i in range(1, n + 1)]),
        "arxiv": FakeArXiv({f"2101.{i:05d}": dated_entry(i) for i in range(1, n + 1)}),
    }


def all_of(source: Source, client: Client, query: str = "numbers", **arguments: Any) -> list[Page]:
    return list(source.pages(query, client=client, **arguments))


def ask(client: Client, *, service: Service = PUBMED, **parameters: str) -> dict[str, Any]:
    """One question to a service, whose answer is any JSON object."""
    return client.ask(service, "x", parameters=parameters, format="json", read=read_json)
