"""The one error of the emulated ARM: what a refused request is answered with."""

from __future__ import annotations

from typing import Any


class ArmError(Exception):
    """A refusal. `gateway` tells ARM's own errors from those of a resource provider: they differ in headers and print.

    `target` is the property to blame, where Azure names one.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        target: str | None = None,
        gateway: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.target = target
        self.gateway = gateway
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        error = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        return {"error": error}


def invalid_parameter(message: str, target: str | None = None) -> ArmError:
    """A resource provider's 400 for a value it cannot take."""
    return ArmError(400, "InvalidParameter", message, target=target)


def missing_parameter(path: str) -> ArmError:
    """A resource provider's 400 for a value it cannot do without. `path` as in `galleryImage.properties.osType`."""
    return invalid_parameter(f"Required parameter '{path}' is missing (null).", target=path)


def property_change_not_allowed(path: str) -> ArmError:
    """The 409 for a property that is fixed once its resource exists (hashicorp/packer#9716)."""
    return ArmError(409, "PropertyChangeNotAllowed", f"Changing property '{path}' is not allowed.", target=path)


def concurrent_request() -> ArmError:
    """The 409 for a resource that is still busy with an earlier request (onefuzz#2124)."""
    return ArmError(
        409,
        "Conflict",
        "The request failed due to conflict with a concurrent request. To resolve it, please refer to "
        "https://aka.ms/activitylog to get more details on the conflicting requests.",
    )
