"""What a blob's address names, in its one form; what it may say beside; what of it nobody else is to read. Pure."""

from __future__ import annotations

import re
import unicodedata
from shlex import quote as shell_quoted
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pipeline.validation import names, quoted

LONGEST_NAME = 1024
"""Characters of a blob's name ("Naming and Referencing Containers, Blobs, and Metadata")."""
LONGEST_ADDRESS = 16_384
"""Characters of a blob's address, a SAS included: each of a name's may be written as up to twelve."""
CONTAINER = re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}")
"""A container's name."""
_ESCAPED = re.compile(r"%(25)*(2e|2f|5c)", re.IGNORECASE)
"""A dot or slash that a client which decodes once too often finds in a name."""
_LIKE_SLASHES = str.maketrans({"\u2044": "/", "\u2215": "/", "\u2216": "\\", "\u29f5": "\\", "\u29f8": "/"})
"""What Windows takes for slashes where a code page has no better, and normalization (NFKC) does not."""

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


def name_fault(name: str) -> str | None:
    """Why a blob's name means another to some clients, or can be none, in words; None where it names one blob alone.

    Clients resolve dots, and decode, on the way ("No path segments should end with a dot", Azure on names of blobs):
    what one is allowed under a name, another must not read elsewhere.
    """
    if len(name) > LONGEST_NAME:
        return f"takes a blob's name of {LONGEST_NAME:,} characters at most, not {len(name):,}"
    if _has_control(name):
        return "has a control character in the blob's name"
    if any(0xD800 <= ord(char) < 0xE000 for char in name):
        return "has half of a character (a lone surrogate) in the blob's name"
    read = name if name.isascii() else unicodedata.normalize("NFKC", name).translate(_LIKE_SLASHES)
    if "\\" in read or read.count("/") != name.count("/"):
        return "has a backslash, or what is taken for a slash, in the blob's name: copy it to a name with / alone"
    if _ESCAPED.search(read):
        return "has a dot or a slash in the blob's name that is escaped twice: copy it to a name without %"
    return path_fault(read)


def _has_control(text: str) -> bool:
    return any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)


def path_fault(path: str) -> str | None:
    """What in a path is resolved on the way, in words; None where nothing is."""
    parts = path.split("/")
    if "" in parts:
        return "has an empty name in its path: it takes one / between two names, and none at its end"
    if wrong := next((part for part in parts if part.endswith(".")), None):
        return f"has {quoted(wrong)} in its path, and no folder's or file's name may end with a dot"
    return None


def place_of(endpoint: str, url: str) -> tuple[str, str]:
    """Container and name of the blob at `url`, in the account at `endpoint`. Raises ValueError in words.

    A query is left out: `query_fault` tells what it may say.
    """
    if len(url) > LONGEST_ADDRESS:
        raise ValueError(f"takes at most {LONGEST_ADDRESS:,} characters, not {len(url):,}")
    base = urlsplit(endpoint)
    # A query may hold a SAS, which is no one's to read.
    elsewhere = ValueError(f"takes the address of a blob in {endpoint}, not {quoted(url.partition('?')[0])}")
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no IPv6 address, say
        raise elsewhere from None
    root = base.path.rstrip("/") + "/"
    if (parts.scheme, parts.netloc.lower()) != (base.scheme, base.netloc.lower()) or not parts.path.startswith(root):
        raise elsewhere
    # urlsplit leaves out what it takes for a slip of the hand: the address is to be what it says.
    if _has_control(url):
        raise ValueError("has a control character")
    container, _, path = parts.path.removeprefix(root).partition("/")
    name = unquote(path)
    if not CONTAINER.fullmatch(container) or not name:
        raise elsewhere
    if fault := name_fault(name):
        raise ValueError(fault)
    return container, name


def address_of(endpoint: str, container: str, name: str) -> str:
    """The one address of a blob, whichever it was named by."""
    return f"{endpoint}/{container}/{quote(name, safe='/~')}"
