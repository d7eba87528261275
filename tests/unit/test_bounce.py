"""Delivery reports, read from their bytes: real formats, and whatever else lands in a mailbox."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notify.domain.blame import BY_DETAIL, BY_SUBJECT, Blame, blame_for
from notify.domain.bounce import LARGEST, MOST_RECIPIENTS, Action, Report, Sort, read_report
from notify.exceptions import UnreadableMail
from tests.dsn_fuzzer import SAMPLES, check, inputs, look

MESSAGE_ID = "<8f14e45f@mail.example.com>"
ANNA = "anna@customer.example"


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.eml").read_bytes()


def report(name: str) -> Report:
    found = read_report(sample(name))
    assert isinstance(found, Report)
    return found


# --- The formats -----------------------------------------------------------------------------------------------------

FAILED, DELAYED = Action.FAILED, Action.DELAYED

#: What each sample says of its one recipient.
SAID = {
    "postfix_unknown_user": (ANNA, FAILED, "5.1.1", 550, Blame.HARD, "User unknown in virtual mailbox table"),
    "postfix_without_enhanced_code": (ANNA, FAILED, "5.0.0", 550, Blame.SOFT, "No such person"),
    "postfix_no_domain": (ANNA, FAILED, "5.4.4", None, Blame.HARD, "Host not found"),
    "postfix_given_up": (ANNA, FAILED, "4.4.1", None, Blame.SOFT, "Connection timed out"),
    "postfix_delayed": (ANNA, DELAYED, "4.4.1", None, Blame.SOFT, "Connection timed out"),
    "postfix_delivered": (ANNA, Action.DELIVERED, "2.0.0", None, Blame.SOFT, "delivered to mailbox"),
    "postfix_relayed": (ANNA, Action.RELAYED, "2.0.0", 250, Blame.SOFT, "queued as"),
    "postfix_internationalised": ("żaneta@klient.example", FAILED, "5.1.1", 550, Blame.HARD, "nieznany użytkownik"),
    "internationalised_in_ascii": ("żaneta@klient.example", FAILED, "5.1.1", 550, Blame.HARD, "nieznany użytkownik"),
    "eight_bit_diagnostic": (ANNA, FAILED, "5.2.1", 550, Blame.HARD, "Postfach gesperrt"),
    "exchange_unknown_user": (ANNA, FAILED, "5.1.10", 550, Blame.HARD, "RESOLVER.ADR.RecipientNotFound"),
    "exchange_mailbox_full": (ANNA, FAILED, "5.2.2", 554, Blame.SOFT, "mailbox full"),
    "gmail_unknown_user": (ANNA, FAILED, "5.1.1", 550, Blame.HARD, "does not exist"),
    "gmail_policy": (ANNA, FAILED, "5.7.26", 550, Blame.NONE, "unauthenticated"),
    "sendmail_unknown_user": (ANNA, FAILED, "5.1.1", 550, Blame.HARD, "User unknown"),
    "exim_unknown_user": (ANNA, FAILED, "5.1.1", 550, Blame.HARD, "no such mailbox"),
    "exim_of_old": (ANNA, FAILED, "5.1.1", 550, Blame.HARD, "no such mailbox"),
    "without_the_mail": (ANNA, FAILED, "5.1.1", 550, Blame.HARD, "unknown"),
    "wrapped_by_a_gateway": (ANNA, FAILED, "5.1.1", 550, Blame.HARD, "User unknown"),
    "postfix_forwarded": ("anna.private@mail.invalid", FAILED, "5.1.1", 550, Blame.HARD, "no mailbox here"),
}

#: What the others are.
SORTS = {
    "on_holiday": Sort.AUTO_REPLY,
    "read_receipt": Sort.READ_RECEIPT,
    "complaint": Sort.COMPLAINT,
    "advertising": Sort.OTHER,
}


@pytest.mark.parametrize("name", SAID)
def test_formats(name: str) -> None:
    """Address, action, status, code, blame and words of each server's format are read, whatever its encoding."""
    (one,) = report(name).recipients
    address, action, status, code, blame, words = SAID[name]
    assert (one.address, one.action, one.status, one.code, one.blame) == (address, action, status, code, blame)
    assert words in one.words


@pytest.mark.parametrize("name", sorted({*SAID, "postfix_several_recipients"}))
def test_the_mail_is_found(name: str) -> None:
    """Each report tells which mail it is about: by its Message-ID, and by the address that it came back to."""
    found = report(name)
    assert found.message_ids == (MESSAGE_ID,)
    assert [(one.number, one.check) for one in found.bounced] == (
        [] if name == "without_the_mail" else [(42, "d67b48f9de")]
    )


def test_so_many_return_paths() -> None:
    """Of addresses that it may have come back to, a report bears ten at most; each costs the database something."""
    named = b"To: " + b" ".join(b"b+%d-0123456789@example.com" % number for number in range(1, 20)) + b"\n"
    found = read_report(named * 2 + (SAMPLES / "postfix_several_recipients.eml").read_bytes())
    assert isinstance(found, Report)
    assert [one.number for one in found.bounced] == [42, *range(1, 10)]


def test_several_recipients() -> None:
    """Each recipient of a report has their own outcome."""
    found = report("postfix_several_recipients")
    assert [(one.address.partition("@")[0], one.blame) for one in found.recipients] == [
        ("anna", Blame.HARD),
        ("brian", Blame.SOFT),
        ("clara", Blame.NONE),
    ]
    assert found.reporter == "mail.example.com"


def test_a_forwarded_mail() -> None:
    """Where a mail was forwarded, the report names whom it was written to as well."""
    (one,) = report("postfix_forwarded").recipients
    assert (one.address, one.original) == ("anna.private@mail.invalid", ANNA)


@pytest.mark.parametrize("name", SORTS)
def test_what_is_no_report(name: str) -> None:
    """Holiday notices, read receipts, complaints and advertising are told apart, whatever words they use."""
    assert read_report(sample(name)) is SORTS[name]


def test_a_report_that_says_nothing() -> None:
    """A report without its part with the status is the named error."""
    with pytest.raises(UnreadableMail, match="no part with the status"):
        read_report(sample("report_without_status"))


def test_every_sample_is_tested() -> None:
    """No sample lies about unread."""
    named = {*SAID, *SORTS, "postfix_several_recipients", "report_without_status"}
    assert {path.stem for path in SAMPLES.glob("*.eml")} == named


def test_line_ends_make_no_difference() -> None:
    """However lines end, the same report has the same key and content; another report has another key."""
    names = sorted({*SAID, "postfix_several_recipients"})
    for name in names:
        assert read_report(sample(name).replace(b"\r\n", b"\n")) == report(name)
    assert len({report(name).key for name in names}) == len(names)


def test_the_way_makes_no_difference() -> None:
    """A report that comes twice, by different ways, is one."""
    again = b"Received: from elsewhere\r\nDelivered-To: postmaster@example.com\r\n" + sample("postfix_unknown_user")
    found = read_report(again)
    assert isinstance(found, Report)
    assert found.key == report("postfix_unknown_user").key


# --- What a field may hold -------------------------------------------------------------------------------------------


def one(*fields: str) -> Report:
    """A report of one group of fields."""
    head = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
    text = "\n".join((head + "Content-Type: message/delivery-status\n", *fields, "--b--"))
    found = read_report(text.encode("utf-8", "surrogateescape"))
    assert isinstance(found, Report)
    return found


@pytest.mark.parametrize(
    ("action", "status", "means"),
    [
        ("failed", "5.1.1", Action.FAILED),
        ("FAILED", "5.1.1", Action.FAILED),
        ("failed (given up)", "4.4.7", Action.FAILED),
        ("delayed;", "4.4.7", Action.DELAYED),
        ("expanded", "2.0.0", Action.EXPANDED),
        ("", "4.4.7", Action.DELAYED),
        ("bounced", "5.1.1", Action.FAILED),
        ("", "2.1.5", Action.DELIVERED),
        ("", "", Action.FAILED),
    ],
)
def test_actions(action: str, status: str, means: Action) -> None:
    """An action that is missing or unknown is what the status says; a report that says nothing tells of a failure."""
    found = one("Final-Recipient: rfc822; a@b.example", f"Action: {action}", f"Status: {status}")
    assert found.recipients[0].action is means


@pytest.mark.parametrize(
    ("status", "words", "means"),
    [
        ("5.0.0", "smtp; 550 5.1.1 who?", "5.1.1"),
        ("5.0.0", "smtp; 550 #5.1.1 who?", "5.1.1"),
        ("5.0.0", "smtp; 550-5.2.1 who? 550 5.2.1 gone", "5.2.1"),
        ("5.0.0", "smtp; host 192.0.2.5.1.1 said nothing", "5.0.0"),
        ("5.0.0", "smtp; 550 who?", "5.0.0"),
        ("", "smtp; 554 5.7.1 no", "5.7.1"),
        ("5.2.2", "smtp; 550 5.1.1 who?", "5.2.2"),
    ],
)
def test_a_better_status(status: str, words: str, means: str) -> None:
    """Where the reporting server knows nothing better than "other", the refusing one's status counts."""
    found = one(
        "Final-Recipient: rfc822; a@b.example", "Action: failed", f"Status: {status}", f"Diagnostic-Code: {words}"
    )
    assert found.recipients[0].status == means


def test_nothing_dangerous_gets_out() -> None:
    """No control character of a server reaches a terminal, no NUL and no half character a database."""
    found = one(
        "Reporting-MTA: dns; a\0b\x1b[2J",
        "",
        "Final-Recipient: rfc822; a\x1bb@c.example",
        "Diagnostic-Code: smtp; 550 \x1b[31mred \u202ebackwards \x9b31m \udced\udca0\udc80",
    )
    check(found)
    assert found.recipients[0].words == "550 [31mred backwards 31m ���"


@pytest.mark.parametrize(
    "word", ["=?ż?q?a?=", "=?utf-99?q?a?=", "=?utf-8?b?////?=", "=?utf-16?b?AA==?=", "=?idna?q?=2E?="]
)
def test_broken_encoded_words(word: str) -> None:
    """An encoded word that cannot be decoded spoils nothing but itself."""
    (recipient,) = one("Final-Recipient: rfc822; a@b.example", f"Diagnostic-Code: smtp; 550 5.1.1 {word}").recipients
    assert (recipient.status, recipient.code) == ("5.1.1", 550)


def test_named_twice() -> None:
    """A recipient who is named twice has failed if either says so."""
    delivered = ("Final-Recipient: rfc822; A@b.example", "Action: delivered", "Status: 2.0.0", "")
    failed = ("Final-Recipient: rfc822; <a@B.example>", "Action: failed", "Status: 5.1.1", "")
    for groups in ((*delivered, *failed), (*failed, *delivered)):
        (recipient,) = one(*groups).recipients
        assert (recipient.address, recipient.action) == ("a@b.example", Action.FAILED)


# --- Blame -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detail", BY_DETAIL)
def test_the_table_of_blame(detail: str) -> None:
    """Each line of the table applies to what failed for good; what a server puts off is never hard."""
    blame, reason = BY_DETAIL[detail]
    assert reason
    assert blame_for(f"5.{detail}") is blame
    assert blame_for(f"4.{detail}") is (Blame.SOFT if blame is Blame.HARD else blame)


@given(st.integers(0, 999), st.integers(0, 999))
def test_only_the_table_makes_hard(subject: int, detail: int) -> None:
    """A status that nobody has listed never suppresses an address at once."""
    found = blame_for(f"5.{subject}.{detail}")
    listed = BY_DETAIL.get(f"{subject}.{detail}") or BY_SUBJECT.get(str(subject), (Blame.SOFT, ""))
    assert found is listed[0]
    assert found is not Blame.HARD or f"{subject}.{detail}" in BY_DETAIL


def test_no_status() -> None:
    """Without a status nobody is to blame for good."""
    assert blame_for("") is Blame.SOFT


# --- Hostile input ---------------------------------------------------------------------------------------------------


@given(st.binary(max_size=2000))
def test_any_bytes(raw: bytes) -> None:
    """Whatever bytes come, the answer is a sort, a report, or the one named error."""
    look(raw)


_FIELD = st.sampled_from(
    ["Final-Recipient", "Original-Recipient", "Action", "Status", "Diagnostic-Code", "Reporting-MTA"]
)
_BLOCKS = st.lists(st.tuples(_FIELD, st.text(max_size=60)) | st.just(("", "")), max_size=30)


@given(_BLOCKS)
def test_any_fields(fields: list[tuple[str, str]]) -> None:
    """Whatever the fields of a status hold, what is read of them is short and printable."""
    lines = [f"{name}: {value}" if name else "" for name, value in fields]
    check(one("Final-Recipient: rfc822; a@b.example", *lines))


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_broken_samples(seed: int) -> None:
    """Samples that are broken in every way end in a sort, a report, or the one named error."""
    for raw in inputs(seed, 20):
        look(raw)


@pytest.mark.parametrize(("depth", "means"), [(2, "report"), (4, "other"), (10_000, "other")])
def test_deep_nesting(depth: int, means: str) -> None:
    """Parts within parts are taken apart as deep as servers nest them; deeper ones are no recursion, and no error."""
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(depth))
    assert look(nested + sample("postfix_unknown_user")) == means
    assert look(b"Content-Type: message/rfc822\n\n" * depth + sample("postfix_unknown_user")) == "other"


def test_a_huge_mail() -> None:
    """Of 50 MB only the beginning is looked at, and little more memory than that is taken."""
    huge = sample("postfix_unknown_user") + b"x" * 50_000_000
    tracemalloc.start()
    found = read_report(huge)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Report)
    assert found.recipients == report("postfix_unknown_user").recipients
    assert peak < 20 * LARGEST


def test_very_many_recipients() -> None:
    """A report of very many recipients is cut off."""
    groups = [f"Final-Recipient: rfc822; a{number}@b.example\n" for number in range(3000)]
    assert len(one(*groups).recipients) == MOST_RECIPIENTS


def test_a_returned_mail_cannot_speak() -> None:
    """What stands in the mail that came back is no report, though it looks like one."""
    inner = sample("postfix_unknown_user").replace(b"4bQx2V3yGzA1.", b"inner.")
    outer = sample("postfix_delayed")
    at = outer.index(b"Content-Type: text/rfc822-headers")
    forged = outer[:at] + b"Content-Type: message/rfc822\r\n\r\n" + inner
    found = read_report(forged)
    assert isinstance(found, Report)
    assert [recipient.action for recipient in found.recipients] == [Action.DELAYED]
