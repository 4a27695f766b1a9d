"""The commands for the life of a version: verdicts, promotion, withdrawal, rollback, retention."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated

import typer

from pipeline.cli import show
from pipeline.cli.api import Api, Json
from pipeline.cli.command import EPILOG, FAILED, GOOD, AsJson, Audience, Url, Wait, api_of, app, ends_well, takes
from pipeline.cli.watching import look_on

_PANEL = "The life of a version"

Version = Annotated[str, typer.Argument(metavar="IMAGE@VERSION", help="A version of an image of the catalog.")]
Why = Annotated[str, typer.Option("--why", help="The reason; it stays with the version.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def _split(given: str) -> tuple[str, str]:
    image, at, version = given.partition("@")
    if not (image and at and version):
        raise typer.BadParameter("takes IMAGE@VERSION, such as ubuntu-web@1.4.0", param_hint="IMAGE@VERSION")
    return image, version


def _by() -> str:
    """Who says so: the user of this machine. The function app knows the identity that asked."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def _amended(api: Api, done: Json, unchanged: str, *, wait: bool, as_json: bool) -> None:
    if wait and done["runs"]:
        ended = [look_on(api, run["run"], 2.0, as_json=as_json, every_step=False) for run in done["runs"]]
        raise typer.Exit(0 if all(run["state"] in GOOD for run in ended) else FAILED)
    if as_json:
        show.document(done)
    elif not done["runs"]:
        show.say(unchanged)
    for run in done["runs"] if not as_json else []:
        show.say(f"{run['run']}  {run['state']}")


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /images/{image}/versions/{version}/verdict")
@ends_well
def verdict(
    version: Version,
    outcome: Annotated[str, typer.Argument(help="What was found: passed, failed, …")],
    name: Annotated[str, typer.Option(help="What was looked at, by the name that a rule requires.")] = "tests",
    details: Annotated[str | None, typer.Option(help="What to know of it, such as a report's URL.")] = None,
    wait: Wait = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Say what tests found out about a version, for promotion rules that require it."""
    image, number = _split(version)
    api = api_of(url, audience)
    said = {"name": name, "outcome": outcome, "details": details, "by": _by()}
    _amended(api, api.amend(image, number, "verdict", said), f"{version} says so already", wait=wait, as_json=as_json)


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /images/{image}/versions/{version}/approval")
@ends_well
def approve(
    version: Version, wait: Wait = False, url: Url = None, audience: Audience = None, as_json: AsJson = False
) -> None:
    """Approve of a version, for promotion rules that want a person's word."""
    image, number = _split(version)
    api = api_of(url, audience)
    done = api.amend(image, number, "approval", {"by": _by()})
    _amended(api, done, f"{version} is approved already", wait=wait, as_json=as_json)


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /images/{image}/versions/{version}/withdrawal")
@ends_well
def withdraw(
    version: Version,
    why: Why,
    promoted: Annotated[bool, typer.Option("--promoted", help="And what was promoted from it.")] = False,
    wait: Wait = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Take a version out of latest in every region. It stays, and can be named; reinstate brings it back."""
    image, number = _split(version)
    api = api_of(url, audience)
    done = api.amend(image, number, "withdrawal", {"why": why, "by": _by(), "promoted": promoted})
    _amended(api, done, f"{version} is withdrawn already", wait=wait, as_json=as_json)


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /images/{image}/versions/{version}/reinstatement")
@ends_well
def reinstate(
    version: Version, why: Why, wait: Wait = False, url: Url = None, audience: Audience = None, as_json: AsJson = False
) -> None:
    """Undo a withdrawal: the version is in latest again, in every region."""
    image, number = _split(version)
    api = api_of(url, audience)
    done = api.amend(image, number, "reinstatement", {"why": why, "by": _by()})
    _amended(api, done, f"{version} is in latest already", wait=wait, as_json=as_json)


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /images/{image}/rollback")
@ends_well
def rollback(
    image: Annotated[str, typer.Argument(help="The image's name in the catalog.")],
    why: Why,
    dry_run: DryRun = False,
    wait: Wait = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Make the good version before the latest one latest again: the latest one is withdrawn."""
    api = api_of(url, audience)
    asked = {"why": why, "by": _by()}
    planned = api.roll_back(image, {**asked, "dry_run": True})
    said = f"{image}: {planned['out']} goes out of latest, {planned['back_to']} is latest again"
    if dry_run:
        if as_json:
            show.document(planned)
        else:
            show.say(f"would do: {said}")
        return
    # Asked again by mistake, it takes no further version out.
    done = api.roll_back(image, {**asked, "out": planned["out"]})
    if not as_json:
        show.say(said)
    _amended(api, done, "", wait=wait, as_json=as_json)


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /images/{image}/versions/{version}/number-release")
@ends_well
def release_number(
    version: Version, why: Why, url: Url = None, audience: Audience = None, as_json: AsJson = False
) -> None:
    """Let the number of a version that the gallery does not hold bind no more.

    What was given too high a number by mistake would have every later one above it.
    """
    image, number = _split(version)
    done = api_of(url, audience).amend(image, number, "number-release", {"why": why})
    if as_json:
        show.document(done)
    else:
        show.say(f"the number of {version} binds no more")


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /promotions")
@ends_well
def promote(
    image: Annotated[str, typer.Argument(metavar="IMAGE[@VERSION]", help="Of which image, or of which version of it.")],
    dry_run: DryRun = False,
    wait: Wait = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Promote now, as the night would: what the rules let move, moves. Exit 1 where nothing moves."""
    name, _, version = image.partition("@")
    api = api_of(url, audience)
    done = api.promote({"image": name, "version": version or None, "dry_run": dry_run})
    found = done["promotions"]
    if as_json and not wait:
        show.document(done)
    elif not as_json:
        show.promotions(found)
    if wait and not dry_run:
        ended = [look_on(api, one["run"]["run"], 2.0, as_json=as_json, every_step=False) for one in found if one["run"]]
        if ended:
            raise typer.Exit(0 if all(run["state"] in GOOD for run in ended) else FAILED)
    raise typer.Exit(0 if any(one["moves"] for one in found) else FAILED)


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("GET /promotions")
@ends_well
def promotions(url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """List the promotion rules: what each would move, and what keeps the rest."""
    found = api_of(url, audience).promotions()
    if as_json:
        show.document(found)
    else:
        show.promotions(found["promotions"])


Rule = Annotated[str, typer.Argument(help="The rule's name, as promotions prints it.")]


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /promotions/{rule}/hold")
@ends_well
def hold(rule: Rule, why: Why, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Let nothing move by a promotion rule until it is released."""
    done = api_of(url, audience).hold(rule, {"why": why, "by": _by()})
    if as_json:
        show.document(done)
    else:
        show.promotions(done["promotions"])


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /promotions/{rule}/release")
@ends_well
def release(rule: Rule, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Let a promotion rule that is held go on."""
    done = api_of(url, audience).release(rule)
    if as_json:
        show.document(done)
    else:
        show.promotions(done["promotions"])


@app.command(epilog=EPILOG, rich_help_panel=_PANEL)
@takes("POST /retention")
@ends_well
def retention(
    image: Annotated[str | None, typer.Argument(help="Of this image only.")] = None,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Take away the versions that have had their time, as the night would. The plan is printed first."""
    api = api_of(url, audience)
    planned = api.retention({"image": image, "dry_run": True})["images"]
    going = {one["image"]: names for one in planned if (names := show.going(one))}
    faults = [one for one in planned if one["fault"]]
    if dry_run and as_json:
        show.document({"dry_run": True, "images": planned})
    elif not as_json:
        show.retention(planned)
    if dry_run or not going:
        if as_json and not dry_run:
            show.document({"dry_run": False, "images": planned})
        raise typer.Exit(FAILED if faults else 0)
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise typer.BadParameter("what is deleted is gone: give --yes, or --dry-run", param_hint="--yes")
        typer.confirm("Delete these?", abort=True)
    done = api.retention({"image": image, "dry_run": False, "confirmed": going})
    gone = [thing for one in done["images"] for thing in one["done"]]
    if as_json:
        show.document(done)
    else:
        show.gone(gone)
    raise typer.Exit(FAILED if faults or any(thing["refused"] for thing in gone) else 0)
