"""The api-versions the emulated ARM accepts, by resource type: the stable ones of Microsoft's REST description."""

from __future__ import annotations

import re

from sandbox.arm import definitions, disks, galleries, images, soft_delete, versions, virtual_machines

GALLERY = (
    "2018-06-01", "2019-03-01", "2019-07-01", "2019-12-01", "2020-09-30", "2021-03-01", "2021-07-01", "2021-10-01",
    "2022-01-03", "2022-03-03", "2022-08-03", "2023-07-03", "2024-03-03", "2025-03-03", "2025-12-03", "2026-03-03",
)  # fmt: skip
IMAGE = (
    "2016-04-30-preview", "2017-03-30", "2017-12-01", "2018-04-01", "2018-06-01", "2018-10-01", "2019-03-01",
    "2019-07-01", "2019-12-01", "2020-06-01", "2020-12-01", "2021-03-01", "2021-04-01", "2021-07-01", "2021-11-01",
    "2022-03-01", "2022-08-01", "2022-11-01", "2023-03-01", "2023-07-01", "2023-09-01", "2024-03-01", "2024-07-01",
    "2024-11-01", "2025-04-01", "2025-11-01", "2026-03-01", "2026-04-01",
)  # fmt: skip

DISK = (
    "2016-04-30-preview", "2017-03-30", "2018-04-01", "2018-06-01", "2018-09-30", "2019-03-01", "2019-07-01",
    "2019-11-01", "2020-05-01", "2020-06-30", "2020-09-30", "2020-12-01", "2021-04-01", "2021-08-01", "2021-12-01",
    "2022-03-02", "2022-07-02", "2023-01-02", "2023-04-02", "2023-10-02", "2024-03-02", "2025-01-02", "2026-03-02",
)  # fmt: skip

SUPPORTED = {
    galleries.TYPE.lower(): GALLERY,
    definitions.TYPE.lower(): GALLERY,
    versions.TYPE.lower(): GALLERY,
    soft_delete.TYPE.lower(): tuple(version for version in GALLERY if version >= "2024-03-03"),
    images.TYPE.lower(): IMAGE,
    virtual_machines.TYPE.lower(): IMAGE,
    disks.DISK.lower(): DISK,
    disks.SNAPSHOT.lower(): DISK,
}
SPELLING = {
    kind.lower(): kind
    for kind in (
        galleries.TYPE, definitions.TYPE, versions.TYPE, soft_delete.TYPE, images.TYPE, virtual_machines.TYPE,
        disks.DISK, disks.SNAPSHOT,
    )
}  # fmt: skip
_FORM = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")


def is_well_formed(api_version: str) -> bool:
    """Whether this is a date, with or without -preview."""
    return _FORM.fullmatch(api_version) is not None
