"""A publish request is checked field by field; its schema and the catalog's are those that are published."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml

from pipeline.requests import InvalidRequest, parse_request
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
