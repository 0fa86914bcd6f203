"""Every test of a page begins as a new process does."""

import pytest

from tests.components.pages.app import forget_everything


@pytest.fixture(autouse=True)
def _new_process() -> None:
    forget_everything()
