"""Who the pipeline is: its managed identity, everywhere."""

from __future__ import annotations

from functools import cache

from azure.identity import DefaultAzureCredential


@cache
def credential() -> DefaultAzureCredential:
    """The identity of the process. `AZURE_CLIENT_ID` names a user-assigned one."""
    return DefaultAzureCredential(exclude_interactive_browser_credential=True)
