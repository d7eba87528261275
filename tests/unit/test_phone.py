"""Phone numbers as people write them, and as gateways want them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notify.domain.phone import LONGEST, MOST_DIGITS, Flaw, Number, parse_number, parse_region
from notify.exceptions import ConfigurationError, InvalidNumber, InvalidRegion, NotifyError

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
MOBILE = phonenumbers.PhoneNumberType.MOBILE
EXAMPLES = [number for region in REGIONS if (number := phonenumbers.example_number_for_type(region, MOBILE))]
FORMATS = phonenumbers.PhoneNumberFormat
#: What people paste: any characters, and those that mean something in a number.
PASTED = st.text(max_size=50) | st.text("0123456789+ ()-/.\xa0\u202ax#,٣９a\n", max_size=45)


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("+421903622237", None, "+421903622237"),
        (" +421 903 622 237 ", None, "+421903622237"),
        ("+421 903 622 237", "PL", "+421903622237"),
        ("0903622237", "SK", "+421903622237"),
        ("0903/622 237", "sk", "+421903622237"),
        ("(0903) 622-237", "SK", "+421903622237"),
        ("00421 903 622 237", "SK", "+421903622237"),
        ("421903622237", "SK", "+421903622237"),
        ("+421 (0) 903 622 237", None, "+421903622237"),
        ("0048 512 345 678", "SK", "+48512345678"),
        ("512-345-678", "PL", "+48512345678"),
        ("512 345 678", "PL", "+48512345678"),
        ("07400 123456", "GB", "+447400123456"),
        ("+1 201-555-0123", None, "+12015550123"),
        ("+49 30 12345678901", None, "+493012345678901"),
        ("+39 312 345 6789", None, "+393123456789"),
        ("+39 06 12345678", None, "+390612345678"),  # Italy keeps the nought
        ("\u202a+421\xa0903\u2009622\u2011237\u202c", None, "+421903622237"),  # as copied from an address book
        ("＋４２１９０３６２２２３７", None, "+421903622237"),
        ("٠٩٠٣٦٢٢٢٣٧", "SK", "+421903622237"),
    ],
)
def test_read(text: str, region: str | None, e164: str) -> None:
    """Numbers of the region and of others, however they are grouped, are the numbers that their writers meant."""
    number = parse_number(text, region)
    assert number == Number(e164)
    assert str(number) == e164
    assert number.digits == e164[1:]


@pytest.mark.parametrize(
    ("text", "region", "flaw", "words"),
    [
        ("", None, Flaw.EMPTY, "nothing in it; write one"),
        (" \u200b", "SK", Flaw.EMPTY, "nothing in it"),
        ("0800 FLOWERS", "US", Flaw.LETTERS, "letters; write digits only"),
        ("+421 9O3 622 237", None, Flaw.LETTERS, "letters"),
        ("mobil: 0903 622 237", "SK", Flaw.LETTERS, "letters"),
        ("tel:+421903622237", None, Flaw.LETTERS, "letters"),
        ("+1 201 555 0123 ext. 45", None, Flaw.EXTENSION, "extension; write a number without"),
        ("02/12345678 kl. 12", "SK", Flaw.EXTENSION, "extension"),
        ("22 123 45 67 wew. 12", "PL", Flaw.EXTENSION, "extension"),
        ("+12015550123x45", None, Flaw.EXTENSION, "extension"),
        ("+12015550123#45", None, Flaw.EXTENSION, "extension"),
        ("0903 622 237; 0905 123 456", "SK", Flaw.SIGNS, "write one number"),
        ("0903 622 237\n0905 123 456", "SK", Flaw.SIGNS, "write one number"),
        ("+421 903+622 237", None, Flaw.SIGNS, "signs that are in no number"),
        ("*100#", "SK", Flaw.SIGNS, "signs"),
        ("anna@example.com", "SK", Flaw.LETTERS, "letters"),
        ("0903622237", None, Flaw.NO_COUNTRY, "write it with a plus and the code of its country"),
        ("00421903622237", None, Flaw.NO_COUNTRY, "with a plus"),
        ("421903622237", None, Flaw.NO_COUNTRY, "with a plus"),
        ("+999 123 456 789", None, Flaw.UNKNOWN_COUNTRY, "no country has the code"),
        ("+0903622237", None, Flaw.UNKNOWN_COUNTRY, "no country has the code"),
        ("00999123456789", "SK", Flaw.UNKNOWN_COUNTRY, "no country has the code"),
        ("112", "SK", Flaw.SHORT_CODE, "short code"),
        ("+421 112", None, Flaw.SHORT_CODE, "short code"),
        ("1", "SK", Flaw.TOO_SHORT, "digits are missing"),
        ("---", "SK", Flaw.TOO_SHORT, "digits are missing"),
        ("+421", None, Flaw.TOO_SHORT, "digits are missing"),
        ("+4219", None, Flaw.TOO_SHORT, "digits are missing"),
        ("001", "SK", Flaw.TOO_SHORT, "digits are missing"),
        ("0903 6", "SK", Flaw.TOO_SHORT, "digits are missing"),
        ("555 0123", "US", Flaw.TOO_SHORT, "digits are missing"),  # a number within its city
        ("+48 512 3", None, Flaw.TOO_SHORT, "digits are missing"),
        ("0903 622 237 0905 123 456", "SK", Flaw.TOO_LONG, "too many digits; write one number"),
        ("+421 903 622 2371", None, Flaw.TOO_LONG, "too many digits"),
        ("9" * 41, "SK", Flaw.TOO_LONG, "too many digits"),
        ("1" + "#" * 40, "SK", Flaw.TOO_LONG, "too many digits"),
        ("+49 30 123456789012", None, Flaw.TOO_LONG, "too many digits"),  # which Germany has, and E.164 has not
        ("+421 903 622 23", None, Flaw.NOT_IN_USE, "no such number"),
        ("+421 999 622 237", None, Flaw.NOT_IN_USE, "no such number"),
        ("0903622237", "PL", Flaw.NOT_IN_USE, "no such number"),
    ],
)
def test_refused(text: str, region: str | None, flaw: Flaw, words: str) -> None:
    """A number that no SMS can go to is refused, with what is wrong, and a number of that region as an example."""
    with pytest.raises(InvalidNumber, match=words) as refused:
        parse_number(text, region)
    assert refused.value.flaw == flaw
    assert str(refused.value).startswith(f"{text[:LONGEST]!r}"[:-1])
    example_ = {"PL": "+48 512 345 678", "US": "+1 201-555-0123"}.get(region or "", "+421 912 123 456")
    assert str(refused.value).endswith(f", such as {example_}")


def test_whose_number_it_is_none_of() -> None:
    """The region is told where the number was read as one of its own, and only there."""
    with pytest.raises(InvalidNumber, match=r"'0903 6' is no phone number of SK: digits are missing"):
        parse_number("0903 6", "SK")
    with pytest.raises(InvalidNumber, match=r"'\+48 9036' is no phone number: digits are missing"):
        parse_number("+48 9036", "SK")


def test_long_input_is_not_quoted_whole() -> None:
    """A text of any length is refused at once, and quoted in part."""
    with pytest.raises(InvalidNumber) as refused:
        parse_number("9" * 1_000_000, "SK")
    assert len(str(refused.value)) < 300


@settings(max_examples=300, deadline=None)
@given(PASTED, st.sampled_from(["SK", "PL", "US", "IT", None]))
@example("+49 30 1234567890123", None)
def test_number_or_error(text: str, region: str | None) -> None:
    """Any text is a number of ASCII digits, at most 15, or the named error and no other."""
    try:
        number = parse_number(text, region)
    except InvalidNumber:
        return
    assert number.e164[0] == "+"
    assert number.digits.isascii()
    assert number.digits.isdigit()
    assert len(number.digits) <= MOST_DIGITS


def test_numbers_of_all_countries() -> None:
    """A mobile number of each country is read from E.164 and as it is written abroad, without and with any region."""
    assert len(EXAMPLES) > 200
    for number in EXAMPLES:
        e164 = phonenumbers.format_number(number, FORMATS.E164)
        assert parse_number(e164).e164 == e164
        assert parse_number(e164, "SK").e164 == e164
        assert parse_number(phonenumbers.format_number(number, FORMATS.INTERNATIONAL)).e164 == e164


@pytest.mark.parametrize("region", ["SK", "CZ", "PL", "HU", "DE", "AT", "UA", "GB", "FR", "IT", "US"])
def test_numbers_as_written_at_home(region: str) -> None:
    """A number as it is written within its country is read by the region."""
    number = phonenumbers.example_number_for_type(region, MOBILE)
    assert number
    written = phonenumbers.format_number(number, FORMATS.NATIONAL)
    assert parse_number(written, region).e164 == phonenumbers.format_number(number, FORMATS.E164)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EXAMPLES), st.text("0123456789", min_size=1, max_size=6), st.sampled_from([None, "SK", "US"]))
def test_e164_stays_as_it_is(number: phonenumbers.PhoneNumber, end: str, region: str | None) -> None:
    """What was made E.164 once is the same when it is read again, whatever the region."""
    written = phonenumbers.format_number(number, FORMATS.E164)
    try:
        found = parse_number(written[: -len(end)] + end, region)
    except InvalidNumber:
        return
    assert parse_number(found.e164) == found
    assert parse_number(found.e164, region) == found


# --- The region ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "region"), [(None, None), ("", None), (" ", None), ("SK", "SK"), (" pl ", "PL")])
def test_region(text: str | None, region: str | None) -> None:
    """A region is two letters in either case; nothing is none."""
    assert parse_region(text) == region


@pytest.mark.parametrize("text", ["UK", "XX", "SVK", "421", "001", "ZZ", "S K", "+421"])
def test_no_region(text: str) -> None:
    """What is no region is told as the setting that it is, before any number is looked at."""
    with pytest.raises(InvalidRegion, match=r"is no country .* two letters of ISO 3166"):
        parse_region(text)
    with pytest.raises(InvalidRegion):
        parse_number("+421903622237", text)
    assert issubclass(InvalidRegion, ConfigurationError)


def test_refused_as_all_bad_input_is() -> None:
    """The error is one of ours, and a ValueError, so every model's fields can be checked by the same function."""
    assert issubclass(InvalidNumber, NotifyError)
    assert issubclass(InvalidNumber, ValueError)
