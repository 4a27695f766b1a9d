"""The commands of `gallerist`: what each takes, what it prints, how it exits."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.catalog import load_catalog
from pipeline.cli import (
    lifecycle,  # noqa: F401 - its commands are the app's
    show,
    uploading,  # noqa: F401 - likewise
)
from pipeline.cli.api import Json
from pipeline.cli.command import (
    EPILOG,
    FAILED,
    GOOD,
    AsJson,
    Audience,
    Every,
    RunId,
    Url,
    Wait,
    api_of,
    app,
    catalog_app,
    ends_well,
    takes,
)
from pipeline.cli.watching import begun_or_watched, look_on
from pipeline.resource_ids import ResourceGroup, check_group, subscription_of_account


@app.command(epilog=EPILOG)
@takes("POST /publish")
@ends_well
def publish(
    image: Annotated[str, typer.Argument(help="The image's name in the catalog.")],
    blob: Annotated[str | None, typer.Option(help="Of a VHD: its blob's URL.")] = None,
    data_disk: Annotated[
        list[str] | None, typer.Option(help="With --blob: LUN=URL of a data disk's VHD, as often as needed.")
    ] = None,
    managed_image: Annotated[str | None, typer.Option(help="Of a managed image: its resource id.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Of a snapshot: its resource id.")] = None,
    disk: Annotated[str | None, typer.Option(help="Of a managed disk: its resource id.")] = None,
    vm: Annotated[str | None, typer.Option(help="Of a virtual machine: its resource id.")] = None,
    image_version: Annotated[str | None, typer.Option(help="Of another image version: its resource id.")] = None,
    version: Annotated[
        str | None, typer.Option(help="Its number, or a wildcard such as 1.4.x; the catalog's rule where left out.")
    ] = None,
    bump: Annotated[str | None, typer.Option(help="Or what to raise: major, minor or patch.")] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Your name for this request; the same again is the same run.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="name=value, on the version; as often as you like.")] = None,
    jump: Annotated[
        bool,
        typer.Option("--jump", help="Take a --version more than one major above the highest. Operators only."),
    ] = False,
    wait: Wait = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Publish a version of an image. Asked again for the same source, it answers with the same run."""
    sources = {
        "blob": blob, "managed_image": managed_image, "snapshot": snapshot, "disk": disk, "vm": vm,
        "image_version": image_version,
    }  # fmt: skip
    source: Json = {kind: value for kind, value in sources.items() if value}
    if len(source) != 1:
        options = ", ".join(f"--{kind.replace('_', '-')}" for kind in sources)
        raise typer.BadParameter(f"give one of {options}", param_hint="the source")
    if data_disk:
        if not blob:
            raise typer.BadParameter("goes with --blob", param_hint="--data-disk")
        source["data_disks"] = [
            {"lun": lun, "blob": address} for lun, address in _pairs(data_disk, "--data-disk", "LUN=URL").items()
        ]
    if version and bump:
        raise typer.BadParameter("give one of --version and --bump", param_hint="--version, --bump")
    request = {
        "image": image, "source": source, "version": version, "bump": bump, "request_id": request_id,
        "tags": _pairs(tag or [], "--tag", "name=value"), "jump": jump,
    }  # fmt: skip
    api = api_of(url, audience)
    begun = api.publish({name: value for name, value in request.items() if value})
    begun_or_watched(api, begun, wait=wait, as_json=as_json)


def _pairs(given: list[str], option: str, form: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given]
    if any(not (name and equals) for name, equals, _ in pairs):
        raise typer.BadParameter(f"takes {form}", param_hint=option)
    return {name: value for name, _, value in pairs}


@app.command(epilog=EPILOG)
@takes("GET /runs")
@ends_well
def runs(
    image: Annotated[str | None, typer.Option(help="Of this image only.")] = None,
    state: Annotated[str | None, typer.Option(help="In this state only: a stage's name, live or ended.")] = None,
    since: Annotated[str | None, typer.Option(help="Begun since: ISO 8601, or an age such as 90m, 24h, 7d.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    found = list(api_of(url, audience).runs(limit, image=image, state=state, since=_since(since)))
    if as_json:
        show.document({"runs": found})
    else:
        show.runs(found)


def _since(given: str | None) -> str | None:
    """`given` in ISO 8601; an age is counted from now."""
    if given is None:
        return None
    if found := re.fullmatch(r"(\d+)([smhdw])", given):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[found[2]]
        return (datetime.now(UTC) - timedelta(**{unit: int(found[1])})).isoformat()
    try:
        return datetime.fromisoformat(given).astimezone(UTC).isoformat()
    except ValueError as error:
        raise typer.BadParameter("takes ISO 8601, or an age such as 90m, 24h or 7d", param_hint="--since") from error


@app.command(epilog=EPILOG)
@takes("GET /audit")
@ends_well
def audit(
    since: Annotated[str | None, typer.Option(help="Made since: ISO 8601, or an age such as 90m, 24h, 7d.")] = None,
    who: Annotated[
        str | None, typer.Option(help="By this caller only: an object id of Entra, key:ROLE, queue:NAME or timer:NAME.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """List who changed what, the newest first."""
    found = list(api_of(url, audience).audit(limit, since=_since(since), who=who))
    if as_json:
        show.document({"audit": found})
    else:
        show.audit(found)


@app.command("show", epilog=EPILOG)
@takes("GET /runs/{id}")
@ends_well
def show_run(run: RunId, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Show a run: where it is, what it made, what happened."""
    found = api_of(url, audience).run(run)
    if as_json:
        show.document(found)
    else:
        show.run(found)


@app.command(epilog=EPILOG)
@takes("GET /runs/{id}")
@ends_well
def watch(run: RunId, every: Every = 2, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Look on until a run has ended: exit 0 where it is published, 1 where it is not.

    A run that ends as a duplicate is followed to the one that has its source.
    """
    found = look_on(api_of(url, audience), run, every, as_json=as_json, every_step=True)
    raise typer.Exit(0 if found["state"] in GOOD else FAILED)


@app.command(epilog=EPILOG)
@takes("POST /runs/{id}/retry")
@ends_well
def retry(run: RunId, wait: Wait = False, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Let a failed or cancelled run go on, under the number it has."""
    api = api_of(url, audience)
    begun_or_watched(api, api.retry(run), wait=wait, as_json=as_json)


@app.command(epilog=EPILOG)
@takes("POST /runs/{id}/cancel")
@ends_well
def cancel(run: RunId, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """End a run; what it made is taken away."""
    api = api_of(url, audience)
    begun_or_watched(api, api.cancel(run), wait=False, as_json=as_json)


@app.command(epilog=EPILOG)
@takes("GET /images/{image}/versions")
@ends_well
def versions(
    image: Annotated[str, typer.Argument(help="The image's name in the catalog.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """List what the gallery holds of an image, the highest version first."""
    found = api_of(url, audience).versions(image, limit)
    if as_json:
        show.document(found)
    else:
        show.versions(found)


_NOT_CHECKED = (
    "not checked: whether Azure makes managed images for these galleries. It does in the subscription of the storage "
    "account with the VHDs, which --vhd-account names, or VHD_STORAGE_ACCOUNT_ID"
)


def _galleries_only_in(account: str | None, group: str | None) -> str | None:
    """The subscription outside which no gallery gets managed images, by two app settings; None for no such bound."""
    try:
        only = subscription_of_account(account) if account else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--vhd-account") from error
    if not group:
        return only
    try:
        if account:
            check_group(group, account)
        else:
            ResourceGroup.parse(group)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--managed-image-group") from error
    return None


@catalog_app.command("check", epilog=EPILOG)
@ends_well
def check_catalog(
    file: Annotated[Path, typer.Argument(envvar="CATALOG", help="The catalog.")] = Path("catalog.yaml"),
    vhd_account: Annotated[
        str | None,
        typer.Option(envvar="VHD_STORAGE_ACCOUNT_ID", help="The storage account with the VHDs: its resource id."),
    ] = None,
    managed_image_group: Annotated[
        str | None,
        typer.Option(envvar="MANAGED_IMAGE_GROUP_ID", help="Where managed images are made: a group's resource id."),
    ] = None,
    api_client_id: Annotated[
        str | None,
        typer.Option(envvar="API_CLIENT_ID", help="The application that callers of the HTTP API sign in to, if any."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a catalog: all its faults at once, or what it publishes and where. What is allowed and unwise is warned of.

    Whether Azure makes managed images for a gallery, and whether it is known who approves, depends on app settings,
    which are options here.
    """
    found = load_catalog(file, _galleries_only_in(vhd_account, managed_image_group))
    if not vhd_account and not managed_image_group:
        show.say(_NOT_CHECKED, "yellow", stderr=True)
    warnings = found.warnings(sign_in=bool(api_client_id))
    for warning in warnings:
        show.say(warning, "yellow", stderr=True)
    if as_json:
        show.document({"catalog": str(file), "images": show.catalog_json(found), "warnings": warnings})
    else:
        show.catalog(found)


def main() -> Any:
    """The entry point of the console script."""
    return app(prog_name="gallerist")
