"""An address names a blob as it is now: a SAS beside it is nobody's concern, all else is told."""

from __future__ import annotations

import posixpath
import unicodedata
from contextlib import suppress
from urllib.parse import quote, unquote, urljoin

import pytest
import requests
from azure.storage.blob import BlobServiceClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url

from pipeline.addresses import name_fault, query_fault
from pipeline.catalog import Drop
from pipeline.cloud.blobs import Blobs
from pipeline.cloud.identity import credential

URL = "https://a.blob.core.windows.net/vhds/web/x.vhd"
SERVICE = BlobServiceClient("https://a.blob.core.windows.net")
BLOBS = Blobs("https://a.blob.core.windows.net", credential())


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?sv=2024-11-04&ss=b&srt=sco&sp=r&se=2027-01-01T00:00:00Z&spr=https&sig=a%2Fb%3D",
        "?sp=r&st=x&se=x&sip=1.2.3.4&sv=x&sr=b&si=policy&sig=x&rscc=a&rscd=b&rsce=c&rscl=d&rsct=e",
        "?skoid=a&sktid=b&skt=c&ske=d&sks=b&skv=e&saoid=f&suoid=g&scid=h&sdd=1&ses=i&sv=x&sr=d&sig=x",
    ],
)
def test_a_sas_is_no_fault(query: str) -> None:
    assert query_fault(URL + query) is None
    assert BLOBS.locate(URL + query) == ("vhds", "web/x.vhd")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("snapshot=2026-11-25T09:00:00.0000000Z", f"--source-uri '{URL}?snapshot=2026-11-25T09:00:00.0000000Z'"),
        ("sv=x&sig=y&Snapshot=2026", "names a snapshot of the blob, and an image is made of a blob as it is now: copy"),
        ("versionid=2026-11-25T09:00:00.0000000Z", f"--source-uri '{URL}?versionid=2026-11-25T09:00:00.0000000Z'"),
        ("snapshot=", "names a snapshot"),
        ("comp=tags", 'has what no address of a blob takes: "comp"'),
        ("sig=x&timeout=3&foo", '"foo" and "timeout"; name it without'),
    ],
)  # fmt: skip
def test_what_names_another_content_is_told(query: str, says: str) -> None:
    fault = query_fault(f"{URL}?{query}")
    assert fault
    assert says in fault
    assert "sig=y" not in fault


def test_a_fragment_is_told() -> None:
    assert "%23" in str(query_fault(f"{URL}#2"))


HOST = "https://a.blob.core.windows.net"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://[account].blob.core.windows.net/vhds/x.vhd", "takes the address of a blob in https://a.blob"),
        ("https://[::1/vhds/x.vhd", "takes the address"),
        (f"{HOST}/vhds", "takes the address"),
        (f"{HOST}/vhds/", "takes the address"),
        (f"{HOST}.example/vhds/x.vhd", "takes the address"),
        ("https://user@a.blob.core.windows.net/vhds/x.vhd", "takes the address"),
        ("http://a.blob.core.windows.net/vhds/x.vhd", "takes the address"),
        (f"{HOST}/VHDS/x.vhd", "takes the address"),
        (f"{HOST}/vhds%2fweb/x.vhd", "takes the address"),
        (f"{HOST}//vhds/x.vhd", "takes the address"),
        (f"{HOST}/./vhds/x.vhd", "takes the address"),
        ("", "takes the address"),
        (f"{HOST}/vhds/../secret/x.vhd", 'has ".." in its path'),
        (f"{HOST}/vhds/%2e%2e/x.vhd", 'has ".." in its path'),
        (f"{HOST}/vhds/web/%2E/x.vhd", 'has "." in its path'),
        (f"{HOST}/vhds/web%2f..%2fx.vhd", 'has ".." in its path'),
        (f"{HOST}/vhds/web.../x.vhd", 'has "web..." in its path'),
        (f"{HOST}/vhds/web//x.vhd", "has an empty name in its path"),
        (f"{HOST}/vhds//web/x.vhd", "has an empty name in its path"),
        (f"{HOST}/vhds/web/x.vhd/", "has an empty name in its path"),
        (f"{HOST}/vhds/web%5cx.vhd", "has a backslash"),
        (f"{HOST}/vhds/web\\..\\x.vhd", "has a backslash"),
        (f"{HOST}/vhds/%252e%252e/x.vhd", "escaped twice"),
        (f"{HOST}/vhds/web%252Fx.vhd", "escaped twice"),
        (f"{HOST}/vhds/web%25255cx.vhd", "escaped twice"),
        (f"{HOST}/vhds/\uff0e\uff0e/x.vhd", 'has ".." in its path'),
        (f"{HOST}/vhds/\u2025/x.vhd", 'has ".." in its path'),
        (f"{HOST}/vhds/web\uff0fx.vhd", "what is taken for a slash"),
        (f"{HOST}/vhds/web\u2215x.vhd", "what is taken for a slash"),
        (f"{HOST}/vhds/web\uff3cx.vhd", "has a backslash"),
        (f"{HOST}/vhds/\uff052e\uff052e/x.vhd", "escaped twice"),
        (f"{HOST}/vhds/web/\ud800.vhd", "half of a character"),
        (f"{HOST}/vhds/web/x\n.vhd", "control character"),
        (f"{HOST}/vhds/web/%00.vhd", "control character"),
        (f"{HOST}/vhds/" + "x" * 1025, "takes a blob's name of 1,024 characters at most, not 1,025"),
        (f"{HOST}/vhds/" + "%78" * 6000, "takes at most 16,384 characters"),
    ],
)  # fmt: skip
def test_what_is_no_blob_of_the_account_or_another_to_some_is_told(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as fault:
        BLOBS.locate(url)
    assert says in str(fault.value)
    container, name = ("vhds", url.removeprefix(f"{HOST}/vhds/"))
    if name == unquote(name) and len(url) < 16_000 and url.startswith(f"{HOST}/vhds/"):
        assert not name or name_fault(name), "an event or a drop may name it, too"
        assert not Drop(f"{container}/**").takes(name)


@pytest.mark.parametrize("name", ["web/x.vhd", "web/50%.vhd", "web/ü/x.vhd", "a..b/x.vhd", "...x.vhd", "a b/~!$&'()*+,;=:@.vhd", "é?#.vhd"])  # fmt: skip
def test_a_name_has_one_address_however_it_is_written(name: str) -> None:
    forms = {quote(name, safe="/~"), quote(name, safe=""), quote(name, safe="").replace("%2F", "/").lower()}
    assert {BLOBS.locate(f"{HOST}/vhds/{form}") for form in forms} == {("vhds", name)}


@given(st.text() | st.text(st.characters()).map(lambda end: f"https://a.blob.core.windows.net/{end}") | st.text().map(lambda host: f"https://[{host}/x"))  # fmt: skip
def test_any_text_is_answered(url: str) -> None:
    query_fault(url)
    with suppress(ValueError):
        located = BLOBS.locate(url)
        assert BLOBS.locate(BLOBS.url(*located)) == located


PIECES = st.sampled_from([".", "..", "/", "//", "%2e", "%2F", "%252e", "\\", "%5C", "a", "web", ".vhd", "\uff0e", "\u2025",
                          "\uff0f", "%", "%25", "é", "?", "#", ";", "~", "+", " ", ":"])  # fmt: skip


@settings(max_examples=300)
@given(st.lists(PIECES | st.characters(), min_size=1, max_size=12).map("".join))
@example("web/../x.vhd")
def test_a_name_that_is_taken_is_the_name_that_every_client_asks_for(name: str) -> None:
    """Of the SDK, of the wire below it, and of clients that decode, normalize and resolve as they like."""
    if name_fault(name):
        return
    built = SERVICE.get_blob_client("vhds", name)
    sent = str(requests.Request("GET", built.url).prepare().url)
    seen = parse_url(sent).path
    assert built.blob_name == name
    assert BLOBS.url("vhds", name) == built.url.partition("?")[0]
    assert BLOBS.locate(built.url) == BLOBS.locate(sent) == ("vhds", name)
    assert unquote(str(seen)) == f"/vhds/{name}"
    resolved = urljoin(f"{HOST}/", sent)
    assert BLOBS.locate(resolved) == ("vhds", name)
    for read in (name, unquote(name), unquote(unquote(name)), unicodedata.normalize("NFKC", name)):
        assert posixpath.normpath(f"/vhds/{read}") == f"/vhds/{read}"
        assert read.count("/") == name.count("/")
        assert "\\" not in read
