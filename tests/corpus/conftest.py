"""What tests of the command line share with those of the components: a web to download from."""

from tests.components.conftest import cache, full, hub, web, zip_of

__all__ = ["cache", "full", "hub", "web", "zip_of"]
