"""The one HTTP client of all sources: polite, patient, bounded, and silent about keys.

Only what a source puts into a request leaves the machine: ids and queries.
"""

import functools
import logging
import os
import random
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import httpx2

from corpus.sources.answer_cache import AnswerCache
from corpus.sources.answers import Garbled, first_text, map_in, read_json, read_xml
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceError, SourceRefused, SourceUnavailable
from corpus.sources.pace import EVERYWHERE, Pace, retry_after
from corpus.sources.service import SERVICES, Service
from corpus.text.plain import clean

OFFLINE_VARIABLE = "COCITE_ATLAS_OFFLINE"
CONTACT_VARIABLE = "COCITE_ATLAS_CONTACT"
KEY_VARIABLES = tuple(service.key for service in SERVICES if service.key)
AGENT = "CociteAtlas/0.1"

MOST_BYTES = 64 * 2**20  # 200 MEDLINE records with all their references have some 10 MB
_TIMEOUT = 30.0  # seconds without a byte
_WHOLE_ANSWER = 180.0  # seconds for all of an answer, however steadily it drips
_OFFLINE_ATTEMPTS = 2  # without a network; one that was there is waited for with patience
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # answers that another attempt may better
_REFUSALS = {
    400: "could not read the question",
    401: "asks for a key",
    403: "does not answer this question or this key",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_MESSAGE_BYTES = 65_536  # of an error's body
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_Kind = Literal["json", "xml"]
_ACCEPT = {"json": "application/json", "xml": "application/xml, application/atom+xml, text/xml"}
Answer = TypeVar("Answer")


class _NoQueries(logging.Filter):
    """httpx2 logs each request's whole URL, and some services take their key in it: what follows "?" is left out."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                part.copy_with(query=None) if isinstance(part, httpx2.URL) else part for part in record.args
            )
        return True


logging.getLogger("httpx2").addFilter(_NoQueries())
# Its debugging tells the headers of answers, in which a service may repeat a key.
logging.getLogger("httpcore2").setLevel(logging.INFO)


class _Again(Exception):
    """This attempt failed, and another one may not.

    wait: the seconds that the server asked for. offline: it looks as if there were no network at all.
    """

    def __init__(self, reason: str, *, wait: float | None = None, offline: bool = False):
        super().__init__(reason)
        self.wait = wait
        self.offline = offline


class Client:
    """Asks services. May be shared by threads; close it when done.

    secrets: keys and the contact address by the names of their environment variables, for those that the environment
    does not set. cache: a folder for answers, which may be empty. attempts: how often a question is tried in all.
    longest_wait: seconds; a service that asks for more patience counts as unavailable. sleep, clock, now: time itself.
    """

    def __init__(
        self,
        *,
        secrets: Mapping[str, object] | None = None,
        cache: Path | None = None,
        attempts: int = 5,
        longest_wait: float = 120.0,
        timeout: float = _TIMEOUT,
        most_bytes: int = MOST_BYTES,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ):
        self._secrets = dict(secrets or {})
        self._cache = None if cache is None else AnswerCache(cache, now=now)
        self._attempts = attempts
        self._longest_wait = longest_wait
        self._most_bytes = most_bytes
        self._clock = clock
        self._now = now
        own_time = sleep is not time.sleep or clock is not time.monotonic
        self._pace = Pace(sleep=sleep, clock=clock) if own_time else EVERYWHERE
        # Not seeded: that many clients do not come back at once is the point. Nothing secret hangs on it.
        self._jitter = random.Random()  # noqa: S311
        self._answered = False  # whether there was a network at any time
        self._http = httpx2.Client(verify=_certificates(), timeout=httpx2.Timeout(timeout), follow_redirects=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def setting(self, name: str) -> str:
        """A key or the contact address: from the environment, else from the secrets; "" where there is none.

        Raises SourceError for one that no header can hold.
        """
        value = os.environ.get(name, "").strip() or str(self._secrets.get(name) or "").strip()
        if len(value) > 500 or not (value.isascii() and value.isprintable()):
            raise SourceError(f"{name} holds characters that no key or address has. Copy it again.")
        return value

    def ask(
        self,
        service: Service,
        path: str,
        *,
        parameters: Mapping[str, str | int],
        kind: _Kind,
        read: Callable[[bytes], Answer],
        fresh: bool = False,
    ) -> Answer:
        """One answer of a service, read by `read`, which may raise Garbled to have it asked for again.

        kind: what is asked for. fresh: not from the cache. Raises SourceUnavailable, SourceRefused, PaperNotFound (for
        a 404) and BadAnswer.
        """
        url = httpx2.URL(f"{self._base(service)}/{path}", params={k: str(v) for k, v in parameters.items()})
        question = f"{kind} {url}"
        if self._cache is not None and not fresh and (kept := self._cache.get(question)) is not None:
            try:
                return read(kept)
            except (Garbled, SourceError):
                pass  # kept by another version, perhaps; asked for again
        if os.environ.get(OFFLINE_VARIABLE, "").strip() not in ("", "0"):
            raise SourceUnavailable(
                f"{service.title} is not asked, because {OFFLINE_VARIABLE} is set. Unset it to use the network."
            )
        body, answer = self._patiently(service, url, kind, read)
        if self._cache is not None:
            self._cache.put(question, body)
        return answer

    def _patiently(
        self, service: Service, url: httpx2.URL, kind: _Kind, read: Callable[[bytes], Answer]
    ) -> tuple[bytes, Answer]:
        with_key = bool(service.key and self.setting(service.key))
        interval = (with_key and service.interval_with_key) or service.interval
        for attempt in range(1, self._attempts + 1):
            self._pace.take_turn(f"{service.name} {url.host}", interval=interval)
            try:
                body = self._once(service, url, kind)
                try:
                    return body, read(body)
                except Garbled as error:
                    raise _Again(f"its answer cannot be read: {error}") from error
                except BadAnswer as error:
                    raise BadAnswer(f"{service.title}: {error}. Try again later.") from error
            except _Again as error:
                pause = 2.0 ** (attempt - 1) * self._jitter.uniform(0.75, 1.25)
                wait = pause if error.wait is None else max(error.wait, pause)
                if wait > self._longest_wait:
                    raise SourceUnavailable(
                        f"{service.title}: {error}, and asks to wait {_span(wait)}. Try again then."
                    ) from error
                if attempt == self._attempts or (error.offline and not self._answered and attempt == _OFFLINE_ATTEMPTS):
                    raise SourceUnavailable(
                        f"{service.title}: {error}, after {attempt} attempts. Check the network, or try again later."
                    ) from error
                self._pace.wait(wait)
        raise AssertionError("at least one attempt is made")

    def _once(self, service: Service, url: httpx2.URL, kind: _Kind) -> bytes:
        asked = url
        for _ in range(_MOST_REDIRECTS + 1):
            secret, headers = self._credentials(service, asked)
            headers |= {"Accept": _ACCEPT[kind], "Accept-Encoding": "gzip", "User-Agent": self._agent()}
            try:
                with self._http.stream("GET", asked.copy_merge_params(secret), headers=headers) as response:
                    self._answered = True
                    if response.status_code not in _REDIRECTS:
                        return self._body(service, response)
                    led = asked.join(response.headers.get("Location", ""))
            except httpx2.TimeoutException as error:
                raise _Again("it does not answer in time") from error
            except httpx2.TransportError as error:
                offline = _is_unknown_address(error)
                reason = "its address is not found" if offline else clean(str(error)) or type(error).__name__
                raise _Again(f"it cannot be reached ({reason})", offline=offline) from error
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                raise BadAnswer(f"{service.title}: what it sends is no HTTP ({type(error).__name__}).") from error
            if (led.scheme, led.host, led.port) != (url.scheme, url.host, url.port):
                raise BadAnswer(
                    f"{service.title} leads to another host, {clean(led.host)[:60]!r}, which is not followed. "
                    f"Check {service.url_variable}, and the network's proxy."
                )
            asked = led
        raise BadAnswer(f"{service.title} leads from one address to the next without an end. Try again later.")

    def _body(self, service: Service, response: httpx2.Response) -> bytes:
        status = response.status_code
        if status == httpx2.codes.OK:
            body = b"".join(self._chunks(service, response, self._most_bytes))
            if "html" in response.headers.get("Content-Type", "").lower():
                # A proxy's log-in page, or a service's page of apologies.
                raise _Again("it answers with a web page")
            return body
        message = self._message(service, response)
        if status in _PASSING:
            wait = retry_after(response.headers.get("Retry-After", ""), now=self._now())
            reason = (
                "it is asked too often" if status == httpx2.codes.TOO_MANY_REQUESTS else f"it is in trouble ({status})"
            )
            raise _Again(f"{reason}{message}", wait=wait)
        if status == httpx2.codes.NOT_FOUND:
            raise PaperNotFound(f"{service.title} does not know it{message}.")
        if status in _REFUSALS:
            raise SourceRefused(f"{service.title} {_REFUSALS[status]} ({status}){message}. {_advice(service, status)}")
        raise BadAnswer(f"{service.title} answers with HTTP status {status}{message}. Try again later.")

    def _chunks(self, service: Service, response: httpx2.Response, most: int) -> Iterator[bytes]:
        """The body, unpacked here and not by httpx2, which would unpack a bomb before it could be measured."""
        packed = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("identity", "gzip", ""):
            raise BadAnswer(f"{service.title} packs its answer by {clean(packed)[:20]!r}, which was not asked for.")
        unpack = zlib.decompressobj(wbits=31) if packed == "gzip" else None
        latest = self._clock() + _WHOLE_ANSWER
        count = 0
        for raw in response.iter_raw():
            chunk = raw
            if unpack is not None:
                try:
                    chunk = unpack.decompress(raw, most - count + 1)
                except zlib.error as error:
                    raise _Again("its answer is damaged on the way") from error
            count += len(chunk)
            if count > most:
                raise BadAnswer(f"{service.title} answers with more than {most:,} bytes. Ask for less at once.")
            if self._clock() > latest:
                raise _Again("its answer takes too long")
            yield chunk
        if unpack is not None and not unpack.eof:
            raise _Again("its answer ends too early")

    def _message(self, service: Service, response: httpx2.Response) -> str:
        """What an error's body says, in a bracket, without keys (which some services repeat); "" where nothing."""
        try:
            body = b"".join(self._chunks(service, response, _MESSAGE_BYTES))
        except (_Again, SourceError, httpx2.HTTPError):
            return ""
        text = message_in(body)
        for name in (*KEY_VARIABLES, CONTACT_VARIABLE):
            if secret := self.setting(name):
                text = text.replace(secret, "…")
        return f' (it says "{text}")' if text else ""

    def _credentials(self, service: Service, url: httpx2.URL) -> tuple[dict[str, str], dict[str, str]]:
        """Parameters and headers that go to the server and nowhere else: not into the cache's names, nor errors."""
        parameters: dict[str, str] = {}
        headers: dict[str, str] = {}
        contact = self.setting(CONTACT_VARIABLE)
        if contact and service.contact_parameter:
            parameters[service.contact_parameter] = contact
        # Never in the clear, but for a server on this machine.
        if service.key and (url.scheme == "https" or url.host in _LOOPBACK) and (key := self.setting(service.key)):
            if service.key_parameter:
                parameters[service.key_parameter] = key
            else:
                headers[service.key_header] = key
        return parameters, headers

    def _agent(self) -> str:
        contact = self.setting(CONTACT_VARIABLE)
        return f"{AGENT} (mailto:{contact})" if contact else AGENT

    def _base(self, service: Service) -> str:
        """Where the service is: https, unless the user has named another place."""
        own = os.environ.get(service.url_variable, "").strip()
        if own and not own.lower().startswith(("https://", "http://")):
            raise SourceError(
                f"{service.url_variable} is {own[:60]!r}. Set it to an address with https://, or unset it."
            )
        return (own or service.base).rstrip("/")


def _is_unknown_address(error: BaseException | None) -> bool:
    """Whether a name could not be turned into an address: what a machine without a network says, in its own words."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust. Reading it takes 0.1 s, and a page makes a client now and then."""
    return httpx2.create_ssl_context()


@functools.cache
def shared_client() -> Client:
    """The client of those who bring none: keys from the environment, no answers kept."""
    return Client()


def message_in(body: bytes) -> str:
    """What an error's body says, on one short line: the message in JSON or XML; nothing of a web page."""
    try:
        said = read_json(body)
        detail = map_in(said.get("esearchresult")).get("ERROR")
        text = first_text(detail, said.get("message"), said.get("errMsg"), said.get("error"))
    except Garbled:
        try:
            root = read_xml(body)
            parts = [element.text or "" for element in root.iter("{*}ERROR", "{*}summary", "{*}errMsg", "{*}message")]
            text = next(filter(None, parts), "")
        except (Garbled, SourceError):
            text = ""
    return clean(text).rstrip(".")[:200]


def _advice(service: Service, status: int) -> str:
    if status == httpx2.codes.BAD_REQUEST:
        return "Correct the query." + (f" If a key is set in {service.key}, check it too." if service.key else "")
    return f"Set the key in {service.key}, or check it." if service.key else "Try again later."


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
