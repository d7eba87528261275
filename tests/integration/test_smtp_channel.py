"""SMTP alone: what the connection's form says, logins, encryption, and every way a server can let us down."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk import Connection

from notify.channels import channel_for
from notify.channels.smtp import SmtpChannel
from notify.domain.outcome import Verdict
from notify.domain.parcel import Addressee, Enclosure, Parcel
from tests.smtp_client import ANNA, BOB, ENCODED, PASSWORD, PLAIN, channel, connection, fault_of, parcel, send
from tests.smtp_sink import HOST, Answer, Certificate, Mischief, SmtpSink


@pytest.fixture(params=["one by one", "in groups"])
def sink(request: pytest.FixtureRequest) -> Iterator[SmtpSink]:
    """Every claim about a transaction holds for servers that want each command by itself, and for others."""
    with SmtpSink(hide=["PIPELINING"] if request.param == "one by one" else []) as running:
        yield running
        running.behave()
        assert running.wait_closed(), "a connection was left open"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """The workers trust the sink's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    return certificate


# --- the connection's form -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"max_connections": 0}, "max_connections"),
        ({"max_connections": 65}, "max_connections"),
        ({"max_connections": "four"}, "max_connections"),
        ({"max_connections": True}, "max_connections"),
        ({"timeout": 0}, "timeout"),
        ({"retry_limit": -1}, "retry_limit"),
        ({"disable_ssl": "perhaps"}, "disable_ssl"),
        ({"auth_type": "magic"}, "auth_type"),
        ({"ssl_context": "mine"}, "ssl_context"),
        ({"from_email": ""}, "From address"),
        ({"from_email": "nobody"}, "from_email"),
        ({"from_email": "a@example.com\r\nBcc: b@example.com"}, "from_email"),
        ({"from_name": "Firm\r\nBcc: b@example.com"}, "from_name"),
        ({"from_name": 7}, "from_name"),
        ({"reply_to": "office"}, "reply_to"),
    ],
)
def test_bad_field(extra: dict[str, object], words: str) -> None:
    """A wrong field of the connection is a sender's fault that names the field and where to correct it."""
    fault = fault_of(lambda: channel(25, **extra))
    assert words in fault.cause
    assert "Admin → Connections" in fault.remedy


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": ""}, "host"),
        ({"conn_type": "http"}, "http"),
        ({"extra": "{not json"}, "JSON"),
        ({"extra": "[1]"}, "JSON"),
    ],
)
def test_bad_connection(fields: dict[str, str], words: str) -> None:
    """A connection that cannot be one of SMTP is refused with what is wrong."""
    given = {"conn_id": "smtp_default", "conn_type": "smtp", "host": HOST, "extra": json.dumps(PLAIN)}
    wrong = Connection(**(given | fields))  # type: ignore[call-overload]
    assert words in fault_of(lambda: SmtpChannel("smtp_default", wrong)).cause


def test_fields() -> None:
    """Numbers may be typed as text; site and the number of connections can be read."""
    made = channel(25, max_connections="2", site="Brno", timeout="7", retry_limit="0", from_name="  ")
    assert (made.max_connections, made.site) == (2, "Brno")
    assert channel(25).max_connections == 4


def test_words_of_a_uri_do_not_disable_encryption(sink: SmtpSink) -> None:
    """From a URI, disable_tls=False is the word "False", and must not switch the encryption off."""
    uri = f"smtp://{HOST}:{sink.port}/?disable_ssl=True&disable_tls=False&from_email=notify%40example.com"
    made = SmtpChannel("smtp_default", Connection.from_uri(uri, conn_id="smtp_default"))
    assert "STARTTLS" in fault_of(made.open).cause


def test_login_as_from_address(sink: SmtpSink) -> None:
    """Without from_email the login is the From address, if it is one."""
    made = Connection(
        conn_id="x",
        conn_type="smtp",
        host=HOST,
        port=sink.port,
        login="me@example.com",
        extra=json.dumps(PLAIN | {"from_email": None}),
    )
    with SmtpChannel("x", made).open() as session:
        assert session.send(parcel()).verdict is Verdict.ACCEPTED
    [mail] = sink.taken
    assert (mail.mail_from, mail.parsed["From"]) == ("me@example.com", "me@example.com")


def test_from_name(sink: SmtpSink) -> None:
    """The sender's name is shown as it was typed, the envelope has the bare address."""
    send(sink.port, from_name="Účtáreň, s. r. o.")
    [mail] = sink.taken
    assert mail.parsed["From"] == '"Účtáreň, s. r. o." <notify@example.com>'
    assert mail.mail_from == "notify@example.com"


def test_connection_by_id(sink: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's connection of that name is used; sessions do not ask for it again."""
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection(sink.port).get_uri())
    made = channel_for("smtp_default")
    monkeypatch.delenv("AIRFLOW_CONN_SMTP_DEFAULT")
    with made.open() as session:
        assert session.send(parcel()).verdict is Verdict.ACCEPTED


def test_no_such_connection() -> None:
    """A connection that Airflow does not know is a sender's fault that says how to add it."""
    fault = fault_of(lambda: channel_for("smtp_default"))
    assert "no connection smtp_default" in fault.cause
    assert "type smtp" in fault.remedy


# --- encryption and logins -------------------------------------------------------------------------------------


def test_starttls(trusted: Certificate) -> None:
    """STARTTLS with a trusted certificate and a login sends; the login is asked for."""
    with SmtpSink(certificate=trusted, users={"clerk": PASSWORD}) as sink:
        assert send(sink.port, login="clerk", disable_tls=False).verdict is Verdict.ACCEPTED
        assert [word.split()[0] for word in sink.commands[:5]] == ["CONNECT", "EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_ssl_at_once(trusted: Certificate) -> None:
    """SSL from the first byte with a login sends."""
    with SmtpSink(certificate=trusted, ssl_at_once=True, users={"clerk": PASSWORD}) as sink:
        assert send(sink.port, login="clerk", disable_ssl=False).verdict is Verdict.ACCEPTED


def test_large_message_over_tls(trusted: Certificate) -> None:
    """A message of many pieces arrives whole over TLS."""
    body = b"0123456789.\r\n..\r\n" * 60_000
    with SmtpSink(certificate=trusted, ssl_at_once=True) as sink:
        assert send(sink.port, parcel(body=body), disable_ssl=False).verdict is Verdict.ACCEPTED
        assert sink.taken[0].content.endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("at_once", [True, False])
def test_untrusted_certificate(certificate: Certificate, at_once: bool) -> None:
    """A certificate that nobody vouches for is refused before any login; ssl_context "none" accepts it."""
    form = {"disable_ssl": not at_once, "disable_tls": at_once, "login": "clerk"}
    with SmtpSink(certificate=certificate, ssl_at_once=at_once, users={"clerk": PASSWORD}) as sink:
        fault = fault_of(channel(sink.port, **form).open)
        assert "certificate" in fault.cause
        assert f"{HOST}:{sink.port}" in fault.cause
        assert not any(command.startswith("AUTH") for command in sink.commands)
        assert send(sink.port, ssl_context="none", **form).verdict is Verdict.ACCEPTED
        assert sink.wait_closed()


def test_certificate_of_another_host(trusted: Certificate) -> None:
    """A trusted certificate for another name is refused."""
    with SmtpSink(certificate=trusted) as sink:
        fault = fault_of(channel(sink.port, host="127.0.0.2", disable_tls=False).open)
    assert "127.0.0.2" in fault.cause


def test_starttls_not_offered(sink: SmtpSink) -> None:
    """A server without STARTTLS is not sent anything in the clear."""
    fault = fault_of(channel(sink.port, disable_tls=False).open)
    assert "STARTTLS" in fault.cause
    assert "587" in fault.remedy


def test_starttls_on_top_of_ssl(trusted: Certificate) -> None:
    """The form's default of SSL and STARTTLS together fails with the field to change."""
    with SmtpSink(certificate=trusted, ssl_at_once=True) as sink:
        fault = fault_of(channel(sink.port, disable_ssl=False, disable_tls=False).open)
        assert sink.wait_closed()
    assert "encrypted already" in fault.remedy


def test_starttls_refused_for_now(trusted: Certificate) -> None:
    """A server that cannot encrypt now is not sent anything in the clear, and its words are told."""
    with SmtpSink(certificate=trusted) as sink:
        sink.answer("STARTTLS", "454 4.7.0 TLS not available")
        fault = fault_of(channel(sink.port, disable_tls=False).open)
        assert sink.wait_closed()
    assert "454 4.7.0 TLS not available" in fault.cause


def test_ssl_to_a_plain_port(sink: SmtpSink) -> None:
    """SSL to a port that does not speak it is told, with the ports that usually do."""
    fault = fault_of(channel(sink.port, disable_ssl=False).open)
    assert "encrypted" in fault.cause
    assert "465" in fault.remedy


def test_wrong_password() -> None:
    """A wrong password is told in the server's words, without the password, and leaves no connection open."""
    with SmtpSink(users={"clerk": "another"}) as sink:
        fault = fault_of(channel(sink.port, login="clerk").open)
        assert sink.wait_closed()
    assert "535 5.7.8" in fault.cause
    assert "Password" in fault.remedy


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("534 5.7.9 application-specific password required", "app password"),
        ("530 5.7.0 must issue a STARTTLS command first", "encryption"),
        ("454 4.7.0 temporary authentication failure", "next run"),
        (f"535 5.7.8 no such password: {PASSWORD}", "Password"),
        (f"501 5.5.2 cannot decode {ENCODED}", "Password"),
    ],
)
def test_login_refused(answer: str, word: str) -> None:
    """Each refusal of a login has its own remedy; a server that repeats the password is not quoted on it."""
    with SmtpSink(users={"clerk": PASSWORD}) as sink:
        sink.answer("AUTH", answer)
        fault = fault_of(channel(sink.port, login="clerk").open)
    assert ENCODED not in fault.cause
    assert answer.replace(PASSWORD, "***").replace(ENCODED, "***") in fault.cause
    assert word in fault.remedy


def test_login_not_offered(sink: SmtpSink) -> None:
    """A password for a server that asks for none is not sent, and the admin is told."""
    fault = fault_of(channel(sink.port, login="clerk").open)
    assert "no login" in fault.cause


def test_login_needed(sink: SmtpSink) -> None:
    """A server that wants a login is a sender's fault, not the message's."""
    with SmtpSink(users={"clerk": PASSWORD}) as strict:
        fault = fault_of(lambda: send(strict.port))
    assert "530" in fault.cause
    assert "Login" in fault.remedy


def test_password_outside_ascii() -> None:
    """A password that SMTP cannot carry is told without a letter of it."""
    with SmtpSink(users={"clerk": "x"}) as sink:
        made = connection(sink.port, login="clerk")
        made.password = "žluťoučký"
        fault = fault_of(SmtpChannel("smtp_default", made).open)
        assert sink.wait_closed()
    assert "ASCII" in fault.cause
    assert "ž" not in str(fault)


@pytest.mark.parametrize("at_once", [True, False])
def test_oauth2(trusted: Certificate, at_once: bool) -> None:
    """OAuth2, chosen in the connection's form, logs in with the token, over SSL and STARTTLS alike."""
    form = {"disable_ssl": not at_once, "disable_tls": at_once, "auth_type": "oauth2"}
    with SmtpSink(certificate=trusted, ssl_at_once=at_once, users={"clerk": "t0ken"}) as sink:
        assert send(sink.port, login="clerk", access_token="t0ken", **form).verdict is Verdict.ACCEPTED


def test_oauth2_wrong_token(sink: SmtpSink) -> None:
    """A token that has run out is told with what to renew, without the token."""
    with SmtpSink(users={"clerk": "fresh"}) as strict:
        made = channel(strict.port, login="clerk", auth_type="oauth2", access_token="t0ken-of-old")
        fault = fault_of(made.open)
        assert strict.wait_closed()
    assert "535" in fault.cause
    assert "access_token" in fault.remedy


def test_oauth2_without_token(sink: SmtpSink) -> None:
    """OAuth2 without a token or a client is a sender's fault."""
    fault = fault_of(channel(sink.port, login="clerk", auth_type="oauth2").open)
    assert "access_token" in fault.cause


# --- the way in ------------------------------------------------------------------------------------------------


def test_nothing_listens() -> None:
    """A port where nobody listens is told with host and port."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        fault = fault_of(channel(port).open)
    assert f"{HOST}:{port}" in fault.cause
    assert "refused" in fault.cause


@pytest.mark.parametrize("host", ["nowhere.invalid", "mail..example.com", "m" * 70 + ".example.com"])
def test_no_such_host(host: str) -> None:
    """A host name that does not exist, or is none, is told."""
    assert f"no host {host}" in fault_of(channel(25, host=host).open).cause


@pytest.mark.parametrize("port", [-1, 65536])
def test_no_such_port(port: int) -> None:
    """A port that cannot be is told."""
    assert "port" in fault_of(lambda: channel(port)).cause


def test_silent_server(sink: SmtpSink) -> None:
    """A server that does not greet costs one timeout, not one for each retry of the form."""
    sink.answer("CONNECT", Mischief.STALL)
    fault = fault_of(channel(sink.port, timeout=1, retry_limit=5).open)
    assert "within 1 s" in fault.cause
    assert sink.sessions == 1


def test_busy_greeting(sink: SmtpSink) -> None:
    """A server that greets with 421 is quoted; the next try gets in."""
    sink.answer("CONNECT", b"421 4.3.2 too many connections\r\n", times=1)
    made = channel(sink.port)
    assert "421 4.3.2 too many connections" in fault_of(made.open).cause
    made.open().close()


def test_server_hangs_up_at_once(sink: SmtpSink) -> None:
    """The form's retries are kept where the server hangs up: here the third try gets in."""
    sink.answer("CONNECT", Mischief.HANG_UP, times=2)
    channel(sink.port, retry_limit=2).open().close()
    assert sink.sessions == 3


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "AUTH"])
def test_server_always_hangs_up(stage: str) -> None:
    """A server that hangs up before we are in is told as such, and leaves no connection open."""
    with SmtpSink(users={"clerk": PASSWORD}) as sink:
        sink.answer(stage, Mischief.HANG_UP)
        fault = fault_of(channel(sink.port, retry_limit=1, login="clerk").open)
        assert sink.wait_closed()
    assert "closed the connection" in fault.cause


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO"])
def test_other_protocol(sink: SmtpSink, stage: str) -> None:
    """A server of another protocol is no reason to crash."""
    sink.answer(stage, b"HTTP/1.1 400 Bad Request\r\n\r\n")
    fault_of(channel(sink.port, timeout=2, retry_limit=0).open)


# --- the transaction -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    "answer",
    [Mischief.RESET, Mischief.HANG_UP, Mischief.STALL, "421 4.3.2 shutting down", b"nonsense\r\n", b"999 x\r\n"],
    ids=str,
)
def test_lost_before_the_content(sink: SmtpSink, stage: str, answer: Answer) -> None:
    """A session that ends before the content was asked for is the sender's trouble; the next one sends."""
    sink.answer(stage, answer, times=1)
    made = channel(sink.port, timeout=1)
    with made.open() as session:
        fault = fault_of(lambda: session.send(parcel()))
        assert not session.alive
    assert stage in fault.cause
    assert sink.received == []
    with made.open() as session:
        assert session.send(parcel()).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(("stage", "answer"), [("MAIL", "354 go on"), ("RCPT", "354 go on"), ("DATA", "250 ok")])
def test_out_of_step(sink: SmtpSink, stage: str, answer: str) -> None:
    """A server whose answers belong to another command is not given the content."""
    sink.answer(stage, answer)
    with channel(sink.port).open() as session:
        fault = fault_of(lambda: session.send(parcel()))
    assert stage in fault.cause
    assert sink.received == []


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_no_charge_before_the_content(sink: SmtpSink, stage: str) -> None:
    """Sessions lost before the content are the sender's fault, however often; what to make of it the drain decides."""
    sink.answer(stage, Mischief.RESET)
    made = channel(sink.port)
    for _ in range(3):
        with made.open() as session:
            fault_of(lambda: session.send(parcel()))


@pytest.mark.parametrize("answer", [Mischief.RESET, Mischief.HANG_UP, Mischief.STALL], ids=str)
def test_lost_within_the_content(sink: SmtpSink, answer: Answer) -> None:
    """A connection lost while the content is written is a temporary failure: never in doubt, never free."""
    sink.answer("CONTENT", answer)
    sink.answer("RCPT", "550 5.1.1 no", address=BOB)
    with channel(sink.port, timeout=1).open() as session:
        outcome = session.send(parcel(ANNA, BOB, body=b"long line\r\n" * 2_000_000))
        assert not session.alive
    assert [one.verdict for one in outcome.recipients] == [Verdict.TEMPORARY, Verdict.PERMANENT]
    assert sink.received == []


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"552 5.3.4 too big\r\n", Verdict.PERMANENT),
        (b"452 4.3.1 disk full\r\n", Verdict.TEMPORARY),
    ],
)
def test_farewell_within_the_content(answer: bytes, verdict: Verdict) -> None:
    """A server that says why and hangs up within the content is believed."""
    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=_rude_server, args=(server, answer), daemon=True)
        thread.start()
        with channel(server.getsockname()[1], timeout=5).open() as session:
            outcome = session.send(parcel(body=b"long line\r\n" * 2_000_000))
        thread.join(10)
    assert outcome.verdict is verdict
    assert str(outcome.decisive.code).encode() == answer[:3]


def _rude_server(server: socket.socket, farewell: bytes) -> None:
    """Take one message's beginning, say farewell and close with the rest unread."""
    peer, _ = server.accept()
    with peer, peer.makefile("rb") as lines:
        peer.sendall(b"220 hello\r\n")
        for line in lines:
            verb = line[:4].upper()
            peer.sendall(b"354 go on\r\n" if verb == b"DATA" else b"250 ok\r\n")
            if verb == b"DATA":
                break
        lines.readline()
        peer.sendall(farewell)


@pytest.mark.parametrize(
    "answer",
    [
        Mischief.RESET,
        Mischief.HANG_UP,
        Mischief.STALL,
        b"nonsense\r\n",
        b"354 again\r\n",
        b"250-half an answer\r\n",
        b"2" * 20_000,
    ],
    ids=lambda answer: str(answer)[:20],
)
def test_no_final_answer(sink: SmtpSink, answer: Answer) -> None:
    """After the final dot, whatever is no answer leaves the message in doubt, and the session dead."""
    sink.answer("END", answer)
    sink.answer("RCPT", "550 5.1.1 no", address=BOB)
    with channel(sink.port, timeout=1).open() as session:
        outcome = session.send(parcel(ANNA, BOB))
        assert not session.alive
    assert [one.verdict for one in outcome.recipients] == [Verdict.IN_DOUBT, Verdict.PERMANENT]
    assert outcome.decisive.code is None
    assert len(outcome.decisive.text) < 1000


@pytest.mark.parametrize(
    ("stage", "answer", "verdict"),
    [
        ("MAIL", "452 4.3.4 too big for now", Verdict.TEMPORARY),
        ("MAIL", "552 too big", Verdict.PERMANENT),
        ("MAIL", "550 5.3.4 too big", Verdict.PERMANENT),
        ("RCPT", "451 4.7.1 greylisted", Verdict.TEMPORARY),
        ("RCPT", "550 5.1.1 no", Verdict.PERMANENT),
        ("RCPT", "251 2.1.5 will forward", Verdict.ACCEPTED),
        ("RCPT", "252 2.1.5 will try", Verdict.ACCEPTED),
        ("DATA", "451 4.3.0 later", Verdict.TEMPORARY),
        ("DATA", "554 5.5.1 no", Verdict.PERMANENT),
        ("END", "451 4.3.0 later", Verdict.TEMPORARY),
        ("END", "554 5.7.1 spam", Verdict.PERMANENT),
    ],
)
def test_refusals(sink: SmtpSink, stage: str, answer: str, verdict: Verdict) -> None:
    """A refusal means what its first digit says, is told in the server's words, and the session goes on."""
    sink.answer(stage, answer, times=1)
    with channel(sink.port).open() as session:
        outcome = session.send(parcel())
        assert session.alive
        assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED
    assert outcome.verdict is verdict
    if verdict is not Verdict.ACCEPTED:
        assert f"{outcome.decisive.code} {outcome.decisive.text}" == answer
        assert "RSET" in sink.commands
    assert sink.sessions == 1


@pytest.mark.parametrize("answer", ["550 5.7.60 not allowed to send as this", "553 5.1.8 no such domain"])
def test_from_address_refused(sink: SmtpSink, answer: str) -> None:
    """A refused From address is the sender's fault: no message is charged for it."""
    sink.answer("MAIL", answer)
    with channel(sink.port).open() as session:
        fault = fault_of(lambda: session.send(parcel()))
        assert not session.alive
    assert answer in fault.cause
    assert "From email" in fault.remedy


@pytest.mark.parametrize(
    "answer",
    ["451 4.3.2 not accepting messages", "452 4.3.1 disk full", "450 4.7.1 too much mail from you", "451 later"],
)
def test_no_mail_for_now(sink: SmtpSink, answer: str) -> None:
    """A server that refuses MAIL for now would refuse any message: none is charged, and the session is over."""
    sink.answer("MAIL", answer)
    with channel(sink.port).open() as session:
        fault = fault_of(lambda: session.send(parcel()))
        assert not session.alive
    assert answer in fault.cause
    assert "the next run tries again" in fault.remedy


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_login_wanted_too_late(sink: SmtpSink, stage: str) -> None:
    """A server that wants a login once the session is open, as after a token has run out, is the sender's fault."""
    sink.answer(stage, "530 5.7.0 log in")
    with channel(sink.port).open() as session:
        fault = fault_of(lambda: session.send(parcel()))
        assert not session.alive
    assert "530 5.7.0 log in" in fault.cause
    assert "Login" in fault.remedy
    assert sink.received == []


def test_shutdown_as_final_answer(sink: SmtpSink) -> None:
    """421 after the final dot is an answer: temporary, and the session is over."""
    sink.answer("END", "421 4.3.2 shutting down")
    with channel(sink.port).open() as session:
        outcome = session.send(parcel())
        assert not session.alive
    assert (outcome.verdict, outcome.decisive.code) == (Verdict.TEMPORARY, 421)


def test_reset_refused(sink: SmtpSink) -> None:
    """A server that does not forget a refused message loses the session, not the outcome."""
    sink.answer("RCPT", "550 5.1.1 no")
    sink.answer("RSET", Mischief.RESET)
    with channel(sink.port).open() as session:
        assert session.send(parcel()).verdict is Verdict.PERMANENT
        assert not session.alive


def test_closed_while_idle(sink: SmtpSink) -> None:
    """A session that the server closed in a pause is found out at MAIL, as the sender's trouble."""
    with channel(sink.port).open() as session:
        sink.answer("END", b"250 2.0.0 taken\r\n421 4.4.2 idle for too long\r\n")
        assert session.send(parcel()).verdict is Verdict.ACCEPTED
        fault = fault_of(lambda: session.send(parcel(number=2)))
    assert "421 4.4.2 idle for too long" in fault.cause
    assert len(sink.received) == 1


def test_words_are_tamed(sink: SmtpSink) -> None:
    """A long answer of many lines with control characters becomes one printable line of bounded length."""
    lines = b"".join(b"550-5.1.1 \x1b[31mno\x00 \xff line %d\r\n" % number for number in range(200))
    sink.answer("RCPT", lines + b"550 5.1.1 end\r\n")
    with channel(sink.port).open() as session:
        text = session.send(parcel()).decisive.text
    assert text.startswith("5.1.1 [31mno \ufffd line 0 5.1.1")
    assert text.isprintable()
    assert len(text) <= 500


@pytest.mark.parametrize("grouped", [False, True])
def test_size_is_announced(grouped: bool) -> None:
    """A message that the server calls too large is not handed over, and fails for good; the next one passes."""
    with SmtpSink(size=1000, hide=[] if grouped else ["PIPELINING"]) as small, channel(small.port).open() as session:
        outcome = session.send(parcel(body=b"x" * 70 + b"\r\n" + b"y\r\n" * 500))
        assert grouped == any(command.startswith("DATA") for command in small.commands)
        assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED
        assert len(small.received) == small.sessions == 1
    assert (outcome.verdict, outcome.decisive.code) == (Verdict.PERMANENT, 552)


def test_dots(sink: SmtpSink) -> None:
    """Lines that begin with a dot arrive as they were, and smuggle no second message."""
    body = b".\r\n..\r\n.hidden\r\n\n.\nMAIL FROM:<evil@example.com>\r\n\r.\rtext"
    assert send(sink.port, parcel(body=body)).verdict is Verdict.ACCEPTED
    [mail] = sink.received
    normal = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert mail.content.partition(b"\r\n\r\n")[2] == normal + b"\r\n"


@pytest.mark.parametrize(
    "address",
    ["a b@example.com", "a@example.com>\r\nRSET", "<a@example.com>", "a@b\x00.com", 'a> X="b"@example.com', "a"],
)
def test_addresses_cannot_inject(sink: SmtpSink, address: str) -> None:
    """An address that would end its command fails for good; the others get their mail."""
    outcome = send(sink.port, parcel(address, ANNA))
    assert [one.verdict for one in outcome.recipients] == [Verdict.PERMANENT, Verdict.ACCEPTED]


def test_quoted_local_part(sink: SmtpSink) -> None:
    """A quoted local part is an address like any other."""
    assert send(sink.port, parcel('"a b"@example.com')).verdict is Verdict.ACCEPTED


# --- other alphabets -------------------------------------------------------------------------------------------


def test_smtputf8(sink: SmtpSink) -> None:
    """An address in another alphabet is sent to where the server takes it; plain mail does not ask for it."""
    with channel(sink.port).open() as session:
        assert session.send(parcel("žofie@example.com")).verdict is Verdict.ACCEPTED
        assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED
        assert session.send(parcel(number=3, extra="X-Name: Žofie\r\n".encode())).verdict is Verdict.ACCEPTED
    assert ["SMTPUTF8" in mail.options for mail in sink.taken] == [True, False, True]
    assert sink.taken[0].rcpts == ("žofie@example.com",)


def test_smtputf8_not_offered() -> None:
    """Where the server does not take other alphabets, such an address fails for good and the others do not."""
    with SmtpSink(smtputf8=False) as sink, channel(sink.port).open() as session:
        outcome = session.send(parcel("žofie@example.com", ANNA))
        headers = session.send(parcel(number=2, extra="X-Name: Žofie\r\n".encode()))
        assert session.alive
    assert [one.verdict for one in outcome.recipients] == [Verdict.PERMANENT, Verdict.ACCEPTED]
    assert outcome.recipients[0].text.startswith("5.6.7 ")
    assert (headers.verdict, headers.decisive.text[:5]) == (Verdict.PERMANENT, "5.6.7")


def test_from_address_needs_smtputf8() -> None:
    """A From address that the server cannot take is the sender's fault."""
    with SmtpSink(smtputf8=False) as sink:
        fault = fault_of(channel(sink.port, from_email="účet@example.com").open)
        assert sink.wait_closed()
    assert "SMTPUTF8" in fault.cause


def test_eight_bit_body(sink: SmtpSink) -> None:
    """An 8-bit body says so; a server that does not take it is not given it."""
    message = parcel(body="Vážený pane,\r\n".encode())
    assert send(sink.port, message).verdict is Verdict.ACCEPTED
    assert "BODY=8BITMIME" in sink.taken[0].options
    with SmtpSink(hide=["8BITMIME"]) as old:
        outcome = send(old.port, message)
    assert (outcome.verdict, outcome.decisive.text[:5]) == (Verdict.PERMANENT, "5.6.3")


# --- the end ---------------------------------------------------------------------------------------------------


def test_quit(sink: SmtpSink) -> None:
    """A session in order says QUIT."""
    channel(sink.port).open().close()
    assert sink.wait_closed()
    assert sink.commands[-1] == "QUIT"


@pytest.mark.parametrize("answer", list(Mischief), ids=str)
def test_close_never_raises(sink: SmtpSink, answer: Answer) -> None:
    """A server that does not answer QUIT does not matter."""
    sink.answer("QUIT", answer)
    session = channel(sink.port, timeout=1).open()
    session.close()
    assert not session.alive


def test_attachment_of_megabytes(sink: SmtpSink) -> None:
    """A large attachment passes in pieces."""
    content = os.urandom(5 << 20)
    message = Parcel(
        id=1,
        message_id="<1@example.com>",
        addressees=(Addressee(0, ANNA),),
        headers=b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=_x"\r\n',
        body=b"Content-Type: text/plain\r\n\r\nhi",
        boundary="=_x",
        enclosures=(Enclosure("a.bin", "application/octet-stream", content),),
    )
    assert send(sink.port, message).verdict is Verdict.ACCEPTED
    [attachment] = sink.taken[0].parsed.iter_attachments()
    assert attachment.get_payload(decode=True) == content


def test_sink_as_a_process(tmp_path: Path) -> None:
    """The sink serves other processes and writes a line for each message before it answers."""
    record = tmp_path / "record.jsonl"
    command = [sys.executable, "-m", "tests.smtp_sink", "--record", str(record), "--refuse", BOB]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline().split()[1])
            outcome = send(port, parcel(ANNA, BOB))
            [line] = map(json.loads, record.read_text().splitlines())
        finally:
            process.terminate()
    assert outcome.of(Verdict.PERMANENT)
    assert (line["rcpts"], line["message_id"]) == ([ANNA], "<1.7f3a@notify.example.com>")
