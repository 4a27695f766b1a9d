"""`gallerist` in this process, for what needs none of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import structlog
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.context import Context
from tests.azure import Azure


@pytest.fixture
def shell(bare: Azure, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command signed in to `bare`."""
    monkeypatch.setenv("GALLERIST_STORAGE", bare.env["Storage__blobServiceUri"])
    monkeypatch.setenv("COLUMNS", "240")
    return lambda *arguments, **options: CliRunner().invoke(app, list(arguments), **options)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command in this process sends logs to a stream that ends with it."""
    yield
    structlog.reset_defaults()
