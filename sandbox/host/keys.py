"""The keys that open HTTP functions and the admin API."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from hmac import compare_digest
from pathlib import Path

from pydantic import BaseModel

from pipeline.access import Role
from sandbox.guard import own_folder


class Keys(BaseModel):
    """`master` opens everything, each of `roles` what is of level function, `blobs_extension` the blob webhook.

    `roles` has a key by the name of each role; it begins with that name and a dot, by which the app tells whose it is.
    """

    master: str
    blobs_extension: str
    roles: dict[str, str]

    @classmethod
    def load(cls, state_dir: Path) -> Keys:
        """The keys in `role-keys.json` of `state_dir`; the first instance to come makes them."""
        path = state_dir / "role-keys.json"
        if not path.exists():
            own_folder(state_dir)
            # mkstemp gives mode 0600; a link appears whole and once, however many instances start at a time.
            handle, draft = tempfile.mkstemp(dir=state_dir)
            with os.fdopen(handle, "w") as file:
                file.write(_made().model_dump_json(indent=2))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft)
            Path(draft).unlink()
        return cls.model_validate_json(path.read_bytes())

    @property
    def function(self) -> str:
        """The operator's key, which opens all that is for clients."""
        return self.roles[Role.OPERATOR]

    def open(self, level: str, presented: str | None) -> bool:
        """Whether the key `presented` opens something of auth level `level`."""
        if level == "anonymous":
            return True
        accepted = [self.master, *self.roles.values()] if level == "function" else [self.master]
        return any(same(presented, key) for key in accepted)


def same(presented: str | None, key: str) -> bool:
    """Whether it is that key, compared in a time that tells nothing of it."""
    return presented is not None and compare_digest(presented.encode(), key.encode())


def _made() -> Keys:
    master, blobs_extension, *of_roles = (secrets.token_urlsafe(32) for _ in range(2 + len(Role)))
    roles = {str(role): f"{role}.{key}" for role, key in zip(Role, of_roles, strict=True)}
    return Keys(master=master, blobs_extension=blobs_extension, roles=roles)
