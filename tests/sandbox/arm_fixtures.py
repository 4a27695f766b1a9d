"""Fixtures of the tests of `sandbox.arm` and `sandbox.identity`.

A test module asks for them by `pytest_plugins = ["arm_fixtures"]`, so that one emulator and one Azurite serve all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from arm_server import FAST, GROUP, SUBSCRIPTION, Arm, Storage, Web, running_arm, running_azurite

from sandbox import tls
from sandbox.identity import Identity

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def arm_certificates(tmp_path_factory: pytest.TempPathFactory) -> tls.Certificates:
    return tls.certificates(tmp_path_factory.mktemp("tls"), public=False)


@pytest.fixture(scope="session")
def arm_identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="session")
def arm_storage(
    tmp_path_factory: pytest.TempPathFactory, arm_identity: Identity, arm_certificates: tls.Certificates
) -> Iterator[Storage]:
    with running_azurite(tmp_path_factory.mktemp("storage"), arm_certificates) as url:
        yield Storage(url, arm_identity, arm_certificates)


@pytest.fixture(scope="session")
def arm_vhd(arm_storage: Storage) -> str:
    return arm_storage.put_vhd("shared.vhd")


@pytest.fixture(scope="session")
def arm_session(
    tmp_path_factory: pytest.TempPathFactory,
    arm_identity: Identity,
    arm_storage: Storage,
    arm_certificates: tls.Certificates,
) -> Iterator[Arm]:
    state_dir = tmp_path_factory.mktemp("arm")
    with running_arm(state_dir, FAST, arm_identity, arm_storage, arm_certificates) as arm:
        yield arm


@pytest.fixture
def arm(arm_session: Arm) -> Arm:
    """An emulator that runs so fast that hardly anything takes time, and holds nothing of other tests."""
    arm_session.reset()
    # A region has room for 100 galleries of a subscription, fewer than the tests make
    arm_session.http.delete(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}?api-version=2021-04-01")
    arm_session.put_group()
    arm_session.http.delete("/sandbox/requests")
    return arm_session


@pytest.fixture
def arm_web(arm: Arm) -> Web:
    """A definition of its own in a gallery of its own."""
    gallery = f"gal{next(_numbers)}"
    arm.put_gallery(gallery)
    arm.put_definition(gallery)
    return Web(arm, gallery)


@pytest.fixture
def arm_image(arm: Arm, arm_vhd: str) -> str:
    """The id of a managed image, generation 2."""
    return arm.put_image(f"img{next(_numbers)}", arm_vhd)
