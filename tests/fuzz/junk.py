"""What people and programs send that is almost right, and what is not right at all."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

COMPUTE = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-images/providers/Microsoft.Compute"
BLOB = "BLOB/vhds/web/x.vhd"  # BLOB stands for the blob endpoint, which only a running sandbox has
_TELLING = [
    "", "x", "web", "Web", "nope", "1.4.0", "1.4.x", "1.x.x", "1.2", "0.0.99999999999", "٣.١.٤", "minor", "huge", "null",
    BLOB, f"{BLOB}?snapshot=2026-01-01T00:00:00.0000000Z", f"{BLOB}?versionid=x", f"{BLOB}?sv=1&sig=x", f"{BLOB}?a=b&a",
    f"{BLOB}#x", "BLOB/vhds/web/../../x.vhd", "BLOB/vhds/web/%2e%2e/x.vhd", "BLOB/vhds/web/%ff%00.vhd", "BLOB/vhds/x.img",
    "BLOB/$root/x.vhd", "BLOB/a/x.vhd", "BLOB/UPPER/x.vhd", "BLOB/vhds/web/" + "x" * 1100 + ".vhd", "BLOB//x.vhd",
    "https://[account].blob.core.windows.net/vhds/x.vhd", "https://[::1/x.vhd", "http://a:99999/x.vhd", "//x", "?", "#",
    f"{COMPUTE}/snapshots/x", f"{COMPUTE}/disks/x", f"{COMPUTE}/images/x", f"{COMPUTE}/virtualMachines/x/", f"{COMPUTE}/x",
    f"{COMPUTE.replace('rg-images', 'a?b#c')}/disks/x", f"{COMPUTE}/galleries/galStaging/images/web/versions/1.0.0",
    "\ud800", "a\udfffb", "\0", "a\nb", "\u202e", "é", "🚀", "a" * 2000, "../..", "%00", "tests", "gallerist-run", "keep",
    "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "24h", "9999999999w", "true", "1e999",
]  # fmt: skip

texts = st.sampled_from(_TELLING) | st.text(max_size=20) | st.text(st.characters(), max_size=8)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, -1, 0, 10**40, 0.5, 1e308])
    | st.floats()
    | texts
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


@st.composite
def mutated(draw: st.DrawFn, sound: Any) -> Any:
    """`sound` with a few things in it replaced, renamed, taken away or added."""
    found = json.loads(json.dumps(sound))
    for _ in range(draw(st.integers(0, 4))):
        at: Any = found
        while isinstance(at, dict | list) and at:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = draw(st.sampled_from(keys))
            inner = at[key]
            if isinstance(inner, dict | list) and inner and draw(st.booleans()):
                at = inner
                continue
            match draw(st.sampled_from(["replace", "replace", "drop", "add", "swap"])):
                case "replace":
                    at[key] = draw(values)
                case "drop":
                    del at[key]
                case "add" if isinstance(at, dict):
                    at[draw(texts)] = draw(values)
                case "add":
                    at.append(draw(values))
                case "swap" if isinstance(at, dict):
                    at[draw(texts)] = at.pop(key)
            break
    return found if draw(st.integers(0, 30)) else draw(values)


@st.composite
def messages(draw: st.DrawFn, *sound: Any) -> bytes:
    """A message that may be JSON, in one of the forms it is sent in, whole or broken."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60))
    said = json.dumps(draw(mutated(draw(st.sampled_from(sound)))))
    data = said.encode(draw(st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])))
    match draw(st.integers(0, 9)):
        case 0:
            data = base64.encodebytes(data)
        case 1:
            at = draw(st.integers(0, len(data)))
            data = data[:at] + draw(st.binary(max_size=4)) + data[at + draw(st.integers(0, 3)) :]
        case 2:
            data = data[: draw(st.integers(0, len(data)))]
        case 3:
            depth = draw(st.sampled_from([10, 63, 100, 20_000]))
            data = b'{"image":' + b"[" * depth + data + b"]" * depth + b"}"
    return data


PHRASES = (
    "Input should", "validation error", "Value error", "pydantic", "Traceback", "codec can", "Expecting", "Extra data",
    "Invalid control", "has no attribute", "<class", "unhashable", "could not convert", "invalid literal", "while scanning",
    "while parsing", "Invalid IPv6", "recursion", "surrogates not allowed", "NoneType", "Unterminated", "Field required",
    "Extra inputs", "StringConstraints", "Exceeds the limit",
)  # fmt: skip
"""What libraries say, and no one else does."""


def check_words(said: str) -> None:
    """Fails where words for a person are a library's."""
    assert said
    assert not [phrase for phrase in PHRASES if phrase in said], said
    said.encode("utf-8")
