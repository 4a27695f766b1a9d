"""What every command of `gallerist` shares: the app, its options, and how a command ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from pipeline.access import ROUTES, Role
from pipeline.catalog import CatalogError
from pipeline.cli import show
from pipeline.cli.api import Api
from pipeline.cli.hosts import own_audience, safe_url
from pipeline.cli.upload import Changed
from pipeline.cloud.faults import CloudFault, Conflict, Denied, NotFound, Unavailable
from pipeline.fit import Unfit
from pipeline.validation import names, quoted, visible
from pipeline.vhd import NotAVhd

P = ParamSpec("P")

FAILED, USAGE, NOT_FOUND, CONFLICT, NO_ANSWER, INTERRUPTED = 1, 2, 3, 4, 5, 130
GOOD = {"published", "amended"}
"""The states of a run that ended well."""
EPILOG = (
    "Exit codes: 0 done; 1 the run or the upload failed, or the input is refused; 2 usage; 3 not found; 4 conflict; "
    "5 no answer, or access denied; 130 interrupted."
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "GALLERIST", "help_option_names": ["-h", "--help"]},
    help="Hang VM images in Azure Compute Galleries: upload a VHD, publish it, look on.\n\n"
    "Storage and the function app are reached with your own identity: az login on a laptop, the managed identity of "
    "a build agent. Instead of an Entra audience the function app may be given a key, in GALLERIST_KEY, or with --as "
    "ROLE in GALLERIST_KEY_ROLE.",
    epilog=EPILOG,
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


def _role_named(name: str) -> Role:
    try:
        return Role(name.lower())
    except ValueError:
        raise typer.BadParameter(f"takes {names(list(Role), 'or')}, not {quoted(name)}") from None


As = Annotated[
    Role | None,
    typer.Option(
        "--as",
        parser=_role_named,
        metavar="ROLE",
        envvar="GALLERIST_AS",
        help="With the key of this role, in GALLERIST_KEY_ROLE, in place of GALLERIST_KEY.",
    ),
]
RunId = Annotated[str, typer.Argument(help="The run's id, as publish and runs print it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Look on until the run has ended, and exit as watch does.")]
Every = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")]


_role: ContextVar[Role | None] = ContextVar("role", default=None)


@app.callback()
def _as_whom(as_role: As = None) -> None:
    _role.set(as_role)


def ends_well(command: Callable[P, None]) -> Callable[..., None]:
    """Turn what a command raises into a message and an exit code. What asks the function app takes --as, too."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        show.configure_logs()
        if isinstance(role := kwargs.pop("as_role", None), Role):
            _role.set(role)
        try:
            command(*args, **kwargs)
        except typer.BadParameter as error:
            error.message = visible(error.message)
            raise
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

    taken = signature(command, eval_str=True)
    if "audience" in taken.parameters:
        option = Parameter("as_role", Parameter.KEYWORD_ONLY, default=None, annotation=As)
        run.__signature__ = taken.replace(parameters=[*taken.parameters.values(), option])  # type: ignore[attr-defined]
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


def takes(route: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let the help of a command say which role the route that it asks takes, as the table of routes has it."""

    def told(command: Callable[P, None]) -> Callable[P, None]:
        command.__doc__ = f"{(command.__doc__ or '').rstrip()}\n\nTakes the role {ROUTES[route]}."
        return command

    return told


def api_of(url: str | None, audience: str | None) -> Api:
    """The function app at `url`. Raises a usage error that says how to name it."""
    if not url:
        raise typer.BadParameter(
            "missing; set GALLERIST_URL to the function app's address, such as https://NAME.azurewebsites.net",
            param_hint="--url",
        )
    try:
        safe_url(url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error
    if role := _role.get():
        name = f"GALLERIST_KEY_{role.upper()}"
        if not (key := os.environ.get(name)):
            raise typer.BadParameter(f"missing; set {name} to the {role}'s key of the function app", param_hint="--as")
        return Api(url, key, None)
    try:
        return Api(url, os.environ.get("GALLERIST_KEY"), own_audience(audience) if audience else None)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--audience") from error
