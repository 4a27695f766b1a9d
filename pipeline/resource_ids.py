"""The ids of resource groups and storage accounts, by their parts. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from pipeline.validation import quoted

# What no client resolves, decodes or folds on the way: no dots alone, no escapes; only letters that ASCII has are of
# any case. A resource group's name may have letters of any language, and does not end with a dot.
GROUP = r"(?ai:/subscriptions/(?P<subscription>[a-z0-9-]{1,64})/resourceGroups/)(?P<group>[\w().-]{0,89}[\w()-])"
"""The form of a resource group's resource id, for other forms to begin with."""
NAME = r"[a-z0-9](?:[a-z0-9_.-]{0,78}[a-z0-9_])?"
"""The form of a resource's name, in any case."""
_GROUP_ID = re.compile(rf"{GROUP}/?")
_ACCOUNT_ID = re.compile(rf"{GROUP}(?ai:/providers/Microsoft\.Storage/storageAccounts/[a-z0-9]{{3,24}}/?)")


@dataclass(frozen=True)
class ResourceGroup:
    """A resource group. Azure tells neither subscriptions nor names apart by their case: `key` does not either."""

    subscription: str
    name: str

    @classmethod
    def parse(cls, resource_id: str) -> Self:
        """The group of that resource id. Raises ValueError where it is none's."""
        found = _GROUP_ID.fullmatch(resource_id)
        if not found:
            raise ValueError(
                f"takes a resource group's resource id, /subscriptions/…/resourceGroups/NAME, not {quoted(resource_id)}"
            )
        return cls(found["subscription"], found["group"])

    def __str__(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.name}"

    @property
    def key(self) -> str:
        return str(self).lower()

    def managed_image_id(self, name: str) -> str:
        """The resource id of a managed image in this group."""
        return f"{self}/providers/Microsoft.Compute/images/{name}"


def subscription_of_account(resource_id: str) -> str:
    """The subscription of a storage account, in lower case. Raises ValueError where it is not the id of one."""
    found = _ACCOUNT_ID.fullmatch(resource_id)
    if not found:
        raise ValueError(
            "takes a storage account's resource id, "
            "/subscriptions/…/resourceGroups/…/providers/Microsoft.Storage/storageAccounts/NAME, "
            f"not {quoted(resource_id)}"
        )
    return found["subscription"].lower()


def check_group(group: str, account: str) -> None:
    """That managed images in a resource group can be made of the VHDs in a storage account, each by its resource id.

    Azure makes one only in the subscription of the account ("does not belong to a storage account in subscription").
    Raises ValueError.
    """
    wanted = subscription_of_account(account)
    if ResourceGroup.parse(group).subscription.lower() != wanted:
        raise ValueError(
            "names a group in another subscription than the storage account with the VHDs, and Azure makes managed "
            f"images of them only there: name a group in subscription {wanted}"
        )
