"""Replays recorded traffic of the real Azure Resource Manager against the emulated one, as far as that reaches.

The recordings are no part of this project: they lie in `recordings` beside the API description.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import yaml

from tests.description import SHARED, Exchange

FOLDER = SHARED / "recordings"
ABSENT = f"no recorded traffic at {FOLDER}"

# Headers that one side may bear without the other, by recorder. Azure CLI's recordings, of 2024 and 2025, are stripped
# of ids, of Retry-After and of some budgets. Those of the .NET SDK are whole, but of 2020.
_ONE_SIDED = {
    "azure-cli": {
        "retry-after", "x-ms-request-id", "x-ms-correlation-request-id", "x-ms-routing-request-id",
        "x-ms-ratelimit-remaining-subscription-reads", "content-encoding", "content-length", "transfer-encoding", "vary",
        "azure-asyncnotification",  # of galleries only since 2026
    },
    ".NET": {
        "server", "x-ms-served-by",  # gone since
        "azure-asyncnotification", "x-cache", "x-ms-need-to-refresh-epl-cache", "x-msedge-ref",  # come since
        "x-ms-ratelimit-remaining-subscription-reads", "x-ms-ratelimit-remaining-subscription-global-reads",
        "x-ms-ratelimit-remaining-subscription-global-writes", "x-ms-ratelimit-remaining-subscription-global-deletes",
        "retry-after",  # of versions only since the end of 2020
        "content-length", "transfer-encoding", "vary",
    },
}  # fmt: skip
# What depends on the machine, the disk or the moment: only the type must agree.
_OF_THE_MOMENT = {
    "uniqueName", "sizeInGB", "diskSizeGB", "diskSizeBytes", "sourceUniqueId", "uniqueId", "tags", "publicNames",
}  # fmt: skip
_OPERATION = re.compile(r"(?i)/(?:caps|disk)?operations/(?P<name>[\w-]+)$|/operationresults/(?P<job>[\w-]+)$")
_GUID = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DISK = re.compile(r"(/disks/)[\w-]+_[0-9a-f]{32}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?([+-]\d\d:\d\d|Z)")


replayed: Counter[str] = Counter()
"""What came of all replays in this process."""


@dataclass(frozen=True)
class Recorded:
    """One recorded exchange."""

    number: int
    answer: Exchange
    sent: Any
    recorder: str

    @property
    def path(self) -> str:
        return self.answer.path

    @property
    def body(self) -> Any:
        return json.loads(self.answer.body) if self.answer.body else None


def load(file: Path) -> list[Recorded]:
    """A recording of azure-cli (yaml) or of the .NET SDK (json), in the order of time."""
    if file.suffix == ".yaml":
        # PyYAML's parser in C, where it was built with it, is ten times as fast
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - either is safe
        return [
            _recorded(
                number, one["request"]["method"], one["request"]["uri"], one["request"]["body"],
                one["response"]["status"]["code"], one["response"]["headers"], one["response"]["body"]["string"], recorder="azure-cli",
            )
            for number, one in enumerate(content["interactions"])
        ]  # fmt: skip
    entries = list(enumerate(json.loads(file.read_text(encoding="utf-8"))["Entries"]))
    entries.sort(key=lambda entry: parsedate_to_datetime(entry[1]["ResponseHeaders"]["Date"][0]))
    return [
        _recorded(
            number, one["RequestMethod"], one["RequestUri"], one["RequestBody"],
            one["StatusCode"], one["ResponseHeaders"], one["ResponseBody"], recorder=".NET",
        )
        for number, one in entries
    ]  # fmt: skip


def _recorded(
    number: int,
    method: str,
    uri: str,
    sent: Any,
    status: int,
    headers: dict[str, list[str]],
    body: str | bytes | None,
    *,
    recorder: str,
) -> Recorded:
    address = urlsplit(uri)
    text = body.decode() if isinstance(body, bytes) else body or ""
    return Recorded(
        number,
        Exchange(
            method, address.path, dict(parse_qsl(address.query)), status,
            {name.lower(): values[0] for name, values in headers.items()}, text.encode(),
        ),
        json.loads(sent) if sent else None,
        recorder,
    )  # fmt: skip


@dataclass
class Replay:
    """Asks the emulator what was asked of Azure. `speaks_of` tells what the emulator takes part in.

    `prepared` may change what is sent, and with it what is expected, where the emulator has no such thing as the
    recording was made with; it gives the reason, which is kept in `changed`.
    """

    http: httpx.Client
    speaks_of: Callable[[str], bool]
    prepared: Callable[[Recorded], tuple[Recorded, str | None]]
    excused: dict[int, str]
    counts: Counter[str] = field(default_factory=Counter)
    changed: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    _operations: dict[str, str] = field(default_factory=dict)

    def play(self, recording: list[Recorded]) -> None:
        """Replay a recording. Polls of an operation that is not over count as one with the last."""
        for one in recording:
            if not self.speaks_of(one.path):
                self.counts["of other services"] += 1
                continue
            operation = _OPERATION.search(one.path)
            if operation:
                self._poll(one, operation["name"] or operation["job"])
                continue
            if one.number in self.excused:
                self.counts["excused"] += 1
                continue
            ready, reason = self.prepared(one)
            if reason:
                self.changed.append(f"#{one.number} {one.answer.method} {one.path}: {reason}")
            address = one.answer
            answer = self.http.request(address.method, address.path, params=address.query, json=ready.sent)
            for name in ("azure-asyncoperation", "location"):
                if name in address.headers and name in answer.headers:
                    self._operations[_operation_name(address.headers[name], name)] = answer.headers[name]
            self._compare(ready, answer)

    def _poll(self, one: Recorded, name: str) -> None:
        monitor = "location" if "monitor" in one.answer.query or "operationresults" in one.path else ""
        url = self._operations.get(name + monitor)
        if url is None:
            self.counts["of other services"] += 1
            return
        body = one.body or {}
        if one.answer.status == 202 or body.get("status") == "InProgress":
            self.counts["polls before the last"] += 1
            answer = self.http.get(url)
            if answer.status_code == 202 or (answer.content and answer.json()["status"] == "InProgress"):
                self._compare(one, answer, counts=False)
            return
        deadline = time.monotonic() + 30
        while True:
            answer = self.http.get(url)
            if answer.status_code != 202 and (not answer.content or answer.json()["status"] != "InProgress"):
                break
            assert time.monotonic() < deadline, f"{url} does not come to an end"
            time.sleep(0.01)
        self._compare(one, answer)

    def _compare(self, one: Recorded, answer: httpx.Response, *, counts: bool = True) -> None:
        found = list(_differences(one, answer))
        self.differences += [f"#{one.number} {one.answer.method} {one.path}: {fault}" for fault in found]
        if counts:
            self.counts["differ" if found else "match"] += 1
            replayed["differ" if found else "match"] += 1


def _operation_name(url: str, header: str) -> str:
    operation = _OPERATION.search(urlsplit(url).path)
    assert operation, url
    return (operation["name"] or operation["job"]) + ("location" if header == "location" else "")


def _differences(one: Recorded, answer: httpx.Response) -> list[str]:
    found = []
    if answer.status_code != one.answer.status:
        return [f"status {one.answer.status} there, {answer.status_code} here: {answer.text[:300]}"]
    there, here = set(one.answer.headers), {name.lower() for name in answer.headers}
    there, here = there - _ONE_SIDED[one.recorder], here - _ONE_SIDED[one.recorder]
    if there != here:
        found.append(f"headers there alone: {sorted(there - here)}, here alone: {sorted(here - there)}")
    known = _shape(one.body)
    shown = _shape(answer.json() if answer.content else None)
    found += _differing(known, shown, "$")
    pretty = b"\r\n" in one.answer.body
    if one.recorder == "azure-cli" and pretty != ("\r\n" in answer.text):
        # .NET's recorder prints bodies anew
        found.append(f"the body is {'pretty' if pretty else 'compact'} there, not here")
    return found


def _shape(value: Any, key: str = "") -> Any:
    """A value without what is of the moment. Objects become lists: the order of their keys is part of the shape."""
    if key in _OF_THE_MOMENT:
        return type(value).__name__
    if isinstance(value, dict):
        return [("key", name, _shape(member, name)) for name, member in value.items()]
    if isinstance(value, list):
        return [_shape(item, key) for item in value]
    if not isinstance(value, str):
        return value
    text = re.sub(r"(?i)(/resourceGroups/)([^/]+)", _group, value)
    # A machine's disks are named after it, and at random
    return _DISK.sub(r"\1<disk>", _GUID.sub("<guid>", _INSTANT.sub("<instant>", text)))


def _group(found: re.Match[str]) -> str:
    # Recordings rename the group, though not where Azure writes it in capitals
    return found[1] + ("<GROUP>" if found[2].isupper() else "<group>")


def _differing(there: Any, here: Any, where: str) -> list[str]:
    if isinstance(there, list) and isinstance(here, list) and there and here and isinstance(there[0], tuple):
        names, shown = [member[1] for member in there], [member[1] for member in here]
        if names != shown:
            return [f"{where}: keys {names} there, {shown} here"]
        pairs = [(f"{where}.{a[1]}", a[2], b[2]) for a, b in zip(there, here, strict=True)]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(f"{where}[{n}]", a, b) for n, (a, b) in enumerate(zip(there, here, strict=True))]
    else:
        return [] if there == here else [f"{where}: {there!r} there, {here!r} here"]
    return [fault for place, a, b in pairs for fault in _differing(a, b, place)]
