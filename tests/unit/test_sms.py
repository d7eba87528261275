"""The text of an SMS: its parts, and what may stand in it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notify.domain.gsm import ALPHABET, EXTENSION
from notify.domain.sms import ADVISED_PARTS, MOST_PARTS, Encoding, Size, count, parse_text, split, tidied
from notify.domain.transliteration import Replacement
from notify.exceptions import InvalidText, NotifyError

GSM = st.sampled_from(sorted(ALPHABET))
#: All that UTF-16 can carry: no halves of characters.
ANY = st.characters(exclude_categories=("Cs",))
#: Texts about as long as parts are; where they end does not depend on luck alone.
LONG_GSM = st.builds(
    lambda many, text: "a" * many + text, st.sampled_from([0, 100, 150, 300]), st.text(GSM, max_size=200)
)
LONG = st.builds(lambda many, text: "ł" * many + text, st.sampled_from([0, 40, 60, 130]), st.text(ANY, max_size=100))


def septets(text: str) -> int:
    """Codes of seven bits, by the standard and not by the code under test."""
    return sum(2 if sign in "\f^{}\\[~]|€" else 1 for sign in text)


def words(text: str) -> int:
    """Units of 16 bits, by Python's codec."""
    return len(text.encode("utf-16-be", "surrogatepass")) // 2


@pytest.mark.parametrize(
    ("length", "parts", "left"),
    [
        (0, 1, 160), (1, 1, 159), (159, 1, 1), (160, 1, 0), (161, 2, 145), (305, 2, 1), (306, 2, 0), (307, 3, 152),
        (459, 3, 0), (460, 4, 152), (612, 4, 0), (613, 5, 152), (1530, 10, 0), (1531, 11, 152),
    ],
)  # fmt: skip
def test_parts_of_gsm(length: int, parts: int, left: int) -> None:
    """One part holds 160 characters of GSM 03.38; of several, each holds 153."""
    assert count("a" * length) == Size(Encoding.GSM, length, parts, left)


@pytest.mark.parametrize(
    ("length", "parts", "left"),
    [
        (1, 1, 69), (69, 1, 1), (70, 1, 0), (71, 2, 63), (133, 2, 1), (134, 2, 0), (135, 3, 66), (201, 3, 0),
        (202, 4, 66), (268, 4, 0), (269, 5, 66), (670, 10, 0), (671, 11, 66),
    ],
)  # fmt: skip
def test_parts_of_ucs2(length: int, parts: int, left: int) -> None:
    """One part holds 70 units of UCS-2; of several, each holds 67. One character makes the whole text UCS-2."""
    assert count("a" * (length - 1) + "ł") == Size(Encoding.UCS2, length, parts, left)


@pytest.mark.parametrize("sign", sorted(EXTENSION))
def test_extension_counts_two(sign: str) -> None:
    """Each of the ten characters of the extension table counts two: 80 of them fill a part."""
    assert count(sign) == Size(Encoding.GSM, 2, 1, 158)
    assert count(sign * 80) == Size(Encoding.GSM, 160, 1, 0)
    assert count(sign * 80 + "a").parts == 2


def test_extension_is_not_split() -> None:
    """An escape and its code stay together: a part that has room for one of them only stays short by one."""
    text = "a" * 152 + "€" + "b" * 10
    assert split(text) == ["a" * 152, "€" + "b" * 10]
    assert count(text) == Size(Encoding.GSM, 164, 2, 153 - 12)
    whole = "a" * 151 + "€" + "b" * 153
    assert split(whole) == ["a" * 151 + "€", "b" * 153]
    assert count("a" * 152 + "€" + "b" * 152).parts == 3  # 306 septets would fill two, could the euro be cut


def test_character_beyond_the_bmp_is_not_split() -> None:
    """A character of two units of UTF-16 stays whole: a part that has room for half of it stays short by one."""
    assert count("😀") == Size(Encoding.UCS2, 2, 1, 68)
    assert count("😀" * 35) == Size(Encoding.UCS2, 70, 1, 0)
    assert split("😀" * 36) == ["😀" * 33, "😀" * 3]
    text = "ł" * 66 + "😀" + "ł" * 10
    assert split(text) == ["ł" * 66, "😀" + "ł" * 10]
    assert count(text) == Size(Encoding.UCS2, 78, 2, 67 - 12)


def test_extension_counts_one_in_ucs2() -> None:
    """In UCS-2 the euro is one unit as any other."""
    assert count("€" * 69 + "ł") == Size(Encoding.UCS2, 70, 1, 0)


@settings(max_examples=250, deadline=None)
@given(LONG_GSM)
@example("a" * 152 + "€" * 77)
def test_split_of_gsm(text: str) -> None:
    """Splitting loses nothing, no part exceeds its room, and none but the last has room for one more character."""
    parts, size = split(text), count(text)
    assert "".join(parts) == text
    assert (size.encoding, size.units, size.parts) == (Encoding.GSM, septets(text), len(parts))
    room = 160 if len(parts) == 1 else 153
    assert size.left == room - septets(parts[-1]) >= 0
    for part, after in pairwise(parts):
        assert septets(part) <= 153 < septets(part + after[0])
    assert (len(parts) == 1) == (septets(text) <= 160)


@settings(max_examples=250, deadline=None)
@given(LONG.filter(lambda text: not set(text) <= ALPHABET))
@example("ł" * 66 + "😀" * 40)
def test_split_of_ucs2(text: str) -> None:
    """The same in UCS-2; each part alone can be encoded, so no character was cut in two."""
    parts, size = split(text), count(text)
    assert "".join(parts) == text
    assert (size.encoding, size.units, size.parts) == (Encoding.UCS2, words(text), len(parts))
    room = 70 if len(parts) == 1 else 67
    assert size.left == room - words(parts[-1]) >= 0
    for part, after in pairwise(parts):
        assert words(part) <= 67 < words(part + after[0])
    assert b"".join(part.encode("utf-16-be") for part in parts) == text.encode("utf-16-be")
    assert (len(parts) == 1) == (words(text) <= 70)


@settings(max_examples=200, deadline=None)
@given(LONG_GSM | LONG, LONG_GSM | LONG)
def test_count_of_two_texts_in_one(first: str, second: str) -> None:
    """Text that comes behind another never takes parts away, and takes no more than both alone and one for the cut."""
    one, other, both = count(first), count(second), count(first + second)
    assert both.parts >= max(one.parts, other.parts)
    if one.encoding is other.encoding:
        assert both.units == one.units + other.units
        assert both.parts <= one.parts + other.parts + 1


# --- What may stand in it --------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None)
@given(st.text(max_size=120) | st.text("ab \r\n\t\x85\u2028€łe\u0301\u200b😀\x1b\ud83d", max_size=30), st.booleans())
def test_text_or_error(text: str, transliterated: bool) -> None:
    """Any text is sent or refused; what is sent is counted as it stands, can be encoded, and is sent again as it is."""
    try:
        content = parse_text(text, transliterated=transliterated)
    except InvalidText:
        return
    assert content.size == count(content.text)
    assert content.text.encode("utf-8")
    assert "\r" not in content.text
    assert content.text.strip() == content.text != ""
    assert not transliterated or content.size.encoding is Encoding.GSM
    again = parse_text(content.text, transliterated=transliterated)
    assert (again.text, again.size, again.replaced) == (content.text, content.size, ())


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x85", "\u2028", "\u2029"])
def test_line_end_counts_one(end: str) -> None:
    """However a line ends, its end is one character of GSM."""
    assert parse_text(f"a{end}b").text == "a\nb"
    assert parse_text(f"a{end}b").size == Size(Encoding.GSM, 3, 1, 157)


def test_blanks_around_cost_nothing() -> None:
    """Blanks and line ends around a text, as templates leave them, are not sent."""
    assert parse_text("\r\n  Dobrý deň \n\n").text == "Dobrý deň"


def test_letters_with_marks_of_their_own() -> None:
    """An é of two characters, as some systems write it, is one, which GSM has."""
    assert parse_text("cafe\u0301").size == Size(Encoding.GSM, 4, 1, 156)
    assert tidied("Ohm \u2126, Kelvin \u212a") == "Ohm Ω, Kelvin K"


@pytest.mark.parametrize(
    ("text", "sign", "position"),
    [
        ("a\x00b", "U+0000", 2),
        ("a\tb", "U+0009", 2),
        ("\x1b", "U+001B", 1),
        ("ab\f", "U+000C", 3),
        ("a\r\nb\x7f", "U+007F", 5),
        ("\x9f", "U+009F", 1),
        ("ab\x1c", "U+001C", 3),
    ],
)
def test_control_characters_are_refused(text: str, sign: str, position: int) -> None:
    """A control character is refused, with its code, its place, and what to do."""
    with pytest.raises(
        InvalidText, match=rf"a control character \({sign.replace('+', '.')}\), at position {position}, "
    ) as it:
        parse_text(text)
    assert str(it.value).endswith("cannot be sent; leave it out, or write a blank instead")


@pytest.mark.parametrize("transliterated", [False, True])
def test_half_characters_are_refused(transliterated: bool) -> None:
    """Half of a character, as cutting text by UTF-16 leaves it, is refused."""
    with pytest.raises(InvalidText, match=r"half of a character \(U.D83D\), at position 3"):
        parse_text("ab\ud83d", transliterated=transliterated)


@pytest.mark.parametrize("text", ["", " ", "\r\n", "\xa0", "\u200b", "\u200b \u2060\n"])
@pytest.mark.parametrize("transliterated", [False, True])
def test_empty_is_refused(text: str, transliterated: bool) -> None:
    """A text with nothing to be read in it is refused."""
    with pytest.raises(InvalidText, match="nothing to read"):
        parse_text(text, transliterated=transliterated)


def test_text_that_transliteration_leaves_empty() -> None:
    """A text of which transliteration leaves nothing is refused, though it was not empty before."""
    assert parse_text("\u0301").text
    with pytest.raises(InvalidText, match="nothing to read"):
        parse_text("\u0301", transliterated=True)


def test_longest() -> None:
    """Ten parts are sent, eleven are refused."""
    assert parse_text("a" * 1530).size.parts == MOST_PARTS > ADVISED_PARTS
    with pytest.raises(InvalidText) as refused:
        parse_text("a" * 1531)
    assert str(refused.value) == "it takes 11 parts, and 10 are the most that is sent; shorten it"


def test_longest_in_ucs2() -> None:
    """Where UCS-2 makes a text too long, its characters are told, and that they can be transliterated; then it goes."""
    text = "Vážený zákazník, " * 45
    with pytest.raises(InvalidText) as refused:
        parse_text(text)
    assert str(refused.value) == (
        "it takes 12 parts, and 10 are the most that is sent; shorten it, or have it transliterated: "
        "a part holds 67 characters with á ž ý í, and 153 without"
    )
    assert parse_text(text, transliterated=True).size == Size(Encoding.GSM, 764, 5, 1)


def test_transliterated() -> None:
    """Transliteration is only done where it is asked for, and tells what it replaced."""
    assert parse_text("Łódź 5 €").size.encoding is Encoding.UCS2
    content = parse_text(" Łódź 5 €\r\n", transliterated=True)
    assert content.text == "Lodz 5 €"
    assert content.size == Size(Encoding.GSM, 9, 1, 151)
    assert content.replaced == (Replacement("Ł", "L"), Replacement("ó", "o"), Replacement("ź", "z"))


def test_refused_as_all_bad_input_is() -> None:
    """The error is one of ours, and a ValueError, so every model's fields can be checked by the same function."""
    assert issubclass(InvalidText, NotifyError)
    assert issubclass(InvalidText, ValueError)
