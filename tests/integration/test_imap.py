"""The mailbox's connection: every way in, against a real IMAP server, and what is said of every way that fails."""

from __future__ import annotations

import base64
import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from notify.domain.bounce import LARGEST
from notify.exceptions import MailboxFault
from notify.mailboxes.imap import ImapSource
from notify.mailboxes.imap_settings import ImapSettings
from tests.imap_server import HOST, PASSWORD, ImapServer, stumbling
from tests.returns import imap_connection
from tests.smtp_sink import Certificate

MAIL = b"Subject: Hello\r\n\r\nWorld"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


def source(connection: Connection) -> ImapSource:
    return ImapSource(ImapSettings.of("imap_bounces", connection))


def read(port: int, **extra: Any) -> list[bytes | None]:
    """What is in the mailbox."""
    with source(imap_connection(port, **extra)).open() as mailbox:
        return [raw for _, raw in mailbox.fetch(mailbox.waiting(10))]


def fault(open_it: Callable[[], object]) -> MailboxFault:
    with pytest.raises(MailboxFault) as caught:
        open_it()
    # As a log shows it, with all that led to it.
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return caught.value


# --- Ways in ---------------------------------------------------------------------------------------------------------


def test_in_the_clear() -> None:
    """Without encryption, where the connection says so."""
    with ImapServer() as server:
        server.deliver(MAIL)
        assert read(server.port) == [MAIL]


def test_tls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypted from the first byte, which is what a connection means that says nothing else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    with ImapServer(tls=certificate.context()) as server:
        server.deliver(MAIL)
        assert read(server.port, use_ssl=True) == [MAIL]
        assert read(server.port, use_ssl="") == [MAIL]


def test_starttls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypted by STARTTLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    with ImapServer(starttls=certificate.context()) as server:
        server.deliver(MAIL)
        assert read(server.port, starttls=True) == [MAIL]


def test_certificates_are_checked(certificate: Certificate) -> None:
    """A certificate that nobody vouches for is refused, unless the connection says otherwise."""
    with ImapServer(tls=certificate.context()) as server:
        told = fault(lambda: read(server.port, use_ssl=True))
        assert "certificate" in told.cause
        assert "ssl_context" in told.remedy
        assert read(server.port, use_ssl=True, ssl_context="none") == []


def test_no_encryption_offered() -> None:
    """A server without STARTTLS gets no password where STARTTLS is asked for."""
    with ImapServer() as server:
        assert "TLS" in fault(lambda: read(server.port, starttls=True)).cause


def test_only_the_beginning() -> None:
    """Of a huge mail no more than the beginning travels, and reading marks nothing as read."""
    with ImapServer() as server:
        server.deliver(MAIL + b"x" * LARGEST)
        (beginning,) = read(server.port)
        assert beginning is not None
        assert len(beginning) == LARGEST
        assert server.flags() == [set()]


# --- Mails that a server stumbles over -------------------------------------------------------------------------------

MAILS = [b"Subject: %d\r\n\r\nHi" % number for number in range(1, 6)]


@pytest.fixture
def five() -> Iterator[ImapServer]:
    """A server with five mails."""
    with ImapServer() as server:
        server.deliver(*MAILS)
        yield server


def numbers(server: ImapServer) -> list[int]:
    """The mails, by UID."""
    with source(imap_connection(server.port)).open() as mailbox:
        return list(mailbox.waiting(10))


@pytest.mark.parametrize("words", [b"NO [SERVERBUG] Internal error", b"BAD cannot be converted to RFC-822", b""])
@pytest.mark.parametrize("broken", [[0], [2, 4], [0, 1, 2, 3]])
def test_stumbles(five: ImapServer, broken: list[int], words: bytes) -> None:
    """A mail that its server refuses, or hangs up over, does not keep the others from being read."""
    known = numbers(five)
    with stumbling(five.port, *(known[place] for place in broken), words=words) as port:
        assert read(port) == [None if place in broken else MAILS[place] for place in range(5)]


@pytest.mark.parametrize("words", [b"NO [SERVERBUG] Internal error", b""])
def test_stumbles_over_the_only_one(words: bytes) -> None:
    """A mail that is alone in its mailbox can be told apart as well."""
    with ImapServer() as server:
        server.deliver(MAIL)
        with stumbling(server.port, *numbers(server), words=words) as port:
            assert read(port) == [None]


@pytest.mark.parametrize("words", [b"NO [SERVERBUG] Internal error", b"NO [UNAVAILABLE] Ask later", b""])
def test_gives_none(five: ImapServer, words: bytes) -> None:
    """A server that gives none of several mails is at fault itself: that is no mark for the mails."""
    with stumbling(five.port, *numbers(five), words=words) as port:
        assert fault(lambda: read(port)).remedy


def test_will_pass(five: ImapServer) -> None:
    """A refusal that will pass, as the server says, is no mail's fault."""
    first, *_ = numbers(five)
    with stumbling(five.port, first, words=b"NO [UNAVAILABLE] Ask later") as port:
        assert "Ask later" in fault(lambda: read(port)).cause


def test_the_number_behind() -> None:
    """Some servers put a mail's number behind its content."""
    hello = (b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n", b"TAG OK in\r\n")
    select = (b"* 1 EXISTS\r\nTAG OK x\r\n", b"TAG NO there\r\n", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n")
    flags = b"* 1 FETCH (FLAGS (UID) UID 42)\r\nTAG OK x\r\n"
    content = b"* 1 FETCH (BODY[]<0> {%d}\r\n%b UID 42)\r\nTAG OK x\r\n" % (len(MAIL), MAIL)
    with scripted(*hello, *select, flags, content, b"TAG OK x\r\n") as (port, _):
        assert read(port) == [MAIL]


# --- OAuth2 ----------------------------------------------------------------------------------------------------------


@contextmanager
def scripted(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says its lines one by one, whatever it is told; the lines that it hears."""
    heard: list[bytes] = []
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        client, _ = listener.accept()
        with closing(client), client.makefile("rwb") as stream:
            for answer in answers:
                if heard:
                    answer = answer.replace(b"TAG", heard[-1].split(b" ")[0])  # noqa: PLW2901 - the line as it leaves
                stream.write(answer)
                stream.flush()
                line = stream.readline()
                if not line:
                    return
                heard.append(line if b" " in line or not heard else heard[-1].split(b" ")[0] + b" > " + line)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.close()
    thread.join(10)


def test_oauth2() -> None:
    """A token is presented as XOAUTH2 has it."""
    hello = (b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi\r\n", b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nTAG OK x\r\n")
    with scripted(*hello, b"+ \r\n", b"TAG NO no such token\r\n", b"* BYE\r\nTAG OK x\r\n") as (port, heard):
        told = fault(lambda: read(port, auth_type="oauth2", access_token="t0ken"))
    assert "no such token" in told.cause
    said = next(line for line in heard if b" > " in line).partition(b" > ")[2]
    assert base64.b64decode(said) == b"user=bounces\x01auth=Bearer t0ken\x01\x01"


def test_oauth2_without_a_token() -> None:
    """OAuth2 needs a token, or what one is got with."""
    with ImapServer() as server:
        told = fault(lambda: read(server.port, auth_type="oauth2"))
    assert "access_token" in told.remedy


# --- Faults ----------------------------------------------------------------------------------------------------------


def test_wrong_password() -> None:
    """A refused login names the server and the fields to look at, and no password."""
    with ImapServer() as server:
        connection = imap_connection(server.port)
        connection.password = "wrong password"
        told = fault(lambda: source(connection).open().__enter__())
        assert f"{HOST}:{server.port} refused" in told.cause
        assert "Login and Password in Admin → Connections → imap_bounces" in told.remedy


def test_encryption_is_demanded() -> None:
    """A server that takes no password in the clear says so, and the fault says what to look at."""
    hello = (b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n")
    with scripted(*hello, b"TAG NO [PRIVACYREQUIRED] encrypt first\r\n", b"* BYE\r\nTAG OK x\r\n") as (port, _):
        told = fault(lambda: read(port))
    assert "encrypt first" in told.cause
    assert "starttls" in told.remedy


@pytest.mark.parametrize("password", [PASSWORD, r"o\"dd \\ words"])
def test_a_server_that_repeats_what_it_heard(password: str) -> None:
    """A server that repeats the password in its refusal tells it to no log, however the error came about."""
    hello = (b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n")
    quoted = password.replace("\\", r"\\").replace('"', r"\"").encode()
    refusal = b'TAG BAD parse error in: LOGIN "bounces" "' + quoted + b'"\r\n'
    with scripted(*hello, refusal, b"* BYE\r\nTAG OK x\r\n") as (port, _):
        connection = imap_connection(port)
        connection.password = password
        told = fault(lambda: source(connection).open().__enter__())
    assert "parse error in: LOGIN" in told.cause
    whole = "".join(traceback.format_exception(told))
    assert password not in whole
    assert quoted.decode() not in whole


def test_nobody_listens() -> None:
    """A server that is not there."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    assert "connection refused" in fault(lambda: read(port)).cause


def test_silence() -> None:
    """A server that says nothing is waited for as long as the connection says."""
    with socket.create_server((HOST, 0)) as silent:
        told = fault(lambda: read(silent.getsockname()[1], timeout=1))
    assert "did not answer within 1 s" in told.cause


@pytest.mark.parametrize("hello", [b"220 mail.example.com ESMTP\r\n", b"\xff\xfe\0\r\n", b"* BYE not now\r\n", b""])
def test_another_protocol(hello: bytes) -> None:
    """A server that speaks another protocol, or none, is a fault as well."""
    with scripted(hello) as (port, _):
        assert fault(lambda: read(port, timeout=2)).cause


def test_no_such_host() -> None:
    """A host that nobody knows."""
    connection = imap_connection(1)
    connection.host = "nowhere.invalid"
    assert "no host nowhere.invalid" in fault(lambda: source(connection).open().__enter__()).cause


def test_no_such_folder() -> None:
    """A folder that is not there."""
    with ImapServer() as server:
        assert "There is no folder Nowhere" in fault(lambda: read(server.port, mailbox="Nowhere")).cause


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"conn_type": "smtp"}, "is of type smtp"),
        ({"host": ""}, "names no Host"),
        ({"login": ""}, "names no Login"),
        ({"port": 99999}, "port"),
        ({"extra": "[]"}, "no JSON object"),
        ({"extra": "{"}, "no JSON object"),
        ({"extra": json.dumps({"use_ssl": "perhaps"})}, "use_ssl"),
        ({"extra": json.dumps({"timeout": 0})}, "timeout"),
        ({"extra": json.dumps({"ssl_context": "maybe"})}, "ssl_context"),
        ({"extra": json.dumps({"auth_type": "magic"})}, "auth_type"),
        ({"extra": json.dumps({"mailbox": "\\Seen"})}, "is no folder"),
        ({"extra": json.dumps({"processed": "\\Junk"})}, "is no folder"),
        ({"extra": json.dumps({"processed": "a\r\nb"})}, "is no folder"),
    ],
)
def test_wrong_fields(change: dict[str, Any], told: str) -> None:
    """A field that cannot be used is named before anybody connects."""
    given: dict[str, Any] = {
        "conn_type": "imap",
        "host": HOST,
        "port": 143,
        "login": "bounces",
        "password": "x",
    } | change
    with pytest.raises(MailboxFault, match=told):
        ImapSettings.of("imap_bounces", Connection(conn_id="imap_bounces", **given))


def test_what_the_form_leaves_empty() -> None:
    """A form's empty fields mean the defaults; ports are those of the protocol."""
    extra = json.dumps({"mailbox": "", "processed": None, "use_ssl": "false", "starttls": ""})
    found = ImapSettings.of("i", Connection(conn_id="i", conn_type="imap", host=" h ", login="l", extra=extra))
    assert (found.port, found.extras.mailbox, found.extras.processed) == (143, "INBOX", "Processed")
    plain = ImapSettings.of("i", Connection(conn_id="i", conn_type="imap", host="h", login="l"))
    assert plain.port == 993


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Neither password nor token stands in what a log may show."""
    connection = imap_connection(1, access_token="t0ken", client_secret="s3cret too")
    settings = ImapSettings.of("i", connection)
    for secret in (PASSWORD, "t0ken", "s3cret too"):
        assert secret not in repr(settings)
        assert secret not in settings.redact(f"you said {secret}")
