"""Servers that fail: too many recipients, single bytes, half-closed connections, encryption that breaks off.

What each of them means for a run is in ``test_server_faults.py``; the table for operators is in ``docs/faults.md``.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from notify.channels import smtp_session
from notify.channels.dialogue import NotSmtpError, Replies
from notify.channels.smtp_session import SmtpSession
from notify.domain.lease import Lease
from notify.domain.outcome import Outcome, Verdict
from notify.exceptions import SenderFault
from tests.smtp_client import ANNA, BOB, PASSWORD, channel, fault_of, parcel, send
from tests.smtp_raw import Peer, raw_server
from tests.smtp_sink import Certificate, Mischief, SmtpSink

READERS = tuple(f"reader{number}@example.com" for number in range(10))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """The workers trust the server's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    return certificate


def verdicts(outcome: Outcome) -> list[Verdict]:
    return [one.verdict for one in outcome.recipients]


# --- recipients too many for one transaction (RFC 5321, 4.5.3.1.10) ----------------------------------------------


@contextmanager
def small_server(**options: object) -> Iterator[SmtpSink]:
    with SmtpSink(most_rcpts=3, **options) as sink:  # type: ignore[arg-type]
        yield sink
        sink.behave()
        assert sink.wait_closed(), "a connection was left open"


def shares(sink: SmtpSink) -> list[int]:
    """How many recipients each transaction had."""
    return [len(mail.rcpts) for mail in sink.taken]


@pytest.mark.parametrize("hide", [[], ["PIPELINING"]], ids=["in groups", "one by one"])
@pytest.mark.parametrize(
    "too_many",
    [
        "452 4.5.3 too many recipients",
        "452 too many",
        "552 too many",
        "552 5.5.3 too many",
    ],
)
def test_too_many_recipients(hide: list[str], too_many: str) -> None:
    """Recipients too many for one transaction get the message in further ones, of the same session, once each."""
    with small_server(hide=hide, too_many=too_many) as sink, channel(sink.port).open() as session:
        outcome = session.send(parcel(*READERS))
        assert verdicts(outcome) == [Verdict.ACCEPTED] * 10
        assert shares(sink) == [3, 3, 3, 1]
        assert sorted(rcpt for mail in sink.taken for rcpt in mail.rcpts) == sorted(READERS)
        assert len({mail.parsed["Message-ID"] for mail in sink.taken}) == sink.sessions == 1
        asked = [command for command in sink.commands if command.startswith("RCPT")]
        assert len(asked) == 10 + 7  # once told, the bound is kept


def test_too_many_recipients_in_one_write() -> None:
    """The same where content goes with its envelope."""
    with small_server() as sink, channel(sink.port).open() as session:
        for number in (1, 2, 3):
            session.send(parcel(number=number))
        assert verdicts(session.send(parcel(*READERS))) == [Verdict.ACCEPTED] * 10
        assert shares(sink)[3:] == [3, 3, 3, 1]
        assert sink.commands[-1].startswith("BDAT")


class RunningOut(Lease):
    """A lease that holds once."""

    @property
    def holds(self) -> bool:
        """Whether it is asked for the first time."""
        asked, self.asked = getattr(self, "asked", False), True
        return not asked


def test_too_many_recipients_and_no_time() -> None:
    """Where the lease is over between two transactions, who has the mail is known, and the others get it later."""
    with small_server() as sink, channel(sink.port).open() as session:
        outcome = session.send(replace(parcel(*READERS), lease=RunningOut(timedelta(minutes=2))))
        assert verdicts(outcome) == [Verdict.ACCEPTED] * 3 + [Verdict.TEMPORARY] * 7
        assert shares(sink) == [3]
        assert not session.alive


@pytest.mark.parametrize(
    ("verb", "answer"), [("RCPT", "421 4.7.0 <Anna@example.com>: too many"), ("RCPT", "530 5.7.0 anna@example.com")]
)
def test_no_address_in_a_fault(verb: str, answer: str) -> None:
    """What a server says of a recipient is not told of the sender: that goes into logs, where nobody can erase it."""
    with SmtpSink() as sink, channel(sink.port).open() as session:
        sink.answer(verb, answer)
        with pytest.raises(SenderFault) as caught:
            session.send(parcel(ANNA))
        assert answer.split()[1] in str(caught.value)
        assert "anna" not in str(caught.value).lower()


@pytest.mark.parametrize("answer", ["452 4.2.2 mailbox full", "452 4.3.1 disk full"])
def test_not_too_many(answer: str) -> None:
    """Where the server says that it is something else, there is no further transaction."""
    with SmtpSink() as sink, channel(sink.port).open() as session:
        sink.answer("RCPT", answer, address=BOB)
        assert verdicts(session.send(parcel(ANNA, BOB))) == [Verdict.ACCEPTED, Verdict.TEMPORARY]
        assert shares(sink) == [1]
        assert len([command for command in sink.commands if command.startswith("RCPT")]) == 2


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("452 too many", Verdict.TEMPORARY),
        ("552 5.2.2 mailbox full", Verdict.PERMANENT),
        ("552 too many", Verdict.PERMANENT),
    ],
)
def test_too_many_though_alone(answer: str, verdict: Verdict) -> None:
    """A recipient that is one too many by itself is refused as the code says, and not asked for ever."""
    with SmtpSink() as sink, channel(sink.port).open() as session:
        sink.answer("RCPT", answer)
        outcome = session.send(parcel(ANNA, BOB))
        assert verdicts(outcome) == [verdict] * 2
        assert f"{outcome.decisive.code} {outcome.decisive.text}" == answer
        assert len([command for command in sink.commands if command.startswith("RCPT")]) == 2


@pytest.mark.parametrize(
    ("stage", "answer", "verdict"),
    [
        ("MAIL", Mischief.RESET, Verdict.TEMPORARY),
        ("MAIL", "421 4.7.0 too many messages", Verdict.TEMPORARY),
        ("MAIL", "450 4.7.1 too much mail", Verdict.TEMPORARY),
        ("RCPT", Mischief.HANG_UP, Verdict.TEMPORARY),
        ("DATA", "451 4.3.0 later", Verdict.TEMPORARY),
        ("END", "451 4.3.0 later", Verdict.TEMPORARY),
        ("END", Mischief.RESET, Verdict.IN_DOUBT),
    ],
)
def test_further_transaction_fails(stage: str, answer: str | Mischief, verdict: Verdict) -> None:
    """Who has the message keeps it, whatever becomes of the others: they alone are tried again."""
    with small_server() as sink, channel(sink.port).open() as session:
        sink.answer(stage, answer, skip=6 if stage == "RCPT" else 1)
        outcome = session.send(parcel(*READERS[:6]))
        assert verdicts(outcome) == [Verdict.ACCEPTED] * 3 + [verdict] * 3
        assert all(one.text for one in outcome.recipients)


def test_content_refused_for_the_first() -> None:
    """Where the first recipients' content was refused for now, the others are not tried, and wait as well."""
    with small_server(too_many="552 too many") as sink, channel(sink.port).open() as session:
        sink.answer("END", "451 4.3.0 later")
        outcome = session.send(parcel(*READERS[:4]))
        assert verdicts(outcome) == [Verdict.TEMPORARY] * 4
        assert outcome.recipients[3].code == 552
        assert len(sink.received) == 1


# --- offers that are not kept ------------------------------------------------------------------------------------


def test_parameter_not_known() -> None:
    """A server that offers 8BITMIME and does not know it fails the messages that need it, and no others."""
    with SmtpSink() as sink, channel(sink.port).open() as session:
        sink.answer("MAIL", "555 5.5.4 parameter not known: BODY", times=1)
        outcome = session.send(parcel(body="Vážený pane,\r\n".encode()))
        assert (outcome.verdict, outcome.decisive.code) == (Verdict.PERMANENT, 555)
        assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED
        sink.answer("MAIL", "555 5.5.4 parameter not known: SIZE")
        assert "555" in fault_of(lambda: session.send(parcel(number=3))).cause


def test_no_ehlo() -> None:
    """A server that knows no EHLO is greeted by HELO, and offers nothing."""
    with SmtpSink() as sink:
        sink.answer("EHLO", "502 5.5.1 not implemented")
        assert send(sink.port).verdict is Verdict.ACCEPTED
        assert sink.taken[0].options == ()


# --- silence and single bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "STARTTLS", "AUTH"])
def test_silence_before_we_are_in(trusted: Certificate, stage: str) -> None:
    """A server that falls silent while we come in is told as such, after one timeout."""
    with SmtpSink(users={"clerk": PASSWORD}, certificate=trusted) as sink:
        sink.answer(stage, Mischief.STALL)
        fault = fault_of(channel(sink.port, login="clerk", disable_tls=False, timeout=1).open)
        assert "within 1 s" in fault.cause
        assert sink.sessions == 1
        sink.behave()
        assert sink.wait_closed()


def slow_server(stage: str) -> Callable[[Peer], None]:
    """A server that gives one answer byte by byte: four a second, for longer than anybody waits."""
    long = f"{'very ' * 8}slow"

    def answer(peer: Peer, now: str, line: str) -> None:
        if now != stage:
            peer.say(line)
            return
        peer.dribble(f"{line} {long}", 0.25)
        raise ConnectionAbortedError

    def play(peer: Peer) -> None:
        answer(peer, "CONNECT", "220 hello")
        peer.expect("EHLO")
        answer(peer, "EHLO", "250 raw.example.com")
        for verb, line in {"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on"}.items():
            peer.expect(verb)
            answer(peer, verb, line)
        peer.content()
        answer(peer, "END", "250 2.0.0 taken")
        peer.line()

    return play


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO"])
def test_single_bytes_before_we_are_in(stage: str) -> None:
    """A byte before each timeout does not stretch it: the whole answer must be there in time."""
    with raw_server(slow_server(stage)) as port:
        assert "within 1 s" in fault_of(channel(port, timeout=1, retry_limit=0).open).cause


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_single_bytes_before_the_content(stage: str) -> None:
    """The same for the commands of a transaction: the message was not taken."""
    with raw_server(slow_server(stage)) as port, channel(port, timeout=1).open() as session:
        fault = fault_of(lambda: session.send(parcel()))
        assert stage in fault.cause
        assert "timed out" in fault.cause


def test_single_bytes_of_the_final_answer() -> None:
    """The same for the final answer: the message is in doubt."""
    with raw_server(slow_server("END")) as port:
        assert send(port, timeout=1).verdict is Verdict.IN_DOUBT


def test_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that reads too slowly is left before the end of the content: it was surely not taken."""
    monkeypatch.setattr(smtp_session, "_LONGEST_CONTENT", 0.5)

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.expect("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "354 go on")
        while not peer.closing.wait(0.1) and peer.socket.recv(65536):
            pass

    with raw_server(play, small=True) as port, channel(port, timeout=10).open() as session:
        session._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        outcome = session.send(parcel(body=b"0123456789\r\n" * 100_000))
        assert not session.alive
    assert outcome.verdict is Verdict.TEMPORARY
    assert "longer than" in outcome.decisive.text


@pytest.mark.parametrize("said", [b"250-more\r\n" * 20_000, b"250 " + b"x" * 200_000, b"250-" + b"\r\n250-" * 50_000])
def test_replies_have_an_end(said: bytes) -> None:
    """However much a server says, no more of it is kept than a reply may have."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.setblocking(False)
        theirs.send(said)  # as much of it as fits
        with pytest.raises(NotSmtpError, match="without an end"):
            Replies(5).read(ours)


# --- half-closed connections ---------------------------------------------------------------------------------------


def half_closing(stage: str, how: int) -> Callable[[Peer], None]:
    """A server that closes one direction at some stage, and goes on with the other."""

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING")
        if stage == "idle":
            peer.socket.shutdown(how)
        peer.expect("MAIL", "RCPT", "DATA")
        if stage == "envelope":
            peer.socket.shutdown(how)
        peer.say("250 ok", "250 ok", "354 go on")
        peer.content()
        if stage == "content":
            peer.socket.shutdown(how)
            peer.wait()
        peer.say("250 2.0.0 taken")

    return play


@pytest.mark.parametrize("stage", ["idle", "envelope"])
def test_server_says_no_more(stage: str) -> None:
    """A server that has closed its side before it asked for the content has not taken it."""
    with raw_server(half_closing(stage, socket.SHUT_WR)) as port, channel(port, timeout=5).open() as session:
        assert "closed the connection" in fault_of(lambda: session.send(parcel())).cause


def test_server_says_no_more_after_the_content() -> None:
    """A server that has closed its side after the content may have taken it."""
    with raw_server(half_closing("content", socket.SHUT_WR)) as port:
        assert send(port, timeout=5).verdict is Verdict.IN_DOUBT


def test_server_hears_no_more() -> None:
    """A server that reads nothing any more, and says so to nobody, costs one timeout; nothing was taken."""

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.socket.shutdown(socket.SHUT_RD)
        peer.wait()

    with raw_server(play) as port, channel(port, timeout=1).open() as session:
        fault_of(lambda: session.send(parcel()))


# --- encryption that breaks off --------------------------------------------------------------------------------------

Break = Callable[[Peer], None]
BREAKS = pytest.mark.parametrize("way", [Peer.garbage, Peer.cut, Peer.reset], ids=["garbage", "cut", "reset"])


def breaking(certificate: Certificate, stage: str, way: Break) -> Callable[[Peer], None]:
    """A server whose encryption breaks at some stage."""

    def play(peer: Peer) -> None:
        peer.encrypt(certificate.context())
        peer.greet("PIPELINING")
        peer.expect("MAIL", "RCPT", "DATA")
        if stage == "envelope":
            way(peer)
            return
        peer.say("250 ok", "250 ok", "354 go on")
        if stage == "content":
            peer.take(100_000)
            way(peer)
            return
        peer.content()
        way(peer)

    return play


@contextmanager
def over_tls(certificate: Certificate, stage: str, way: Break) -> Iterator[SmtpSession]:
    with (
        raw_server(breaking(certificate, stage, way)) as port,
        channel(port, timeout=5, disable_ssl=False).open() as session,
    ):
        yield session
        assert not session.alive


@BREAKS
def test_encryption_breaks_before_the_content(trusted: Certificate, way: Break) -> None:
    """Encryption that breaks at the envelope loses the session, and the message was not taken."""
    with over_tls(trusted, "envelope", way) as session:
        fault_of(lambda: session.send(parcel()))


@BREAKS
def test_encryption_breaks_within_the_content(trusted: Certificate, way: Break) -> None:
    """Encryption that breaks within the content is a temporary failure: its end was not handed over."""
    with over_tls(trusted, "content", way) as session:
        outcome = session.send(parcel(body=b"0123456789\r\n" * 2_000_000))
    assert outcome.verdict is Verdict.TEMPORARY


@BREAKS
def test_encryption_breaks_before_the_final_answer(trusted: Certificate, way: Break) -> None:
    """Encryption that breaks after the content leaves it in doubt."""
    with over_tls(trusted, "end", way) as session:
        assert session.send(parcel()).verdict is Verdict.IN_DOUBT


@BREAKS
def test_encryption_does_not_begin(trusted: Certificate, way: Break) -> None:
    """A server that agrees to STARTTLS and breaks off is the sender's fault, and is sent nothing in the clear."""
    after: list[str] = []

    def play(peer: Peer) -> None:
        peer.greet("STARTTLS")
        peer.expect("STARTTLS")
        peer.say("220 go on")
        way(peer)
        if way is Peer.garbage:
            after.append(peer.socket.recv(5)[:1].hex())

    with raw_server(play) as port:
        fault_of(channel(port, timeout=5, disable_tls=False, retry_limit=0).open)
    assert after in ([], ["16"])  # a handshake, or nothing


def test_words_before_the_encryption_do_not_count(trusted: Certificate) -> None:
    """What anybody may have slipped in behind the answer to STARTTLS is not taken for an answer of the server's."""

    def play(peer: Peer) -> None:
        peer.greet("STARTTLS")
        peer.expect("STARTTLS")
        peer.socket.sendall(b"220 go on\r\n250-evil.example.com\r\n250 CHUNKING\r\n")
        peer.encrypt(trusted.context())
        peer.expect("EHLO")
        peer.say("250-raw.example.com", "250 8BITMIME")
        for verb, line in {"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on"}.items():
            peer.expect(verb)
            peer.say(line)
        peer.content()
        peer.say("250 2.0.0 taken")
        peer.line()

    with raw_server(play) as port, channel(port, timeout=5, disable_tls=False).open() as session:
        assert session.send(parcel()).decisive.text == "2.0.0 taken"
        assert session._offers.eight_bit
        assert not session._offers.chunking


def test_certificate_of_nobody(certificate: Certificate) -> None:
    """A certificate that nobody vouches for ends in a named fault, whatever the handshake leaves behind."""

    def play(peer: Peer) -> None:
        with pytest.raises(ssl.SSLError):
            peer.encrypt(certificate.context())

    with raw_server(play) as port:
        assert "certificate" in fault_of(channel(port, timeout=5, disable_ssl=False).open).cause
