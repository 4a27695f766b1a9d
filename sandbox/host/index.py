"""The functions of an app: what it declares, checked before anything runs."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import azure.functions as func
from azurefunctions.extensions.bindings.blob import BlobClient
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from sandbox.host.settings import StartError

_SETTING = re.compile(r"%([^%]+)%")


class _Binding(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")

    name: str


class QueueTrigger(_Binding):
    type: Literal["queueTrigger"]
    queue_name: str
    connection: str


class TimerTrigger(_Binding):
    type: Literal["timerTrigger"]
    schedule: str
    run_on_startup: bool = False
    use_monitor: bool = True

    @field_validator("run_on_startup", "use_monitor", mode="before")
    @classmethod
    def _default_for_none(cls, value: object, info: Any) -> object:
        return cls.model_fields[info.field_name].default if value is None else value


class HttpTrigger(_Binding):
    type: Literal["httpTrigger"]
    route: str
    auth_level: Literal["anonymous", "function", "admin"] = "function"
    methods: frozenset[str] | None = None

    @field_validator("auth_level", mode="before")
    @classmethod
    def _lower(cls, value: str | None) -> str:
        return (value or "function").lower()


class BlobTrigger(_Binding):
    type: Literal["blobTrigger"]
    path: str
    connection: str
    source: Literal["EventGrid", "LogsAndContainerScan"] | None = None


Trigger = QueueTrigger | TimerTrigger | HttpTrigger | BlobTrigger

_TRIGGER: TypeAdapter[Trigger] = TypeAdapter(typing.Annotated[Trigger, Field(discriminator="type")])
# What a parameter may be declared as; an undeclared one gets the first.
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "queueTrigger": (func.QueueMessage, str),
    "timerTrigger": (func.TimerRequest,),
    "httpTrigger": (func.HttpRequest,),
    "blobTrigger": (BlobClient,),
}


@dataclass(frozen=True)
class Context:
    """What a parameter named `context` gets."""

    function_name: str
    invocation_id: str
    function_directory: str


@dataclass(frozen=True)
class Function:
    """A function as it is declared, with its settings resolved."""

    name: str
    user_function: Callable[..., Any]
    trigger: Trigger
    parameter_type: type
    wants_context: bool
    bindings: list[dict[str, Any]]
    directory: str

    @property
    def id(self) -> str:
        """The name by which storage knows it, as in the WebJobs SDK."""
        return f"Host.Functions.{self.name}"


def load(app_dir: Path, app_settings: Mapping[str, str]) -> list[Function]:
    """The functions `function_app.py` of `app_dir` declares, with `%NAME%` resolved from the app settings.

    Changes the working directory and `sys.path`, as the worker of the real host does. Raises StartError that
    names the function at fault, and whatever the app's own import raises.
    """
    if not (app_dir / "function_app.py").is_file():
        raise StartError(f"{app_dir} holds no function_app.py")
    os.chdir(app_dir)
    sys.path.insert(0, str(app_dir))
    module = importlib.import_module("function_app")
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        raise StartError(f"function_app.py must hold one FunctionApp at its top level; it holds {len(apps)}")
    try:
        declared = apps[0].get_functions()
    except ValueError as error:
        raise StartError(str(error)) from error
    names = Counter(str(one.get_function_name()).lower() for one in declared)
    if twice := [name for name, count in names.items() if count > 1]:
        raise StartError(f"functions must differ by more than case: {twice}")
    return [_function(one, app_dir, app_settings) for one in declared]


def _function(declared: Any, app_dir: Path, app_settings: Mapping[str, str]) -> Function:
    name: str = declared.get_function_name()
    user_function = declared.get_user_function()
    bindings = [
        {key: _resolve(value, name, app_settings) for key, value in binding.items()}
        for binding in json.loads(declared.get_function_json())["bindings"]
    ]
    trigger = _trigger(bindings, declared.get_trigger().name, name)
    parameters = set(inspect.signature(user_function).parameters)
    if trigger.name not in parameters:
        raise StartError(f"function {name}: it has no parameter {trigger.name} for its trigger")
    if unknown := parameters - {trigger.name, "context"}:
        raise StartError(f"function {name}: nothing is bound to its parameters {sorted(unknown)}")
    return Function(
        name=name,
        user_function=user_function,
        trigger=trigger,
        parameter_type=_parameter_type(user_function, trigger, name),
        wants_context="context" in parameters,
        bindings=bindings,
        directory=str(app_dir),
    )


def _resolve(value: object, function: str, app_settings: Mapping[str, str]) -> object:
    def setting(found: re.Match[str]) -> str:
        if found[1] not in app_settings:
            raise StartError(f"function {function}: the setting {found[1]} that {value!r} names is missing")
        return app_settings[found[1]]

    return _SETTING.sub(setting, value) if isinstance(value, str) else value


def _trigger(bindings: list[dict[str, Any]], trigger_name: str, function: str) -> Trigger:
    for binding in bindings:
        is_response = binding["type"] == "http" and binding["name"] == "$return"
        if binding["name"] != trigger_name and not is_response:
            raise StartError(f"function {function}: the binding {binding['name']} ({binding['type']}) is not supported")
    chosen = next(binding for binding in bindings if binding["name"] == trigger_name)
    if chosen["type"] not in _ACCEPTED:
        raise StartError(f"function {function}: the trigger {chosen['type']} is not supported here")
    try:
        return _TRIGGER.validate_python(chosen)
    except ValidationError as error:
        raise StartError(f"function {function}: {error}") from error


def _parameter_type(user_function: Callable[..., Any], trigger: Trigger, function: str) -> type:
    accepted = _ACCEPTED[trigger.type]
    try:
        hint = typing.get_type_hints(user_function).get(trigger.name, accepted[0])
    except NameError as error:
        raise StartError(f"function {function}: {error}") from error
    if hint not in accepted:
        names = " or ".join(f"{one.__module__}.{one.__qualname__}" for one in accepted)
        why = " (this host never loads a blob's bytes)" if isinstance(trigger, BlobTrigger) else ""
        raise StartError(f"function {function}: {trigger.name} must be declared as {names}, not {hint}{why}")
    return typing.cast("type", hint)
