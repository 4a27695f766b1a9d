"""Look into the VHD before anything is made of it."""

from __future__ import annotations

from pipeline.catalog import NEVER_FROM_VHD, NO_GROUP, OsState, Route
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.fit import Unfit, check_boot, check_size
from pipeline.runs import Boots, Run, Stage
from pipeline.source import SourceKind, parse_id
from pipeline.stages.outcome import Go, Outcome, RunFailed, SourceAtFault
from pipeline.stages.ripeness import check_ripe
from pipeline.vhd import FOOTER, MIB

CHANGED = (
    "the VHD was overwritten or deleted while it was being published; the new content, if any, is a run of its own"
)
DATA_CHANGED = "was overwritten or deleted while it was being published; ask again once it is at rest"


def check_unchanged(run: Run, ctx: Context) -> None:
    """Check that each VHD still holds the content that was there when it was whole: only then is that what Azure has
    read. Raises RunFailed."""
    if _content(ctx, run.container, run.blob) != run.content:
        raise RunFailed(CHANGED)
    for data in run.data_disks:
        if _content(ctx, data.container, data.blob) != data.content:
            raise RunFailed(f"data disk at LUN {data.lun}: {data.url} {DATA_CHANGED}")


def _content(ctx: Context, container: str, name: str) -> str | None:
    try:
        return ctx.blobs.facts(container, name).content
    except NotFound:
        return None


def inspecting(run: Run, ctx: Context) -> Outcome:
    """Leaves when the disk fits the definition that the catalog names."""
    image = ctx.catalog.images[run.image]
    run.definition = ctx.catalog.definition_id(run.image)
    if run.promotion and (wait := check_ripe(run, ctx)):
        return wait
    if run.kind is not SourceKind.BLOB:
        return _resource(run, ctx)
    disk_size, boots = (run.size or 0) - FOOTER, run.boots or Boots(scheme="none")
    try:
        check_size(disk_size)
    except Unfit as fault:
        raise SourceAtFault(str(fault)) from fault
    try:
        check_boot(boots.fault, boots.generations, image.definition.hyper_v_generation)
    except Unfit as fault:
        # Another definition in the catalog mends what a whole table says; nothing mends a broken one.
        raise (SourceAtFault if boots.fault else RunFailed)(str(fault)) from fault
    if image.taken_route is Route.MANAGED_IMAGE:
        group = ctx.managed_image_group(run.image)
        if group is None:
            raise RunFailed(f"the gallery of {run.image} {NO_GROUP}")
        run.managed_image, run.managed_image_group = run.image_name, str(group)
    elif ctx.settings.vhd_storage_account_id is None:
        raise RunFailed(
            "the direct route needs the app setting VHD_STORAGE_ACCOUNT_ID, the storage account's resource id"
        )
    able = " and ".join(boots.generations)
    return Go(Stage.IMAGING, f"{boots.scheme} disk of {disk_size // MIB} MiB, boots as {able}")


def _resource(run: Run, ctx: Context) -> Outcome:
    wanted, gallery = ctx.catalog.images[run.image].definition, ctx.catalog.gallery_of(run.image)
    what = run.kind.value.replace("_", " ")
    try:
        found = ctx.compute.source(run.kind, run.source)
    except NotFound:
        raise RunFailed(f"the {what} {run.source} does not exist any more") from None
    faults = [
        f"{name} is {is_}, the definition wants {should}"
        for name, is_, should in [
            ("its OS type", found.os_type, wanted.os_type.value),
            ("its OS state", found.os_state, wanted.os_state.value),
            ("its generation", found.generation, wanted.hyper_v_generation.value),
            ("its architecture", found.architecture, wanted.architecture.value),
            ("its region", found.location, gallery.location),
        ]
        if is_ and is_.lower() != should.lower()
    ]
    if faults:
        mend = ""
        if run.kind is SourceKind.VM and found.os_state == "Specialized" and wanted.os_state is OsState.GENERALIZED:
            mend = ". To mend it: deprovision the VM, then az vm deallocate and az vm generalize"
        raise RunFailed(f"the {what} does not fit: {'; '.join(faults)}{mend}")
    own = str(parse_id(run.kind, run.source)["subscription"])
    if found.encrypted and own.lower() != gallery.subscription.lower():
        raise RunFailed(
            f"the {what} is encrypted by a disk encryption set in subscription {own}: Azure makes a version of it only "
            "in a gallery of that subscription. Publish it there, or take a source without a disk encryption set"
        )
    if wanted.security_type in NEVER_FROM_VHD and run.kind is SourceKind.MANAGED_IMAGE:
        raise RunFailed(f"a {wanted.security_type} definition takes a VM, a disk or a snapshot, never a managed image")
    return Go(Stage.IMAGING, f"the {what} fits the definition")
