"""Operation URLs as Azure has written them since 2023: signed, some 3.5 kB long, to be followed to the letter.

What they are signed with means nothing here, and nothing checks it; their shape and length are what clients must bear.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from datetime import UTC, datetime

_TICKS_AT_EPOCH = 621_355_968_000_000_000
_CERTIFICATE_BYTES = 1_950  # 2.6 kB in base64, as recorded
_SIGNATURE_BYTES = 256
_LONG = re.compile(r"([?&][cs]=)[^&]{40,}")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# The same for every URL of a run, as a certificate is
_CERTIFICATE = "MII" + _base64url(random.Random(1).randbytes(_CERTIFICATE_BYTES))  # noqa: S311 - no secret


def signed(url: str, now: datetime) -> str:
    """`url` with `t` (.NET ticks), `c` (a certificate), `s` (its signature) and `h` (a hash), in this order."""
    ticks = _TICKS_AT_EPOCH + int(now.astimezone(UTC).timestamp() * 10_000_000)
    signature = _base64url(hashlib.sha512(url.encode()).digest() * (_SIGNATURE_BYTES // 64))
    digest = _base64url(hashlib.sha256(f"{url}{ticks}".encode()).digest())
    return f"{url}&t={ticks}&c={_CERTIFICATE}&s={signature}&h={digest}"


def legible(path: str) -> str:
    """A path as the request log shows it: without a certificate and its signature."""
    return _LONG.sub(r"\1…", path)
