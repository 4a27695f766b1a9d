"""What a blob's address may say beside container and name, and what of an address nobody else is to read. Pure."""

from __future__ import annotations

import re
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


_ESCAPES = re.compile(r"(?<!\\)\\++(?:u00(2[013-9a-f]|[346][0-9a-f]|5[0-9abd-f]|7[0-9a-e])|/)", re.IGNORECASE)
"""How JSON may write a character of an address; within JSON, with more than one backslash."""
_ADDRESS = re.compile(r"(?::|%(?:25)*3a)(?:/|%(?:25)*2f){2}[^\s\"'<>`\\]*+", re.IGNORECASE)
_QUESTION_MARK = re.compile(r"\?|%(?:25)*3f", re.IGNORECASE)
_NAMES_CONTENT = re.compile(r"\b(?:snapshot|versionid)=[0-9TZ:.-]+", re.IGNORECASE)
_SIGNATURE = re.compile(r"(?<![a-z])sig(=|%(?:25)*3d)[\w%+/=-]*+", re.IGNORECASE)


def without_queries(text: str) -> str:
    """`text` without the queries of the addresses in it, which may hold a SAS or a key; `...` stands where one was.

    A snapshot and a version stay. Addresses are found as they are, as JSON escapes them, and percent-encoded; text
    without a query is left as it is.
    """
    plain = _ESCAPES.sub(lambda found: chr(int(found[1], 16)) if found[1] else "/", text.replace("\0", ""))
    clean = _SIGNATURE.sub(r"sig\1...", _ADDRESS.sub(_cut, plain))
    return text if clean == plain else clean


def _cut(found: re.Match[str]) -> str:
    address = found[0]
    mark = _QUESTION_MARK.search(address)
    if mark is None:
        return address
    query = address[mark.end() :]
    kept = _NAMES_CONTENT.findall(query)
    if "&".join(kept) != query:
        kept.append("...")
    return address[: mark.end()] + "&".join(kept)
