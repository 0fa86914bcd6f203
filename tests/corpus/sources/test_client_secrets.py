"""Where the client's requests go, what they carry, and what is kept of the answers."""

import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.sources.cache import AnswerCache
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, SourceError, SourceRefused, SourceUnavailable
from corpus.sources.services import ARXIV, EUROPE_PMC, OPENALEX, PUBMED, SEMANTIC_SCHOLAR
from tests.corpus.conftest import Time
from tests.corpus.sources.fake_services import Answer, Place, ask

Make = Callable[..., Client]
pytestmark = pytest.mark.usefixtures("echo")


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
    with pytest.raises(BadAnswer, match="redirects too often"):
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


def test_a_place_that_cannot_be_reached_is_reported_in_a_sentence(client_of: Make, monkeypatch, time_of: Time) -> None:
    monkeypatch.setenv("COCITE_ATLAS_PUBMED_URL", "http://127.0.0.1:9")
    with pytest.raises(
        SourceUnavailable, match=r"PubMed: it cannot be reached \(.*\), after 5 attempts. Check the network"
    ):
        ask(client_of())
    assert 0.75 * 15 <= sum(time_of.naps) <= 1.25 * 15


def test_without_a_network_nobody_waits_long(client_of: Make, monkeypatch, time_of: Time, place: Place) -> None:
    found = socket.getaddrinfo

    def unknown(host: str, *others: object, **more: object) -> object:
        if host == "away.invalid":
            raise socket.gaierror(-2, "Name or service not known")
        return found(host, *others, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("COCITE_ATLAS_PUBMED_URL", "http://away.invalid")
    told = r"PubMed: it cannot be reached \(its host name cannot be resolved\), after 2 attempts. Check the network"
    with pytest.raises(SourceUnavailable, match=told):
        ask(client_of())
    assert sum(time_of.naps) <= 1.25
    # A network that was there comes back, as a rule: a fetch of hours has patience.
    client = client_of()
    monkeypatch.setenv("COCITE_ATLAS_PUBMED_URL", f"{place.url}/pubmed")
    ask(client)
    monkeypatch.setenv("COCITE_ATLAS_PUBMED_URL", "http://away.invalid")
    with pytest.raises(SourceUnavailable, match="after 5 attempts"):
        ask(client)


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
def test_a_key_that_is_none_is_reported_without_repeating_it(client_of: Make, key: str) -> None:
    with pytest.raises(SourceError, match="COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY holds characters") as caught:
        ask(client_of(secrets={"COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY": key}), service=SEMANTIC_SCHOLAR)
    assert key not in str(caught.value)


# Answers kept


def test_answers_are_cached_for_a_day(place: Place, client_of: Make, time_of: Time, tmp_path: Path) -> None:
    for _ in range(3):
        ask(client_of(cache=tmp_path), n="1")
    assert len(place.asked) == 1
    ask(client_of(cache=tmp_path), n="2")
    assert len(place.asked) == 2
    # Another key or contact address makes no other request.
    ask(client_of(cache=tmp_path, secrets={"COCITE_ATLAS_NCBI_KEY": "k"}), n="1")
    assert len(place.asked) == 2
    time_of.moment += 90_000
    ask(client_of(cache=tmp_path), n="1")
    assert len(place.asked) == 3


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
    cache = AnswerCache(tmp_path, max_bytes=10_000, now=lambda: moment[0])
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
