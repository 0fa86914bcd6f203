"""What tests of the command line share with those of the components, and a place that stands for all services."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from corpus.sources.client import Client
from corpus.sources.services import SERVICES
from tests.components.conftest import cache, full, hub, web, zip_of
from tests.corpus.sources.fake_services import Answer, Place

__all__ = ["cache", "full", "hub", "web", "zip_of"]


@dataclass
class Time:
    """Time that passes only where somebody sleeps. naps: how long each time, in seconds."""

    moment: float = 1_000_000.0
    naps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.moment += seconds

    def now(self) -> float:
        return self.moment


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A server on this machine in the place of every service, as <its url>/<service's name>/…; no keys are set."""
    place = Place()
    place.start()
    for service in SERVICES:
        monkeypatch.setenv(service.url_variable, f"{place.url}/{service.name}")
        if service.key:
            monkeypatch.delenv(service.key, raising=False)
    for name in ("COCITE_ATLAS_OFFLINE", "COCITE_ATLAS_CONTACT", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield place
    place.stop()


@pytest.fixture
def time_of() -> Time:
    """The time of `client_of`'s clients."""
    return Time()


@pytest.fixture
def client_of(place: Place, time_of: Time) -> Iterator[Callable[..., Client]]:
    """client_of(**settings): a client for which no time passes but by its own waiting."""
    made: list[Client] = []

    def make(**settings: object) -> Client:
        client = Client(sleep=time_of.sleep, clock=time_of.now, now=time_of.now, **settings)  # type: ignore[arg-type]
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def echo(place: Place) -> None:
    """Every service answers {"ok": <the path>}."""
    for service in SERVICES:
        place.services[service.name] = lambda path, parameters: Answer({"ok": path})
