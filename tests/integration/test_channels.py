"""The contract of a channel, over every channel that carries mail; and the bytes that they share."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.utils import parseaddr, parsedate_to_datetime

import pytest
from airflow.sdk import Connection
from hypothesis import given, settings
from hypothesis import strategies as st

from notify.channels import wire
from notify.channels.base import Channel
from notify.channels.memory import MemoryChannel
from notify.channels.smtp import SmtpChannel
from notify.domain.address import Address
from notify.domain.lease import Lease
from notify.domain.outcome import Verdict
from notify.domain.parcel import Addressee, Enclosure, Parcel
from notify.exceptions import LeaseLost, SenderFault
from tests.smtp_sink import Mischief, SmtpSink

ANNA, BOB, CYRIL = "anna@example.com", "bob@example.com", "cyril@example.org"
HEADERS = b"To: somebody@example.com\r\nSubject: Invoice 7\r\n"
TEXT = b'MIME-Version: 1.0\r\nContent-Type: text/plain; charset="utf-8"\r\n'


def parcel(*addresses: str, number: int = 1, body: bytes = b"Dear reader,\r\n", **rest: object) -> Parcel:
    """A plain parcel for some addresses."""
    message_id = f"<{number}.7f3a@notify.example.com>"
    return Parcel(
        id=number,
        message_id=message_id,
        addressees=tuple(Addressee(position, address) for position, address in enumerate(addresses)),
        headers=HEADERS + f"Message-ID: {message_id}\r\n".encode() + TEXT,
        body=body,
        **rest,  # type: ignore[arg-type]
    )


def enclosed(*enclosures: Enclosure, **rest: object) -> Parcel:
    """A parcel for Anna with attachments."""
    mixed = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary="=_0a1b2c"\r\n'
    return Parcel(
        id=1,
        message_id="<1@notify.example.com>",
        addressees=(Addressee(0, ANNA),),
        headers=HEADERS + mixed,
        body=b"Content-Type: text/plain\r\n\r\nSee the attachments.",
        enclosures=enclosures,
        boundary="=_0a1b2c",
        **rest,  # type: ignore[arg-type]
    )


def smtp(sink: SmtpSink, **extra: object) -> SmtpChannel:
    """A channel to a sink."""
    extras = {"disable_ssl": True, "disable_tls": True, "from_email": "notify@example.com", "timeout": 10}
    connection = Connection(
        conn_id="smtp_default",
        conn_type="smtp",
        host="127.0.0.1",
        port=sink.port,
        extra=json.dumps(extras | extra),
    )
    return SmtpChannel("smtp_default", connection)


@dataclass
class Rig:
    """A channel and the ways to make it fail; the contract is stated in these words."""

    make: Callable[..., Channel]
    refuse: Callable[[str, Verdict, int, str], None]
    lose_answer: Callable[[], None]
    lose_connection: Callable[[], None]
    fail_open: Callable[[], None]
    inbox: Callable[[], list[tuple[tuple[str, ...], bytes]]]

    def mail(self) -> EmailMessage:
        """The only message that arrived, taken apart."""
        [(_recipients, content)] = self.inbox()
        return message_from_bytes(content, policy=policy.default)


def memory_rig() -> Rig:
    channel = MemoryChannel()

    def make(reply_to: str | None = None) -> Channel:
        nonlocal channel
        channel = MemoryChannel(reply_to=reply_to)
        return channel

    def refuse(address: str, verdict: Verdict, code: int, text: str) -> None:
        channel.refuse(address, verdict, code, text)

    def lose_answer() -> None:
        channel.lose_next_answer()

    def lose_connection() -> None:
        channel.break_next()

    def fail_open() -> None:
        channel.fail_next_open("Nothing listens.", "Start it.")

    return Rig(
        make=make,
        refuse=refuse,
        lose_answer=lose_answer,
        lose_connection=lose_connection,
        fail_open=fail_open,
        inbox=lambda: [(mail.recipients, mail.raw) for mail in channel.outbox],
    )


def smtp_rig(sink: SmtpSink) -> Rig:
    def fail_open() -> None:
        sink.answer("CONNECT", b"554 5.3.2 no service\r\n", times=1)

    return Rig(
        make=lambda reply_to=None: smtp(sink, reply_to=reply_to),
        refuse=lambda address, _verdict, code, text: sink.answer("RCPT", f"{code} {text}", address=address),
        lose_answer=lambda: sink.answer("END", Mischief.HANG_UP, times=1),
        lose_connection=lambda: sink.answer("MAIL", Mischief.RESET, times=1),
        fail_open=fail_open,
        inbox=lambda: [(mail.rcpts, mail.content) for mail in sink.taken],
    )


@pytest.fixture(params=["memory", "smtp"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "memory":
        yield memory_rig()
        return
    with SmtpSink() as sink:
        yield smtp_rig(sink)
        assert sink.wait_closed(), "a connection was left open"


# --- the contract -------------------------------------------------------------------------------------------


def test_accepted(rig: Rig) -> None:
    """A message that the server takes is accepted for everybody, and arrives once."""
    with rig.make().open() as session:
        outcome = session.send(parcel(ANNA, BOB))
        assert session.alive
    assert [one.verdict for one in outcome.recipients] == [Verdict.ACCEPTED] * 2
    assert [one.position for one in outcome.recipients] == [0, 1]
    assert outcome.decisive.code == 250
    assert [recipients for recipients, _ in rig.inbox()] == [(ANNA, BOB)]


def test_one_of_several_refused(rig: Rig) -> None:
    """A refused recipient does not stop the others, and is told apart with the server's words."""
    channel = rig.make()
    rig.refuse(BOB, Verdict.PERMANENT, 550, "5.1.1 no such mailbox")
    with channel.open() as session:
        outcome = session.send(parcel(ANNA, BOB, CYRIL))
    [refused] = outcome.of(Verdict.PERMANENT)
    assert (refused.position, refused.code, refused.text) == (1, 550, "5.1.1 no such mailbox")
    assert [one.position for one in outcome.of(Verdict.ACCEPTED)] == [0, 2]
    assert [recipients for recipients, _ in rig.inbox()] == [(ANNA, CYRIL)]


def test_all_refused(rig: Rig) -> None:
    """A message that nobody may have is not handed over, and the session serves the next message."""
    channel = rig.make()
    rig.refuse(BOB, Verdict.PERMANENT, 550, "5.1.1 no such mailbox")
    with channel.open() as session:
        assert session.send(parcel(BOB)).verdict is Verdict.PERMANENT
        assert rig.inbox() == []
        assert session.alive
        assert session.send(parcel(ANNA, number=2)).verdict is Verdict.ACCEPTED


def test_temporary(rig: Rig) -> None:
    """A refusal for now is temporary, and the session serves the next message."""
    channel = rig.make()
    rig.refuse(BOB, Verdict.TEMPORARY, 450, "4.2.1 mailbox busy")
    with channel.open() as session:
        outcome = session.send(parcel(ANNA, BOB))
        assert session.send(parcel(ANNA, number=2)).verdict is Verdict.ACCEPTED
    assert outcome.verdict is Verdict.TEMPORARY
    assert (outcome.decisive.position, outcome.decisive.code) == (1, 450)


def test_lost_answer(rig: Rig) -> None:
    """Everything handed over and no answer: what RCPT accepted is in doubt, and the session is dead."""
    channel = rig.make()
    rig.refuse(BOB, Verdict.PERMANENT, 550, "5.1.1 no such mailbox")
    rig.lose_answer()
    with channel.open() as session:
        outcome = session.send(parcel(ANNA, BOB))
        assert not session.alive
    assert [one.verdict for one in outcome.recipients] == [Verdict.IN_DOUBT, Verdict.PERMANENT]
    assert outcome.decisive.code is None
    assert outcome.decisive.text


def test_lost_connection(rig: Rig) -> None:
    """A connection lost before the message is the sender's trouble; the next session sends it."""
    channel = rig.make()
    rig.lose_connection()
    with channel.open() as session:
        with pytest.raises(SenderFault) as caught:
            session.send(parcel(ANNA))
        assert not session.alive
        assert rig.inbox() == []
    assert caught.value.cause
    assert caught.value.remedy
    with channel.open() as session:
        assert session.send(parcel(ANNA)).verdict is Verdict.ACCEPTED


def test_dead_session(rig: Rig) -> None:
    """A dead or closed session sends nothing and says so as the sender's trouble."""
    session = rig.make().open()
    session.close()
    assert not session.alive
    with pytest.raises(SenderFault):
        session.send(parcel(ANNA))
    assert rig.inbox() == []


@pytest.mark.parametrize("cautious", [False, True])
def test_lease_over(rig: Rig, cautious: bool) -> None:
    """Nothing is handed over once the run's lease is over, and the session is dead; while it holds, it is sent."""
    lease = Lease(timedelta(minutes=2))
    with rig.make().open() as session:
        with pytest.raises(LeaseLost):
            session.send(parcel(ANNA, lease=lease, cautious=cautious))
        assert not session.alive
        assert rig.inbox() == []
    lease.renew(lease.now())
    with rig.make().open() as session:
        assert session.send(parcel(ANNA, lease=lease, cautious=cautious)).verdict is Verdict.ACCEPTED


def test_open_failure(rig: Rig) -> None:
    """A server that does not let us in is a sender's fault with cause and remedy; the next may succeed."""
    channel = rig.make()
    rig.fail_open()
    with pytest.raises(SenderFault) as caught:
        channel.open()
    assert caught.value.cause
    assert caught.value.remedy
    channel.open().close()


def test_enclosures(rig: Rig) -> None:
    """Attachments arrive byte for byte, in order, under their names."""
    enclosures = [
        Enclosure("report.pdf", "application/pdf", bytes(range(256)) * 300),
        Enclosure("zażółć gęślą — jaźń; a \"quoted\" 'name'.txt", "text/plain", b"\r\n.\r\n..\nFrom here\r"),
        Enclosure("długa nazwa " * 15 + ".bin", "application/octet-stream", b""),
        Enclosure("forwarded.eml", "message/rfc822", b"Subject: x\r\n\r\ny"),
    ]
    with rig.make().open() as session:
        assert session.send(enclosed(*enclosures)).verdict is Verdict.ACCEPTED
    mail = rig.mail()
    assert mail.get_body().get_content() == "See the attachments."  # type: ignore[union-attr]
    arrived = [(part.get_filename(), part.get_payload(decode=True)) for part in mail.iter_attachments()]
    assert arrived == [(one.filename, one.content) for one in enclosures]
    types = [part.get_content_type() for part in mail.iter_attachments()]
    assert types == ["application/pdf", "text/plain", "application/octet-stream", "application/octet-stream"]
    assert not mail.defects


def test_headers(rig: Rig) -> None:
    """The headers of the hand-over arrive unchanged, Message-ID above all; From and Date are added."""
    with rig.make().open() as session:
        session.send(parcel(ANNA))
    mail = rig.mail()
    assert mail.get_all("Message-ID") == ["<1.7f3a@notify.example.com>"]
    assert mail.get_all("Subject") == ["Invoice 7"]
    assert mail.get_all("From") == ["notify@example.com"]
    assert mail.get_all("Reply-To") is None
    assert mail.get_all("List-Unsubscribe") is None
    [date] = mail.get_all("Date", [])
    assert abs(datetime.now(UTC) - parsedate_to_datetime(date)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("own", "senders", "expected"),
    [
        ("clerk@example.com", "office@example.com", "clerk@example.com"),
        (None, "office@example.com", "office@example.com"),
        ("clerk@example.com", None, "clerk@example.com"),
        ('"Żaneta, Clerk" <clerk@example.com>', None, "clerk@example.com"),
    ],
)
def test_reply_to(rig: Rig, own: str | None, senders: str | None, expected: str) -> None:
    """Answers go where the message says, else where the sender says; bulk mail is unsubscribed there too."""
    with rig.make(reply_to=senders).open() as session:
        session.send(parcel(ANNA, reply_to=own, bulk=True))
    mail = rig.mail()
    header = mail["Reply-To"]
    assert isinstance(header, AddressHeader)
    assert [address.addr_spec for address in header.addresses] == [expected]
    assert mail["List-Unsubscribe"] == f"<mailto:{expected}?subject=unsubscribe>"


@pytest.mark.parametrize("reply_to", ["x@example.com\r\nBcc: victim@example.com", "nobody", "a@b.com, c@d.com"])
def test_bad_reply_to(rig: Rig, reply_to: str) -> None:
    """A Reply-To that is no address fails its message for good and writes no headers; the session goes on."""
    with rig.make().open() as session:
        assert session.send(parcel(ANNA, reply_to=reply_to)).verdict is Verdict.PERMANENT
        assert rig.inbox() == []
        assert session.send(parcel(ANNA, number=2)).verdict is Verdict.ACCEPTED


def test_two_sessions_at_once(rig: Rig) -> None:
    """Two sessions of one channel send at the same time and lose nothing."""
    channel = rig.make()
    together = threading.Barrier(2)

    def send(first: int) -> list[Verdict]:
        with channel.open() as session:
            together.wait(10)
            return [session.send(parcel(ANNA, number=first + one)).verdict for one in range(25)]

    with ThreadPoolExecutor(2) as pool:
        verdicts = [verdict for part in pool.map(send, (100, 200)) for verdict in part]
    assert set(verdicts) == {Verdict.ACCEPTED}
    ids = {message_from_bytes(content)["Message-ID"] for _, content in rig.inbox()}
    assert len(ids) == len(rig.inbox()) == 50


def test_closing_twice(rig: Rig) -> None:
    """Closing twice is harmless, as is closing after a loss."""
    channel = rig.make()
    session = channel.open()
    session.close()
    session.close()
    rig.lose_answer()
    with channel.open() as lost:
        lost.send(parcel(ANNA))
        lost.close()


# --- the fake's own words -----------------------------------------------------------------------------------


def test_memory_accessors() -> None:
    """The fake shows a mail as its reader sees it."""
    channel = MemoryChannel("Żaneta <notify@example.com>")
    with channel.open() as session:
        session.send(enclosed(Enclosure("a.pdf", "application/pdf", b"%PDF")))
    [mail] = channel.outbox
    assert (mail.subject, mail.to) == ("Invoice 7", ["somebody@example.com"])
    assert (mail.text, mail.html) == ("See the attachments.", "")
    assert mail.attachments == [Enclosure("a.pdf", "application/pdf", b"%PDF")]
    assert mail.parsed["From"] == "Żaneta <notify@example.com>"


def test_memory_refusals_run_out() -> None:
    """A refusal with a number ends by itself; one without is taken back by accept()."""
    channel = MemoryChannel()
    channel.refuse(ANNA, Verdict.TEMPORARY, 450, "4.2.1 busy", times=1)
    channel.refuse(BOB, Verdict.PERMANENT, 550, "5.1.1 no")
    channel.accept(BOB)
    with channel.open() as session:
        verdicts = [session.send(parcel(ANNA, BOB)).verdict for _ in range(2)]
    assert verdicts == [Verdict.TEMPORARY, Verdict.ACCEPTED]


def test_memory_answer_lost_untaken() -> None:
    """A lost answer can also mean that the message did not arrive."""
    channel = MemoryChannel()
    channel.lose_next_answer(taken=False)
    with channel.open() as session:
        assert session.send(parcel(ANNA)).verdict is Verdict.IN_DOUBT
    assert channel.outbox == []


def test_memory_doubt_is_no_refusal() -> None:
    """A test that asks for a doubtful refusal is told what to use instead."""
    with pytest.raises(ValueError, match="lose_next_answer"):
        MemoryChannel().refuse(ANNA, Verdict.IN_DOUBT, 250, "")


# --- the bytes ----------------------------------------------------------------------------------------------

_LINES = st.lists(st.binary(max_size=40) | st.sampled_from([b".", b"..", b".\r", b"\r.\r", b""]), max_size=12)


def unstuffed(written: bytes) -> bytes:
    """What a server makes of content (RFC 5321, 4.5.2), independently of how it was written."""
    kept = []
    for line in written.split(b"\r\n"):
        if line == b".":
            break
        kept.append(line.removeprefix(b"."))
    return b"".join(line + b"\r\n" for line in kept)


@settings(deadline=None)
@given(lines=_LINES, end=st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_wire_round_trip(lines: list[bytes], end: bytes) -> None:
    """Whatever the lines hold, a server reads the same lines, and nothing but the last line ends the message."""
    content = end.join(lines)
    written = wire.on_wire(content)
    normal = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    expected = normal if normal.endswith(b"\r\n") or not normal else normal + b"\r\n"
    assert unstuffed(written) == expected
    assert written.endswith(b".\r\n")
    assert written.count(b"\r\n.\r\n") == (0 if not content else 1)
    assert written.count(b"\r") == written.count(b"\n") == written.count(b"\r\n")


@settings(deadline=None)
@given(
    contents=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    first=st.text("ab.-=\r\n", max_size=40),
)
def test_assembly_round_trip(contents: list[bytes], first: str) -> None:
    """Assembled attachments parse back to the same bytes, and the first part keeps its own."""
    text = first.encode().replace(b"\r", b"").replace(b"\n", b"\r\n")
    made = enclosed(*(Enclosure("a.bin", "application/x-a", content) for content in contents))
    body = b"Content-Type: text/plain\r\n\r\n" + text
    whole = wire.assemble(
        Parcel(**{name: getattr(made, name) for name in made.__slots__} | {"body": body}),
        b"From: a@b.com\r\n",
    )
    parts = list(message_from_bytes(whole, policy=policy.default).iter_parts())
    assert [part.get_payload(decode=True) for part in parts[1:]] == contents
    assert parts[0].get_payload(decode=True) == text


@settings(deadline=None)
@given(name=st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=120))
def test_names_round_trip(name: str) -> None:
    """A display name in any alphabet is folded within bounds and reads back as it was."""
    line = wire.mailbox_line("From", Address("notify@example.com", name))
    assert line.isascii()
    assert all(len(part) <= 78 for part in line.split("\r\n"))
    # Not by policy.default: CPython 3.11 puts a space between two encoded words of one name (2026-11).
    shown, mailbox = parseaddr(line.removeprefix("From: ").replace("\r\n", ""))
    read = "".join(
        part.decode(charset or "ascii") if isinstance(part, bytes) else part for part, charset in decode_header(shown)
    )
    assert (read, mailbox) == (name, "notify@example.com")


@pytest.mark.parametrize("name", ["a\r\nBcc: x@example.com", "a\nb", "a\x00b", "a\u2028b"])
def test_names_cannot_inject(name: str) -> None:
    """A display name with a line break is refused where it would become a header."""
    with pytest.raises(ValueError, match="line break"):
        wire.mailbox_line("From", Address("notify@example.com", name))


@settings(deadline=None)
@given(name=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=100))
def test_filenames_cannot_inject(name: str) -> None:
    """A file name with anything in it stays one parameter of one header."""
    part = wire.enclosure_part(Enclosure(name, "application/pdf", b"x"))
    parsed = message_from_bytes(part, policy=policy.default)
    assert parsed.keys() == ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]
    assert all(len(line) <= 78 for line in part.split(b"\r\n"))


def test_media_types_cannot_inject() -> None:
    """A media type that is none becomes the one that promises nothing."""
    part = wire.enclosure_part(Enclosure("a", "text/html\r\nX-Evil: 1", b"x"))
    assert part.startswith(b"Content-Type: application/octet-stream\r\n")


def test_enclosures_need_a_boundary() -> None:
    """A parcel whose attachments would silently stay behind cannot be made."""
    with pytest.raises(ValueError, match="boundary"):
        parcel(ANNA, enclosures=(Enclosure("a", "a/b", b""),))
