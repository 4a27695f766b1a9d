"""What scenarios share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.pipeline.transport import RequestsTransport

from tests.azure import Azure
from tests.conftest import connected
from tests.scenarios.deaths import Wire
from tests.scenarios.lifecycle import Life


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(RequestsTransport, "send", wire.watch(RequestsTransport.send))
    return wire


@pytest.fixture
def life(azure: Azure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Life]:
    """What happens to images in the `azure` of the module that asks."""
    yield Life(azure, connected(azure, monkeypatch), tmp_path)
    azure.clear()
