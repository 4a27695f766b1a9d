"""The catalog: what may be published, and where. Nothing outside it can be.

It is read whole and every fault in it is reported at once; nothing is done with a catalog that has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from pipeline.access import Caller, NotAllowed, Role
from pipeline.addresses import CONTAINER, LONGEST_NAME, name_fault
from pipeline.patterns import Pattern
from pipeline.replication import region_name
from pipeline.requests import ImageName, TagName, TagValue, alike
from pipeline.resource_ids import GROUP
from pipeline.validation import Fault, Faults, beside, described, field_name, names, parsed, pattern, quoted, sentence
from pipeline.versions import FIRST, Bump, Version, check_pattern, in_range
from pipeline.yaml_text import NotYaml, read_yaml


class CatalogError(ValueError):
    """The catalog cannot be used. The message names each field at fault and what it takes; `faults` are those alone."""

    def __init__(self, message: str, faults: list[str] | None = None) -> None:
        super().__init__(message)
        self.faults = faults or [message]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_LONGEST = timedelta(days=36500)


def _duration(given: Any) -> Any:
    if isinstance(given, timedelta):
        return given
    found = re.fullmatch(r"([0-9]+)\s*([smhdw])", given.strip()) if isinstance(given, str) else None
    if not found:
        raise ValueError(f"takes a number and a unit, such as 24h, 180d or 2w, not {described(given)}")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[found[2]]
    try:
        length = timedelta(**{unit: int(found[1])})
    except (OverflowError, ValueError):  # more than a timedelta, or a number, can hold
        length = timedelta.max
    if length > _LONGEST:
        raise ValueError(f"takes {_LONGEST.days}d at most, not {quoted(given)}")
    return length


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+\s*[smhdw]$", "examples": ["24h", "180d"]}),
]
Number = Annotated[
    Version, WithJsonSchema({"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$", "default": str(FIRST)})
]
Location = Annotated[str, AfterValidator(region_name), StringConstraints(min_length=1, max_length=60)]
# "names" of galleries and definitions: Microsoft.Compute naming rules.
DefinitionName = Annotated[
    str,
    pattern(
        r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9])?$",
        "1 to 80 of A-Z a-z 0-9 _ . -, the first and the last of them a letter or a digit",
    ),
]

_GALLERY_ID = re.compile(
    rf"{GROUP}(?ai:/providers/Microsoft\.Compute/galleries/(?P<name>[a-z0-9]([a-z0-9_.]{{0,78}}[a-z0-9])?)/?)"
)


class Gallery(_Entry):
    """An Azure Compute Gallery that exists, by its resource id. `location` is the source region of its versions."""

    id: str
    location: Location

    @field_validator("id")
    @classmethod
    def _is_gallery(cls, value: str) -> str:
        if not _GALLERY_ID.fullmatch(value):
            raise ValueError(
                "takes a gallery's resource id: /subscriptions/…/resourceGroups/…"
                "/providers/Microsoft.Compute/galleries/NAME"
            )
        return value.rstrip("/")

    def _part(self, name: str) -> str:
        found = _GALLERY_ID.fullmatch(self.id)
        assert found  # noqa: S101 - the validator has seen to it
        return found[name]

    @property
    def subscription(self) -> str:
        return self._part("subscription")

    @property
    def resource_group(self) -> str:
        return self._part("group")

    @property
    def name(self) -> str:
        return self._part("name")


class OsType(StrEnum):
    LINUX = "Linux"
    WINDOWS = "Windows"


class OsState(StrEnum):
    GENERALIZED = "Generalized"
    SPECIALIZED = "Specialized"


class Generation(StrEnum):
    V1 = "V1"
    V2 = "V2"


class Architecture(StrEnum):
    X64 = "x64"
    ARM64 = "Arm64"


class SecurityType(StrEnum):
    """The feature `SecurityType` of an image definition ("Azure Compute Gallery" page)."""

    STANDARD = "Standard"
    TRUSTED_LAUNCH_SUPPORTED = "TrustedLaunchSupported"
    TRUSTED_LAUNCH = "TrustedLaunch"
    CONFIDENTIAL_SUPPORTED = "ConfidentialVMSupported"
    CONFIDENTIAL = "ConfidentialVM"
    TRUSTED_LAUNCH_AND_CONFIDENTIAL_SUPPORTED = "TrustedLaunchAndConfidentialVmSupported"


# Microsoft's Trusted Launch page: these take a VM, a disk or a snapshot, never a bare VHD.
NEVER_FROM_VHD = {SecurityType.TRUSTED_LAUNCH, SecurityType.CONFIDENTIAL}


class Definition(_Entry):
    """An image definition: created if absent, verified if present. `name` is the image's own where not given."""

    name: DefinitionName | None = None
    publisher: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    offer: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    sku: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    os_type: OsType
    os_state: OsState = OsState.GENERALIZED
    hyper_v_generation: Generation = Generation.V2
    architecture: Architecture = Architecture.X64
    security_type: SecurityType = SecurityType.STANDARD
    description: str | None = None

    @model_validator(mode="after")
    def _generation_fits(self) -> Self:
        if self.hyper_v_generation is Generation.V1 and self.security_type is not SecurityType.STANDARD:
            raise ValueError(f"security_type {self.security_type} needs hyper_v_generation V2")
        if self.hyper_v_generation is Generation.V1 and self.architecture is Architecture.ARM64:
            raise ValueError("architecture Arm64 needs hyper_v_generation V2")
        return self


class StorageType(StrEnum):
    STANDARD_LRS = "Standard_LRS"
    STANDARD_ZRS = "Standard_ZRS"
    PREMIUM_LRS = "Premium_LRS"


class Region(_Entry):
    """A target region. Azure keeps at most 100 replicas of a version in one."""

    name: Location
    replicas: Annotated[int, Field(ge=1, le=100)] = 1
    storage: StorageType = StorageType.STANDARD_LRS


class Route(StrEnum):
    """How a VHD becomes a version: through a managed image, or directly."""

    AUTO = "auto"
    MANAGED_IMAGE = "managed-image"
    DIRECT = "direct"


def _is_name_pattern(text: str) -> str:
    check_pattern(text)
    return text


NamePattern = Annotated[
    str,
    AfterValidator(_is_name_pattern),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[^/]*\{version\}[^/]*$", "examples": ["web-{version}-*"]},
    ),
]


class Numbering(_Entry):
    """How versions are numbered. `start` is the first one.

    `pattern` says where in a blob's file name the number stands, for `bump: from-name`: `{version}` once, with * and ?
    as in `drop`.
    """

    bump: Bump = Bump.PATCH
    start: Number = FIRST
    pattern: NamePattern | None = None

    @field_validator("start", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Version:
        if isinstance(value, Version):
            return value
        if isinstance(value, str):
            return Version.parse(value)
        raise ValueError(f"takes Major.Minor.Patch, such as 1.0.0, not {described(value)}")

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        if self.pattern is not None and self.bump is not Bump.FROM_NAME:
            raise ValueError(
                f"pattern goes with bump: from-name, not with {self.bump}: it says where in a file name the number is"
            )
        return self


class Keep(_Entry):
    """What retention keeps: the `newest` so many versions, and those younger than `days`. Neither given: all."""

    newest: Annotated[int, Field(ge=1, le=10_000)] | None = None
    days: Annotated[int, Field(ge=1, le=_LONGEST.days)] | None = None


class Limits(_Entry):
    """How much of an image is made: `at_once`, runs at work; `a_day`, versions begun in a day of UTC.

    What is over waits its turn. null: no limit.
    """

    at_once: Annotated[int, Field(ge=1, le=10_000)] | None = 20
    a_day: Annotated[int, Field(ge=1, le=100_000)] | None = 100


class TotalLimits(Limits):
    """How much of all images together is made, beside the limits of each. null: no limit."""

    at_once: Annotated[int, Field(ge=1, le=10_000)] | None = 100
    a_day: Annotated[int, Field(ge=1, le=100_000)] | None = None


class Fate(StrEnum):
    """What becomes of a VHD once its version is published."""

    TAG = "tag"
    """It stays, with an index tag that says what became of it."""
    KEEP = "keep"
    """It stays as it is."""
    DELETE = "delete"


class Completion(StrEnum):
    """When an upload counts as whole."""

    REST = "rest"
    """When it is marked complete; or when storage shows nothing that is missing, and it was not written to for a
    while."""
    MARK = "mark"
    """When it is marked complete: by Content-MD5, by gallerist upload, or by gallerist complete."""


class SourceVhd(_Entry):
    """What becomes of a VHD once it is published, at the earliest `after` its last write."""

    then: Fate = Fate.TAG
    after: Duration = timedelta()

    @field_validator("then", mode="before")
    @classmethod
    def _is_no_tier(cls, value: Any) -> Any:
        if value in ("cool", "cold", "archive"):
            raise ValueError(
                f"{value} cannot be: Azure keeps block blobs in tiers, and a VHD is a page blob (Set Blob Tier). "
                "Take delete, with after, or keep"
            )
        return value


class Drop:
    """Where the VHDs of an image are dropped: `container/path`; * stays within one folder, ** does not."""

    def __init__(self, pattern: str) -> None:
        self.container, _, path = pattern.partition("/")
        self._path = Pattern(path)
        self.prefix = self._path.prefix

    def takes(self, name: str) -> bool:
        """Whether the pattern takes a blob of this name in its container; none that means another to some clients."""
        return name_fault(name) is None and self._path.takes(name)


class Allowed:
    """What a request may name beside: a pattern of container/path, or of resource ids, which Azure tells no case of."""

    def __init__(self, text: str) -> None:
        self.of_ids = text.startswith("/")
        self._pattern = Pattern(text.lower() if self.of_ids else text)
        self.is_wide = len(self._pattern.prefix.split("/")) < (6 if self.of_ids else 2)
        """Whether it names no container, or no resource group."""

    def takes(self, source: str) -> bool:
        """Whether it takes a blob, by container/path, or a resource, by its id; a pattern of one kind none of the
        other."""
        if self.of_ids != source.startswith("/"):
            return False
        if self.of_ids:
            return len(source) <= LONGEST_NAME and self._pattern.takes(source.lower())
        return name_fault(source.partition("/")[2]) is None and self._pattern.takes(source)


_CONTAINER_PATH = "takes container/path, such as vhds/ubuntu-web/*.vhd; * stays within one folder, ** does not"


def _pattern_fault(text: str) -> str | None:
    """Why a pattern takes nothing, or what a client would resolve on the way, in words; None where it does not."""
    if len(text) > LONGEST_NAME:
        return f"takes {LONGEST_NAME:,} characters at most, not {len(text):,}"
    return name_fault(text.removeprefix("/")) or ("has a % in it" if "%" in text and text.startswith("/") else None)


def _lower(text: str) -> str:
    return text.lower()


Publisher = Annotated[
    str,
    pattern(
        r"^([0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|key|queue)$",
        "an object id of Entra's (a GUID), key or queue",
    ),
    AfterValidator(_lower),
]
"""Who may ask for versions: a person or an application that signs in, no group; `key`, whoever has the publisher's key;
`queue`, whoever may send to the queue publish-requests."""


class Image(_Entry):
    """What is published under one name."""

    gallery: str
    drop: str | None = None
    completion: Completion = Completion.REST
    sources: list[str] = []
    """What a request may name beside what is dropped: patterns of container/path, or of resource ids."""
    publishers: Annotated[list[Publisher], Field(max_length=100)] = []
    """Who may ask for versions, of those that have the role; all of them where none is given. Operators always may."""
    definition: Definition
    route: Route = Route.AUTO
    version: Numbering = Numbering()
    regions: list[Region] = []
    end_of_life: Duration | None = None
    limits: Limits = Limits()
    keep: Keep = Keep()
    source_vhd: SourceVhd = SourceVhd()

    @field_validator("drop")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        if value is None:
            return None
        container, _, path = value.partition("/")
        if not CONTAINER.fullmatch(container) or not path:
            raise ValueError(_CONTAINER_PATH)
        if fault := _pattern_fault(value):
            raise ValueError(fault)
        return value

    @field_validator("sources")
    @classmethod
    def _are_patterns(cls, value: list[str]) -> list[str]:
        faults = []
        for n, text in enumerate(value):
            if text.startswith("/") and not text.lower().startswith("/subscriptions/"):
                faults.append(Fault((n,), f"takes resource ids from /subscriptions/ on, not {quoted(text)}"))
            elif fault := "is empty" if not text else _pattern_fault(text):
                faults.append(Fault((n,), fault))
            elif "/" not in text and "**" not in text:
                faults.append(Fault((n,), _CONTAINER_PATH))
        if faults:
            raise Faults(faults)
        return value

    @field_validator("regions")
    @classmethod
    def _are_distinct(cls, value: list[Region]) -> list[Region]:
        names = [region.name for region in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names {', '.join(twice)} twice")
        return value

    @model_validator(mode="after")
    def _route_fits(self) -> Self:
        wants = self.definition
        if self.drop and wants.security_type in NEVER_FROM_VHD:
            raise ValueError(
                f"security_type {wants.security_type} takes a VM, a disk or a snapshot, never a VHD: "
                f"remove drop, or use {wants.security_type}Supported"
            )
        if self.route is Route.MANAGED_IMAGE and self._rules_out_managed_image:
            raise ValueError(
                "route managed-image cannot be: a managed image is always Generalized and x64; use direct or auto"
            )
        return self

    @property
    def _rules_out_managed_image(self) -> bool:
        return self.definition.os_state is OsState.SPECIALIZED or self.definition.architecture is Architecture.ARM64

    @property
    def taken_route(self) -> Literal[Route.MANAGED_IMAGE, Route.DIRECT]:
        """The route after `auto` is resolved: managed image unless Azure rules it out."""
        if self.route is Route.DIRECT or self._rules_out_managed_image:
            return Route.DIRECT
        return Route.MANAGED_IMAGE

    @cached_property
    def _dropped(self) -> Drop | None:
        return Drop(self.drop) if self.drop else None

    @cached_property
    def _allowed(self) -> list[Allowed]:
        return [Allowed(text) for text in self.sources]

    def allows(self, source: str) -> bool:
        """Whether a request may name `source`, a container/path or a resource id."""
        dropped = not source.startswith("/") and self.takes(*source.partition("/")[::2])
        return dropped or any(pattern.takes(source) for pattern in self._allowed)

    @property
    def wide_sources(self) -> list[int]:
        """The places in `sources` of patterns that name no container, or no resource group."""
        return [n for n, pattern in enumerate(self._allowed) if pattern.is_wide]

    def takes(self, container: str, name: str) -> bool:
        """Whether a blob dropped as `container/name` feeds this image."""
        return bool(self._dropped and container == self._dropped.container and self._dropped.takes(name))

    @property
    def drop_container(self) -> str | None:
        return self._dropped.container if self._dropped else None

    @property
    def drop_prefix(self) -> str:
        """The longest prefix of blob names that a match can have."""
        return self._dropped.prefix if self._dropped else ""


class PromotedNumber(StrEnum):
    """The number of a promoted version: its own, or the next one of where it goes."""

    KEEP = "keep"
    NEXT = "next"


def _is_range(text: str) -> str:
    in_range(FIRST, text)
    return text


class Promotion(_Entry):
    """What moves on every night, to where, and what it has to have proven."""

    class Target(_Entry):
        """Where a version goes. `regions` are those of the source image where left out."""

        gallery: str
        definition: DefinitionName | None = None
        regions: list[Region] = []

    name: Annotated[str, pattern(r"^[a-z0-9][a-z0-9-]{0,79}$", "1 to 80 of a-z 0-9 and -, the first no -")] | None = (
        None
    )
    """What the rule is called; `FROM-to-GALLERY` where left out."""
    from_: Annotated[str, Field(alias="from")]
    to: Target
    soak: Duration = timedelta()
    """How old a version has to be."""
    require: dict[TagName, TagValue] = {}
    """The verdicts it has to have, by name."""
    range: Annotated[str, AfterValidator(_is_range)] = "*"
    """The numbers that may move, as npm writes ranges: ~1.4, ^1.2, >=1.4 <2."""
    number: PromotedNumber = PromotedNumber.KEEP
    approval: bool = False
    """Whether a person has to approve of it."""
    four_eyes: bool = True
    """Whether that has to be another person than who published it or gave it a verdict, where they sign in."""

    @field_validator("require")
    @classmethod
    def _are_distinct(cls, value: dict[str, str]) -> dict[str, str]:
        if same := alike(value):
            raise Faults(Fault((), words) for words in same)
        return value

    @property
    def key(self) -> str:
        """What the rule is called."""
        return self.name or _key(self.from_, self.to.gallery)


def _key(source: str, gallery: str) -> str:
    """What a rule is called that has no name of its own."""
    return f"{source}-to-{gallery}".lower()


class Catalog(_Entry):
    """The whole catalog: galleries, images and promotions by name.

    Where a promotion goes to a definition that no image is published into, an image for it is added to `images`,
    named `FROM-GALLERY`. An image without drop and sources takes promotions and nothing else.
    """

    galleries: Annotated[dict[str, Gallery], Field(min_length=1)]
    images: Annotated[dict[ImageName, Image], Field(min_length=1)]
    limits: TotalLimits = TotalLimits()
    promotions: list[Promotion] = []
    _targets: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _refers_to_what_is_there(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        return beside(handler, data, cls, _between_entries(data) if isinstance(data, dict) else [])

    @model_validator(mode="after")
    def _promotions_lead_somewhere(self) -> Self:
        faults = []
        for n, rule in enumerate(self.promotions):
            try:
                self._targets[rule.key] = self._target_image(rule)
            except ValueError as error:
                faults.append(Fault(("promotions", n), str(error)))
        if faults:
            raise Faults(faults)
        return self

    def _target_image(self, rule: Promotion) -> str:
        """The image a rule publishes as, added where there was none. Raises ValueError where it cannot be."""
        source = self.images[rule.from_]
        definition = rule.to.definition or self.definition_name(rule.from_)
        place = (rule.to.gallery, definition.lower())
        target = next(
            (name for name, at in self.images.items() if (at.gallery, self.definition_name(name).lower()) == place),
            None,
        )
        if target is None:
            target = self._add_target(rule, source, definition)
        elif rule.to.regions:
            raise ValueError(f"to.regions: the image {target} says where its versions go")
        bump = self.images[target].version.bump
        if rule.number is PromotedNumber.NEXT and bump in (Bump.FROM_NAME, Bump.FROM_METADATA):
            raise ValueError(f"number: {target} is numbered {bump}, and a promotion has no VHD to take a number from")
        if target == rule.from_:
            raise ValueError("leads from a definition to itself")
        if self.gallery_of(target).location != self.gallery_of(rule.from_).location:
            # Azure: "Please check source exists, and is in the same region as gallery image version being created".
            raise ValueError(
                f"{rule.from_} is in {self.gallery_of(rule.from_).location} and {target} in "
                f"{self.gallery_of(target).location}: Azure makes a version of another in the same region only. "
                "Give both galleries one location, and name the others in regions"
            )
        fixed = ("os_type", "os_state", "hyper_v_generation", "architecture", "security_type")
        kinds = [source.definition, self.images[target].definition]
        if differing := [name for name in fixed if len({getattr(kind, name) for kind in kinds}) > 1]:
            raise ValueError(f"{rule.from_} and {target} differ in definition: {', '.join(differing)}")
        return target

    def _add_target(self, rule: Promotion, source: Image, definition: str) -> str:
        name = f"{rule.from_}-{rule.to.gallery}".lower().replace("_", "-")
        if rule.to.gallery == source.gallery:
            raise ValueError(
                f"to.definition: a gallery takes publisher, offer and sku once; name an image for {definition}, "
                "with others"
            )
        if name in self.images or not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
            raise ValueError(
                f"to: {quoted(name)} is taken or no name for an image; name one for {definition} in images"
            )
        offered, place = _offered(source.definition), self.galleries[rule.to.gallery].id.lower()
        for other, entry in self.images.items():
            if (self.gallery_of(other).id.lower(), _offered(entry.definition)) == (place, offered):
                raise ValueError(
                    f"to: {other} has the publisher, offer and sku of {rule.from_} there, and a gallery takes them once"
                )
        self.images[name] = source.model_copy(
            update={
                "gallery": rule.to.gallery,
                "drop": None,
                "sources": [],
                "publishers": [],
                "definition": source.definition.model_copy(update={"name": definition}),
                "regions": rule.to.regions or source.regions,
            }
        )
        return name

    def target_of(self, rule: Promotion) -> str:
        """The image that a rule publishes as."""
        return self._targets[rule.key]

    def verdicts_on(self, image: str) -> set[str]:
        """The verdicts that a rule requires of an image's versions, by their names in lower case: no other verdict is
        taken, and nobody gives a version their tags otherwise."""
        return {name.lower() for rule in self.rules_from(image) for name in rule.require}

    @cached_property
    def required_tags(self) -> frozenset[str]:
        """The tags that any rule requires, in lower case. No request gives one, for whichever image: what a version
        bears moves on with it, to where the next rule may require it."""
        return frozenset(name.lower() for rule in self.promotions for name in rule.require)

    def rules_from(self, image: str) -> list[Promotion]:
        return [rule for rule in self.promotions if rule.from_ == image]

    def gallery_of(self, image: str) -> Gallery:
        return self.galleries[self.images[image].gallery]

    def definition_name(self, image: str) -> str:
        return self.images[image].definition.name or image

    def definition_id(self, image: str) -> str:
        """The resource id of the definition an image is published into."""
        return f"{self.gallery_of(image).id}/images/{self.definition_name(image)}"

    def target_regions(self, image: str) -> list[Region]:
        """Every region a version of `image` is replicated to, the source region always among them.

        Azure refuses a version whose target regions leave out its own location.
        """
        regions = self.images[image].regions
        source = self.gallery_of(image).location
        if any(region.name == source for region in regions):
            return regions
        return [Region(name=source), *regions]

    def allows(self, image: str, source: str) -> bool:
        """Whether a request may publish `source`, a container/path or a resource id, as `image`."""
        return self.images[image].allows(source)

    def taken_by(self, image: str) -> list[str]:
        """The patterns of what a request may name as `image`."""
        entry = self.images[image]
        return [*([entry.drop] if entry.drop else []), *entry.sources]

    def check_publisher(self, image: str, caller: Caller) -> None:
        """Raises NotAllowed where an image of the catalog has other publishers than who asks for a version of it."""
        publishers = self.images[image].publishers if image in self.images else []
        name = caller.id.lower() if caller.signed_in else caller.id.partition(":")[0]
        if publishers and name not in publishers and not caller.has(Role.OPERATOR):
            raise NotAllowed(
                f"{caller.name} may not ask for versions of {image}: the catalog names others as its publishers. Let "
                f"one of them ask, or an {Role.OPERATOR}, or add {name} to images.{image}.publishers"
            )

    def warnings(self, *, sign_in: bool) -> list[str]:
        """What a sound catalog may not mean, each from the field it is about; `sign_in` says that callers of the HTTP
        API sign in, and do not come with keys."""
        promoted = set(self._targets.values())
        found = []
        for name, image in self.images.items():
            at = f"images.{name}"
            if not self.taken_by(name) and name not in promoted:
                found.append(f"{at} takes nothing: give it drop or sources, or let a rule promote to it")
            for n in image.wide_sources:
                wide, narrow = (
                    ("a subscription, or more", "/subscriptions/…/resourceGroups/NAME/**")
                    if image.sources[n].startswith("/")
                    else ("any container of the account", "builds/**")
                )
                found.append(f"{at}.sources.{n} takes what lies in {wide}: name less, such as {narrow}")
            found += _locked_out(at, image, sign_in=sign_in)
        for n, rule in enumerate(self.promotions):
            if rule.approval and not sign_in:
                found.append(f"promotions.{n}.approval: with keys nobody can tell who approves: {_SIGN_IN}")
        return found

    def fed_by(self, container: str, name: str) -> list[str]:
        """The images that a blob dropped as `container/name` feeds."""
        return [image for image, entry in self.images.items() if entry.takes(container, name)]


_SIGN_IN = "let callers sign in (API_CLIENT_ID)"


def _locked_out(at: str, image: Image, *, sign_in: bool) -> Iterator[str]:
    """What an image's publishers shut out, in words."""
    if not image.publishers:
        return
    if not (image.drop or image.sources):
        yield f"{at}.publishers is for nothing: the image takes nothing that anybody asks for. Leave it out"
    elif sign_in and "key" in image.publishers:
        yield f"{at}.publishers names key, and where callers sign in nobody comes with one: name object ids"
    elif not sign_in and not {"key", "queue"} & set(image.publishers):
        yield f"{at}.publishers names none but object ids, and with keys nobody has one: {_SIGN_IN}"


def _offered(definition: Definition) -> tuple[str, str, str]:
    """What a gallery takes once, whatever its case."""
    return (definition.publisher.lower(), definition.offer.lower(), definition.sku.lower())


NO_GROUP = (
    "is in another subscription than the storage account with the VHDs, and Azure makes a managed image of a VHD only "
    "in that of the account. Set MANAGED_IMAGE_GROUP_ID to the resource id of a resource group there"
)
"""Why no managed images can be made for a gallery, and what to do."""


def _between_entries(data: dict[str, Any]) -> list[Fault]:
    """What is wrong between the entries of a catalog that may be of any form."""
    galleries, images = _mappings(data.get("galleries")), _mappings(data.get("images"))
    faults = list(_same_galleries(galleries))
    if galleries:
        faults += [*_same_places(galleries, images), *_regions_apart(galleries, images)]
    rules = data.get("promotions")
    seen: dict[str, int] = {}
    for n, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        source, target = rule.get("from"), rule.get("to")
        gallery = target.get("gallery") if isinstance(target, dict) else None
        if images and isinstance(source, str) and source not in images:
            faults.append(Fault(("promotions", n, "from"), f"no image is named {quoted(source)}"))
        if galleries and isinstance(gallery, str) and gallery not in galleries:
            faults.append(Fault(("promotions", n, "to", "gallery"), _no_gallery(gallery, galleries)))
        key = rule.get("name")
        if key is None and isinstance(source, str) and isinstance(gallery, str):
            key = _key(source, gallery)
        if not isinstance(key, str):
            continue
        if key in seen:
            words = f"a rule is named {quoted(key)} already: give this one a name of its own"
            faults.append(Fault(("promotions", n), words, also=("promotions", seen[key])))
        seen.setdefault(key, n)
    return faults


def _mappings(entries: Any) -> dict[str, dict[str, Any]]:
    """Named entries, those that are none left empty."""
    if not isinstance(entries, dict):
        return {}
    return {name: entry if isinstance(entry, dict) else {} for name, entry in entries.items()}


def _no_gallery(name: str, galleries: dict[str, Any]) -> str:
    return f"no gallery is named {quoted(name)}; there {'is' if len(galleries) == 1 else 'are'} {names(galleries)}"


def _gallery_key(entry: dict[str, Any]) -> str | None:
    found = entry.get("id")
    return found.rstrip("/").lower() if isinstance(found, str) else None


def _same_galleries(galleries: dict[str, dict[str, Any]]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    named: dict[tuple[str, str], str] = {}
    for name, entry in galleries.items():
        place = _gallery_key(entry)
        if place is None:
            continue
        found = _GALLERY_ID.fullmatch(place)
        own = (found["subscription"], found["name"]) if found else ("", place)
        if place in seen:
            other = field_name(("galleries", seen[place]))
            words = f"is the gallery that {other} is: Azure tells no case apart, and a gallery is to have one name"
            yield Fault(("galleries", name, "id"), words, also=("galleries", seen[place]))
        elif own in named:
            # Azure: "The gallery name … is not unique within the subscription …. Please pick another gallery name".
            other = field_name(("galleries", named[own]))
            words = f"names a gallery as {other} does, in another group: a subscription has one gallery of a name"
            yield Fault(("galleries", name, "id"), words, also=("galleries", named[own]))
        seen.setdefault(place, name)
        named.setdefault(own, name)


def _regions_apart(galleries: dict[str, dict[str, Any]], images: dict[str, dict[str, Any]]) -> Iterator[Fault]:
    """Images that one storage account cannot feed both: Azure makes a managed image in the account's region only.

    `az image create` says so of its source: "OS disk source from the same region".
    """
    first: tuple[str, str] | None = None
    for name, entry in images.items():
        gallery = galleries.get(gallery_name) if isinstance(gallery_name := entry.get("gallery"), str) else None
        given = gallery.get("location") if gallery else None
        if not isinstance(given, str) or not _by_managed_image(entry):
            continue
        location = region_name(given)
        first = first or (name, location)
        if location != first[1]:
            words = (
                f"is in {quoted(location)}, that of {first[0]} in {quoted(first[1])}: both take VHDs of one storage "
                "account, and Azure makes a managed image only in the account's region. Take a gallery with that "
                "location, and name the others in regions"
            )
            yield Fault(("images", name, "gallery"), words, also=("images", first[0]))


def _by_managed_image(entry: dict[str, Any]) -> bool:
    """Whether VHDs feed an image by way of managed images, as far as an entry of any form tells."""
    definition, sources = entry.get("definition"), entry.get("sources")
    wants = definition if isinstance(definition, dict) else {}
    direct = wants.get("os_state") == OsState.SPECIALIZED.value or wants.get("architecture") == Architecture.ARM64.value
    vhds = [text for text in (sources if isinstance(sources, list) else []) if isinstance(text, str)]
    fed = isinstance(entry.get("drop"), str) or any(not text.startswith("/") for text in vhds)
    return fed and not direct and entry.get("route") != Route.DIRECT.value


def _out_of_reach(data: Any, subscription: str) -> Iterator[Fault]:
    """The images that no managed image can be made for beside their gallery, in a catalog of any form."""
    entries = data if isinstance(data, dict) else {}
    galleries = _mappings(entries.get("galleries"))
    for name, entry in _mappings(entries.get("images")).items():
        gallery = entry.get("gallery")
        place = _gallery_key(galleries[gallery]) if isinstance(gallery, str) and gallery in galleries else None
        found = _GALLERY_ID.fullmatch(place) if place else None
        if found and found["subscription"] != subscription and _by_managed_image(entry):
            yield Fault(("images", name, "gallery"), NO_GROUP, also=("galleries", str(gallery)))


def _same_places(galleries: dict[str, dict[str, Any]], images: dict[str, dict[str, Any]]) -> Iterator[Fault]:
    """Images of no gallery, of one definition, or that one gallery cannot have both."""
    definitions: dict[tuple[str, str], str] = {}
    offers: dict[tuple[str, ...], str] = {}
    for name, entry in images.items():
        gallery, definition = entry.get("gallery"), entry.get("definition")
        if not isinstance(gallery, str):
            continue
        if gallery not in galleries:
            yield Fault(("images", name, "gallery"), _no_gallery(gallery, galleries))
            continue
        place = _gallery_key(galleries[gallery]) or gallery
        wants = definition if isinstance(definition, dict) else {}
        at = (place, str(wants.get("name") or name).lower())
        offered = tuple(wants.get(part) for part in ("publisher", "offer", "sku"))
        what = (place, *(part.lower() for part in offered if isinstance(part, str)))
        if at in definitions:
            words = f"would publish into the same definition as {definitions[at]}: {quoted(at[1])}"
            yield Fault(("images", name), words, also=("images", definitions[at]))
        elif len(what) == 1 + len(offered) and what in offers:
            words = f"has the publisher, offer and sku of {offers[what]}, and a gallery takes them once"
            yield Fault(("images", name, "definition"), words, also=("images", offers[what]))
        definitions.setdefault(at, name)
        offers.setdefault(what, name)


def parse_catalog(text: str | bytes, source: str = "catalog", galleries_only_in: str | None = None) -> Catalog:
    """The catalog in YAML `text`. Raises CatalogError naming every fault, with its line; `source` is named in it.

    `galleries_only_in` is the subscription outside which no gallery gets managed images, where there is such a bound.
    """
    try:
        document = read_yaml(text)
    except NotYaml as error:
        raise CatalogError(f"{source}: {error}") from error
    if document.data is None and not document.faults:
        raise CatalogError(f"{source} is empty: it takes galleries and images")
    made, faults = parsed(Catalog, document.data)
    bound = _out_of_reach(document.data, galleries_only_in) if galleries_only_in else ()
    faults = [*document.faults, *faults, *bound]
    if made is not None and not faults:
        return made
    faults.sort(key=lambda fault: document.line(fault.path) or 0)
    told = [
        f"line {document.line(fault.path) or 1}: {sentence(field_name(fault.path), fault.words)}"
        + (f" (line {document.line(fault.also)})" if fault.also else "")
        for fault in faults
    ]
    raise CatalogError("\n  ".join([f"{source} has faults:", *told]), told)


def load_catalog(path: Path, galleries_only_in: str | None = None) -> Catalog:
    """The catalog in the file at `path`, checked as `parse_catalog` does. Raises CatalogError."""
    try:
        return parse_catalog(path.read_bytes(), str(path), galleries_only_in)
    except OSError as error:
        raise CatalogError(f"the catalog {path} cannot be read: {error.strerror}") from error
