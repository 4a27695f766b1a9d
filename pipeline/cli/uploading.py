"""`gallerist upload`: a VHD to where it is published from."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, quote, unquote, urlsplit

import typer

from pipeline.addresses import name_fault
from pipeline.catalog import Catalog, Drop, load_catalog
from pipeline.cli import show
from pipeline.cli.api import Api, Json
from pipeline.cli.command import EPILOG, AsJson, Audience, CatalogFile, Storage, Url, api_of, app, ends_well
from pipeline.cli.hosts import storage_endpoint
from pipeline.cli.upload import Progress, Uploaded, Vhd, read_vhd
from pipeline.cli.upload import upload as bring
from pipeline.cloud.blobs import BlobFacts, Blobs
from pipeline.cloud.faults import Conflict, Denied, NotFound, Unavailable
from pipeline.cloud.identity import credential
from pipeline.cloud.page_blobs import PageBlob
from pipeline.completeness import MOST_RANGES, examine
from pipeline.fit import check_boot, check_size
from pipeline.stages.marks import is_published
from pipeline.upload_marks import COMPLETE
from pipeline.validation import visible
from pipeline.vhd import FOOTER, UPLOAD, NotAVhd, is_vhd_name

_LINES_EVERY = 5.0  # seconds between two lines of progress where there is no terminal


@app.command(epilog=EPILOG)
@ends_well
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
    if to is not None and _parts(to, "--to").query:
        raise typer.BadParameter("takes no query: the upload signs in with your identity, not a SAS", param_hint="--to")
    vhd = read_vhd(file)
    known = load_catalog(catalog) if catalog else None
    if image is not None:
        container, blob_name = _drop_of(image, name or file.name, known, lambda: api_of(url, audience))
        endpoint = _endpoint(storage, None)
    else:
        endpoint, container, blob_name = _place(str(to), storage, name or file.name)
    if not is_vhd_name(blob_name):
        raise typer.BadParameter(
            f"{blob_name!r} does not end in .vhd, and Azure makes images of no other blob", param_hint="--name"
        )
    _check_fit(vhd, known, [image] if image else known.fed_by(container, blob_name) if known else [])
    blob = PageBlob(endpoint, container, blob_name, credential(), parallel)
    said = {"file": str(file), "blob": f"{endpoint}/{container}/{quote(blob_name, safe='/~')}", "size": vhd.size}
    if dry_run:
        _end_upload(said | {"state": "dry-run"}, f"{file} is sound, and would go to {said['blob']}", as_json=as_json)
        return
    done = _bring(vhd, blob, parallel, overwrite=overwrite)
    figures = {"state": done.state, "sent": done.sent, "kept": done.kept, "seconds": round(done.seconds, 3)}
    _end_upload(said | figures, _in_words(done, said["blob"]), as_json=as_json)


@app.command(epilog=EPILOG)
@ends_well
def complete(
    blob: Annotated[str, typer.Argument(help="The VHD: its blob's URL, or container/path.")],
    storage: Storage = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Mark it although storage shows that something of it is missing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Mark a VHD complete that another program has uploaded.

    Nothing but a mark proves that an upload has ended. The VHD is looked at first, and is not marked where it shows
    that something is missing.
    """
    if _parts(blob, "BLOB").query:
        raise typer.BadParameter("takes no query: it signs in with your identity, not a SAS", param_hint="BLOB")
    endpoint, container, name = _place(blob, storage, "")
    blobs = Blobs(endpoint, credential())
    found = blobs.facts(container, name)
    url = blobs.url(container, name)
    if found.marked:
        _end_upload({"blob": url, "state": "marked"}, f"{url} is marked complete already", as_json=as_json)
        return
    with suppress(Denied):
        if taken := [tag for tag, said in blobs.tags(container, name).items() if is_published(said, found.etag)]:
            words = f"{url} is published already: see its tag {taken[0]}"
            _end_upload({"blob": url, "state": "published"}, words, as_json=as_json)
            return
    lacking = _lacking(blobs, found)
    if lacking and not anyway:
        raise NotAVhd(f"{url} is not marked: {lacking}", "wait until its upload has ended; --anyway marks it now")
    there = PageBlob(endpoint, container, name, credential(), 1)
    before = there.find()
    if before is None or before.etag.strip('"') != found.etag:
        raise Conflict(f"{url} is being written to: wait until its upload has ended")
    there.describe({**before.metadata, COMPLETE: before.mark}, before.etag)
    _end_upload(
        {"blob": url, "state": "complete", "lacking": lacking},
        f"{url} is marked complete. A run that waits for it goes on; where none does, the next sweep begins one for a "
        "drop, and gallerist publish for any other",
        as_json=as_json,
    )


def _lacking(blobs: Blobs, found: BlobFacts) -> str:
    """What storage shows to be missing of a blob, empty where nothing. Raises NotAVhd where it can never be a VHD."""
    if not found.page_blob:
        raise NotAVhd(f"this is a {found.kind}, and Azure makes disks of page blobs only", f"upload it again: {UPLOAD}")
    pages = partial(blobs.pages, found, most=MOST_RANGES)
    disk, evidence = examine(found.size, partial(blobs.read, found), pages, boots=False)
    if disk is None:
        raise NotAVhd(f"the upload has not ended: {evidence.lacking}", "wait until it has, or upload it again")
    return evidence.lacking


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


def _parts(url: str, option: str) -> SplitResult:
    """The parts of a URL; a usage error where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        raise typer.BadParameter("takes https://ACCOUNT.blob.core.windows.net/…", param_hint=option) from None


def _endpoint(storage: str | None, url: str | None) -> str:
    """The blob endpoint: as set, else the host of `url`, else a usage error that says how to set it."""
    found = storage or url
    if not found:
        raise typer.BadParameter(
            "missing; set GALLERIST_STORAGE to the account's blob endpoint, https://ACCOUNT.blob.core.windows.net",
            param_hint="--storage",
        )
    try:
        return storage_endpoint(found)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--storage" if storage else "--to") from None


def _place(to: str, storage: str | None, name: str) -> tuple[str, str, str]:
    """Endpoint, container and blob name that `to` means."""
    if "://" not in to:
        endpoint, path = _endpoint(storage, None), to
    elif storage and to.startswith(storage.rstrip("/") + "/"):
        endpoint, path = _endpoint(storage, None), unquote(to.removeprefix(storage.rstrip("/") + "/"))
    else:
        parts = _parts(to, "--to")
        endpoint, path = _endpoint(None, f"{parts.scheme}://{parts.netloc}"), unquote(parts.path.lstrip("/"))
    container, _, blob = path.partition("/")
    blob = blob + name if not blob or blob.endswith("/") else blob
    if not container:
        raise typer.BadParameter("takes a blob's URL, or container/path", param_hint="--to")
    if blob and (fault := name_fault(blob)):
        raise typer.BadParameter(fault, param_hint="--to")
    return endpoint, container, blob


def _check_fit(vhd: Vhd, known: Catalog | None, images: list[str]) -> None:
    """Raises Unfit where the disk cannot become a version of what it would feed."""
    if images:
        check_size(vhd.size - FOOTER)
    for image in images if known else []:
        wanted = known.images[image].definition.hyper_v_generation  # type: ignore[union-attr]
        check_boot(vhd.disk.fault, vhd.disk.generations, wanted)


def _bring(vhd: Vhd, blob: PageBlob, parallel: int, *, overwrite: bool) -> Uploaded:
    """Upload, with a bar on a terminal and a line now and then elsewhere, on standard error both."""
    with ExitStack() as stack:
        tell = _lines()
        if sys.stderr.isatty():
            bar = stack.enter_context(show.transfer())
            task = bar.add_task(visible(vhd.path.name), total=None, shown="")

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
