"""What scenarios share."""

from __future__ import annotations

import pytest
from azure.core.pipeline.transport import RequestsTransport

from tests.scenarios.deaths import Wire


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(RequestsTransport, "send", wire.watch(RequestsTransport.send))
    return wire
