"""Resource ids: ARM's paths, which are all of one make and blind to case."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceId:
    """A resource, or a collection of them: then `types` is one longer than `names`.

    Names keep the case they came in; `key` is what two spellings of one id have in common.
    """

    subscription: str
    resource_group: str | None = None
    namespace: str | None = None
    types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, path: str) -> ResourceId | None:
        """The id a path names; None for a path of another make."""
        parts = [part for part in path.split("/") if part]
        if len(parts) < 2 or parts[0].lower() != "subscriptions":
            return None
        subscription, rest = parts[1], parts[2:]
        resource_group = None
        if len(rest) >= 2 and rest[0].lower() == "resourcegroups":
            resource_group, rest = rest[1], rest[2:]
        if not rest:
            return cls(subscription, resource_group)
        if rest[0].lower() != "providers" or len(rest) < 3:
            return None
        return cls(subscription, resource_group, rest[1], tuple(rest[2::2]), tuple(rest[3::2]))

    @property
    def is_collection(self) -> bool:
        return len(self.types) > len(self.names)

    @property
    def type(self) -> str:
        """`Microsoft.Compute/galleries/images`, in the case of the path."""
        return "/".join((self.namespace or "", *self.types))

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def nested_name(self) -> str:
        """The type and name path the gateway's errors print: `Microsoft.Compute/galleries/g/images/i`."""
        pairs = (f"{kind}/{name}" for kind, name in zip(self.types, self.names, strict=False))
        return "/".join((self.namespace or "", *pairs))

    @property
    def parent(self) -> ResourceId | None:
        """The resource this one is nested in, if any."""
        if len(self.types) < 2:
            return None
        return ResourceId(
            self.subscription, self.resource_group, self.namespace, self.types[:-1], self.names[: len(self.types) - 1]
        )

    def __str__(self) -> str:
        text = f"/subscriptions/{self.subscription}"
        if self.resource_group is not None:
            text += f"/resourceGroups/{self.resource_group}"
        if self.namespace is not None:
            text += f"/providers/{self.nested_name}"
            if self.is_collection:
                text += f"/{self.types[-1]}"
        return text

    @property
    def key(self) -> str:
        return str(self).lower()
