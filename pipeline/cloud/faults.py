"""What can go wrong at the edge, as types; nothing inside ever looks at a status code or a message."""

from __future__ import annotations


class CloudFault(Exception):
    """Azure answered with an error. The message is Azure's own, with its code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class NotFound(CloudFault):
    """The thing, or the parent it should be in, does not exist."""


class Conflict(CloudFault):
    """It exists already, or a condition on it does not hold, or something else works on it."""


class Refused(CloudFault):
    """Azure will never accept this as it was asked."""


class Denied(Refused):
    """The identity may not do this; the message names the action."""


class Unavailable(CloudFault):
    """Azure could not answer now. `retry_after` is in seconds, 0 where Azure named none."""

    def __init__(self, message: str, code: str = "", retry_after: float = 0) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after
