"""What a blob's address may say beside container and name. Pure."""

from __future__ import annotations

from shlex import quote as shell_quoted
from urllib.parse import parse_qsl, urlsplit

from pipeline.validation import names, quoted

_SAS = {
    "sv", "ss", "srt", "sp", "se", "st", "spr", "sig", "sr", "si", "sip", "sdd", "ses", "scid", "saoid", "suoid",
    "skoid", "sktid", "skt", "ske", "sks", "skv", "skdutid", "sduoid", "srh", "srq",
    "rscc", "rscd", "rsce", "rscl", "rsct", "api-version",
}  # fmt: skip
"""The parameters of a shared access signature ("Create a service SAS", "Create a user delegation SAS")."""
_PAST = {"snapshot": "a snapshot", "versionid": "a version"}


def query_fault(url: str) -> str | None:
    """What in a blob's address names another content than the blob has now, in words; None where nothing does.

    A SAS names none, and is no fault. What is no address at all is none either.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    given = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    for name, what in _PAST.items():
        if name in given:
            source = parts._replace(query=f"{name}={given[name]}", fragment="").geturl()
            return (
                f"names {what} of the blob, and an image is made of a blob as it is now: copy that to a blob of its "
                "own and name it, az storage blob copy start --auth-mode login --account-name ACCOUNT "
                f"--destination-container CONTAINER --destination-blob NAME.vhd --source-uri {shell_quoted(source)}"
            )
    if others := sorted(given.keys() - _SAS):
        return f"has what no address of a blob takes: {names(map(quoted, others))}; name it without"
    if parts.fragment:
        return "has a # in it, behind which nothing counts: write it as %23 where it belongs to the blob's name"
    return None
