"""The metadata by which an uploader tells the pipeline about a VHD. Pure.

Metadata travels with a copy of a blob, and is there before the copy is whole. So the mark of completion names the blob
it is on, and when that was made: on a copy it means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

UPLOAD = "gallerist_upload"
"""Names the file that `gallerist upload` makes the blob from; it writes a VHD's footer after all else."""
CONTENT = "gallerist_content"
"""SHA-256 over offset and SHA-256 of each piece that is not a hole. Counts on a blob that is marked complete."""
COMPLETE = "gallerist_complete"
"""The mark of completion, as `mark` makes it."""


def mark(container: str, name: str, created: datetime | None) -> str:
    """The value that marks the blob `container/name`, made at `created`, complete."""
    made = f"{created:%Y-%m-%dT%H:%M:%S}" if created else ""
    return sha256(f"{container}/{name} {made}".encode()).hexdigest()[:32]


def is_marked(metadata: Mapping[str, str], container: str, name: str, created: datetime | None) -> bool:
    """Whether a blob's metadata marks it, and no other, complete."""
    return metadata.get(COMPLETE) == mark(container, name, created)
