"""What the tests of the harness share."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from dev.postgres import Postgres
from tests.chaos.theatre import Theatre
from tests.chaos.theatre import theatre as opened


@pytest.fixture(scope="session")
def theatre(postgres: Postgres, template: str) -> Iterator[Theatre]:
    """Where scenarios are played."""
    with opened(postgres, template) as theatre:
        yield theatre


@pytest.fixture(scope="session")
def seed() -> int:
    """Of all chance; NOTIFY_SEED sets it. The verdict shows it."""
    return int(os.environ.get("NOTIFY_SEED") or random.randrange(2**32))
