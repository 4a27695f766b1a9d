"""The function app's HTTP API, as this command line asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from pipeline.cloud.faults import CloudFault, Conflict, Denied, NotFound, Refused, Unavailable
from pipeline.cloud.identity import credential
from pipeline.cloud.retry import cloud_call
from pipeline.validation import sentence

Json = dict[str, Any]
_TIMEOUT = 30.0  # seconds; the app may have to start first
_LONG = 230.0  # seconds; what Azure's front door waits at most for a function
_PAGE = 200
_TRANSIENT = {408, 429, 500, 502, 503, 504}


class Api:
    """A function app at `url`. `key` is a function key, `audience` what Entra issues tokens for; either may be None."""

    def __init__(self, url: str, key: str | None, audience: str | None) -> None:
        self._audience = audience
        self._client = httpx.Client(
            base_url=url.rstrip("/").removesuffix("/api") + "/api/",
            headers={"x-functions-key": key} if key else {},
            timeout=_TIMEOUT,
        )

    def publish(self, request: Json) -> Json:
        """Ask for a publish. The same request, or source, again is the same run."""
        return self._ask("POST", "publish", body=request)

    def runs(self, limit: int, **wanted: str | None) -> Iterator[Json]:
        """The newest `limit` runs of those `wanted`: by image, state, since and until."""
        return self._pages("runs", "runs", limit, wanted)

    def _pages(self, path: str, list_name: str, limit: int, wanted: Mapping[str, str | None]) -> Iterator[Json]:
        following: str | None = None
        while limit > 0:
            page = self._ask("GET", path, {**wanted, "limit": str(min(limit, _PAGE)), "next": following})
            yield from page[list_name]
            limit -= len(page[list_name])
            following = page.get("next")
            if not following:
                return

    def run(self, run_id: str) -> Json:
        return self._ask("GET", f"runs/{quote(run_id, safe='')}")

    def retry(self, run_id: str) -> Json:
        return self._ask("POST", f"runs/{quote(run_id, safe='')}/retry")

    def cancel(self, run_id: str) -> Json:
        return self._ask("POST", f"runs/{quote(run_id, safe='')}/cancel")

    def images(self) -> list[Json]:
        return list(self._ask("GET", "images")["images"])

    def versions(self, image: str, limit: int) -> Json:
        return self._ask("GET", f"images/{quote(image, safe='')}/versions", {"limit": str(limit)})

    def audit(self, limit: int, **wanted: str | None) -> Iterator[Json]:
        """The newest `limit` changes of those `wanted`: by who, since and until."""
        return self._pages("audit", "audit", limit, wanted)

    def amend(self, image: str, version: str, how: str, body: Json) -> Json:
        """Say something of a version: `how` is verdict, approval, withdrawal, reinstatement or number-release."""
        path = f"images/{quote(image, safe='')}/versions/{quote(version, safe='')}/{how}"
        return self._ask("POST", path, body=body)

    def roll_back(self, image: str, body: Json) -> Json:
        return self._ask("POST", f"images/{quote(image, safe='')}/rollback", body=body)

    def promotions(self) -> Json:
        return self._ask("GET", "promotions")

    def promote(self, body: Json) -> Json:
        return self._ask("POST", "promotions", body=body)

    def hold(self, rule: str, body: Json) -> Json:
        return self._ask("POST", f"promotions/{quote(rule, safe='')}/hold", body=body)

    def release(self, rule: str) -> Json:
        return self._ask("POST", f"promotions/{quote(rule, safe='')}/release")

    def retention(self, body: Json) -> Json:
        """Plan retention and, where `body` has dry_run as false, do it. It looks at every image there is."""
        return self._ask("POST", "retention", body=body, timeout=_LONG)

    @cloud_call
    def _ask(
        self, method: str, path: str, query: Json | None = None, body: Json | None = None, timeout: float = _TIMEOUT
    ) -> Json:
        """Raises the fault that an answer other than 2xx stands for."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = self._client.request(
                method, path, params=given, json=body, headers=self._bearer(), timeout=timeout
            )
        except httpx.TransportError as error:
            raise Unavailable(f"no answer from {self._client.base_url.host}: {error}") from error
        if not answer.is_success:
            raise _fault(answer)
        try:
            # Half of a character, which JSON can escape, could be printed nowhere, and asked for no more.
            found: Json = json.loads(json.dumps(answer.json(), ensure_ascii=False).encode(errors="replace"))
        except ValueError as error:
            raise Refused(f"{answer.url} does not answer as a Gallerist does: is GALLERIST_URL its address?") from error
        return found

    def _bearer(self) -> dict[str, str]:
        if not self._audience:
            return {}
        return {"Authorization": f"Bearer {credential().get_token(self._audience.rstrip('/') + '/.default').token}"}


def _fault(answer: httpx.Response) -> CloudFault:
    try:
        error = answer.json()["error"]
        code, message = str(error["code"]), str(error["message"])
        named = [sentence(str(d["field"]), str(d["message"])) for d in error.get("details") or []]
    except (ValueError, KeyError, TypeError):
        code, message, named = "", answer.text.strip()[:200] or answer.reason_phrase, []
    # The message of a request that is refused is its faults in one line.
    said = "\n  ".join(["the request is refused:", *named]) if named else message or f"HTTP {answer.status_code}"
    match answer.status_code:
        case 401:
            why = f": {message}" if message else ""
            return Denied(
                f"the function app does not know who asks{why}. Set GALLERIST_KEY to one of its keys, with --as ROLE "
                "GALLERIST_KEY_ROLE, or GALLERIST_AUDIENCE to its Application ID URI and sign in (az login)",
                code or "NotSignedIn",
            )
        case 403:
            return Denied(message or "the function app does not allow this", code or "NotAllowed")
        case 404:
            return NotFound(said, code or "NotFound")
        case 409 | 412:
            return Conflict(said, code or "Conflict")
        case status if status in _TRANSIENT:
            wait = answer.headers.get("Retry-After", "")
            return Unavailable(said, code, float(wait) if wait.isdigit() else 0)
    return Refused(said, code or "Refused")
