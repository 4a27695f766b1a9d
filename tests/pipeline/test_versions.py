"""Numbers only go up and always are names Azure takes."""

from __future__ import annotations

import contextlib
import re
from datetime import date
from fnmatch import fnmatchcase
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog import Numbering
from pipeline.versions import FIRST, LARGEST_PART, ROOM, Bump, NoNumber, Version, check_named, highest, next_version

TODAY = date(2026, 11, 23)
parts = st.integers(0, LARGEST_PART)
numbers = st.builds(Version, parts, parts, parts)


def from_name(name: str, pattern: str | None = None) -> str:
    return str(next_version(None, Bump.FROM_NAME, today=TODAY, name=name, pattern=pattern))


@pytest.mark.parametrize(
    ("highest", "bump", "expected"),
    [
        (None, Bump.PATCH, "1.0.0"),
        (None, Bump.CALVER, "2026.1123.0"),
        ("1.0.0", Bump.PATCH, "1.0.1"),
        ("1.0.9", Bump.PATCH, "1.0.10"),
        ("1.4.7", Bump.MINOR, "1.5.0"),
        ("1.4.7", Bump.MAJOR, "2.0.0"),
        ("2026.1122.5", Bump.CALVER, "2026.1123.0"),
        ("2026.1123.0", Bump.CALVER, "2026.1123.1"),
        ("2026.1231.0", Bump.CALVER, "2026.1231.1"),
    ],
)
def test_the_next_number_follows_the_rule(highest: str | None, bump: Bump, expected: str) -> None:
    before = Version.parse(highest) if highest else None
    assert str(next_version(before, bump, today=TODAY)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web-1.4.0.vhd", "1.4.0"),
        ("v2.0.1/disk-10.20.30.vhd", "10.20.30"),
        ("web_3.0.12_amd64.vhd", "3.0.12"),
        ("rc1/web-1.4.0.vhd", "1.4.0"),
        ("web.1.5.0.vhd", "1.5.0"),
        ("WEB.V1.5.0.VHD", "1.5.0"),
        ("web-1.4.0_gen2.vhd", "1.4.0"),
        ("web-1.4.0+build5.vhd", "1.4.0"),
        ("web-1.4.0+b5.vhd", "1.4.0"),
        ("web-1.4.0-linux.vhd", "1.4.0"),
        ("web-1.4.0-20261101.vhd", "1.4.0"),
        ("web-1.4.0-a100-arm64.vhd", "1.4.0"),
        ("web-dev-1.4.0.vhd", "1.4.0"),
        ("web-1.4.0-linux-1.4.0.vhd", "1.4.0"),
        ("ubuntu-24.04-1.4.0.vhd", "1.4.0"),
    ],
)
def test_a_number_is_found_in_a_name(name: str, expected: str) -> None:
    assert from_name(name) == expected


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("web-1.4.0-rc1.vhd", "rc1"),
        ("web-1.4.0~beta2.vhd", "~beta2"),
        ("web-1.4.0~20261101.vhd", "~20261101"),
        ("web-1.4.0-alpha.2.vhd", "alpha"),
        ("web-1.4.0rc1.vhd", "rc1"),
        ("web-1.4.0-RC.1.vhd", "RC"),
        ("web-1.4.0b2.vhd", "b2"),
        ("web-1.4.0-b2.vhd", "b2"),
        ("web-1.4.0.dev3.vhd", "dev3"),
        ("web-1.4.0dev3.vhd", "dev3"),
        ("web-1.4.0-SNAPSHOT.vhd", "SNAPSHOT"),
        ("web-1.4.0-preview.vhd", "preview"),
        ("web-1.4.0_nightly_20261101.vhd", "nightly"),
        ("nightly-web-1.4.0.vhd", "nightly"),
        ("web-1.4.0-M1.vhd", "M1"),
        ("web-1.4.0-amd64-rc1.vhd", "rc1"),
        ("web-1.4.0+build5.rc1.vhd", "rc1"),
        ("web-1.4.0-rc1-1.4.0.vhd", "rc1"),
    ],
)
def test_a_pre_release_never_takes_the_number_of_its_release(name: str, word: str) -> None:
    with pytest.raises(NoNumber, match=r"pre-release of 1\.4\.0 .*1\.4\.0 stays free for the release") as refusal:
        from_name(name)
    assert repr(word) in str(refusal.value)
    assert "with a version or a bump" in str(refusal.value)
    with pytest.raises(NoNumber, match=r"metadata version .* is a pre-release"):
        next_version(None, Bump.FROM_METADATA, today=TODAY, name=name.removesuffix(".vhd"))


@given(
    st.sampled_from(["rc1", "alpha", "beta.3", "dev4", "SNAPSHOT", "preview2", "nightly"]),
    st.lists(st.sampled_from(["amd64", "gen2", "linux", "20261101", "build5"]), max_size=3),
    st.lists(st.sampled_from(["amd64", "gen2", "linux", "20261101", "build5"]), max_size=3),
    st.sampled_from("-_+"),
)
def test_a_pre_release_is_seen_among_whatever_else(word: str, before: list[str], after: list[str], sign: str) -> None:
    name = "web-1.4.0-" + sign.join([*before, word, *after])
    for pattern in (None, "web-{version}*", "web-{version}?*.vhd"):
        with pytest.raises(NoNumber, match="pre-release"):
            from_name(f"{name}.vhd", pattern)
    assert from_name(f"web-1.4.0-{sign.join(before + after)}.vhd") == "1.4.0"


@pytest.mark.parametrize(
    ("name", "both", "line"),
    [
        ("web-1.10.0-linux-5.15.0.vhd", "1.10.0 and 5.15.0", 'pattern: "web-{version}-*"'),
        ("24.04.1_web_1.4.0.vhd", "24.04.1 and 1.4.0", 'pattern: "{version}_*"'),
        ("a-1.0.0-b-2.0.0-c-3.0.0.vhd", "1.0.0, 2.0.0 and 3.0.0", 'pattern: "a-{version}-*"'),
    ],
)
def test_two_numbers_are_ambiguous_until_the_catalog_says_which(name: str, both: str, line: str) -> None:
    with pytest.raises(NoNumber, match="more than one number") as refusal:
        from_name(name)
    assert both in str(refusal.value)
    assert f"version: {{bump: from-name, {line}}}" in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("web-1.10.0-linux-5.15.0.vhd", "web-{version}-*", "1.10.0"),
        ("web-1.10.0-linux-5.15.0.vhd", "*-linux-{version}", "5.15.0"),
        ("builds/7.7.7/web-1.10.0-linux-5.15.0.VHD", "w?b-{version}-*.vhd", "1.10.0"),
        ("web-1.10.0.vhd", "web-{version}", "1.10.0"),
        ("web-1.10.0.vhd", "web-{version}.*", "1.10.0"),
        ("web-1.10.0-linux-1.10.0.vhd", "*-{version}*", "1.10.0"),
        ("web-1.10.0-preview-x.vhd", "web-{version}-preview-*", "1.10.0"),
        ("web-1.10.0-a10.vhd", "web-{version}-a10", "1.10.0"),
    ],
)
def test_a_pattern_says_which_number_counts(name: str, pattern: str, expected: str) -> None:
    assert from_name(name, pattern) == expected


@pytest.mark.parametrize(
    ("name", "pattern", "words"),
    [
        ("web-1.10.0-linux-5.15.0.vhd", "*-{version}*", "more than one number"),
        ("web-1.10.0-rc1-linux-5.15.0.vhd", "web-{version}-*-linux-*", "pre-release of 1.10.0"),
        ("web-1.10.0-rc1.vhd", "web-{version}-r*", "pre-release of 1.10.0"),
        ("web-1.10.0-rc1.vhd", "web-{version}-rc?", "pre-release of 1.10.0"),
        ("web-1.10.0.vhd", "web-{version}-*", "does not match 'web-{version}-*'"),
        ("db-1.10.0-x.vhd", "web-{version}-*", "does not match"),
        ("web-1.10.0.5-x.vhd", "web-{version}-*", "does not match"),
        ("web-01.10.0-x.vhd", "web-{version}-*", "Major.Minor.Patch"),
    ],
)
def test_a_pattern_does_not_take_any_name(name: str, pattern: str, words: str) -> None:
    with pytest.raises(NoNumber, match=re.escape(words)):
        from_name(name, pattern)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bump": "from-name", "pattern": "web-*"}, "takes {version} exactly once"),
        ({"bump": "from-name", "pattern": "{version}-{version}"}, "takes {version} exactly once"),
        ({"bump": "from-name", "pattern": "vhds/web-{version}"}, "leave out the folders"),
        ({"bump": "patch", "pattern": "web-{version}-*"}, "pattern goes with bump: from-name"),
        ({"pattern": "web-{version}-*"}, "pattern goes with bump: from-name"),
    ],
)
def test_a_pattern_that_says_nothing_is_a_fault_of_the_catalog(fields: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Numbering.model_validate(fields)
    assert Numbering.model_validate({"bump": "from-name", "pattern": "web-{version}-*"}).pattern == "web-{version}-*"


@given(st.text(), st.text("ab-.*?~1", max_size=8), st.sampled_from([Bump.FROM_NAME, Bump.FROM_METADATA]))
def test_any_name_has_a_number_or_is_refused(name: str, wild: str, bump: Bump) -> None:
    for pattern in (None, f"{wild}{{version}}*"):
        try:
            number = next_version(None, bump, today=TODAY, name=f"web-1.2.3{name}", pattern=pattern)
        except NoNumber:
            continue
        assert f"{number}" in f"web-1.2.3{name}"


@pytest.mark.parametrize("name", ["1" * 8000, "1." * 4000, "1.2.3-" * 1500, "a~" * 4000, "1.2.3" + "-a1" * 2500])
def test_a_long_name_takes_no_longer(name: str) -> None:
    began = monotonic()
    for bump in (Bump.FROM_NAME, Bump.FROM_METADATA):
        with contextlib.suppress(NoNumber):
            next_version(None, bump, today=TODAY, name=name)
    assert monotonic() - began < 1


def test_a_name_is_matched_in_no_time() -> None:
    pattern, name = "*a" * 100 + "{version}" + "a*" * 100 + "b", "a" * 500 + "1.0.0" + "a" * 500
    began = monotonic()
    with pytest.raises(NoNumber):
        from_name(name, pattern)
    assert monotonic() - began < 1


@given(st.text("ab-.*1", max_size=12), st.text("ab-.*1", max_size=12), st.text("ab-.?*", max_size=6))
def test_a_pattern_matches_as_a_glob_does(before: str, after: str, wild: str) -> None:
    name, pattern = f"{before}-1.2.3-{after}", f"*{wild}*-{{version}}-{wild}*"
    expected = fnmatchcase(before, f"*{wild}*") and fnmatchcase(after, f"{wild}*")
    if "1.2.3" in after or re.search(r"\d\.\d+\.\d", before + after):
        return
    try:
        assert from_name(name, pattern) == "1.2.3"
        matched = True
    except NoNumber as refusal:
        matched = "does not match" not in str(refusal)
    assert matched == expected


@pytest.mark.parametrize("name", ["web.vhd", "web-1.4.vhd", "web-1.2.3.4.vhd", "web-1.0.4294967296.vhd"])
def test_a_name_without_a_number_is_said(name: str) -> None:
    with pytest.raises(NoNumber):
        next_version(None, Bump.FROM_NAME, today=TODAY, name=name)


def test_a_number_from_a_name_does_not_go_back() -> None:
    with pytest.raises(NoNumber, match=r"1\.5\.0 is taken"):
        next_version(Version(1, 5, 0), Bump.FROM_NAME, today=TODAY, name="web-1.4.0.vhd")


@pytest.mark.parametrize("text", ["1.0", "1.0.0.0", "01.0.0", "1.0.-1", "1.0.2147483648", "1.0.0-rc1", "", "١.0.0"])
def test_what_azure_refuses_as_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Major\.Minor\.Patch"):
        Version.parse(text)


@given(numbers)
def test_a_number_reads_as_it_writes(number: Version) -> None:
    assert Version.parse(str(number)) == number


@given(numbers, st.sampled_from([Bump.MAJOR, Bump.MINOR, Bump.PATCH, Bump.CALVER]), st.dates())
def test_the_next_number_is_higher_and_fits(number: Version, bump: Bump, today: date) -> None:
    try:
        after = next_version(number, bump, today=today)
    except NoNumber:
        assert LARGEST_PART in number
        return
    assert after > number
    assert Version.parse(str(after)) == after


@given(st.lists(numbers, min_size=1))
def test_the_highest_is_by_number_not_by_text(held: list[Version]) -> None:
    assert highest([str(number) for number in held]) == max(held)


def test_names_of_another_form_do_not_hide_the_highest() -> None:
    assert highest(["1.0.9", "1.0.010", "draft"]) == Version(1, 0, 10)
    assert highest([]) is None


@given(st.none() | numbers, numbers, st.sampled_from([Bump.MAJOR, Bump.MINOR, Bump.PATCH]), numbers)
def test_after_a_number_that_is_named_there_is_room(
    top: Version | None, named: Version, bump: Bump, start: Version
) -> None:
    try:
        check_named(named, top, bump, start=start, today=TODAY)
    except NoNumber:
        base = max(top or start, start)
        assert named.major > base.major + 1 or max(named) > LARGEST_PART - ROOM
        return
    for further in (Bump.MAJOR, Bump.MINOR, Bump.PATCH):
        after = next_version(named, further, today=TODAY)
        assert max(after) <= LARGEST_PART - ROOM + 1


@pytest.mark.parametrize("named", ["2026.1124.0", "2026.1231.5", "2027.101.0"])
def test_no_number_is_ahead_of_its_day(named: str) -> None:
    top = Version(2026, 1122, 3)
    with pytest.raises(NoNumber, match=r"is ahead of its day: ask for 2026\.1123\.x at most"):
        check_named(Version.parse(named), top, Bump.CALVER, start=FIRST, today=TODAY)
    check_named(Version(2026, 1123, 99), top, Bump.CALVER, start=FIRST, today=TODAY)
    check_named(Version.parse("2025.1.1"), None, Bump.CALVER, start=FIRST, today=TODAY)
