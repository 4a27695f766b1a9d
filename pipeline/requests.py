"""Publish requests: what a build system asks for, by queue or by HTTP, in one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    field_validator,
    model_validator,
)

from pipeline.addresses import LONGEST_ADDRESS
from pipeline.source import SourceKind, parse_id
from pipeline.validation import (
    ONE_LINE,
    UNSEEN,
    Fault,
    Model,
    beside,
    field_name,
    names,
    parsed,
    pattern,
    quoted,
    sentence,
)
from pipeline.versions import Bump, Version, Wish

RequestId = Annotated[
    str,
    pattern(
        r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$",
        "1 to 128 of A-Z a-z 0-9 . _ : / -, the first of them a letter or a digit",
    ),
]
TagName = Annotated[
    str,
    pattern(
        rf"^[^<>%&\\?/{UNSEEN}]{{1,512}}$",
        "1 to 512 characters, none of them < > % & \\ ? /, a control or an invisible character",
    ),
]
TagValue = Annotated[str, ONE_LINE, StringConstraints(max_length=256)]


ImageName = Annotated[
    str,
    pattern(
        r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$",
        "1 to 40 of a-z 0-9 and -, the first and the last of them a letter or a digit",
    ),
]
"""The name of an image in the catalog."""


def _number(text: str) -> str:
    return str(Version.parse(text))


Number = Annotated[str, pattern(r"^[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}$", "1.4.0"), AfterValidator(_number)]
"""The number of a version: Major.Minor.Patch."""
OURS = "gallerist"
"""Tags that begin so are the pipeline's own."""
RESERVED = {"created-by", "approved", "keep"}
"""Tags that mean something of their own."""


_MOST_FAULTS = 50


class InvalidRequest(ValueError):
    """A request is not what it should be. `faults` are pairs of field and what is wrong, the first 50 of them."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        if (more := len(faults) - _MOST_FAULTS) > 0:
            faults = [*faults[:_MOST_FAULTS], ("request", f"has {more} more faults")]
        super().__init__("; ".join(sentence(field, fault) for field, fault in faults))
        self.faults = faults


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Address = Annotated[str, StringConstraints(max_length=LONGEST_ADDRESS)]
"""A blob's address, a SAS included."""
ResourceId = Annotated[str, StringConstraints(max_length=1024)]
MOST_TAGS = 30
"""Tags that a request may set: Azure takes 50 on a version, and the pipeline and test systems add theirs."""
MOST_OF_DISKS = 100_000
"""Characters that the data disks of a request may take in the record of its run, which is a row of 1 MiB."""


class DataDisk(_Strict):
    """A data disk beside the OS disk: the address of its VHD, and the LUN it has on a VM (Azure: 0 to 63)."""

    lun: Annotated[int, Field(ge=0, le=63)]
    blob: Address


class RequestSource(_Strict):
    """What to publish: exactly one of a VHD's address or a resource id."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind.value]} for kind in SourceKind]},
    )

    blob: Address | None = None
    data_disks: Annotated[list[DataDisk], Field(max_length=64)] = []
    managed_image: ResourceId | None = None
    snapshot: ResourceId | None = None
    disk: ResourceId | None = None
    vm: ResourceId | None = None
    image_version: ResourceId | None = None

    @field_validator("managed_image", "snapshot", "disk", "vm", "image_version")
    @classmethod
    def _is_id(cls, value: str | None, info: Any) -> str | None:
        if value is not None:
            parse_id(SourceKind(info.field_name), value)
        return value.removesuffix("/") if value else value

    @model_validator(mode="wrap")
    @classmethod
    def _is_one(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        return beside(handler, data, cls, _of_source(data) if isinstance(data, dict) else [], _MOST_FAULTS)

    @property
    def kind(self) -> SourceKind:
        return next(kind for kind in SourceKind if getattr(self, kind.value) is not None)

    @property
    def id(self) -> str:
        """The address or resource id."""
        return str(getattr(self, self.kind.value))


def _of_source(data: dict[str, Any]) -> list[Fault]:
    """What is wrong between the fields of a source."""
    faults = []
    given = [kind.value for kind in SourceKind if data.get(kind.value) is not None]
    if len(given) != 1:
        every = names([kind.value for kind in SourceKind], "or")
        faults.append(Fault((), f"takes exactly one of {every}; it has {names(given)}"))
    disks = data.get("data_disks")
    if disks and isinstance(disks, list):
        if data.get("blob") is None:
            faults.append(Fault((), "data_disks go with blob; other sources bring their own"))
        given_luns = (disk.get("lun") for disk in disks if isinstance(disk, dict))
        luns = Counter(lun for lun in given_luns if isinstance(lun, int))
        if twice := sorted(lun for lun, times in luns.items() if times > 1):
            faults.append(Fault((), f"data_disks name a lun twice: {names(map(str, twice))}"))
    return faults


class PublishRequest(_Strict):
    """One request to publish. `version` is a number or a wildcard (1.4.x, 1.x.x); without it and `bump`, the catalog's
    rule numbers."""

    model_config = ConfigDict(title="Gallerist publish request")

    image: Annotated[str, Field(description="The image's name in the catalog.")]
    source: RequestSource
    version: Annotated[
        Annotated[
            str,
            pattern(
                r"^([0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}|[0-9]{1,10}\.[0-9]{1,10}\.x|[0-9]{1,10}\.x\.x)$",
                "1.4.0, 1.4.x or 1.x.x",
            ),
        ]
        | None,
        Field(description="Major.Minor.Patch, or a wildcard: 1.4.x, 1.x.x."),
    ] = None
    bump: Bump | None = None
    jump: Annotated[
        StrictBool, Field(description="The number may be more than one major above the highest; for operators.")
    ] = False
    request_id: Annotated[
        RequestId | None, Field(description="Names this request of the image; the same again is the same run.")
    ] = None
    tags: Annotated[
        dict[TagName, TagValue], Field(max_length=MOST_TAGS, description="Tags for the image version.")
    ] = {}

    @field_validator("version")
    @classmethod
    def _is_version(cls, value: str | None) -> str | None:
        if value is not None:
            Wish.parse(value)
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _fits_together(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        return beside(handler, data, cls, _of_request(data) if isinstance(data, dict) else [], _MOST_FAULTS)

    @property
    def wish(self) -> Wish | None:
        """How to number, where the request says."""
        if self.version is not None:
            return Wish.parse(self.version)
        return Wish(bump=self.bump) if self.bump else None


def _of_request(data: dict[str, Any]) -> list[Fault]:
    """What is wrong between the fields of a request."""
    faults = []
    if data.get("version") is not None and data.get("bump") is not None:
        faults.append(Fault((), "takes version or bump, not both"))
    if isinstance(tags := data.get("tags"), dict):
        if ours := [name for name in tags if name.lower().startswith(OURS) or name.lower() in RESERVED - {"keep"}]:
            faults.append(Fault(("tags",), f"holds the pipeline's own: {names(ours)}"))
        faults += [Fault(("tags",), words) for words in alike(tags)]
    return faults


def alike(tags: Iterable[str]) -> list[str]:
    """Which of these tags Azure takes for one, in words: it keeps the first of names that differ in case only."""
    groups: dict[str, list[str]] = {}
    for name in tags:
        groups.setdefault(name.lower(), []).append(name)
    return [
        f"names one tag {len(same)} times, for Azure tells no case apart: {names(map(quoted, same))}"
        for same in groups.values()
        if len(same) > 1
    ]


class Finding(_Strict):
    """What a test system found out. It becomes the tag `name` with the value `outcome`, too."""

    name: Annotated[TagName, Field(description="What was looked at, by the name that a rule requires.")] = "tests"
    outcome: Annotated[
        str,
        pattern(
            r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}$",
            "1 to 128 of A-Z a-z 0-9 space . _ -, the first of them a letter or a digit",
        ),
        Field(description="passed, failed, …"),
    ]
    details: Annotated[
        Annotated[str, ONE_LINE, StringConstraints(max_length=1000)] | None,
        Field(description="What to know of it, such as a report's URL."),
    ] = None
    by: Annotated[str, ONE_LINE, StringConstraints(max_length=200), Field(description="Who says so.")] = ""

    @field_validator("name")
    @classmethod
    def _is_theirs(cls, value: str) -> str:
        if value.lower().startswith(OURS) or value.lower() in RESERVED:
            raise ValueError(f"{quoted(value)} is no verdict's name: the pipeline has a use of its own for it")
        return value


class Verdict(Finding):
    """A finding about a version of an image."""

    model_config = ConfigDict(title="Gallerist verdict")

    image: Annotated[str, Field(description="The image's name in the catalog.")]
    version: Annotated[Number, Field(description="Major.Minor.Patch.")]


def parse_verdict(data: Any) -> Verdict:
    """The verdict in JSON `data`. Raises InvalidRequest naming every wrong field."""
    return parse(Verdict, data)


def parse_request(data: Any) -> PublishRequest:
    """The request in JSON `data`. Raises InvalidRequest naming every wrong field."""
    return parse(PublishRequest, data)


def parse(kind: type[Model], data: Any) -> Model:
    """`data` as `kind` has it. Raises InvalidRequest naming every wrong field."""
    made, faults = parsed(kind, data, _MOST_FAULTS)
    if made is None:
        raise InvalidRequest([(field_name(fault.path) or "request", fault.words) for fault in faults])
    return made
