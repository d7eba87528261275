"""A text as the GSM alphabet can write it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notify.domain.gsm import ALPHABET
from notify.domain.transliteration import UNKNOWN, Replacement, transliterate


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Zażółć gęślą jaźń", "Zazolc gesla jazn"),
        ("ZAŻÓŁĆ GĘŚLĄ JAŹŃ", "ZAZOLC GESLA JAZN"),
        ("Vážený zákazník, ďakujeme. Účet č. 5: 12,50 €", "Vazeny zakaznik, dakujeme. Ucet c. 5: 12,50 €"),
        ("ľščťžýáíúäôňĺŕ", "lsctzyaiuäonlr"),
        ("Příliš žluťoučký kůň", "Prilis zlutoucky kun"),
        ("Árvíztűrő tükörfúrógép", "Arviztürö tükörfurogép"),
        ("đak, Øresund, ŒUVRE, þing, ğ, ş, ı, ș, ț, ß", "dak, Øresund, OeUVRE, thing, g, s, i, s, t, ß"),
        ("„Ahoj“ ‚ty‘ «tam» – ďalej — koniec… it’s", "\"Ahoj\" 'ty' <<tam>> - dalej - koniec... it's"),
        ("1\xa0000\u202f€, 10\u2009%", "1 000 €, 10 %"),
        ("ne\u00advi\u200bdi\ufefftel\u2060né", "neviditelné"),
        ("cafe\u0301 e\u0328", "café e"),
        ("`a`", "'a'"),
        ("½ kg, № 5, ﬁn, m², ™, →", "1/2 kg, No 5, fin, m2, TM, >"),
        ("Київ", "Kiiv"),
        ("Борис", "Boris"),
        ("Αθήνα", "Athina"),
        ("深圳", "ShenZhen"),
        ("ok 😀 ❤️ 👍🏽!", "ok ? ? ?!"),
        ("\ue000\u0378\ud83d", "???"),
        ("[€] {~} ^\\|\f", "[€] {~} ^\\|\f"),
    ],
)
def test_known_texts(text: str, written: str) -> None:
    """What GSM has stays, letters lose their marks, signs become their nearest, what nothing is like becomes one."""
    assert transliterate(text).text == written


def test_polish_slovak_and_czech_letters() -> None:
    """Each letter of Polish, Slovak and Czech becomes its base letter, or stays where GSM has it."""
    letters = "ąćęłńóśźżáäčďéíĺľňóôŕšťúýžáčďéěíňóřšťúůýž"
    for letter in letters + letters.upper():
        base = {"ł": "l", "Ł": "L"}.get(letter, unicodedata.normalize("NFD", letter)[0])
        assert transliterate(letter).text == (letter if letter in "äéÄÉ" else base)


@settings(max_examples=300, deadline=None)
@given(st.text())
@example("ﷺ")
@example("a\u0300\u0301")
def test_all_is_gsm_and_stays_so(text: str) -> None:
    """The result is in the alphabet, comes back as it is, and each character that is no more was told."""
    done = transliterate(text)
    assert ALPHABET.issuperset(done.text)
    assert transliterate(done.text).text == done.text
    assert transliterate(done.text).replaced == ()
    assert {one.sign for one in done.replaced} == set(unicodedata.normalize("NFC", text)) - ALPHABET
    assert set(done.lost) == {one.sign for one in done.replaced if one.by == UNKNOWN}


@given(st.text(st.sampled_from(sorted(ALPHABET))))
def test_gsm_is_left_alone(text: str) -> None:
    """A text of the alphabet comes back as it is, and nothing is told."""
    assert transliterate(text).text == text
    assert transliterate(text).replaced == ()


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=("Mn", "Me", "Cf", "Sk"))))
def test_nothing_to_be_seen_is_left_out(text: str) -> None:
    """Whatever can be seen leaves something in its place; only what is not to be seen is left out."""
    assert all(one.by for one in transliterate(text).replaced)


def test_replaced_is_told() -> None:
    """Replaced, lost and left out are told apart, each character once, in the order of the text."""
    done = transliterate("Łódź 😀\u200b Łódź 😀")
    assert done.replaced == (
        Replacement("Ł", "L"),
        Replacement("ó", "o"),
        Replacement("ź", "z"),
        Replacement("😀", "?"),
        Replacement("\u200b", ""),
    )
    assert done.lost == ("😀",)
