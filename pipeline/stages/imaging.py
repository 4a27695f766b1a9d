"""See to the definition; make a managed image of the VHD, where the route takes one."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.catalog import Image
from pipeline.cloud.compute import DefinitionFacts
from pipeline.cloud.faults import NotFound
from pipeline.context import Context
from pipeline.replication import poll_delay
from pipeline.runs import Run, Stage, now
from pipeline.stages.inspecting import check_unchanged
from pipeline.stages.marks import is_of, is_of_this_try, tags_of
from pipeline.stages.outcome import Go, Outcome, RunFailed, Wait


def imaging(run: Run, ctx: Context) -> Outcome:
    """Leaves when the definition is as the catalog says and the managed image has Succeeded."""
    if run.operation is None:
        _ensure_definition(run, ctx)
        if run.managed_image is None:
            return Go(Stage.NUMBERING, "straight from the source, without a managed image of its own")
        if wait := _earlier_try(run, ctx, run.managed_image):
            return wait
        run.operation = _start(run, ctx, run.managed_image)
        return Wait(ctx.settings.poll_seconds, f"managed image {run.managed_image} is being made")
    group = ctx.managed_image_group_of(run)
    try:
        state = ctx.compute.managed_image(group, str(run.managed_image)).state
    except NotFound:
        state = "not seen yet"
    if state == "Failed":
        why = ctx.compute.why_failed(group.subscription, run.operation)
        raise RunFailed(f"Azure could not make a managed image of the VHD: {why or 'it gives no reason'}")
    if state != "Succeeded":
        waited = (now() - run.entered).total_seconds()
        delay = poll_delay(waited, ctx.settings.poll_seconds, ctx.settings.poll_max_seconds)
        return Wait(delay, f"managed image {run.managed_image}: {state}")
    check_unchanged(run, ctx)
    return Go(Stage.NUMBERING, f"managed image {run.managed_image} is made")


def _earlier_try(run: Run, ctx: Context, name: str) -> Wait | None:
    """A wait while a managed image is in the way that the run made of what its VHD held at an earlier try. Raises
    RunFailed where the one that is there is not the run's."""
    group = ctx.managed_image_group_of(run)
    try:
        found = ctx.compute.managed_image(group, name)
    except NotFound:
        return None
    if is_of_this_try(run, found.tags):
        return None
    if not is_of(run, found.tags):
        raise RunFailed(f"{group.managed_image_id(name)} is there, and this run has not made it: delete or rename it")
    if found.state != "Deleting":
        ctx.compute.delete_image(group, name)
    return Wait(ctx.settings.poll_seconds, f"managed image {name} of an earlier try is being deleted")


def _start(run: Run, ctx: Context, name: str) -> str:
    definition = ctx.catalog.images[run.image].definition
    return ctx.compute.create_image(
        ctx.managed_image_group_of(run),
        name,
        location=ctx.catalog.gallery_of(run.image).location,
        blob_uri=run.source,
        data_disks=[(disk.lun, disk.url) for disk in run.data_disks],
        os_type=definition.os_type.value,
        generation=definition.hyper_v_generation.value,
        tags=tags_of(run),
    )


def _ensure_definition(run: Run, ctx: Context) -> None:
    at, image = ctx.definition(run), ctx.catalog.images[run.image]
    wanted = _facts(image)
    try:
        found = ctx.compute.definition(at)
    except NotFound:
        try:
            ctx.compute.create_definition(
                at,
                wanted,
                location=ctx.catalog.gallery_of(run.image).location,
                description=image.definition.description,
                tags={"created-by": "gallerist"},
            )
        except NotFound as missing:
            raise RunFailed(
                f"the gallery {ctx.catalog.gallery_of(run.image).id} does not exist, or this identity cannot see it: "
                f"create it, or mend galleries in the catalog. Azure says: {missing}"
            ) from missing
        return
    differing = [
        f"{name} is {asdict(found)[name]}, the catalog says {value}"
        for name, value in asdict(wanted).items()
        if str(asdict(found)[name]).lower() != str(value).lower()
    ]
    if differing:
        raise RunFailed(
            f"the definition {at.name} exists and is another: {'; '.join(differing)}. Azure lets none of these change: "
            "mend the catalog, or name another definition in it"
        )


def _facts(image: Image) -> DefinitionFacts:
    wanted = image.definition
    return DefinitionFacts(
        publisher=wanted.publisher,
        offer=wanted.offer,
        sku=wanted.sku,
        os_type=wanted.os_type.value,
        os_state=wanted.os_state.value,
        hyper_v_generation=wanted.hyper_v_generation.value,
        architecture=wanted.architecture.value,
        security_type=wanted.security_type.value,
    )
