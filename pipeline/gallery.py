"""What Azure says of the image versions a definition holds, in the pipeline's own terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.replication import RegionProgress, judge
from pipeline.requests import OURS
from pipeline.versions import Version

WITHDRAWN = f"{OURS}-withdrawn"
"""The tag that says why a version was withdrawn."""
APPROVED = "approved"
"""The tag that says who approves of a version. It is there to be read: what counts is kept in `judgements`."""
KEEP = "keep"
"""The tag that, with the value true, lets retention leave a version be; set by a person."""
MOST_TAGS = 50
"""What Azure takes on a resource ("Use tags to organize your resources")."""


@dataclass(frozen=True)
class VersionFacts:
    """An image version. `state` is its provisioning state; `replication` is empty where it was not asked for.

    `latest_in` are the regions that may take it for `latest`, a region's own say before the version's;
    `kept_until_end_of_life` is the version's `blockDeletionBeforeEndOfLife`.
    """

    id: str
    name: str
    state: str
    tags: dict[str, str]
    published: datetime | None
    end_of_life: datetime | None
    targets: list[str]
    latest_in: list[str]
    replication: list[RegionProgress]
    kept_until_end_of_life: bool = False
    resource: Any = field(default=None, repr=False, compare=False)
    """The version as Azure described it, which a change to it starts from."""

    @property
    def number(self) -> Version | None:
        """The number in its name, None for a name that is no number of ours."""
        try:
            return Version.parse(self.name)
        except ValueError:
            return None

    def tag(self, name: str) -> str | None:
        """The value of a tag. Azure tells no names apart by their case ("Use tags to organize your resources")."""
        return next((value for key, value in self.tags.items() if key.lower() == name.lower()), None)

    @property
    def kept(self) -> bool:
        """Whether a person has said that it stays."""
        return (self.tag(KEEP) or "").strip().lower() == "true"

    @property
    def excluded_from_latest(self) -> bool:
        """Whether no region may take it for `latest`."""
        return not self.latest_in

    @property
    def fingerprint(self) -> str:
        """What names its content: a version's content never changes, but its name may be made anew."""
        return f"{self.id.lower()}@{self.published}"

    @property
    def completed(self) -> bool:
        """Whether every region it is to be in has it. Asks for `replication`."""
        return judge(self.targets, self.replication).completed


@dataclass(frozen=True)
class Listing:
    """The versions of a definition, highest first, and the time by Azure's clock, which stamped their dates."""

    at: datetime
    versions: list[VersionFacts]

    def named(self, name: str) -> VersionFacts | None:
        return next((version for version in self.versions if version.name == name), None)


def by_number(versions: list[VersionFacts]) -> list[VersionFacts]:
    """Highest first; a name that is no number of ours comes last."""
    return sorted(versions, key=lambda version: version.number or Version(-1, -1, -1), reverse=True)
