"""Azure's public regions. `location` is the name without spaces, lower case; galleries show the display name."""

from __future__ import annotations

_DISPLAY_NAMES = (
    "Australia Central", "Australia Central 2", "Australia East", "Australia Southeast", "Austria East",
    "Belgium Central", "Brazil South", "Brazil Southeast", "Canada Central", "Canada East", "Central India",
    "Central US", "Central US EUAP", "Chile Central", "East Asia", "East US", "East US 2", "East US 2 EUAP",
    "France Central", "France South", "Germany North", "Germany West Central", "Indonesia Central", "Israel Central",
    "Italy North", "Japan East", "Japan West", "Jio India Central", "Jio India West", "Korea Central", "Korea South",
    "Malaysia West", "Mexico Central", "New Zealand North", "North Central US", "North Europe", "Norway East",
    "Norway West", "Poland Central", "Qatar Central", "South Africa North", "South Africa West", "South Central US",
    "South India", "Southeast Asia", "Spain Central", "Sweden Central", "Sweden South", "Switzerland North",
    "Switzerland West", "UAE Central", "UAE North", "UK South", "UK West", "West Central US", "West Europe",
    "West India", "West US", "West US 2", "West US 3",
)  # fmt: skip


def normalised(name: str) -> str:
    """ "East US 2" and "eastus2" alike become "eastus2"."""
    return name.replace(" ", "").lower()


# Regions without availability zones (Microsoft's list of Azure regions): no zone-redundant storage there
_WITHOUT_ZONES = {
    "australiacentral", "australiacentral2", "australiasoutheast", "brazilsoutheast", "canadaeast", "centraluseuap",
    "francesouth", "germanynorth", "jioindiacentral", "jioindiawest", "koreasouth", "northcentralus", "norwaywest",
    "southafricawest", "southindia", "swedensouth", "switzerlandwest", "uaecentral", "ukwest", "westcentralus",
    "westindia", "westus",
}  # fmt: skip
_REGIONS = {normalised(name): name for name in _DISPLAY_NAMES}
LOCATIONS = tuple(_REGIONS)


def is_known(name: str) -> bool:
    """Whether a region goes by this name, in either form."""
    return normalised(name) in _REGIONS


def display_name(name: str) -> str:
    """The name galleries print: "eastus2" becomes "East US 2". Raises KeyError for an unknown region."""
    return _REGIONS[normalised(name)]


def has_zones(name: str) -> bool:
    """Whether the region has availability zones, and zone-redundant storage with them."""
    return normalised(name) not in _WITHOUT_ZONES
