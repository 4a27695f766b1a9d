"""Publish requests: what a build system asks for, by queue or by HTTP, in one form."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.source import SourceKind, parse_id
from pipeline.versions import Bump, Wish

RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
TagName = Annotated[str, StringConstraints(pattern=r"^[^<>%&\\?/\x00-\x1f]{1,512}$")]
TagValue = Annotated[str, StringConstraints(max_length=256)]
OURS = "gallerist"
"""Tags that begin so are the pipeline's own."""
RESERVED = {"created-by", "approved", "keep"}
"""Tags that mean something of their own."""
Model = TypeVar("Model", bound=BaseModel)


class InvalidRequest(ValueError):
    """A request is not what it should be. `faults` are pairs of field and what is wrong with it."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {fault}" for field, fault in faults))
        self.faults = faults


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataDisk(_Strict):
    """A data disk beside the OS disk: the address of its VHD, and the LUN it has on a VM (Azure: 0 to 63)."""

    lun: Annotated[int, Field(ge=0, le=63)]
    blob: str


class RequestSource(_Strict):
    """What to publish: exactly one of a VHD's address or a resource id."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind.value]} for kind in SourceKind]},
    )

    blob: str | None = None
    data_disks: list[DataDisk] = []
    managed_image: str | None = None
    snapshot: str | None = None
    disk: str | None = None
    vm: str | None = None
    image_version: str | None = None

    @field_validator("managed_image", "snapshot", "disk", "vm", "image_version")
    @classmethod
    def _is_id(cls, value: str | None, info: Any) -> str | None:
        if value is not None:
            parse_id(SourceKind(info.field_name), value)
        return value.rstrip("/") if value else value

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [kind.value for kind in SourceKind if getattr(self, kind.value) is not None]
        if len(given) != 1:
            every = ", ".join(kind.value for kind in SourceKind)
            raise ValueError(f"takes exactly one of {every}; it has {', '.join(given) or 'none'}")
        if self.data_disks and self.blob is None:
            raise ValueError("data_disks go with blob; other sources bring their own")
        luns = [disk.lun for disk in self.data_disks]
        if len(set(luns)) < len(luns):
            raise ValueError("data_disks name a lun twice")
        return self

    @property
    def kind(self) -> SourceKind:
        return next(kind for kind in SourceKind if getattr(self, kind.value) is not None)

    @property
    def id(self) -> str:
        """The address or resource id."""
        return str(getattr(self, self.kind.value))


class PublishRequest(_Strict):
    """One request to publish. `version` is a number or a wildcard (1.4.x, 1.x.x); without it and `bump`, the catalog's
    rule numbers."""

    model_config = ConfigDict(title="Gallerist publish request")

    image: Annotated[str, Field(description="The image's name in the catalog.")]
    source: RequestSource
    version: Annotated[
        str | None,
        Field(
            pattern=r"^(\d+\.\d+\.\d+|\d+\.\d+\.x|\d+\.x\.x)$",
            description="Major.Minor.Patch, or a wildcard: 1.4.x, 1.x.x.",
        ),
    ] = None
    bump: Bump | None = None
    request_id: Annotated[
        RequestId | None, Field(description="Names this request; the same again is the same run.")
    ] = None
    tags: Annotated[dict[TagName, TagValue], Field(max_length=30, description="Tags for the image version.")] = {}

    @field_validator("version")
    @classmethod
    def _is_version(cls, value: str | None) -> str | None:
        if value is not None:
            Wish.parse(value)
        return value

    @field_validator("tags")
    @classmethod
    def _are_theirs(cls, value: dict[str, str]) -> dict[str, str]:
        if ours := [name for name in value if name.lower().startswith(OURS) or name.lower() in RESERVED - {"keep"}]:
            raise ValueError(f"{', '.join(ours)}: the pipeline's own")
        return value

    @model_validator(mode="after")
    def _wants_one_number(self) -> Self:
        if self.version is not None and self.bump is not None:
            raise ValueError("takes version or bump, not both")
        return self

    @property
    def wish(self) -> Wish | None:
        """How to number, where the request says."""
        if self.version is not None:
            return Wish.parse(self.version)
        return Wish(bump=self.bump) if self.bump else None


class Finding(_Strict):
    """What a test system found out. It becomes the tag `name` with the value `outcome`."""

    name: Annotated[TagName, Field(description="What was looked at: the tag that a promotion rule requires.")] = "tests"
    outcome: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}$"),
        Field(description="passed, failed, …"),
    ]
    details: Annotated[
        str | None, StringConstraints(max_length=1000), Field(description="What to know of it, such as a report's URL.")
    ] = None
    by: Annotated[str, StringConstraints(max_length=200), Field(description="Who says so.")] = ""

    @field_validator("name")
    @classmethod
    def _is_theirs(cls, value: str) -> str:
        if value.lower().startswith(OURS) or value.lower() in RESERVED:
            raise ValueError(f"{value}: no verdict's name")
        return value


class Verdict(Finding):
    """A finding about a version of an image."""

    model_config = ConfigDict(title="Gallerist verdict")

    image: Annotated[str, Field(description="The image's name in the catalog.")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$", description="Major.Minor.Patch.")]


def parse_verdict(data: Any) -> Verdict:
    """The verdict in JSON `data`. Raises InvalidRequest naming every wrong field."""
    return _parsed(Verdict, data)


def parse_request(data: Any) -> PublishRequest:
    """The request in JSON `data`. Raises InvalidRequest naming every wrong field."""
    return _parsed(PublishRequest, data)


def _parsed(kind: type[Model], data: Any) -> Model:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise InvalidRequest(
            [
                (".".join(map(str, e["loc"])) or "request", re.sub(r"^Value error, ", "", e["msg"]))
                for e in error.errors()
            ]
        ) from error
