"""The one HTTP client of all sources: rate-limited, retrying, bounded, and never logging a key.

Only what a source puts into a request leaves the machine: queries and ids. It retries by itself and not with stamina,
because a wait of up to two minutes must be cancellable.
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
import humanize

from corpus.sources.cache import AnswerCache
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceError, SourceRefused, SourceUnavailable
from corpus.sources.pace import SHARED_PACE, Pace, retry_after
from corpus.sources.services import SERVICES, Service
from corpus.sources.values import UnreadableAnswer, as_object, first_text, read_json, read_xml
from corpus.text.plain import clean

OFFLINE_VARIABLE = "COCITE_ATLAS_OFFLINE"
CONTACT_VARIABLE = "COCITE_ATLAS_CONTACT"
KEY_VARIABLES = tuple(service.key for service in SERVICES if service.key)
AGENT = "CociteAtlas/0.1"

MAX_BYTES = 64 * 2**20  # 200 MEDLINE records with all their references have some 10 MB
_TIMEOUT = 30.0  # seconds without a byte
_MAX_ANSWER_SECONDS = 180.0  # for the whole answer, however steadily it arrives
_OFFLINE_ATTEMPTS = 2  # where there was no network from the start
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSALS = {
    400: "could not read the request",
    401: "asks for a key",
    403: "does not answer this request or this key",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_MAX_MESSAGE_BYTES = 65_536  # of an error's body
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_Format = Literal["json", "xml"]
_ACCEPT = {"json": "application/json", "xml": "application/xml, application/atom+xml, text/xml"}
Answer = TypeVar("Answer")


def is_offline() -> bool:
    """Whether COCITE_ATLAS_OFFLINE forbids every request."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip() not in ("", "0")


class _NoQueries(logging.Filter):
    """Remove queries from the URLs that httpx2 logs: some services take their key there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                part.copy_with(query=None) if isinstance(part, httpx2.URL) else part for part in record.args
            )
        return True


logging.getLogger("httpx2").addFilter(_NoQueries())
# Its debug messages show the headers of answers, in which a service may repeat a key.
logging.getLogger("httpcore2").setLevel(logging.INFO)


class _Retry(Exception):
    """This attempt failed; another one may succeed.

    wait: the seconds that the server asked for. offline: the host name is unknown, as without a network.
    """

    def __init__(self, reason: str, *, wait: float | None = None, offline: bool = False):
        super().__init__(reason)
        self.wait = wait
        self.offline = offline


class Client:
    """Sends requests to services. May be shared by threads; close it when done.

    secrets: keys and the contact address by the names of their environment variables, used where the environment does
    not set them. cache: a folder for answers. attempts: how often a request is tried in all. max_wait: seconds; a
    service that asks for a longer wait counts as unavailable. sleep, clock, now: replaced in tests.
    """

    def __init__(
        self,
        *,
        secrets: Mapping[str, object] | None = None,
        cache: Path | None = None,
        attempts: int = 5,
        max_wait: float = 120.0,
        timeout: float = _TIMEOUT,
        max_bytes: int = MAX_BYTES,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ):
        self._secrets = dict(secrets or {})
        self._cache = None if cache is None else AnswerCache(cache, now=now)
        self._attempts = attempts
        self._max_wait = max_wait
        self._max_bytes = max_bytes
        self._clock = clock
        self._now = now
        own_time = sleep is not time.sleep or clock is not time.monotonic
        self._pace = Pace(sleep=sleep, clock=clock) if own_time else SHARED_PACE
        # Not seeded, so that many clients do not retry at the same moment. Nothing secret depends on it.
        self._jitter = random.Random()  # noqa: S311
        self._answered = False  # whether any request has reached a server
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

        Raises SourceError for characters that no header can hold.
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
        format: _Format,
        read: Callable[[bytes], Answer],
    ) -> Answer:
        """One answer of a service, parsed by `read`, which may raise UnreadableAnswer to have the request repeated.

        Raises SourceUnavailable, SourceRefused, PaperNotFound (for a 404) and BadAnswer.
        """
        url = httpx2.URL(f"{self._base(service)}/{path}", params={k: str(v) for k, v in parameters.items()})
        request = f"{format} {url}"
        if self._cache is not None and (cached := self._cache.get(request)) is not None:
            try:
                return read(cached)
            except (UnreadableAnswer, SourceError):
                pass  # perhaps from another version: ask again
        if is_offline():
            raise SourceUnavailable(
                f"{service.title} is not used, because {OFFLINE_VARIABLE} is set. Unset it to use the network."
            )
        body, answer = self._with_retries(service, url, format, read)
        if self._cache is not None:
            self._cache.put(request, body)
        return answer

    def _with_retries(
        self, service: Service, url: httpx2.URL, format: _Format, read: Callable[[bytes], Answer]
    ) -> tuple[bytes, Answer]:
        with_key = bool(service.key and self.setting(service.key))
        interval = (with_key and service.interval_with_key) or service.interval
        for attempt in range(1, self._attempts + 1):
            self._pace.take_turn(f"{service.name} {url.host}", interval=interval)
            try:
                body = self._once(service, url, format)
                try:
                    return body, read(body)
                except UnreadableAnswer as error:
                    raise _Retry(f"its answer cannot be read: {error}") from error
                except BadAnswer as error:
                    raise BadAnswer(f"{service.title}: {error}. Try again later.") from error
            except _Retry as error:
                pause = 2.0 ** (attempt - 1) * self._jitter.uniform(0.75, 1.25)
                wait = pause if error.wait is None else max(error.wait, pause)
                if wait > self._max_wait:
                    raise SourceUnavailable(
                        f"{service.title}: {error}, and asks to wait {humanize.naturaldelta(wait)}. Try again then."
                    ) from error
                if attempt == self._attempts or (error.offline and not self._answered and attempt == _OFFLINE_ATTEMPTS):
                    raise SourceUnavailable(
                        f"{service.title}: {error}, after {attempt} attempts. Check the network, or try again later."
                    ) from error
                self._pace.wait(wait)
        raise AssertionError("at least one attempt is made")

    def _once(self, service: Service, url: httpx2.URL, format: _Format) -> bytes:
        current = url
        for _ in range(_MAX_REDIRECTS + 1):
            secret, headers = self._credentials(service, current)
            headers |= {"Accept": _ACCEPT[format], "Accept-Encoding": "gzip", "User-Agent": self._agent()}
            try:
                with self._http.stream("GET", current.copy_merge_params(secret), headers=headers) as response:
                    self._answered = True
                    if response.status_code not in _REDIRECTS:
                        return self._body(service, response)
                    target = current.join(response.headers.get("Location", ""))
            except httpx2.TimeoutException as error:
                raise _Retry("it did not answer in time") from error
            except httpx2.TransportError as error:
                offline = _is_unknown_host(error)
                reason = "its host name cannot be resolved" if offline else clean(str(error)) or type(error).__name__
                raise _Retry(f"it cannot be reached ({reason})", offline=offline) from error
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                raise BadAnswer(
                    f"{service.title}: its answer is not valid HTTP ({type(error).__name__}). Try again later."
                ) from error
            if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
                raise BadAnswer(
                    f"{service.title} redirects to another host, {clean(target.host)[:60]!r}, which is not followed. "
                    f"Check {service.url_variable}, and the network's proxy."
                )
            current = target
        raise BadAnswer(f"{service.title} redirects too often. Try again later.")

    def _body(self, service: Service, response: httpx2.Response) -> bytes:
        status = response.status_code
        if status == httpx2.codes.OK:
            body = b"".join(self._chunks(service, response, self._max_bytes))
            if "html" in response.headers.get("Content-Type", "").lower():
                # A proxy's login page, or a service's page about maintenance.
                raise _Retry("it answers with a web page")
            return body
        message = self._message(service, response)
        if status in _TRANSIENT:
            wait = retry_after(response.headers.get("Retry-After", ""), now=self._now())
            reason = (
                "it received too many requests"
                if status == httpx2.codes.TOO_MANY_REQUESTS
                else f"it reports an error ({status})"
            )
            raise _Retry(f"{reason}{message}", wait=wait)
        if status == httpx2.codes.NOT_FOUND:
            raise PaperNotFound(f"{service.title} has no such paper{message}.")
        if status in _REFUSALS:
            raise SourceRefused(f"{service.title} {_REFUSALS[status]} ({status}){message}. {_advice(service, status)}")
        raise BadAnswer(f"{service.title} answers with HTTP status {status}{message}. Try again later.")

    def _chunks(self, service: Service, response: httpx2.Response, most: int) -> Iterator[bytes]:
        """The body, decompressed here: httpx2 would decompress a bomb before its size is known."""
        packed = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("identity", "gzip", ""):
            raise BadAnswer(f"{service.title} encodes its answer as {clean(packed)[:20]!r}. Try again later.")
        unpack = zlib.decompressobj(wbits=31) if packed == "gzip" else None
        latest = self._clock() + _MAX_ANSWER_SECONDS
        count = 0
        for raw in response.iter_raw():
            chunk = raw
            if unpack is not None:
                try:
                    chunk = unpack.decompress(raw, most - count + 1)
                except zlib.error as error:
                    raise _Retry("its answer was damaged in transit") from error
            count += len(chunk)
            if count > most:
                raise BadAnswer(f"{service.title} answers with more than {most:,} bytes. Ask for less at once.")
            if self._clock() > latest:
                raise _Retry("its answer takes too long")
            yield chunk
        if unpack is not None and not unpack.eof:
            raise _Retry("its answer is incomplete")

    def _message(self, service: Service, response: httpx2.Response) -> str:
        """The message in an error's body, in brackets and without keys, which some services repeat; else ""."""
        try:
            body = b"".join(self._chunks(service, response, _MAX_MESSAGE_BYTES))
        except (_Retry, SourceError, httpx2.HTTPError):
            return ""
        text = message_in(body)
        for name in (*KEY_VARIABLES, CONTACT_VARIABLE):
            if secret := self.setting(name):
                text = text.replace(secret, "…")
        return f' (it says "{text}")' if text else ""

    def _credentials(self, service: Service, url: httpx2.URL) -> tuple[dict[str, str], dict[str, str]]:
        """Parameters and headers that go to the server only, never into the cache or an error."""
        parameters: dict[str, str] = {}
        headers: dict[str, str] = {}
        contact = self.setting(CONTACT_VARIABLE)
        if contact and service.contact_parameter:
            parameters[service.contact_parameter] = contact
        # Never unencrypted, except to a server on this machine.
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
        """The service's address: https, unless the user has set another one."""
        own = os.environ.get(service.url_variable, "").strip()
        if own and not own.lower().startswith(("https://", "http://")):
            raise SourceError(
                f"{service.url_variable} is {own[:60]!r}. Set it to an address that begins with https://, or unset it."
            )
        return (own or service.base).rstrip("/")


def _is_unknown_host(error: BaseException | None) -> bool:
    """Whether a host name could not be resolved, which is how a machine without a network fails."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Trusted certificates. Reading them takes 0.1 s."""
    return httpx2.create_ssl_context()


@functools.cache
def shared_client() -> Client:
    """The default client: keys from the environment, no cache."""
    return Client()


def message_in(body: bytes) -> str:
    """The message in an error's body, JSON or XML, on one short line; "" for a web page."""
    try:
        answer = read_json(body)
        detail = as_object(answer.get("esearchresult")).get("ERROR")
        text = first_text(detail, answer.get("message"), answer.get("errMsg"), answer.get("error"))
    except UnreadableAnswer:
        try:
            root = read_xml(body)
            parts = [element.text or "" for element in root.iter("{*}ERROR", "{*}summary", "{*}errMsg", "{*}message")]
            text = next(filter(None, parts), "")
        except (UnreadableAnswer, SourceError):
            text = ""
    return clean(text).rstrip(".")[:200]


def _advice(service: Service, status: int) -> str:
    if status == httpx2.codes.BAD_REQUEST:
        return "Correct the query." + (f" If a key is set in {service.key}, check it too." if service.key else "")
    return f"Set the key in {service.key}, or check it." if service.key else "Try again later."
