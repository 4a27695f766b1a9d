"""An address names a blob as it is now: a SAS beside it is nobody's concern, all else is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.addresses import query_fault
from pipeline.cloud.blobs import Blobs
from pipeline.cloud.identity import credential

URL = "https://a.blob.core.windows.net/vhds/web/x.vhd"
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


@pytest.mark.parametrize(
    "url",
    [
        "https://[account].blob.core.windows.net/vhds/x.vhd",
        "https://[::1/vhds/x.vhd",
        "https://a.blob.core.windows.net/vhds/../secret/x.vhd",
        "https://a.blob.core.windows.net/vhds/%2e%2e/x.vhd",
        "https://a.blob.core.windows.net/./vhds/x.vhd",
        "https://a.blob.core.windows.net/vhds/web/\ud800.vhd",
        "https://a.blob.core.windows.net/vhds/web/x\n.vhd",
        "https://a.blob.core.windows.net/vhds/web/%00.vhd",
        "https://a.blob.core.windows.net/vhds/" + "x" * 1025,
        "https://a.blob.core.windows.net/vhds",
        "https://a.blob.core.windows.net.example/vhds/x.vhd",
        "https://user@a.blob.core.windows.net/vhds/x.vhd",
        "http://a.blob.core.windows.net/vhds/x.vhd",
        "",
    ],
)
def test_what_is_no_blob_of_the_account_is_none(url: str) -> None:
    assert BLOBS.locate(url) is None


@given(st.text() | st.text(st.characters()).map(lambda end: f"https://a.blob.core.windows.net/{end}") | st.text().map(lambda host: f"https://[{host}/x"))  # fmt: skip
def test_any_text_is_answered(url: str) -> None:
    query_fault(url)
    located = BLOBS.locate(url)
    assert located is None or BLOBS.locate(BLOBS.url(*located)) == located
