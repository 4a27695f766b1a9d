"""The sandbox for tests: real SDKs on the real wire, on loopback."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.context import Context, connect
from pipeline.settings import load_settings
from sandbox.arm.gateway import Gateway
from sandbox.up import Options, Sandbox
from tests.azure import Azure
from tests.description import ABSENT, SPECIFICATION, Judge
from tests.recordings import replayed

SUBSCRIPTION = "/subscriptions/00000000-0000-4000-8000-000000000001"
KINDS: dict[str, dict[str, Any]] = {
    "web": {
        "definition": {"hyper_v_generation": "V2", "security_type": "TrustedLaunchSupported"},
        "regions": [{"name": "westeurope", "replicas": 2}, {"name": "northeurope"}, {"name": "swedencentral"}],
        "end_of_life": "180d",
    },
    "bios": {"definition": {"hyper_v_generation": "V1"}},
    "arm": {"definition": {"architecture": "Arm64"}, "version": {"bump": "minor"}},
    "lost": {"gallery": "missing"},
}
EACH = {"web": 320, "bios": 60, "arm": 20, "lost": 20}
HOSTED = {"web": 80, "bios": 5, "arm": 5, "lost": 5}
"""How many images of each kind there are: enough, and no more, for every functions host reads all of them."""
PROMOTED = "web-promoted"
"""The image with a promotion rule; `image` does not give it away."""
LONGEST = (
    "test_a_death_at_any_request_costs_nothing",
    "test_sixty_nights",
    "test_a_hundred_requests_at_once_get_a_hundred_numbers",
)

judge = Judge()
_elsewhere: Counter[str] = Counter()  # what other workers counted


@pytest.fixture(scope="session", autouse=True)
def _described() -> Iterator[None]:
    """All that the emulated ARM answers in this process is judged by Microsoft's API description, where it is at hand."""
    with pytest.MonkeyPatch.context() as patch:
        if SPECIFICATION.exists():
            patch.setattr(Gateway, "app", judge.watching(Gateway.app))
        yield


@pytest.fixture(autouse=True)
def _as_described() -> Iterator[None]:
    """A test fails where ARM answered it otherwise than described."""
    known = len(judge.violations)
    yield
    assert not judge.violations[known:], "\n".join(judge.violations[known:])


def _counts() -> Counter[str]:
    return Counter(replayed, judged=judge.judged, undescribed=judge.undescribed)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first, so that no worker is left alone with one in the end."""
    items.sort(key=lambda item: item.originalname not in LONGEST if isinstance(item, pytest.Function) else True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was read until now stays: garbage collection need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["arm"] = dict(_counts())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _elsewhere.update(getattr(node, "workeroutput", {}).get("arm", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = _elsewhere + _counts()
    if not SPECIFICATION.exists():
        terminalreporter.write_line(f"answers of the emulated ARM are not judged: {ABSENT}")
    elif counts:
        terminalreporter.write_line(
            f"answers of the emulated ARM: {counts['judged']} judged by the API description, {counts['undescribed']} of "
            f"a kind it does not describe; recorded exchanges: {counts['match']} alike, {counts['differ']} not"
        )


def _catalog(path: Path, each: dict[str, int]) -> Path:
    images = {}
    for kind, entry in KINDS.items():
        promoted = [PROMOTED] if kind == "web" else []
        for name in (*(f"{kind}-{n:03}" for n in range(each[kind])), *promoted):
            definition = {"publisher": "Contoso", "offer": kind, "sku": name, "os_type": "Linux"}
            images[name] = {
                "gallery": "staging",
                "drop": f"vhds/{name}/*.vhd",
                "sources": ["vhds/**", f"{SUBSCRIPTION}/**"],
                **entry,
                "definition": definition | entry.get("definition", {}),
            }
    galleries = f"{SUBSCRIPTION}/resourceGroups/rg-images/providers/Microsoft.Compute/galleries"
    path.write_text(
        yaml.safe_dump(
            {
                "galleries": {
                    "staging": {"id": f"{galleries}/galStaging", "location": "westeurope"},
                    "production": {"id": f"{galleries}/galProduction", "location": "westeurope"},
                    "missing": {"id": f"{galleries}/galMissing", "location": "westeurope"},
                },
                "images": images,
                "limits": {"at_once": None},  # a test may leave runs at work
                "promotions": [
                    {
                        "from": PROMOTED,
                        "to": {"gallery": "production"},
                        "require": {"tests": "passed"},
                        "approval": True,
                    }
                ],
            }
        )
    )
    return path


def start(
    folder: Path,
    catalog: Path | None = None,
    galleries: Sequence[str] = ("staging", "production"),
    each: dict[str, int] = HOSTED,
    **options: Any,
) -> Sandbox:
    """A sandbox for tests: quick, quiet, with a catalog of so many images of `each` kind unless another is given."""
    settings = {
        "UPLOAD_SETTLE_SECONDS": "0",
        "POLL_SECONDS": "1",
        "POLL_MAX_SECONDS": "2",
        "SWEEP_GRACE_SECONDS": "2",
        "SWEEP_SCHEDULE": "*/2 * * * * *",
        "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:01",
    } | options.pop("settings", {})
    sandbox = Sandbox(
        Options(
            state_dir=folder / "state",
            catalog=catalog or _catalog(folder / "catalog.yaml", each),
            seed_galleries=list(galleries),
            quiet=True,
            public_authorities=False,
            settings=settings,
            **options,
        )
    )
    sandbox.start()
    return sandbox


@pytest.fixture(scope="session")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Azure with two functions hosts that run the app: what is dropped is published."""
    sandbox = start(
        tmp_path_factory.mktemp("hosted"), time_scale=400, instances=2, settings={"UPLOAD_SETTLE_SECONDS": "1"}
    )
    yield Azure(sandbox)
    sandbox.stop()


@pytest.fixture(scope="session")
def signed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Azure with one functions host, whose HTTP API takes tokens and no keys, and no events."""
    sandbox = start(tmp_path_factory.mktemp("signed-in"), time_scale=400, events="none", sign_in=True)
    yield Azure(sandbox)
    sandbox.stop()


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Azure with no functions host and no events: a test takes each step itself."""
    sandbox = start(tmp_path_factory.mktemp("bare"), each=EACH, time_scale=4000, host=False, events="none")
    yield Azure(sandbox)
    sandbox.stop()


@pytest.fixture
def ctx(bare: Azure, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The pipeline, connected to `bare`."""
    return connected(bare, monkeypatch)


def connected(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The pipeline in this process, connected as the function app is."""
    from pipeline.cloud.identity import credential

    for name, value in azure.env.items():
        if os.environ.get(name) != value:
            credential.cache_clear()
        monkeypatch.setenv(name, value)
    return connect(load_settings(), azure.sandbox.catalog)
