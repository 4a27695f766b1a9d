"""The functions host of the sandbox: runs an Azure Functions app (Python v2 model) on this machine."""

from __future__ import annotations

from sandbox.host.process import run
from sandbox.host.settings import StartError

__all__ = ["StartError", "run"]
