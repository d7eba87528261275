"""Commands in groups, content with its envelope; servers that offer that and do not do it; and what is in doubt."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from notify.channels import smtp_session
from notify.channels.smtp_session import SmtpSession
from notify.domain.lease import Lease
from notify.domain.outcome import Outcome, Verdict
from notify.domain.parcel import Parcel
from notify.exceptions import LeaseLost
from tests.smtp_client import ANNA, BOB, channel, fault_of, parcel, send
from tests.smtp_raw import Peer, raw_server
from tests.smtp_sink import Certificate, Lie, SmtpSink

BOTH = ("PIPELINING", "CHUNKING")
EVIL = b"RSET\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\n\r\nevil\r\n.\r\n"


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running
        running.behave()
        assert running.wait_closed(), "a connection was left open"


def verdicts(outcome: Outcome) -> list[Verdict]:
    return [one.verdict for one in outcome.recipients]


def verbs(sink: SmtpSink) -> list[str]:
    return [command.split()[0] for command in sink.commands]


def warmed_up(port: int, **extra: object) -> SmtpSession:
    """A session that has sent as many messages as it takes before content may go with its envelope."""
    session = channel(port, **extra).open()
    for number in (901, 902):
        assert session.send(parcel(number=number)).verdict is Verdict.ACCEPTED
    return session


# --- round trips -----------------------------------------------------------------------------------------------


def test_two_round_trips() -> None:
    """A server that answers the envelope only once it has all of it gets all of it."""

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.expect("MAIL", "RCPT", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "250 ok", "354 go on")
        peer.content()
        peer.say("250 2.0.0 taken")
        peer.line()

    with raw_server(play) as port, channel(port, timeout=10).open() as session:
        assert verdicts(session.send(parcel(ANNA, BOB))) == [Verdict.ACCEPTED] * 2


def test_one_round_trip() -> None:
    """A server that knows chunks, and answers only once it has the content too, gets it all in one write."""
    arrived: list[bytes] = []

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        peer.prove()
        for _ in range(2):
            peer.expect("MAIL", "RCPT", "RCPT")
            arrived.append(peer.chunk())
            peer.say("250 ok", "250 ok", "250 ok", "250 2.0.0 taken")
        peer.line()

    with raw_server(play) as port, warmed_up(port, timeout=10) as session:
        for number in (1, 2):
            outcome = session.send(parcel(ANNA, BOB, number=number))
            assert verdicts(outcome) == [Verdict.ACCEPTED] * 2
            assert outcome.decisive.text == "2.0.0 taken"
    assert [b"Message-ID: <%d." % number in content for number, content in enumerate(arrived, 1)] == [True, True]


def test_chunk_is_the_content(sink: SmtpSink) -> None:
    """A chunk arrives byte for byte, of the size that MAIL announced; no dot is doubled, no bare line end passes."""
    body = b".\r\n..\r\n.hidden\r\n\n.\nMAIL FROM:<evil@example.com>\r\n\r.\rtext"
    with warmed_up(sink.port) as session:
        assert session.send(parcel(body=body)).verdict is Verdict.ACCEPTED
    mail = sink.received[-1]
    assert verbs(sink)[-2:] == ["BDAT", "QUIT"]
    normal = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    assert mail.content.partition(b"\r\n\r\n")[2] == normal
    assert f"SIZE={len(mail.content)}" in mail.options


@pytest.mark.parametrize(
    ("message", "extra"),
    [
        (parcel(cautious=True), {}),
        (parcel(body=b"0123456789\r\n" * 6000), {}),
        (parcel(*(f"reader{number}@example.com" for number in range(300))), {}),
        (parcel(), {"pipelining": False}),
        (parcel(), {"pipelining": "false"}),
    ],
    ids=["at most once", "long", "many recipients", "switched off", "switched off in a URI"],
)
def test_content_by_itself(sink: SmtpSink, message: Parcel, extra: dict[str, object]) -> None:
    """Content goes by itself where doubt would cost most, where there is too much of it, and where an admin says so."""
    with warmed_up(sink.port, **extra) as session:
        session.send(parcel(number=3))
        assert session.send(message).verdict is Verdict.ACCEPTED
    assert verbs(sink)[-2:] == ["DATA", "QUIT"]
    assert sink.received[-1].content.endswith(message.body)


def test_no_groups_where_switched_off(sink: SmtpSink) -> None:
    """With pipelining switched off, each command waits for the answer to the one before."""
    with channel(sink.port, pipelining=False).open() as session:
        sink.answer("RCPT", "550 5.1.1 no")
        assert session.send(parcel()).verdict is Verdict.PERMANENT
    assert "DATA" not in verbs(sink)


def test_many_recipients_with_long_answers() -> None:
    """Neither side waits for the other to read, however many recipients there are, and however long the answers."""
    no = f"550 5.1.1 {'no ' * 160}"

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.expect("MAIL")
        peer.say("250 ok")
        for position in range(1500):
            peer.expect("RCPT")
            peer.say(no if position else "250 ok")
        peer.expect("DATA")
        peer.say("354 go on")
        peer.content()
        peer.say("250 2.0.0 taken")
        peer.line()

    message = parcel(*(f"reader{number}@{'long.' * 30}example.com" for number in range(1500)))
    with raw_server(play, small=True) as port, channel(port, timeout=5).open() as session:
        session._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        session._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        outcome = session.send(message)
    assert verdicts(outcome) == [Verdict.ACCEPTED] + [Verdict.PERMANENT] * 1499


def test_refused_by_all_but_asked_for_content() -> None:
    """A server that refuses everybody and asks for the content gets none of it, and its 250 counts for nobody."""

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.expect("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "550 5.1.1 no", "354 go on")
        peer.expect(".")
        peer.say("250 2.0.0 taken")
        peer.expect("RSET")
        peer.say("250 ok")
        peer.serve()
        peer.line()

    with raw_server(play) as port, channel(port, timeout=10).open() as session:
        outcome = session.send(parcel())
        assert (outcome.verdict, outcome.decisive.code) == (Verdict.PERMANENT, 550)
        assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED


def test_chunk_taken_for_nobody() -> None:
    """A server that takes a chunk though it has refused everybody has delivered to nobody."""

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        peer.prove()
        peer.expect("MAIL", "RCPT")
        peer.chunk()
        peer.say("250 ok", "550 5.1.1 no", "250 2.0.0 taken")
        peer.line()

    with raw_server(play) as port, warmed_up(port, timeout=10) as session:
        assert session.send(parcel()).verdict is Verdict.PERMANENT
        assert session.alive


@pytest.mark.parametrize(
    ("stage", "answer", "verdict"),
    [
        ("MAIL", "552 5.3.4 too big", Verdict.PERMANENT),
        ("RCPT", "451 4.7.1 greylisted", Verdict.TEMPORARY),
        ("RCPT", "550 5.1.1 no", Verdict.PERMANENT),
        ("BDAT", "452 4.3.1 disk full", Verdict.TEMPORARY),
        ("END", "451 4.3.0 later", Verdict.TEMPORARY),
        ("END", "554 5.7.1 spam", Verdict.PERMANENT),
    ],
)
def test_refusals_in_one_write(sink: SmtpSink, stage: str, answer: str, verdict: Verdict) -> None:
    """A refusal anywhere in a write means what it says, and the session goes on in step."""
    with warmed_up(sink.port) as session:
        assert session.send(parcel(number=3)).verdict is Verdict.ACCEPTED
        sink.answer(stage, answer, times=1)
        outcome = session.send(parcel())
        assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED
    assert (outcome.verdict, f"{outcome.decisive.code} {outcome.decisive.text}") == (verdict, answer)
    assert sink.sessions == 1
    assert len(sink.taken) == 4


# --- servers that offer what they do not do --------------------------------------------------------------------


def test_bad_sequence(sink: SmtpSink) -> None:
    """A server that calls grouped commands out of order gets them one by one, in the same session, from then on."""
    with SmtpSink(lies=[Lie.ORDER]) as liar:
        made = channel(liar.port)
        with made.open() as session:
            assert verdicts(session.send(parcel(ANNA, BOB))) == [Verdict.ACCEPTED] * 2
        groups = verbs(liar).count("DATA")
        with made.open() as session:
            assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED
        assert (groups, verbs(liar).count("DATA"), verbs(liar).count("RSET")) == (2, 3, 1)
        assert [mail.rcpts for mail in liar.received] == [(ANNA, BOB), (ANNA,)]


def test_bad_sequence_at_data() -> None:
    """A server that does not understand a grouped DATA is asked again, one by one; nothing was taken before."""

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.expect("MAIL", "RCPT", "DATA")
        peer.say("250 ok", "250 ok", "503 5.5.1 bad sequence")
        peer.expect("RSET")
        peer.say("250 ok")
        for verb, answer in {"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on"}.items():
            peer.expect(verb)
            assert not peer.buffer
            peer.say(answer)
        peer.content()
        peer.say("250 2.0.0 taken")
        peer.line()

    with raw_server(play) as port:
        assert send(port, timeout=10).verdict is Verdict.ACCEPTED


def test_forgotten_commands() -> None:
    """A server that drops what came with MAIL is given up, and the next session speaks to it one by one."""
    with SmtpSink(lies=[Lie.PIPELINING]) as liar:
        made = channel(liar.port, timeout=1)
        with made.open() as session:
            assert "RCPT" in fault_of(lambda: session.send(parcel())).cause
        with made.open() as session:
            assert session.send(parcel()).verdict is Verdict.ACCEPTED
        assert len(liar.received) == 1


@pytest.mark.parametrize("lie", [Lie.BDAT, Lie.DROPPING])
def test_chunks_taken_for_commands(lie: Lie) -> None:
    """Where refused chunks are taken for commands, no mail's text ever becomes a command; the session goes on."""
    with SmtpSink(lies=[lie]) as liar:
        liar.answer("RCPT", "550 5.1.1 no", address=BOB)
        with warmed_up(liar.port) as session:
            for number in range(3):
                assert session.send(parcel(BOB, number=number, body=EVIL)).verdict is Verdict.PERMANENT
            assert session.send(parcel()).verdict is Verdict.ACCEPTED
            assert liar.sessions == 1
        assert [mail.mail_from for mail in liar.received] == ["notify@example.com"] * 3
        assert verbs(liar).count("BDAT") == 1


def test_hangs_up_when_asked_for_proof() -> None:
    """A server that hangs up on a chunk is not asked again by the next session; the message was not taken."""
    asked: list[int] = []

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        if asked:
            peer.serve(times=2)
            peer.line()
            return
        asked.append(1)
        peer.chunk()
        peer.reset()

    with raw_server(play) as port:
        made = channel(port, timeout=10)
        for message in range(2):
            with made.open() as session:
                for _ in range(2):
                    session.send(parcel())
                if message == 0:
                    assert "BDAT" in fault_of(lambda: session.send(parcel())).cause
                else:
                    assert [session.send(parcel()).verdict for _ in range(2)] == [Verdict.ACCEPTED] * 2


def test_chunk_refused_as_unknown() -> None:
    """A server that has proven chunks and then knows none gets the content by itself, in the same session."""

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        peer.prove()
        peer.expect("MAIL", "RCPT")
        peer.chunk()
        peer.say("250 ok", "250 ok", "502 5.5.1 not implemented")
        peer.expect("RSET")
        peer.say("250 ok")
        peer.serve(times=2)
        peer.line()

    with raw_server(play) as port, warmed_up(port, timeout=10) as session:
        assert [session.send(parcel(number=number)).verdict for number in (1, 2)] == [Verdict.ACCEPTED] * 2


# --- doubt -----------------------------------------------------------------------------------------------------


def one_write(*answers: str, rcpts: int = 1, reset: bool = False) -> Iterator[int]:
    """A server that has it all in one write, gives these answers, and closes."""

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        peer.prove()
        peer.expect("MAIL", *["RCPT"] * rcpts)
        peer.chunk()
        peer.say(*answers)
        if reset:
            peer.reset()

    with raw_server(play) as port:
        yield port


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "answers",
    [
        (),
        ("250 ok",),
        ("250 ok", "250 ok"),
        ("250 ok", "250 ok", "250 ok"),
        ("250 ok", "550 5.1.1 no"),
        ("250 ok", "550 5.1.1 no", "250 ok"),
    ],
)
def test_lost_after_one_write(answers: tuple[str, ...], reset: bool) -> None:
    """Once all is handed over, whoever was not refused is in doubt where the last answer is lost."""
    for port in one_write(*answers, rcpts=2, reset=reset and not answers):
        with warmed_up(port, timeout=10) as session:
            outcome = session.send(parcel(ANNA, BOB))
            assert not session.alive
        anna = Verdict.PERMANENT if "550 5.1.1 no" in answers else Verdict.IN_DOUBT
        assert verdicts(outcome) == [anna, Verdict.IN_DOUBT]
        assert "handed over at once" in outcome.recipients[1].text


@pytest.mark.parametrize(
    "answers",
    [("421 4.3.2 shutting down",), ("250 ok", "421 4.3.2 shutting down"), ("450 4.7.1 too much mail",)],
)
def test_refused_after_one_write(answers: tuple[str, ...]) -> None:
    """A server that says it takes nothing has taken nothing, though it had it all."""
    for port in one_write(*answers):
        with warmed_up(port, timeout=10) as session:
            fault = fault_of(lambda session=session: session.send(parcel()))
            assert not session.alive
        assert answers[-1] in fault.cause


def test_nonsense_after_one_write() -> None:
    """An answer that is none proves nothing: the message is in doubt."""
    for port in one_write("250 ok", "354 what"):
        with warmed_up(port, timeout=10) as session:
            assert session.send(parcel()).verdict is Verdict.IN_DOUBT


def test_not_all_of_one_write() -> None:
    """Where the connection breaks before the last byte was handed over, nothing is in doubt."""

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        peer.prove()
        peer.socket.recv(100)
        peer.reset()

    with raw_server(play, small=True) as port, warmed_up(port, timeout=30) as session:
        session._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        content = parcel(body=b"0123456789\r\n" * 5000)
        assert "MAIL" in fault_of(lambda: session.send(content)).cause


def test_cautious_is_not_in_doubt() -> None:
    """A message to be sent at most once is not in doubt where the connection is lost at its envelope."""

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        peer.expect("MAIL", "RCPT", "DATA")

    with raw_server(play) as port, warmed_up(port, timeout=10) as session:
        fault_of(lambda: session.send(parcel(cautious=True)))


@pytest.mark.parametrize("farewell", ["421 4.4.2 idle for too long", ""])
def test_hung_up_while_idle(farewell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a server hung up on a quiet session is seen before the next message is written: nothing is in doubt."""
    monkeypatch.setattr(smtp_session, "_QUIET", 0.0)
    quiet, gone = threading.Event(), threading.Event()

    def play(peer: Peer) -> None:
        peer.greet(*BOTH)
        peer.serve(times=2)
        peer.prove()
        peer.expect("MAIL", "RCPT")
        peer.chunk()
        peer.say("250 ok", "250 ok", "250 2.0.0 taken")
        assert quiet.wait(10)
        peer.say(*[farewell] if farewell else [])
        peer.socket.close()
        gone.set()

    with raw_server(play) as port, warmed_up(port, timeout=10) as session:
        assert session.send(parcel()).verdict is Verdict.ACCEPTED
        quiet.set()
        assert gone.wait(10)
        fault = fault_of(lambda: session.send(parcel(number=2)))
    assert (farewell or "closed the connection") in fault.cause


def test_quiet_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking whether a quiet session stands does not disturb its encryption."""
    monkeypatch.setattr(smtp_session, "_QUIET", 0.0)
    certificate = Certificate.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    with SmtpSink(certificate=certificate, ssl_at_once=True) as sink:
        with warmed_up(sink.port, disable_ssl=False) as session:
            assert [session.send(parcel(number=number)).verdict for number in range(3)] == [Verdict.ACCEPTED] * 3
        assert (sink.sessions, verbs(sink)[-2:]) == (1, ["BDAT", "QUIT"])


@pytest.mark.parametrize("cautious", [False, True])
def test_lease_over(sink: SmtpSink, cautious: bool) -> None:
    """Content is not handed over once the run's lease is over: another run may have the message by now."""
    over = Lease(timedelta(minutes=2))
    assert not over.holds
    with warmed_up(sink.port) as session:
        before = len(sink.received)
        with pytest.raises(LeaseLost):
            session.send(parcel(lease=over, cautious=cautious))
        assert not session.alive
    assert len(sink.received) == before


# --- the return path -------------------------------------------------------------------------------------------


def test_return_path(sink: SmtpSink) -> None:
    """With a return path, each message comes back to an address of its own; the From header stays."""
    made = channel(sink.port, return_path="bounces@example.com")
    made.bounce_secret = b"of the outbox"
    with made.open() as session:
        for number in (7, 8):
            assert session.send(parcel(number=number)).verdict is Verdict.ACCEPTED
    first, second = sink.taken
    assert first.mail_from.startswith("bounces+7-")
    assert second.mail_from.startswith("bounces+8-")
    assert first.mail_from.endswith("@example.com")
    assert first.parsed["From"] == "notify@example.com"


def test_return_path_without_a_secret(sink: SmtpSink) -> None:
    """Outside a drain there is no secret: then the return path says nothing that anybody could have made up."""
    with channel(sink.port, return_path="bounces@example.com").open() as session:
        assert session.send(parcel(number=7)).verdict is Verdict.ACCEPTED
    assert sink.taken[0].mail_from == "bounces@example.com"


@pytest.mark.parametrize("address", ["bounces", '"a b"@example.com', f"{'b' * 60}@example.com"])
def test_bad_return_path(address: str) -> None:
    """A mailbox that nothing can be added to is refused with the field's name."""
    assert "return_path" in fault_of(lambda: channel(25, return_path=address)).cause
