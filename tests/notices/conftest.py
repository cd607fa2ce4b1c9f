"""Fixtures: somebody to tell, and an engine whose orders wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.services.actor import Actor
from tests.desk.orders import account
from tests.notices.receiver import Receiver, receiving
from tests.serving import Desk


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def engine(desk: Desk) -> Actor:
    desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")
    return account(desk, "momentum", "engine")
