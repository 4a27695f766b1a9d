"""The functions host's side of Microsoft's worker library: it starts it on an app, and invokes functions.

Run as a script, with nothing of this project on its path, it indexes an app, and imports what its functions will.
"""

from __future__ import annotations

import asyncio
import json
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PACKAGES = Path(".python_packages", "lib", "site-packages")
"""Where in an app's folder its packages are."""


class WorkerError(RuntimeError):
    """The worker library, or a function, failed. The message is its own."""


class Message(SimpleNamespace):
    """A FunctionRpc message as far as the worker library looks at one: fields, and which of them is set."""

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's name
        return "data" if group == "rpc_data" else next(iter(vars(self)), None)


class Protos:
    """FunctionRpc's message types, made as they are asked for."""

    class StatusResult(Message):
        Failure, Success = 0, 1

    class BindingInfo(Message):
        # `in` is a word of Python's: protobuf has these as attributes too.
        out, inout, undefined = 1, 2, 0

    def __getattr__(self, name: str) -> type[Message]:
        return type(name, (Message,), {})


class Worker:
    """The worker library, started on the app in a folder. Raises WorkerError."""

    def __init__(self, app_dir: Path) -> None:
        self._library = handle_event = import_module("azure_functions_runtime.handle_event")  # from 3.13 on
        self._loop = asyncio.new_event_loop()
        started = self._ask(
            handle_event.worker_init_request,
            worker_init_request=Message(capabilities={}, function_app_directory=str(app_dir)),
        )
        _check(started.result)
        self.functions: dict[str, Any] = {
            found.name: found for found in self._ask(handle_event.functions_metadata_request).function_metadata_results
        }

    @property
    def triggers(self) -> dict[str, str]:
        """The type of each function's trigger."""
        return {name: trigger(found)["type"] for name, found in self.functions.items()}

    def _ask(self, handler: Any, **request: Any) -> Any:
        asked = SimpleNamespace(request=Message(**request), properties={"host": "127.0.0.1", "protos": Protos()})
        return self._loop.run_until_complete(handler(asked))

    def invoke(self, name: str, parameter: str, data: Message, **trigger: Message) -> Any:
        """Invoke a function as the host does; its return value. Raises WorkerError with its exception."""
        answer = self._ask(
            self._library.invocation_request,
            invocation_request=Message(
                invocation_id="1",
                function_id=self.functions[name].function_id,
                input_data=[Message(name=parameter, data=data)],
                trigger_metadata=trigger,
                trace_context=Message(trace_parent="", trace_state="", attributes={}),
                retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
            ),
        )
        _check(answer.result)
        return answer.return_value


def trigger(function: Any) -> dict[str, Any]:
    """The binding of an indexed function that sets it off."""
    return next(binding for binding in map(json.loads, function.raw_bindings) if binding["direction"] == "IN")


def _check(result: Any) -> None:
    if result.status != Protos.StatusResult.Success:
        raise WorkerError(f"{result.exception.message}\n{getattr(result.exception, 'stack_trace', '')}")


def main() -> None:
    """Print the functions of an app and their triggers, as JSON, and import each module of its packages.

    The arguments are the app's folder, that of the worker library, and names of packages of the app: its functions
    import them when they are first called, where a fault would be too late.
    """
    app, library, *packages = sys.argv[1:]
    # As Microsoft's worker.py for Python 3.13: the app's packages, the worker's own, then the app.
    sys.path[:0] = [str(app / PACKAGES), library]
    sys.path.append(app)
    triggers = Worker(Path(app)).triggers
    for package in packages:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            import_module(module.name)
    print(json.dumps(triggers))


if __name__ == "__main__":
    main()
