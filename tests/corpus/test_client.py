"""The client against a server that misbehaves in every way that was thought of. Time is not slept, but counted."""

import gzip
import json
import logging
import os
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest

from corpus.sources import BadAnswer, Client, PaperNotFound, SourceError, SourceRefused, SourceUnavailable
from corpus.sources.answer_cache import AnswerCache
from corpus.sources.answers import read_json, read_xml
from corpus.sources.pace import Pace, watched
from corpus.sources.service import ARXIV, EUROPE_PMC, OPENALEX, PUBMED, SEMANTIC_SCHOLAR
from tests.corpus.conftest import Time
from tests.corpus.places import Answer, Place

Make = Callable[..., Client]


@pytest.fixture(autouse=True)
def echo(place: Place) -> None:
    """Every service answers {"ok": …}."""
    for service in (PUBMED, OPENALEX, SEMANTIC_SCHOLAR, EUROPE_PMC, ARXIV):
        place.services[service.name] = lambda path, parameters: Answer({"ok": path})


def ask(client: Client, *, service=PUBMED, fresh: bool = False, **parameters: str) -> dict:
    return client.ask(service, "x", parameters=parameters, kind="json", read=read_json, fresh=fresh)


# Patience


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_asked_again_with_growing_pauses(
    place: Place, client_of: Make, time_of: Time, status: int
) -> None:
    place.instead = [Answer("busy", status=status, kind="text/plain") for _ in range(3)]
    assert ask(client_of()) == {"ok": "x"}
    assert len(place.asked) == 4
    # Three pauses of 1, 2 and 4 seconds, a quarter more or less; the turns of 3 a second pass within them.
    assert 0.75 * 7 <= sum(time_of.naps) <= 1.25 * 7


def test_what_does_not_pass_is_told_after_five_attempts(place: Place, client_of: Make) -> None:
    place.instead = [Answer("{}", status=503) for _ in range(9)]
    with pytest.raises(SourceUnavailable, match=r"PubMed: it is in trouble \(503\), after 5 attempts"):
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
        match=r"OpenAlex: it is asked too often \(it says .Daily limit exceeded.\), and asks to wait \d+ hours",
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
    with pytest.raises(Stop), watched(look):
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


def test_what_breaks_off_is_asked_again(place: Place, client_of: Make) -> None:
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
def test_malformed_json_is_asked_again_and_then_told(place: Place, client_of: Make, body: str) -> None:
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
    client = client_of(most_bytes=100_000)
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
    with pytest.raises(SourceUnavailable, match="it does not answer in time"):
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
        client_of().ask(ARXIV, "x", parameters={}, kind="xml", read=read_xml)
    assert len(place.asked) == 1


@pytest.mark.parametrize("body", ["<a><b></a>", "", "no xml", "<a>" * 100_000, "<a"])
def test_malformed_xml_is_asked_again(place: Place, client_of: Make, body: str) -> None:
    place.instead = [Answer(body, kind="text/xml"), Answer("<a>whole</a>", kind="text/xml")]
    assert client_of().ask(ARXIV, "x", parameters={}, kind="xml", read=read_xml).text == "whole"


# Refusals


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, SourceRefused, r'could not read the question \(400\) \(it says "why not"\)\. Correct the query'),
        (401, SourceRefused, "Set the key in COCITE_ATLAS_OPENALEX_KEY"),
        (403, SourceRefused, "Set the key in COCITE_ATLAS_OPENALEX_KEY"),
        (404, PaperNotFound, "does not know it"),
        (418, BadAnswer, "HTTP status 418"),
    ],
)
@pytest.mark.parametrize(
    "said",
    [{"error": "why not"}, {"message": "why not."}, {"errMsg": "why not"}, {"esearchresult": {"ERROR": "why not"}}],
)
def test_a_refusal_is_told_once_with_what_the_service_says(
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


# Where requests go


def test_a_redirect_on_the_host_is_followed_and_to_another_one_is_not(place: Place, client_of: Make) -> None:
    place.instead = [Answer(status=301, headers={"Location": "/openalex/merged"})]
    assert ask(client_of(), service=OPENALEX) == {"ok": "merged"}
    elsewhere = place.url.replace("127.0.0.1", "localhost")
    for target in (
        f"{elsewhere}/openalex/x",
        "https://example.org/x",
        "//example.org/x",
        "ftp://example.org",
        "http://[",
    ):
        before = len(place.asked)
        place.instead = [Answer(status=302, headers={"Location": target})]
        with pytest.raises(SourceError):
            ask(client_of(attempts=1), service=OPENALEX)
        assert len(place.asked) == before + 1


def test_redirects_in_a_circle_end(place: Place, client_of: Make) -> None:
    place.instead = [Answer(status=302, headers={"Location": "/openalex/y"}) for _ in range(20)]
    with pytest.raises(BadAnswer, match="without an end"):
        ask(client_of(), service=OPENALEX)


def test_base_urls_are_https_unless_the_user_says_otherwise(client_of: Make, monkeypatch) -> None:
    for service in (PUBMED, OPENALEX, SEMANTIC_SCHOLAR, EUROPE_PMC, ARXIV):
        assert service.base.startswith("https://")
    for bad in ("file:///etc/passwd", "ftp://x", "eutils"):
        monkeypatch.setenv("COCITE_ATLAS_PUBMED_URL", bad)
        with pytest.raises(SourceError, match="COCITE_ATLAS_PUBMED_URL"):
            ask(client_of())


def test_nothing_is_asked_offline(place: Place, client_of: Make, monkeypatch, tmp_path: Path) -> None:
    ask(client_of(cache=tmp_path), n="kept")
    monkeypatch.setenv("COCITE_ATLAS_OFFLINE", "1")
    with pytest.raises(SourceUnavailable, match="COCITE_ATLAS_OFFLINE"):
        ask(client_of())
    assert ask(client_of(cache=tmp_path), n="kept") == {"ok": "x"}
    assert len(place.asked) == 1
    monkeypatch.setenv("COCITE_ATLAS_OFFLINE", "0")
    ask(client_of())


def test_a_place_that_cannot_be_reached_is_told_in_a_sentence(client_of: Make, monkeypatch, time_of: Time) -> None:
    monkeypatch.setenv("COCITE_ATLAS_PUBMED_URL", "http://127.0.0.1:9")
    with pytest.raises(
        SourceUnavailable, match=r"PubMed: it cannot be reached \(.*\), after 5 attempts. Check the network"
    ):
        ask(client_of())
    assert 0.75 * 15 <= sum(time_of.naps) <= 1.25 * 15


# Keys


def test_keys_are_sent_as_each_service_takes_them(place: Place, client_of: Make, monkeypatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_NCBI_KEY", "from the environment".replace(" ", "-"))
    secrets = {
        "COCITE_ATLAS_NCBI_KEY": "not-this-one",
        "COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY": " s2-key ",
        "COCITE_ATLAS_OPENALEX_KEY": "oa-key",
        "COCITE_ATLAS_CONTACT": "me@example.org",
        "password": "of something else",
    }
    client = client_of(secrets=secrets)
    for service in (PUBMED, SEMANTIC_SCHOLAR, OPENALEX, EUROPE_PMC, ARXIV):
        ask(client, service=service)
    pubmed, scholar, openalex, *others = place.asked
    assert pubmed.parameters == {"api_key": "from-the-environment", "email": "me@example.org"}
    assert scholar.parameters == {} and scholar.headers["x-api-key"] == "s2-key"
    assert openalex.parameters == {"api_key": "oa-key", "mailto": "me@example.org"}
    assert all("key" not in str(other).lower() for other in others)
    assert all(asked.headers["User-Agent"] == "CociteAtlas/0.1 (mailto:me@example.org)" for asked in place.asked)


def test_keys_are_in_no_log_error_or_name_of_a_file(
    place: Place, client_of: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx2")
    secrets = {"COCITE_ATLAS_NCBI_KEY": "SECRET1", "COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY": "SECRET2"}
    client = client_of(secrets=secrets, cache=tmp_path, attempts=2)
    ask(client, term="some private query")
    ask(client, service=SEMANTIC_SCHOLAR)
    told = [repr(client)]
    for service, answer in (
        (PUBMED, Answer({"error": "API key invalid", "api-key": "SECRET1"}, status=400)),
        (PUBMED, Answer({"error": "API key SECRET1 invalid"}, status=400)),
        (SEMANTIC_SCHOLAR, Answer({"message": "key SECRET2"}, status=403)),
        (PUBMED, Answer(status=302, headers={"Location": "https://example.org/?api_key=SECRET1"})),
    ):
        place.instead = [answer]
        with pytest.raises(SourceError) as caught:
            ask(client, service=service, again=str(len(told)))
        error: BaseException | None = caught.value
        while error is not None:
            told.append(f"{error} {error!r}")
            error = error.__cause__ or error.__context__
    kept = "".join(f"{path} {path.read_bytes()!r}" for path in tmp_path.rglob("*"))
    assert kept
    for text in (*told, kept, caplog.text):
        assert "SECRET" not in text
    assert "HTTP Request" in caplog.text and "private" not in caplog.text


def test_keys_do_not_travel_in_the_clear(place: Place, client_of: Make, monkeypatch) -> None:
    client = client_of(secrets={"COCITE_ATLAS_NCBI_KEY": "SECRET"})
    import httpx2

    for url, sent in (("https://mirror.example/x", True), ("http://mirror.example/x", False), ("http://[::1]/x", True)):
        parameters, _ = client._credentials(PUBMED, httpx2.URL(url))
        assert ("api_key" in parameters) is sent


@pytest.mark.parametrize("key", ["two\r\nlines", "ключ", "x" * 501, "nul\0"])
def test_a_key_that_is_none_is_told_without_repeating_it(client_of: Make, key: str) -> None:
    with pytest.raises(SourceError, match="COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY holds characters") as caught:
        ask(client_of(secrets={"COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY": key}), service=SEMANTIC_SCHOLAR)
    assert key not in str(caught.value)


# Answers kept


def test_answers_are_kept_for_a_day_and_asked_fresh_where_wanted(
    place: Place, client_of: Make, time_of: Time, tmp_path: Path
) -> None:
    for _ in range(3):
        ask(client_of(cache=tmp_path), n="1")
    assert len(place.asked) == 1
    ask(client_of(cache=tmp_path), n="2")
    ask(client_of(cache=tmp_path), n="1", fresh=True)
    assert len(place.asked) == 3
    # Another key or contact address is no other question.
    ask(client_of(cache=tmp_path, secrets={"COCITE_ATLAS_NCBI_KEY": "k"}), n="1")
    assert len(place.asked) == 3
    time_of.moment += 90_000
    ask(client_of(cache=tmp_path), n="1")
    assert len(place.asked) == 4


def test_errors_and_bad_answers_are_not_kept(place: Place, client_of: Make, tmp_path: Path) -> None:
    place.instead = [Answer("{", status=200), Answer({"error": "x"}, status=400)]
    with pytest.raises(SourceRefused):
        ask(client_of(cache=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"", b"x", b"\x80\x04\x95 a pickle", b'{"no": "digest"}' * 9])
def test_damaged_kept_answers_are_asked_for_again(place: Place, client_of: Make, tmp_path: Path, damage: bytes) -> None:
    ask(client_of(cache=tmp_path))
    (kept,) = tmp_path.iterdir()
    state = kept.stat()
    kept.write_bytes(damage)
    os.utime(kept, (state.st_atime, state.st_mtime))
    assert ask(client_of(cache=tmp_path)) == {"ok": "x"}
    assert len(place.asked) == 2


def test_kept_answers_are_bounded_oldest_first(tmp_path: Path) -> None:
    moment = [0.0]
    cache = AnswerCache(tmp_path, most_bytes=10_000, now=lambda: moment[0])
    for i in range(60):
        moment[0] += 1
        cache.put(f"question {i}", bytes(1_000))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size <= 10_000
    assert cache.get("question 59") == bytes(1_000)
    assert cache.get("question 0") is None


def test_a_folder_that_cannot_be_written_only_costs_the_keeping(place: Place, client_of: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ask(client_of(cache=tmp_path / "file" / "cache")) == {"ok": "x"}


def test_kept_answers_are_json_as_it_came(place: Place, client_of: Make, tmp_path: Path) -> None:
    ask(client_of(cache=tmp_path))
    (kept,) = tmp_path.iterdir()
    assert json.loads(kept.read_bytes()[32:]) == {"ok": "x"}
