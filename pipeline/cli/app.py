"""The commands of `gallerist`: what each takes, what it prints, how it exits."""

from __future__ import annotations

import getpass
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec
from urllib.parse import quote, unquote, urlsplit

import typer
from rich.live import Live
from rich.text import Text

from pipeline.catalog import Catalog, CatalogError, Drop, load_catalog
from pipeline.cli import show
from pipeline.cli.api import Api, Json, safe_url
from pipeline.cli.upload import Changed, Progress, Uploaded, Vhd, read_vhd
from pipeline.cli.upload import upload as bring
from pipeline.cloud.faults import CloudFault, Conflict, Denied, NotFound, Unavailable
from pipeline.cloud.identity import credential
from pipeline.cloud.page_blobs import PageBlob
from pipeline.fit import Unfit, check_boot, check_size
from pipeline.vhd import FOOTER, NotAVhd

P = ParamSpec("P")

FAILED, USAGE, NOT_FOUND, CONFLICT, NO_ANSWER, INTERRUPTED = 1, 2, 3, 4, 5, 130
_GOOD = {"published", "amended"}
_LINES_EVERY = 5.0  # seconds between two lines of progress where there is no terminal
_PATIENCE = 300.0  # seconds that `watch` goes on asking a function app that does not answer
_EPILOG = (
    "Exit codes: 0 done; 1 the run or the upload failed, or the input is refused; 2 usage; 3 not found; 4 conflict; "
    "5 no answer, or access denied; 130 interrupted."
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "GALLERIST", "help_option_names": ["-h", "--help"]},
    help="Hang VM images in Azure Compute Galleries: upload a VHD, publish it, look on.\n\n"
    "Storage and the function app are reached with your own identity: az login on a laptop, the managed identity of "
    "a build agent. Instead of an Entra audience the function app may be given a function key, in GALLERIST_KEY.",
    epilog=_EPILOG,
)
catalog_app = typer.Typer(no_args_is_help=True, help="The catalog: what may be published, and where.")
app.add_typer(catalog_app, name="catalog")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]
Url = Annotated[
    str | None, typer.Option("--url", envvar="GALLERIST_URL", help="The function app, https://NAME.azurewebsites.net.")
]
Audience = Annotated[
    str | None,
    typer.Option(
        envvar="GALLERIST_AUDIENCE", help="Application ID URI to ask a token for, where the app signs in with Entra."
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(envvar="GALLERIST_STORAGE", help="Blob endpoint, https://ACCOUNT.blob.core.windows.net."),
]
CatalogFile = Annotated[
    Path | None, typer.Option("--catalog", envvar="CATALOG", help="The catalog, to check the disk against its image.")
]
RunId = Annotated[str, typer.Argument(help="The run's id, as publish and runs print it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Look on until the run has ended, and exit as watch does.")]
Every = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")]


def _ends_well(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into a message and an exit code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        show.configure_logs()
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as stop:
            show.say(str(stop) or "interrupted", "yellow", stderr=True)
            raise typer.Exit(INTERRUPTED) from None
        except (CloudFault, CatalogError, NotAVhd, Unfit, Changed, OSError) as error:
            said = (
                f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
            )
            if kwargs.get("as_json"):
                code = getattr(error, "code", "") or type(error).__name__
                faults = {"details": error.faults} if isinstance(error, CatalogError) else {}
                show.document({"error": {"code": code, "message": said, **faults}})
            show.say(said, "red", stderr=True)
            raise typer.Exit(_exit_code(error)) from error

    return run


def _exit_code(error: Exception) -> int:
    match error:
        case NotFound():
            return NOT_FOUND
        case Conflict():
            return CONFLICT
        case Denied() | Unavailable():
            return NO_ANSWER
    return FAILED


def _api(url: str | None, audience: str | None) -> Api:
    if not url:
        raise typer.BadParameter(
            "missing; set GALLERIST_URL to the function app's address, such as https://NAME.azurewebsites.net",
            param_hint="--url",
        )
    try:
        return Api(safe_url(url), os.environ.get("GALLERIST_KEY"), audience)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error


@app.command(epilog=_EPILOG)
@_ends_well
def upload(
    file: Annotated[Path, typer.Argument(help="A fixed VHD.")],
    image: Annotated[
        str | None, typer.Option(help="Drop it where the catalog looks for this image's VHDs.", show_default=False)
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="Or put it here: a blob's URL, or container/path; one that ends in / is a folder."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The blob's name, the file's own where left out.")] = None,
    catalog: CatalogFile = None,
    storage: Storage = None,
    url: Url = None,
    audience: Audience = None,
    parallel: Annotated[int, typer.Option(min=1, max=16, help="Writes at a time, of 4 MiB at most each.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another VHD that is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, say where it would go, send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a VHD as a page blob: only what is not zero, in parallel.

    An upload that was interrupted goes on where it ended when the same command is given again. A file that Azure
    would take no disk of is refused before a byte is sent.
    """
    if (image is None) == (to is None):
        raise typer.BadParameter("give one of --image and --to", param_hint="--image, --to")
    if to is not None and urlsplit(to).query:
        raise typer.BadParameter("takes no query: the upload signs in with your identity, not a SAS", param_hint="--to")
    vhd = read_vhd(file)
    known = load_catalog(catalog) if catalog else None
    if image is not None:
        container, blob_name = _drop_of(image, name or file.name, known, lambda: _api(url, audience))
        endpoint = _endpoint(storage, None)
    else:
        endpoint, container, blob_name = _place(str(to), storage, name or file.name)
    _check_fit(vhd, known, [image] if image else known.fed_by(container, blob_name) if known else [])
    blob = PageBlob(endpoint, container, blob_name, credential(), parallel)
    said = {"file": str(file), "blob": f"{endpoint}/{container}/{quote(blob_name, safe='/~')}", "size": vhd.size}
    if dry_run:
        _end_upload(said | {"state": "dry-run"}, f"{file} is sound, and would go to {said['blob']}", as_json=as_json)
        return
    done = _bring(vhd, blob, parallel, overwrite=overwrite)
    figures = {"state": done.state, "sent": done.sent, "kept": done.kept, "seconds": round(done.seconds, 3)}
    _end_upload(said | figures, _in_words(done, said["blob"]), as_json=as_json)


def _end_upload(found: Json, words: str, *, as_json: bool) -> None:
    if as_json:
        show.document(found)
    else:
        show.say(words)


def _in_words(done: Uploaded, blob: object) -> str:
    if done.state == "there":
        return f"{blob} holds this VHD already, complete; nothing was sent"
    kept = f", {show.bytes_of(done.kept)} were there from before" if done.state == "resumed" else ""
    zero = show.bytes_of(done.size - done.sent - done.kept)
    return f"{blob} is complete: {show.bytes_of(done.sent)} sent in {done.seconds:.1f} s{kept}, {zero} are zero"


def _drop_of(image: str, name: str, known: Catalog | None, api: Callable[[], Api]) -> tuple[str, str]:
    """Container and name of a blob that feeds `image`, by the catalog, or by the function app's where none is given."""
    if known:
        drops = {found: entry.drop for found, entry in known.images.items()}
    else:
        drops = {found["image"]: found.get("drop") for found in api().images()}
    if image not in drops:
        raise NotFound(f"the catalog has no image {image!r}; it has {', '.join(drops)}")
    pattern = drops[image]
    if pattern is None:
        raise typer.BadParameter(f"{image} has no drop in the catalog: use --to, then publish", param_hint="--image")
    drop = Drop(pattern)
    for candidate in (name, drop.prefix + name):
        if drop.takes(candidate):
            return drop.container, candidate
    raise typer.BadParameter(f"{name!r} would not feed {image}, whose drop is {pattern}", param_hint="--name")


def _endpoint(storage: str | None, url: str | None) -> str:
    """The blob endpoint: as set, else the host of `url`, else a usage error that says how to set it."""
    found = storage or url
    if not found:
        raise typer.BadParameter(
            "missing; set GALLERIST_STORAGE to the account's blob endpoint, https://ACCOUNT.blob.core.windows.net",
            param_hint="--storage",
        )
    if urlsplit(found).scheme != "https" or not urlsplit(found).netloc:
        raise typer.BadParameter("takes https://ACCOUNT.blob.core.windows.net", param_hint="--storage")
    return found.rstrip("/")


def _place(to: str, storage: str | None, name: str) -> tuple[str, str, str]:
    """Endpoint, container and blob name that `to` means."""
    if "://" not in to:
        endpoint, path = _endpoint(storage, None), to
    elif storage and to.startswith(storage.rstrip("/") + "/"):
        endpoint, path = _endpoint(storage, None), unquote(to.removeprefix(storage.rstrip("/") + "/"))
    else:
        parts = urlsplit(to)
        endpoint, path = _endpoint(None, f"{parts.scheme}://{parts.netloc}"), unquote(parts.path.lstrip("/"))
    container, _, blob = path.partition("/")
    blob = blob + name if not blob or blob.endswith("/") else blob
    if not container:
        raise typer.BadParameter("takes a blob's URL, or container/path", param_hint="--to")
    return endpoint, container, blob


def _check_fit(vhd: Vhd, known: Catalog | None, images: list[str]) -> None:
    """Raises Unfit where the disk cannot become a version of what it would feed."""
    if images:
        check_size(vhd.size - FOOTER)
    for image in images if known else []:
        check_boot(vhd.head, known.images[image].definition.hyper_v_generation)  # type: ignore[union-attr]


def _bring(vhd: Vhd, blob: PageBlob, parallel: int, *, overwrite: bool) -> Uploaded:
    """Upload, with a bar on a terminal and a line now and then elsewhere, on standard error both."""
    with ExitStack() as stack:
        tell = _lines()
        if sys.stderr.isatty():
            bar = stack.enter_context(show.transfer())
            task = bar.add_task(vhd.path.name, total=None, shown="")

            def tell(now: Progress) -> None:
                shown = f"{show.bytes_of(now.looked)} of {show.bytes_of(now.total)} that are no hole"
                bar.update(task, total=now.total, completed=now.looked, shown=shown)

        try:
            return bring(vhd, blob, parallel, overwrite=overwrite, tell=tell)
        except NotFound as error:
            raise NotFound(f"there is no such container: {blob.url}. {error}", error.code) from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command goes on from here") from None
        except Unavailable as error:
            raise Unavailable(f"{error}\nThe same command goes on from here.", error.code) from error


def _lines() -> Callable[[Progress], None]:
    told = time.monotonic()

    def tell(now: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _LINES_EVERY:
            told = time.monotonic()
            kept = f", {show.bytes_of(now.kept)} were there" if now.kept else ""
            show.say(
                f"{show.bytes_of(now.looked)} of {show.bytes_of(now.total)}, {show.bytes_of(now.sent)} sent{kept}",
                stderr=True,
            )

    return tell


@app.command(epilog=_EPILOG)
@_ends_well
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
        "tags": _pairs(tag or [], "--tag", "name=value"),
    }  # fmt: skip
    api = _api(url, audience)
    begun = api.publish({name: value for name, value in request.items() if value})
    _begun(api, begun, wait=wait, as_json=as_json)


def _pairs(given: list[str], option: str, form: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given]
    if any(not (name and equals) for name, equals, _ in pairs):
        raise typer.BadParameter(f"takes {form}", param_hint=option)
    return {name: value for name, _, value in pairs}


def _begun(api: Api, begun: Json, *, wait: bool, as_json: bool) -> None:
    if wait:
        found = _look_on(api, begun["run"], 2.0, as_json=as_json, every_step=False)
        raise typer.Exit(0 if found["state"] in _GOOD else FAILED)
    if as_json:
        show.document(begun)
    else:
        show.say(f"{begun['run']}  {begun['state']}")


@app.command(epilog=_EPILOG)
@_ends_well
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
    found = list(_api(url, audience).runs(limit, image=image, state=state, since=_since(since)))
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


@app.command("show", epilog=_EPILOG)
@_ends_well
def show_run(run: RunId, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Show a run: where it is, what it made, what happened."""
    found = _api(url, audience).run(run)
    if as_json:
        show.document(found)
    else:
        show.run(found)


@app.command(epilog=_EPILOG)
@_ends_well
def watch(run: RunId, every: Every = 2, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Look on until a run has ended: exit 0 where it is published, 1 where it is not.

    A run that ends as a duplicate is followed to the one that has its source.
    """
    found = _look_on(_api(url, audience), run, every, as_json=as_json, every_step=True)
    raise typer.Exit(0 if found["state"] in _GOOD else FAILED)


def _look_on(api: Api, run_id: str, every: float, *, as_json: bool, every_step: bool) -> Json:
    """Print what happens to a run until it has ended, and return it. As JSON: a line a step, or the end alone."""
    with ExitStack() as stack:
        live = None
        if not as_json and sys.stdout.isatty():
            live = stack.enter_context(Live(console=show.console(), transient=True))
        told, regions, answered = 0, "", time.monotonic()
        while True:
            try:
                found = api.run(run_id)
            except Unavailable:
                if time.monotonic() - answered > _PATIENCE:
                    raise
                time.sleep(every)
                continue
            answered = time.monotonic()
            history = found.get("history") or []
            for happening in history[told:]:
                if live:
                    live.console.print(Text(show.line(happening)), soft_wrap=True)
                elif not as_json:
                    show.say(show.line(happening))
                elif every_step:
                    show.document({"run": run_id, **happening})
            told = len(history)
            if (now := show.regions_in_words(found)) != regions:
                regions = now
                if as_json and every_step:
                    show.document({"run": run_id, "regions": found["regions"]})
                elif not as_json and not live and found["state"] == "replicating":
                    show.say(now)
            if found["state"] == "duplicate" and found.get("duplicate_of"):
                run_id, told, regions = found["duplicate_of"], 0, ""
                continue
            if found["state"] in show.STATES:
                break
            if live:
                live.update(show.picture(found))
            time.sleep(every)
    if as_json:
        show.document(found)
    else:
        show.ending(found)
    return found


@app.command(epilog=_EPILOG)
@_ends_well
def retry(run: RunId, wait: Wait = False, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Let a failed or cancelled run go on, under the number it has."""
    api = _api(url, audience)
    _begun(api, api.retry(run), wait=wait, as_json=as_json)


@app.command(epilog=_EPILOG)
@_ends_well
def cancel(run: RunId, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """End a run; what it made is taken away."""
    api = _api(url, audience)
    _begun(api, api.cancel(run), wait=False, as_json=as_json)


@app.command(epilog=_EPILOG)
@_ends_well
def versions(
    image: Annotated[str, typer.Argument(help="The image's name in the catalog.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """List what the gallery holds of an image, the highest version first."""
    found = _api(url, audience).versions(image, limit)
    if as_json:
        show.document(found)
    else:
        show.versions(found)


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
    return getpass.getuser()


def _amended(api: Api, done: Json, unchanged: str, *, wait: bool, as_json: bool) -> None:
    if wait and done["runs"]:
        ended = [_look_on(api, run["run"], 2.0, as_json=as_json, every_step=False) for run in done["runs"]]
        raise typer.Exit(0 if all(run["state"] in _GOOD for run in ended) else FAILED)
    if as_json:
        show.document(done)
    elif not done["runs"]:
        show.say(unchanged)
    for run in done["runs"] if not as_json else []:
        show.say(f"{run['run']}  {run['state']}")


@app.command(epilog=_EPILOG)
@_ends_well
def verdict(
    version: Version,
    outcome: Annotated[str, typer.Argument(help="What was found: passed, failed, …")],
    name: Annotated[str, typer.Option(help="What was looked at: the tag that a promotion rule requires.")] = "tests",
    details: Annotated[str | None, typer.Option(help="What to know of it, such as a report's URL.")] = None,
    wait: Wait = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Say what tests found out about a version: the tag that promotion waits for."""
    image, number = _split(version)
    api = _api(url, audience)
    said = {"name": name, "outcome": outcome, "details": details, "by": _by()}
    _amended(api, api.amend(image, number, "verdict", said), f"{version} says so already", wait=wait, as_json=as_json)


@app.command(epilog=_EPILOG)
@_ends_well
def approve(
    version: Version, wait: Wait = False, url: Url = None, audience: Audience = None, as_json: AsJson = False
) -> None:
    """Approve of a version, for promotion rules that want a person's word."""
    image, number = _split(version)
    api = _api(url, audience)
    done = api.amend(image, number, "approval", {"by": _by()})
    _amended(api, done, f"{version} is approved already", wait=wait, as_json=as_json)


@app.command(epilog=_EPILOG)
@_ends_well
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
    api = _api(url, audience)
    done = api.amend(image, number, "withdrawal", {"why": why, "by": _by(), "promoted": promoted})
    _amended(api, done, f"{version} is withdrawn already", wait=wait, as_json=as_json)


@app.command(epilog=_EPILOG)
@_ends_well
def reinstate(
    version: Version, why: Why, wait: Wait = False, url: Url = None, audience: Audience = None, as_json: AsJson = False
) -> None:
    """Undo a withdrawal: the version is in latest again, in every region."""
    image, number = _split(version)
    api = _api(url, audience)
    done = api.amend(image, number, "reinstatement", {"why": why, "by": _by()})
    _amended(api, done, f"{version} is in latest already", wait=wait, as_json=as_json)


@app.command(epilog=_EPILOG)
@_ends_well
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
    api = _api(url, audience)
    done = api.roll_back(image, {"why": why, "by": _by(), "dry_run": dry_run})
    said = f"{image}: {done['out']} goes out of latest, {done['back_to']} is latest again"
    if not as_json:
        show.say(said if not dry_run else f"would do: {said}")
    if not dry_run or as_json:
        _amended(api, done, "", wait=wait, as_json=as_json)


@app.command(epilog=_EPILOG)
@_ends_well
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
    api = _api(url, audience)
    done = api.promote({"image": name, "version": version or None, "dry_run": dry_run})
    found = done["promotions"]
    if as_json and not wait:
        show.document(done)
    elif not as_json:
        show.promotions(found)
    if wait and not dry_run:
        ended = [
            _look_on(api, one["run"]["run"], 2.0, as_json=as_json, every_step=False) for one in found if one["run"]
        ]
        if ended:
            raise typer.Exit(0 if all(run["state"] in _GOOD for run in ended) else FAILED)
    raise typer.Exit(0 if any(one["moves"] for one in found) else FAILED)


@app.command(epilog=_EPILOG)
@_ends_well
def promotions(url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """List the promotion rules: what each would move, and what keeps the rest."""
    found = _api(url, audience).promotions()
    if as_json:
        show.document(found)
    else:
        show.promotions(found["promotions"])


Rule = Annotated[str, typer.Argument(help="The rule's name, as promotions prints it.")]


@app.command(epilog=_EPILOG)
@_ends_well
def hold(rule: Rule, why: Why, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Let nothing move by a promotion rule until it is released."""
    done = _api(url, audience).hold(rule, {"why": why, "by": _by()})
    if as_json:
        show.document(done)
    else:
        show.promotions(done["promotions"])


@app.command(epilog=_EPILOG)
@_ends_well
def release(rule: Rule, url: Url = None, audience: Audience = None, as_json: AsJson = False) -> None:
    """Let a promotion rule that is held go on."""
    done = _api(url, audience).release(rule)
    if as_json:
        show.document(done)
    else:
        show.promotions(done["promotions"])


@app.command(epilog=_EPILOG)
@_ends_well
def retention(
    image: Annotated[str | None, typer.Argument(help="Of this image only.")] = None,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    audience: Audience = None,
    as_json: AsJson = False,
) -> None:
    """Take away the versions that have had their time, as the night would. The plan is printed first."""
    api = _api(url, audience)
    planned = api.retention({"image": image, "dry_run": True})
    if dry_run or not as_json:
        show.document(planned) if as_json else show.retention(planned["images"])
    if dry_run:
        return
    if not yes and any(show.doomed(one) for one in planned["images"]):
        if as_json or not sys.stdin.isatty():
            raise typer.BadParameter("what is deleted is gone: give --yes, or --dry-run", param_hint="--yes")
        typer.confirm("Delete these?", abort=True)
    done = api.retention({"image": image, "dry_run": False})
    if as_json:
        show.document(done)


@catalog_app.command("check", epilog=_EPILOG)
@_ends_well
def check_catalog(
    file: Annotated[Path, typer.Argument(envvar="CATALOG", help="The catalog.")] = Path("catalog.yaml"),
    as_json: AsJson = False,
) -> None:
    """Check a catalog: all its faults at once, or what it publishes and where."""
    found = load_catalog(file)
    if as_json:
        show.document({"catalog": str(file), "images": show.catalog_json(found)})
    else:
        show.catalog(found)


def main() -> Any:
    """The entry point of the console script."""
    return app(prog_name="gallerist")
