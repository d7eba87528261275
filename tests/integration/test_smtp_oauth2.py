"""Logging in with tokens that run out; the server knows which one is good, and another one gives them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from notify.channels.smtp import OutboxSmtpHook, SmtpChannel
from notify.domain.outcome import Verdict
from notify.exceptions import SenderFault
from tests.smtp_client import connection, fault_of, parcel
from tests.smtp_sink import HOST, Certificate, SmtpSink

LOGIN = "notify@example.com"
MICROSOFT = "login.microsoftonline.com"


@pytest.fixture
def server() -> Iterator[SmtpSink]:
    """A server that takes the token "t0ken-1", until it is told another."""
    with SmtpSink(users={LOGIN: "t0ken-1"}) as running:
        yield running
        running.behave()
        assert running.wait_closed(), "a connection was left open"


class Source:
    """Who gives tokens: each is good until the next one is given out, and one in advance is refused."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def channel(self, port: int, **extra: object) -> SmtpChannel:
        """A channel that gets its tokens here."""
        source = self

        class Hook(OutboxSmtpHook):
            def fetch_token(self) -> str:
                source.asked += 1
                return source.tokens.pop(0)

        class WithTokens(SmtpChannel):
            _hook = Hook

        return WithTokens("smtp_default", connection(port, login=LOGIN, auth_type="oauth2", **extra))


def logins(sink: SmtpSink) -> int:
    return sum(command.startswith("AUTH") for command in sink.commands)


def test_one_token_for_all_sessions(server: SmtpSink) -> None:
    """The sessions of a run share a token: it is asked for once."""
    source = Source("t0ken-1")
    made = source.channel(server.port)
    with made.open() as first, made.open() as second:
        assert [session.send(parcel()).verdict for session in (first, second)] == [Verdict.ACCEPTED] * 2
    assert (source.asked, logins(server)) == (1, 2)


def test_token_that_has_run_out(server: SmtpSink) -> None:
    """A token that the server takes no more is renewed, and the login repeated, before anybody notices."""
    source = Source("t0ken-1", "t0ken-2")
    made = source.channel(server.port)
    made.open().close()
    server.accept_only(LOGIN, "t0ken-2")
    with made.open() as session:
        assert session.send(parcel()).verdict is Verdict.ACCEPTED
    assert (source.asked, logins(server)) == (2, 3)


def test_fresh_token_is_refused(server: SmtpSink) -> None:
    """Where a fresh token is refused as well, nothing is tried for a third time, and the remedy names the client."""
    source = Source("t0ken-0", "t0ken-0", "t0ken-1")
    fault = fault_of(source.channel(server.port).open)
    assert "535" in fault.cause
    assert "client_secret" in fault.remedy
    assert source.asked == 2


def test_refused_for_now(server: SmtpSink) -> None:
    """A server that cannot check logins for now gets no second token."""
    source = Source("t0ken-1")
    server.answer("AUTH", "454 4.7.0 temporary authentication failure", times=1)
    made = source.channel(server.port)
    assert "454" in fault_of(made.open).cause
    made.open().close()
    assert source.asked == 1


@pytest.mark.parametrize("stage", ["MAIL", "RCPT"])
@pytest.mark.parametrize("answer", ["530 5.7.57 client not authenticated", "535 5.7.3 token has expired"])
def test_session_outlives_its_token(server: SmtpSink, stage: str, answer: str) -> None:
    """A session whose token runs out is over without a charge, and the next one logs in with a fresh token."""
    source = Source("t0ken-1", "t0ken-2")
    made = source.channel(server.port)
    with made.open() as session:
        assert session.send(parcel()).verdict is Verdict.ACCEPTED
        server.accept_only(LOGIN, "t0ken-2")
        server.answer(stage, answer, times=1)
        assert answer in fault_of(lambda: session.send(parcel(number=2))).cause
        assert not session.alive
    with made.open() as session:
        assert session.send(parcel(number=2)).verdict is Verdict.ACCEPTED
    assert (source.asked, logins(server)) == (2, 2)


def test_sessions_renew_once(server: SmtpSink) -> None:
    """Sessions that lose the same token one after the other ask for one fresh token, not for one each."""
    source = Source("t0ken-1", "t0ken-2")
    made = source.channel(server.port)
    with made.open() as first, made.open() as second:
        server.accept_only(LOGIN, "t0ken-2")
        server.answer("MAIL", "535 5.7.3 token has expired", times=2)
        for session in (first, second):
            fault_of(lambda session=session: session.send(parcel()))
            made.open().close()
    assert source.asked == 2


def test_standing_token(server: SmtpSink) -> None:
    """A token that stands in the extras cannot be renewed here: it is tried once, and the remedy says what to do."""
    made = SmtpChannel(
        "smtp_default", connection(server.port, login=LOGIN, auth_type="oauth2", access_token="t0ken-of-old")
    )
    fault = fault_of(made.open)
    assert logins(server) == 1
    assert "access_token" in fault.remedy
    assert "client_id" in fault.remedy


# --- Microsoft's, by the library that the provider uses --------------------------------------------------------


class Microsoft(BaseHTTPRequestHandler):
    """What msal asks, and a proxy before it that lets it through to nobody else."""

    certificate: Certificate
    tokens: list[str]
    asked: list[dict[str, list[str]]]

    def do_CONNECT(self) -> None:
        assert self.path == f"{MICROSOFT}:443"
        self.send_response(200)
        self.end_headers()
        encrypted = self.certificate.context().wrap_socket(self.connection, server_side=True)
        self.connection = encrypted
        self.rfile, self.wfile = encrypted.makefile("rb"), encrypted.makefile("wb")
        self.close_connection = False

    def do_GET(self) -> None:
        place = f"https://{MICROSOFT}/firm"
        if "discovery/instance" in self.path:  # asked once more where a token was refused
            names = {"preferred_network": MICROSOFT, "preferred_cache": MICROSOFT, "aliases": [MICROSOFT]}
            self._answer({"tenant_discovery_endpoint": place, "metadata": [names]})
            return
        self._answer(
            {
                "issuer": f"{place}/v2.0",
                "token_endpoint": f"{place}/oauth2/v2.0/token",
                "authorization_endpoint": f"{place}/oauth2/v2.0/authorize",
            }
        )

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form)
        if form["client_secret"] != ["s3cret-pa55word"]:
            problem = {"error": "invalid_client", "error_description": "AADSTS7000215: s3cret-of-old is no secret"}
            self._answer(problem, 401)
        else:
            self._answer({"token_type": "Bearer", "expires_in": 3599, "access_token": self.tokens.pop(0)})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, said: dict[str, object], status: int = 200) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


@contextmanager
def microsoft(folder: Path, monkeypatch: pytest.MonkeyPatch, *tokens: str) -> Iterator[type[Microsoft]]:
    """Somebody who answers for Microsoft on this machine."""

    class Here(Microsoft):
        protocol_version = "HTTP/1.1"
        certificate = Certificate.make(folder, MICROSOFT)

    Here.tokens, Here.asked = list(tokens), []
    with ThreadingHTTPServer((HOST, 0), Here) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://{HOST}:{running.server_port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Here.certificate.file))
        try:
            yield Here
        finally:
            running.shutdown()
            thread.join(10)


def form(**extra: object) -> dict[str, object]:
    given = {"client_id": "app", "client_secret": "s3cret-pa55word", "tenant_id": "firm"}
    return {"login": LOGIN, "auth_type": "oauth2"} | given | extra


def test_client_credentials(server: SmtpSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By client credentials, msal fetches a token, and another one where the first has run out."""
    with microsoft(tmp_path, monkeypatch, "t0ken-1", "t0ken-2") as source:
        made = SmtpChannel("smtp_default", connection(server.port, **form()))  # type: ignore[arg-type]
        made.open().close()
        server.accept_only(LOGIN, "t0ken-2")
        with made.open() as session:
            assert session.send(parcel()).verdict is Verdict.ACCEPTED
    assert [one["grant_type"] for one in source.asked] == [["client_credentials"]] * 2
    assert source.asked[0]["scope"] == ["https://outlook.office.com/.default"]


def test_wrong_client_secret(server: SmtpSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no token is given, the giver's words are told without the secret, and the mail server is left alone."""
    with microsoft(tmp_path, monkeypatch) as source:
        wrong = connection(server.port, **form(client_secret="s3cret-of-old"))  # type: ignore[arg-type]
        fault = fault_of(SmtpChannel("smtp_default", wrong).open)
    assert "AADSTS7000215" in fault.cause
    assert "s3cret-of-old" not in str(fault)
    assert "client_secret" in fault.remedy
    assert len(source.asked) == 1
    assert logins(server) == 0


def test_giver_of_tokens_cannot_be_reached(server: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where whoever gives tokens cannot be reached, the fault says so, and does not blame the mail server's port."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{HOST}:1")
    made = SmtpChannel("smtp_default", connection(server.port, **form()))  # type: ignore[arg-type]
    with pytest.raises(SenderFault) as caught:
        made.open()
    assert "access token" in caught.value.cause
    assert "Port" not in caught.value.remedy
