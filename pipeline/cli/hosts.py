"""Where a key or a token may travel to. Pure."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_ACCOUNT = re.compile(
    r"[a-z0-9]{3,24}(-secondary)?"
    r"\.(blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)|z[0-9]{1,2}\.blob\.storage\.azure\.net)"
)
"""The hosts of storage accounts: standard and Azure DNS zone endpoints ("Storage account overview" page), and the
suffixes of the other clouds ("Azure CLI endpoints for proxy bypass" page)."""
_WRONG_APP = "takes an https:// address, such as https://NAME.azurewebsites.net"


def _parts(url: str) -> tuple[SplitResult, bool]:
    """The parts of a URL, and whether its host is this machine. Raises ValueError for one that names a user or no port
    that there is."""
    parts = urlsplit(url)
    if parts.port == 0 or "@" in parts.netloc:
        raise ValueError
    return parts, parts.hostname in _LOOPBACK


def safe_url(url: str) -> str:
    """`url`, where a key or a token for a function app may travel to it. Raises ValueError."""
    try:
        parts, here = _parts(url)
    except ValueError:
        raise ValueError(_WRONG_APP) from None
    if not parts.netloc or parts.query or parts.scheme not in (("https", "http") if here else ("https",)):
        raise ValueError(_WRONG_APP)
    return url


def own_audience(audience: str) -> str:
    """`audience`, where a token for it opens nothing but a function app. Raises ValueError: a token for one of Azure's
    own services is not for whoever answers at GALLERIST_URL."""
    if not audience.startswith("api://"):
        raise ValueError("takes the function app's Application ID URI, api://CLIENT-ID")
    return audience


def storage_endpoint(url: str) -> str:
    """The blob endpoint `url`, where a token for storage may travel to it: it opens all that its owner may open.

    Raises ValueError for any host but a storage account's and this machine, and for what is not encrypted.
    """
    try:
        parts, here = _parts(url)
        account = _ACCOUNT.fullmatch(parts.hostname or "") and parts.port in (None, 443) and parts.path in ("", "/")
    except ValueError:
        account, here, parts = False, False, SplitResult("", "", "", "", "")
    if parts.scheme != "https" or parts.query or parts.fragment or not (here or account):
        raise ValueError(
            "takes the blob endpoint of a storage account, https://ACCOUNT.blob.core.windows.net, or another cloud's: "
            "your token for storage opens all that you may open, and goes to no other host"
        )
    return f"https://{parts.netloc}{parts.path}".rstrip("/")
