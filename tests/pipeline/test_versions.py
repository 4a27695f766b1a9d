"""Numbers only go up and always are names Azure takes."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.versions import LARGEST_PART, Bump, NoNumber, Version, highest, next_version

TODAY = date(2026, 11, 23)
parts = st.integers(0, LARGEST_PART)
numbers = st.builds(Version, parts, parts, parts)


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
    [("web-1.4.0.vhd", "1.4.0"), ("v2.0.1/disk-10.20.30.vhd", "10.20.30"), ("web_3.0.12_amd64.vhd", "3.0.12")],
)
def test_a_number_is_found_in_a_name(name: str, expected: str) -> None:
    assert str(next_version(None, Bump.FROM_NAME, today=TODAY, name=name)) == expected


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
