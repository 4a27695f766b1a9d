"""How the fuzzers run: the same examples each time, so many a test as FUZZ_EXAMPLES says.

Without it each test takes a slice of 100, which `make test` has time for; `make fuzz` sets 10,000, and takes as long as
that takes. A test here is a plain `@given`: what holds for all of them is put on here.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
_SETTINGS = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and isinstance(item, pytest.Function):
            if is_hypothesis_test(item.function) and not hasattr(
                item.function, "_hypothesis_internal_settings_applied"
            ):
                _SETTINGS(item.function)
            if EXAMPLES > 100:
                item.add_marker(pytest.mark.timeout(0))
