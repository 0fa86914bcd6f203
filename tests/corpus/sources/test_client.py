"""The client against a server that misbehaves in every way that was thought of. Time is not slept, but counted."""

import gzip
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest

from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused, SourceUnavailable
from corpus.sources.pace import Pace, during_waits
from corpus.sources.services import ARXIV, EUROPE_PMC, OPENALEX, PUBMED, SEMANTIC_SCHOLAR
from corpus.sources.values import read_xml
from tests.corpus.conftest import Time
from tests.corpus.sources.fake_services import Answer, Place, ask

Make = Callable[..., Client]
pytestmark = pytest.mark.usefixtures("echo")


# Patience


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_retried_with_growing_pauses(
    place: Place, client_of: Make, time_of: Time, status: int
) -> None:
    place.instead = [Answer("busy", status=status, kind="text/plain") for _ in range(3)]
    assert ask(client_of()) == {"ok": "x"}
    assert len(place.asked) == 4
    # Three pauses of 1, 2 and 4 seconds, a quarter more or less; the turns of 3 a second pass within them.
    assert 0.75 * 7 <= sum(time_of.naps) <= 1.25 * 7


def test_what_does_not_pass_is_reported_after_five_attempts(place: Place, client_of: Make) -> None:
    place.instead = [Answer("{}", status=503) for _ in range(9)]
    with pytest.raises(SourceUnavailable, match=r"PubMed: it reports an error \(503\), after 5 attempts"):
        ask(client_of())
    assert len(place.asked) == 5


def test_retry_after_in_seconds_and_as_a_date_is_obeyed(place: Place, client_of: Make, time_of: Time) -> None:
    place.instead = [Answer("{}", status=429, headers={"Retry-After": "37"})]
    ask(client_of())
    assert sum(time_of.naps) == pytest.approx(37)
    time_of.naps.clear()
    at = format_datetime(datetime.fromtimestamp(time_of.now() + 50, UTC), usegmt=True)
    place.instead = [Answer("{}", status=503, headers={"Retry-After": at})]
    ask(client_of())
    assert sum(time_of.naps) == pytest.approx(50, abs=1.5)


@pytest.mark.parametrize("header", ["soon", "", "-3", "1e9", "Thu, 99 Foo 2020", "0"])
def test_a_retry_after_that_says_nothing_leaves_the_usual_pause(
    place: Place, client_of: Make, time_of: Time, header: str
) -> None:
    place.instead = [Answer("{}", status=429, headers={"Retry-After": header})]
    ask(client_of())
    assert sum(time_of.naps) <= 1.25


@pytest.mark.parametrize("header", ["86400", "9" * 400, "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_wait_of_hours_is_not_waited_but_told(place: Place, client_of: Make, time_of: Time, header: str) -> None:
    place.instead = [Answer({"message": "Daily limit exceeded"}, status=429, headers={"Retry-After": header})]
    with pytest.raises(
        SourceUnavailable,
        match=r"OpenAlex: it received too many requests \(it says .Daily limit exceeded.\), and asks to wait ",
    ):
        ask(client_of(), service=OPENALEX)
    assert sum(time_of.naps) == 0


def test_a_wait_is_cut_short_by_who_watches(place: Place, client_of: Make, time_of: Time) -> None:
    class Stop(Exception):
        pass

    def look() -> None:
        if sum(time_of.naps) > 10:
            raise Stop

    place.instead = [Answer("{}", status=429, headers={"Retry-After": "100"})]
    with pytest.raises(Stop), during_waits(look):
        ask(client_of())
    assert sum(time_of.naps) < 12


@pytest.mark.parametrize("service", [PUBMED, OPENALEX, SEMANTIC_SCHOLAR, EUROPE_PMC, ARXIV])
def test_no_service_is_asked_more_often_than_it_allows(client_of: Make, time_of: Time, service) -> None:
    client = client_of()
    moments = []
    for i in range(5):
        ask(client, service=service, n=str(i))
        moments.append(time_of.now())
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert min(gaps) >= service.interval - 1e-6
    documented = {"pubmed": 1 / 3, "arxiv": 3.0, "semantic_scholar": 1.0, "openalex": 0.1, "europe_pmc": 0.1}
    assert service.interval >= documented[service.name]


def test_a_key_quickens_pubmed_and_only_pubmed(client_of: Make, time_of: Time, monkeypatch) -> None:
    for name in ("COCITE_ATLAS_NCBI_KEY", "COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY"):
        monkeypatch.setenv(name, "key")
    for service, documented in ((PUBMED, 0.1), (SEMANTIC_SCHOLAR, 1.0)):
        client = client_of()
        ask(client, service=service)
        before = time_of.now()
        ask(client, service=service)
        assert documented <= time_of.now() - before <= documented * 1.2


def test_threads_take_turns(time_of: Time) -> None:
    turns: list[float] = []
    pace = Pace(sleep=lambda seconds: turns.append(seconds), clock=lambda: 5.0)
    threads = [threading.Thread(target=pace.take_turn, args=("a",), kwargs={"interval": 0.5}) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The clock stands still: the n-th to come must wait n intervals, in slices of a second.
    assert sum(turns) == pytest.approx(0.5 * (0 + 1 + 2 + 3 + 4 + 5))


# Bad answers


def test_what_breaks_off_is_retried(place: Place, client_of: Make) -> None:
    place.instead = [
        Answer('{"ok": "half', length=5_000),
        Answer(gzip.compress(b'{"a": 1}' * 99)[:-12], headers={"Content-Encoding": "gzip"}),
    ]
    assert ask(client_of()) == {"ok": "x"}
    assert len(place.asked) == 3


def test_packed_answers_are_unpacked(place: Place, client_of: Make) -> None:
    place.instead = [Answer({"packed": "ü" * 999}, packed=True)]
    assert ask(client_of()) == {"packed": "ü" * 999}


@pytest.mark.parametrize("body", ["{", '{"a": NaN}', "[1]", '"text"', "", "\xff", '{"a":' * 5_000, "9" * 6_000, "<a/>"])
def test_malformed_json_is_retried_and_then_reported(place: Place, client_of: Make, body: str) -> None:
    place.instead = [Answer(body.encode("latin-1"))]
    assert ask(client_of()) == {"ok": "x"}
    place.instead = [Answer(body.encode("latin-1"))] * 2
    with pytest.raises(SourceUnavailable, match="PubMed: its answer cannot be read"):
        ask(client_of(attempts=2))


def test_control_characters_in_json_are_no_reason_to_refuse_it(place: Place, client_of: Make) -> None:
    place.instead = [Answer(b'\xef\xbb\xbf{"a": "one\ttwo\nthree"}')]
    assert ask(client_of()) == {"a": "one\ttwo\nthree"}


def test_a_web_page_is_no_answer(place: Place, client_of: Make) -> None:
    place.instead = [Answer("<html>Log in to this network</html>", kind="text/html; charset=utf-8")] * 2
    with pytest.raises(SourceUnavailable, match="it answers with a web page"):
        ask(client_of(attempts=2))


@pytest.mark.parametrize("packed", [False, True])
def test_a_huge_answer_is_refused_before_it_is_in_memory(place: Place, client_of: Make, packed: bool) -> None:
    client = client_of(max_bytes=100_000)
    ask(client)  # what is imported on first use
    bomb = gzip.compress(bytes(50_000_000))
    plain = Answer(bytes(10_000), times=5_000)
    place.instead = [Answer(bomb, headers={"Content-Encoding": "gzip"}) if packed else plain]
    tracemalloc.start()
    with pytest.raises(BadAnswer, match="more than 100,000 bytes"):
        ask(client)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_other_packing_than_was_asked_for_is_refused(place: Place, client_of: Make) -> None:
    place.instead = [Answer("{}", headers={"Content-Encoding": "br"})]
    with pytest.raises(BadAnswer, match="'br'"):
        ask(client_of())
    assert place.asked[0].headers["Accept-Encoding"] == "gzip"


def test_slow_answers_are_given_up(place: Place, client_of: Make) -> None:
    place.instead = [Answer("{}", slow=1.0), Answer("{}", slow=1.0)]
    with pytest.raises(SourceUnavailable, match="it did not answer in time"):
        ask(client_of(timeout=0.05, attempts=2))


@pytest.mark.parametrize(
    "bomb",
    [
        '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>',
        '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l>&x;</l>',
        '<!DOCTYPE l [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]><l/>',
        '<!DOCTYPE l [<!ATTLIST l a CDATA "x">]><l/>',
    ],
)
def test_xml_that_declares_entities_is_refused_at_once(place: Place, client_of: Make, bomb: str) -> None:
    place.instead = [Answer(bomb, kind="text/xml")]
    with pytest.raises(BadAnswer, match=r"arXiv: its XML is not safe to read"):
        client_of().ask(ARXIV, "x", parameters={}, format="xml", read=read_xml)
    assert len(place.asked) == 1


@pytest.mark.parametrize("body", ["<a><b></a>", "", "no xml", "<a>" * 100_000, "<a"])
def test_malformed_xml_is_retried(place: Place, client_of: Make, body: str) -> None:
    place.instead = [Answer(body, kind="text/xml"), Answer("<a>whole</a>", kind="text/xml")]
    assert client_of().ask(ARXIV, "x", parameters={}, format="xml", read=read_xml).text == "whole"


# Refusals


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, SourceRefused, r'could not read the request \(400\) \(it says "why not"\)\. Correct the query'),
        (401, SourceRefused, "Set the key in COCITE_ATLAS_OPENALEX_KEY"),
        (403, SourceRefused, "Set the key in COCITE_ATLAS_OPENALEX_KEY"),
        (404, PaperNotFound, "has no such paper"),
        (418, BadAnswer, "HTTP status 418"),
    ],
)
@pytest.mark.parametrize(
    "said",
    [{"error": "why not"}, {"message": "why not."}, {"errMsg": "why not"}, {"esearchresult": {"ERROR": "why not"}}],
)
def test_a_refusal_is_reported_once_with_what_the_service_says(
    place: Place, client_of: Make, status: int, error: type, words: str, said: dict
) -> None:
    place.instead = [Answer(said, status=status)]
    with pytest.raises(error, match=words) as caught:
        ask(client_of(), service=OPENALEX)
    assert "why not" in str(caught.value)
    assert len(place.asked) == 1


def test_an_error_body_in_xml_is_read_and_a_web_page_is_not(place: Place, client_of: Make) -> None:
    place.instead = [
        Answer("<eFetchResult><ERROR>ID list is empty</ERROR></eFetchResult>", status=400, kind="text/xml")
    ]
    with pytest.raises(SourceRefused, match="ID list is empty"):
        ask(client_of())
    place.instead = [Answer("<html><body><script>x</script></body></html>", status=400, kind="text/html")]
    with pytest.raises(SourceRefused) as caught:
        ask(client_of())
    assert "script" not in str(caught.value)


def test_an_error_body_without_an_end_is_cut(place: Place, client_of: Make) -> None:
    place.instead = [Answer(b'{"error": "' + b"x" * 10_000_000 + b'"}', status=400)]
    with pytest.raises(SourceRefused) as caught:
        ask(client_of())
    assert len(str(caught.value)) < 500
