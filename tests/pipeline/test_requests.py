"""A publish request is checked field by field; its schema and the catalog's are those that are published."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml

from pipeline.requests import InvalidRequest, parse_request, parse_verdict
from pipeline.schemas import FOLDER, schemas
from pipeline.source import SourceKind
from pipeline.versions import Bump, Wish
from sandbox.up import ROOT

COMPUTE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute"
BLOB = "https://a.blob.core.windows.net/vhds/x.vhd"


def request(**fields: Any) -> dict[str, Any]:
    return {"image": "web", "source": {"blob": BLOB}} | fields


def test_all_that_a_request_can_say_is_read() -> None:
    read = parse_request(
        request(
            source={"blob": BLOB, "data_disks": [{"lun": 0, "blob": BLOB}]},
            version="1.4.0",
            request_id="build-812",
            tags={"commit": "abc"},
        )
    )
    assert (read.source.kind, read.source.id) == (SourceKind.BLOB, BLOB)
    assert read.wish == Wish(exact="1.4.0")
    assert parse_request(request(version="1.x.x")).wish == Wish(within=(1,))
    assert parse_request(request(bump="minor")).wish == Wish(bump=Bump.MINOR)
    assert parse_request(request()).wish is None


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("managed_image", "images/x"),
        ("snapshot", "snapshots/x"),
        ("disk", "disks/x"),
        ("vm", "virtualMachines/x"),
        ("image_version", "galleries/g/images/d/versions/1.0.0"),
    ],
)
def test_a_resource_is_named_by_its_own_kind_of_id(kind: str, path: str) -> None:
    assert parse_request(request(source={kind: f"{COMPUTE}/{path}"})).source.kind.value == kind
    for wrong in (
        f"{COMPUTE}/{path}/more",
        "x",
        f"{COMPUTE}/availabilitySets/x",
        f"{COMPUTE}/{path}?a=b",
        f"{COMPUTE}/{path}\n",
    ):
        with pytest.raises(InvalidRequest) as fault:
            parse_request(request(source={kind: wrong}))
        assert fault.value.faults[0][0] == f"source.{kind}"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"source": {}}, "source"),
        ({"source": {"blob": BLOB, "vm": f"{COMPUTE}/virtualMachines/x"}}, "source"),
        ({"source": {"vm": f"{COMPUTE}/virtualMachines/x", "data_disks": [{"lun": 0, "blob": BLOB}]}}, "source"),
        ({"source": {"blob": BLOB, "data_disks": [{"lun": 0, "blob": BLOB}] * 2}}, "source"),
        ({"source": {"blob": BLOB, "data_disks": [{"lun": 64, "blob": BLOB}]}}, "source.data_disks.0.lun"),
        ({"version": "1.4"}, "version"),
        ({"version": "1.0.2147483648"}, "version"),
        ({"version": "1.x.3"}, "version"),
        ({"version": "1.0.0", "bump": "minor"}, "request"),
        ({"bump": "huge"}, "bump"),
        ({"request_id": ""}, "request_id"),
        ({"request_id": "a b"}, "request_id"),
        ({"tags": {"gallerist-run": "x"}}, "tags"),
        ({"colour": "red"}, "colour"),
        ({"image": 5}, "image"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as fault:
        parse_request(request(**fields))
    assert fault.value.faults[0][0] == field


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as fault:
        parse_request({"source": {"blob": BLOB}, "version": "1", "bump": "huge"})
    assert {field for field, _ in fault.value.faults} == {"image", "version", "bump", "request"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"version": "1.2"}, 'version takes 1.4.0, 1.4.x or 1.x.x, not "1.2"'),
        ({"version": "v1.2.3"}, 'version takes 1.4.0, 1.4.x or 1.x.x, not "v1.2.3"'),
        ({"version": "٣.١.٤"}, "version takes 1.4.0, 1.4.x or 1.x.x"),
        ({"version": 1.4}, "version takes text, not a number"),
        ({"bump": "huge"}, 'bump takes major, minor, patch, calver, from-name or from-metadata, not "huge"'),
        ({"source": None}, "source takes an object, not null"),
        ({"source": {"blob": None}}, "source takes exactly one of blob, managed_image, snapshot, disk, vm or image_version; it has none"),
        ({"sources": {}}, "sources is unknown; image, source, version, bump, jump, request_id and tags are taken here. Did you mean source?"),
        ({"image": "\ud800"}, "image holds half of a character"),
        ({"tags": {"commit": "\udfff"}}, "tags.commit holds half of a character"),
        ({"tags": {"Env": "a", "env": "b"}}, 'tags names one tag 2 times, for Azure tells no case apart: "Env" and "env"'),
        ({"tags": {"Größe": "a", "GRÖSSE": "b", "größe": "c"}}, 'tags names one tag 2 times'),
        ({"tags": {"note": "one\ntwo"}}, 'tags.note takes text of one line, without control or invisible characters, not "one\\ntwo"'),
        ({"tags": {"note": "\x1b[31m"}}, "tags.note takes text of one line"),
        ({"tags": {"note": "x" * 257}}, "tags.note takes at most 256 characters, not 257"),
        ({"tags": {f"t{n}": "" for n in range(31)}}, "tags takes at most 30 entries, not 31"),
        ({"source": {"blob": BLOB, "data_disks": [{"lun": 0, "blob": BLOB}] * 2}}, "source: data_disks name a lun twice: 0"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_words(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as fault:
        parse_request(request(**fields))
    assert says in str(fault.value)
    for phrase in ("Input should", "Field required", "Extra inputs", "pattern", "\\d", "[0-9]", "PublishRequest"):
        assert phrase not in str(fault.value)


def test_no_answer_grows_with_what_is_sent() -> None:
    with pytest.raises(InvalidRequest) as fault:
        parse_request(request(**{f"x{n}": n for n in range(5000)}, image="i" * 100_000, version="9" * 100_000))
    assert fault.value.faults[-1] == ("request", "has 4951 more faults")
    assert len(str(fault.value)) < 20_000


def test_a_verdict_says_in_one_line_what_it_says() -> None:
    said = {"image": "web", "version": "1.0.0", "outcome": "passed"}
    assert parse_verdict(said | {"details": "https://ci/1", "by": "Ann Ünal"}).by == "Ann Ünal"
    for wrong in (
        {"details": "a\x00b"},
        {"by": "a\nb"},
        {"version": "1.0"},
        {"version": "9999999999.0.0"},
        {"outcome": "?"},
    ):
        with pytest.raises(InvalidRequest) as fault:
            parse_verdict(said | wrong)
        assert [field for field, _ in fault.value.faults] == list(wrong)


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_what_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(InvalidRequest):
        parse_request(data)


@pytest.mark.parametrize("name", list(schemas()))
def test_the_published_schema_is_the_code_s(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == schemas()[name], "run python -m pipeline.schemas"


def test_the_schemas_accept_what_the_code_accepts() -> None:
    catalog = yaml.safe_load((ROOT / "sandbox" / "catalog.yaml").read_text())
    jsonschema_rs.validate(json.loads(schemas()["catalog.schema.json"]), catalog)
    whole = request(source={"blob": BLOB, "data_disks": [{"lun": 0, "blob": BLOB}]}, version="1.4.x", tags={"a": "b"})
    schema = json.loads(schemas()["publish-request.schema.json"])
    jsonschema_rs.validate(schema, whole)
    for wrong in (request(colour="red"), request(source={}), request(version="1.4")):
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(schema, wrong)
