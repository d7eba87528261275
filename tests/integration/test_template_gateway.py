"""SMS through a gateway that is described by templates, against a real web server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from airflow.sdk import Connection

from dev.ports import HOST
from notify.channels.template_gateway import TemplateGatewayChannel
from notify.domain.outcome import Outcome, Verdict
from notify.domain.parcel import Addressee, Parcel
from notify.exceptions import SenderFault

SENDER = "sms_gateway"
ANNA = "+421903622237"

EXTRAS: dict[str, Any] = {
    "gateway": "template",
    "sender": "MyShop",
    "path": "/v1/messages?id={{ key }}",
    "headers": {"Authorization": "Bearer {{ password }}"},
    "request": '{"to": {{ number | tojson }}, "text": {{ text | tojson }}}',
    "accepted": "status == 202 and answer.status == 'queued'",
    "refused": "answer.error == 'bad_number'",
    "sender_fault": "status == 402 or answer.error == 'no_money'",
    "timeout": 2,
}


class Gateway:
    """A web server that remembers what it was asked, and answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.answer: tuple[int, bytes] | None = (202, b'{"status": "queued"}')
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                gateway.asked.append((self.path, dict(self.headers), json.loads(body)))
                if gateway.answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, said = gateway.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that takes everything."""
    running = Gateway()
    yield running
    running.close()


def send(gateway: Gateway, text: str = 'Hello "you"\nand č', **extras: object) -> Outcome:
    described = Connection(
        conn_id=SENDER,
        conn_type="http",
        host=HOST,
        schema="http",
        port=gateway.port,
        login="shop",
        password="s3cret-pa55word",
        extra=json.dumps(EXTRAS | extras),
    )
    parcel = Parcel(7, "<7@example.com>", (Addressee(0, ANNA),), b"", text.encode())
    with TemplateGatewayChannel(SENDER, described).open() as session:
        return session.send(parcel)


def test_taken(gateway: Gateway) -> None:
    """The request is what the templates say, whatever the text holds."""
    outcome = send(gateway)
    assert outcome.verdict is Verdict.ACCEPTED
    [(path, headers, body)] = gateway.asked
    assert path.startswith("/v1/messages?id=7-0-")
    assert headers["Authorization"] == "Bearer s3cret-pa55word"
    assert body == {"to": ANNA, "text": 'Hello "you"\nand č'}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ((200, b'{"error": "bad_number"}'), Verdict.PERMANENT),
        ((202, b'{"status": "odd"}'), Verdict.IN_DOUBT),
        ((503, b"<html>"), Verdict.IN_DOUBT),
        ((200, b""), Verdict.IN_DOUBT),
        ((202, b"[1, 2]"), Verdict.IN_DOUBT),
        (None, Verdict.IN_DOUBT),
    ],
)
def test_what_an_answer_means(gateway: Gateway, answer: tuple[int, bytes] | None, verdict: Verdict) -> None:
    """What is neither taken nor refused is in doubt."""
    gateway.answer = answer
    assert send(gateway).verdict is verdict


@pytest.mark.parametrize("answer", [(402, b""), (200, b'{"error": "no_money"}')])
def test_the_account_is_refused(gateway: Gateway, answer: tuple[int, bytes]) -> None:
    """What is refused to the account is the sender's fault."""
    gateway.answer = answer
    with pytest.raises(SenderFault, match="refuses"):
        send(gateway)


def test_an_expression_that_fails(gateway: Gateway) -> None:
    """What an expression cannot tell is in doubt: it was handed over."""
    assert send(gateway, accepted="answer.status + 1 > 2").verdict is Verdict.IN_DOUBT


@pytest.mark.parametrize("status", [202, 400])
@pytest.mark.parametrize("before", [0, 190], ids=["whole", "cut off"])
def test_no_secret_is_told(gateway: Gateway, status: int, before: int) -> None:
    """A gateway that repeats the password does not bring it into the register, whatever it does with the SMS."""
    gateway.answer = (status, b"x" * before + b" said: s3cret-pa55word")
    outcome = send(gateway, accepted="status == 202", sender_fault="false", refused="status == 400")
    assert outcome.verdict is (Verdict.ACCEPTED if status == 202 else Verdict.PERMANENT)
    assert "s3c" not in outcome.decisive.text


@pytest.mark.parametrize("value", ["Bearer {{ password }}{{ '\\n' }}", "a\x00b"])
def test_a_header_that_cannot_be_sent(gateway: Gateway, value: str) -> None:
    """What HTTP cannot carry, as the line's end of a key that was pasted, is the sender's fault: nobody was asked."""
    with pytest.raises(SenderFault, match="HTTP cannot carry") as caught:
        send(gateway, headers={"Authorization": value})
    assert gateway.asked == []
    assert "s3cret" not in str(caught.value)


def test_nobody_listens(gateway: Gateway) -> None:
    """What cannot be reached has taken nothing."""
    gateway.close()
    with pytest.raises(SenderFault, match="cannot be reached"):
        send(gateway)


@pytest.mark.parametrize(
    ("extra", "value"),
    [("request", "{{ text"), ("accepted", "status =="), ("headers", ["a"]), ("method", "BREW"), ("request", 7)],
)
def test_what_cannot_be_used(gateway: Gateway, extra: str, value: object) -> None:
    """A template that is none is told before anything is sent, with its field."""
    with pytest.raises(SenderFault, match=extra):
        send(gateway, **{extra: value})
    assert gateway.asked == []


def test_a_template_that_fails_sends_nothing(gateway: Gateway) -> None:
    """A template that asks for what there is not, or reaches out of its sandbox, is the sender's fault."""
    for request in ("{{ nothing }}", "{{ text.__class__.__mro__ }}"):
        with pytest.raises(SenderFault, match="a template fails"):
            send(gateway, request=request)
    assert gateway.asked == []
