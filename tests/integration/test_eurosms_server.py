"""The local EuroSMS server, asked over real sockets as the channel asks the real one.

The signatures are made here by hand, so that the server is not measured by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.errors import StackError
from dev.eurosms import BY_LAST_DIGIT, Account, EuroSms, Fate, Fault, Manner
from dev.eurosms.orders import (
    NAMED,
    altered,
    backwards,
    cut,
    error,
    fewer,
    garbage,
    late,
    never,
    refusal,
    truncated,
    twice,
)
from dev.settings import CHECKOUT
from tests.smtp_sink import Certificate

IID, KEY = "1-ABCDEF", "s3cret key"
ANNA, BOB, EVA = 421903000001, 421903000002, 421903000003

#: A moment in winter, on the hour.
WINTER = datetime(2026, 1, 10, 11, 0, tzinfo=UTC)


def sign(*values: object, key: str = KEY, algorithm: Callable[..., Any] = hashlib.sha1) -> str:
    return hmac.new(key.encode(), "".join(map(str, values)).encode(), algorithm).hexdigest()


def number_of(recipient: Any) -> Any:
    return recipient["r"] if isinstance(recipient, dict) else recipient


def http_client(timeout: float = 10) -> httpx.Client:
    """Without the certificates of the world, whose reading takes longer than most tests."""
    return httpx.Client(timeout=timeout, trust_env=False, verify=False)


@dataclass
class Client:
    """What a program that knows the interface does."""

    server: EuroSms
    http: httpx.Client = field(default_factory=http_client)

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(f"{self.server.url}/api/v3/{path}", json=body)

    def get(self, path: str) -> Any:
        return self.http.get(f"{self.server.url}/api/{path}").json()

    def one(self, to: Any = ANNA, text: str = "Ahoj", *, mode: str = "send", **fields: Any) -> Any:
        return self.post(f"{mode}/one", {"iid": IID, **message(to, text, **fields)}).json()

    def o2m(self, to: list[Any], text: str = "Ahoj", *, mode: str = "send", **fields: Any) -> Any:
        body = {"iid": IID, "sndr": "MyShop", "rcpts": to, "txt": text, "flgs": 1, "rsp": "full"} | fields
        signed = {"sgn": sign(body["sndr"], *map(number_of, to), body["txt"])}
        return self.post(f"{mode}/o2m", signed | body).json()

    def m2m(self, *messages: Any, mode: str = "send", **fields: Any) -> Any:
        return self.post(f"{mode}/m2m", {"iid": IID, "rsp": "full", "msgs": messages} | fields).json()

    def any(self, transaction: str, **fields: Any) -> Any:
        signed = fields.get("sgn", sign(transaction))
        return self.get(f"v3/status/any/{fields.get('iid', IID)}/{transaction}/{signed}")

    def states(self, transaction: str) -> list[tuple[int, int, str]]:
        """Number, part and state of each report."""
        return [(each["rcpt"], each["sgmnt"], each["dlr"]) for each in self.any(transaction)["dlrs"]]

    def group(self, group: int, iid: str = IID, key: str = KEY) -> Any:
        return self.get(f"v3/status/group/{iid}/{group}/{sign(group, key=key)}")

    def status(self, uuid: str) -> Any:
        return self.get(f"v3/status/one/{uuid}")

    def balance(self, iid: str = IID) -> str:
        return self.http.get(f"{self.server.url}/api/v2/balance", params={"i": iid}).text


def message(to: Any = ANNA, text: str = "Ahoj", **fields: Any) -> dict[str, Any]:
    """A signed message to one number, with a receipt."""
    body = {"sndr": "MyShop", "rcpt": to, "txt": text, "flgs": 1} | fields
    return {"sgn": sign(body["sndr"], number_of(to), body["txt"])} | body


def account(**fields: Any) -> Account:
    return Account(IID, KEY, **{"balance": Decimal(100), "price": Decimal("0.05")} | fields)


@pytest.fixture
def server() -> Iterator[EuroSms]:
    with EuroSms(account()) as running:
        yield running


@pytest.fixture
def client(server: EuroSms) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.http.close()


@pytest.fixture(scope="module")
def busy() -> Iterator[Client]:
    """For many examples."""
    with EuroSms(account(balance=Decimal(10**6))) as running:
        client = Client(running)
        yield client
        client.http.close()


# --- Sending ---------------------------------------------------------------------------------------------------------


def test_one(client: Client, server: EuroSms) -> None:
    """A message is taken, charged by its parts, and has a uuid for each; the record tells all of it."""
    answer = client.one({"r": ANNA, "f": "order-7"}, "ž" * 71, flgs=1 | 2 | 4)
    assert (answer["err_code"], len({str(UUID(each)) for each in answer["uuid"]})) == ("ENQUEUED", 2)
    (sms,) = server.taken
    assert (sms.number, sms.sender, sms.text, sms.key) == (ANNA, "MyShop", "ž" * 71, "order-7")
    assert (sms.uuids, sms.price, sms.group) == (answer["uuid"], Decimal("0.10"), None)
    assert client.balance() == "99.900 EUR"


def test_question_marks(client: Client, server: EuroSms) -> None:
    """Without the flag for diacritics the phone shows question marks, and the account is charged all the same."""
    client.one(text="Ďakujeme")
    (sms,) = server.taken
    assert (sms.text, sms.written, client.balance()) == ("?akujeme", "Ďakujeme", "99.950 EUR")


def test_both_algorithms(client: Client) -> None:
    """SHA-1 and SHA-256 are accepted, in small and capital letters."""
    for algorithm in (hashlib.sha1, hashlib.sha256):
        signed = sign("MyShop", ANNA, "Ahoj", algorithm=algorithm)
        assert client.one(sgn=signed)["err_code"] == client.one(sgn=signed.upper())["err_code"] == "ENQUEUED"
    assert client.one(sgn=sign("MyShop", ANNA, "Ahoj", algorithm=hashlib.md5))["err_code"] == "WRONG_SIGNATURE"


@settings(max_examples=40)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80).filter(str.strip),
    st.integers(min_value=10**7, max_value=10**15 - 1),
    st.sampled_from([hashlib.sha1, hashlib.sha256]),
)
def test_any_text_is_signed_as_it_is_sent(busy: Client, text: str, number: int, algorithm: Callable[..., Any]) -> None:
    """Each text and number, signed byte for byte, is taken; with another text the signature is wrong."""
    signed = sign("MyShop", number, text, algorithm=algorithm)
    assert busy.one(number, text, flgs=2 | 4, sgn=signed)["err_code"] == "ENQUEUED"
    assert busy.server.taken[-1].written == text
    assert busy.one(number, text + "!", flgs=2 | 4, sgn=signed)["err_code"] == "WRONG_SIGNATURE"


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(10**8, 10**12), st.text("ab €", min_size=1).filter(str.strip), st.booleans())))
def test_each_of_many_is_signed_as_one(busy: Client, rows: list[tuple[int, str, bool]]) -> None:
    """Of many messages exactly those are refused that are not signed as one would be."""
    messages = [message(to, text, flgs=2) | ({} if good else {"sgn": "0" * 40}) for to, text, good in rows]
    before = len(busy.server.taken)
    answer = busy.m2m(*messages)
    if rows:
        codes = ["ENQUEUED" if good else "WRONG_SIGNATURE" for _, _, good in rows]
        assert [each["e"] for each in answer["result"]] == codes
    else:
        assert answer["err_code"] == "NO_MSG"
    assert len(busy.server.taken) - before == sum(good for _, _, good in rows)


def test_one_to_many(client: Client, server: EuroSms) -> None:
    """One text goes to all good numbers; wrong ones are named, with their own keys."""
    answer = client.o2m([ANNA, {"r": 12, "f": "short"}, {"r": BOB, "f": "bob"}])
    assert (answer["err_code"], answer["err_list"]) == ("ENQUEUED", [])
    assert [(each["r"], len(each["i"]), each.get("f")) for each in answer["accepted"]] == [
        (ANNA, 1, None),
        (BOB, 1, "bob"),
    ]
    assert answer["wrong_numbers"] == [{"r": 12, "f": "short"}]
    assert {sms.group for sms in server.taken} == {answer["group_id"]}


def test_one_to_many_basic(client: Client) -> None:
    """If nothing else is asked for, the answer does not name the numbers."""
    assert client.o2m([ANNA, BOB], rsp="basic").keys() == {"err_code", "err_list", "group_id"}


def test_one_to_many_is_signed_in_order(client: Client, server: EuroSms) -> None:
    """The signature of several numbers has them in their order."""
    assert client.o2m([ANNA, BOB], sgn=sign("MyShop", BOB, ANNA, "Ahoj"))["err_code"] == "WRONG_SIGNATURE"
    assert server.taken == []


def test_many_to_many(client: Client, server: EuroSms) -> None:
    """Each message has its result, in order, with number, own key, and a uuid a part."""
    messages = [
        message({"r": ANNA, "f": "a"}, "x" * 161, flgs=3),
        message({"r": 5, "f": "b"}),
        message(BOB, sndr="No_Sender"),
        message({"r": EVA, "f": "d"}, "Ahoj!"),
    ]
    answer = client.m2m(*messages)
    assert [(each["e"], each["r"], len(each.get("i", [])), each.get("f")) for each in answer["result"]] == [
        ("ENQUEUED", ANNA, 2, "a"),
        ("WRONG_NUMBER", 5, 0, "b"),
        ("WRONG_SENDER", BOB, 0, None),
        ("ENQUEUED", EVA, 1, "d"),
    ]
    assert [sms.key for sms in server.taken] == ["a", "d"]
    assert answer["err_code"] == "ENQUEUED"


def test_many_to_many_basic(client: Client) -> None:
    """If nothing else is asked for, the answer counts."""
    answer = client.m2m(message(), message(5), message(BOB), rsp="basic")
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert answer.keys() == {"accepted", "rejected", "group_id"}


def test_none_of_many(client: Client) -> None:
    """Where no message is taken, the request has failed."""
    answer = client.m2m(message(5))
    assert (answer["err_code"], [each["e"] for each in answer["result"]]) == ("FAILED", ["WRONG_NUMBER"])


def test_defaults_of_many(client: Client, server: EuroSms) -> None:
    """A message without sender and flags has those of the request, and is signed with them."""
    body = {"rcpt": ANNA, "txt": "ž" * 71, "sgn": sign("Default", ANNA, "ž" * 71)}
    own = message(BOB, "Hi", flgs=0)
    assert client.m2m(body, own, dsndr="Default", dflgs=1 | 2 | 4)["err_code"] == "ENQUEUED"
    assert [(sms.sender, int(sms.flags), len(sms.parts)) for sms in server.taken] == [
        ("Default", 7, 2),
        ("MyShop", 0, 1),
    ]
    assert client.m2m({"rcpt": ANNA, "txt": "x", "sgn": "0" * 40})["result"][0]["e"] == "NO_SNDR"


def test_several_numbers_in_one_of_many(client: Client, server: EuroSms) -> None:
    """A message of many may have several numbers; each has a result."""
    several = {"sndr": "MyShop", "rcpts": [ANNA, BOB], "txt": "Hi", "sgn": sign("MyShop", ANNA, BOB, "Hi")}
    assert [each["r"] for each in client.m2m(several)["result"]] == [ANNA, BOB]
    assert [sms.number for sms in server.taken] == [ANNA, BOB]


def test_a_thousand(client: Client, server: EuroSms) -> None:
    """A request may have a thousand messages, and not one more."""
    messages = [message({"r": ANNA + index, "f": str(index)}, f"Message {index}") for index in range(1000)]
    assert {each["e"] for each in client.m2m(*messages)["result"]} == {"ENQUEUED"}
    assert [sms.key for sms in server.taken] == [str(index) for index in range(1000)]
    assert client.m2m(*messages, message())["err_code"] == "TOO_MANY_MESSAGES"
    assert client.o2m(list(range(ANNA, ANNA + 1001)))["err_code"] == "TOO_MANY_MESSAGES"
    assert len(server.taken) == 1000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iid": None}, "NO_IID"),
        ({"iid": "9-ZZZZZZ"}, "WRONG_IID"),
        ({"sgn": None}, "NO_SGN"),
        ({"sgn": "0" * 64}, "WRONG_SIGNATURE"),
        ({"rcpt": None}, "NO_RCPT"),
        ({"rcpt": "421903000001"}, "WRONG_NUMBER"),
        ({"sndr": None}, "NO_SNDR"),
        ({"sndr": "Zahradnictvo"}, "WRONG_SENDER"),
        ({"txt": None}, "NO_TXT"),
        ({"txt": " "}, "EMPTY_MESSAGE"),
        ({"txt": "x" * 161}, "MSG_TOO_LONG"),
    ],
)
def test_codes(client: Client, server: EuroSms, change: dict[str, Any], code: str) -> None:
    """What is wrong is told by its code, with words; nothing is taken."""
    body = {"sndr": "MyShop", "rcpt": ANNA, "txt": "Ahoj"} | change
    answer = client.post("send/one", {"iid": IID, "sgn": sign(body["sndr"], body["rcpt"], body["txt"])} | body | change)
    assert (answer.status_code, answer.json()["err_code"]) == (200, code)
    assert answer.json()["err_desc"]
    assert server.taken == []


def test_registered_senders() -> None:
    """An account may be bound to senders of its own."""
    with EuroSms(account(senders={"Other"})) as server:
        client = Client(server)
        assert client.one()["err_code"] == "WRONG_SENDER"
        assert client.one(sndr="Other")["err_code"] == "ENQUEUED"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_no_request(client: Client, body: bytes) -> None:
    """What is no object of JSON is answered with a code as well."""
    answer = client.http.post(f"{client.server.url}/api/v3/send/m2m", content=body)
    assert answer.json()["err_code"] == "ERR_OTHER"


@pytest.mark.parametrize(
    ("manner", "status", "codes"),
    [
        (Manner(refusals="code"), 200, ("NO_SNDR", None)),
        (Manner(refusals="list"), 200, ("FAILED", "NO_SNDR")),
        (Manner(refusals="both", refusal_status=400), 400, ("NO_SNDR", "NO_SNDR")),
    ],
)
def test_manners_of_refusing(manner: Manner, status: int, codes: tuple[str, str | None]) -> None:
    """A refusal has a code, or a list of codes, or both, with the HTTP status that is wanted."""
    with EuroSms(account(), manner=manner) as server:
        answer = Client(server).post("send/one", {"iid": IID, **message(sndr="")})
    body = answer.json()
    listed = body["err_list"][0]["err_code"] if "err_list" in body else None
    assert (answer.status_code, (body["err_code"], listed)) == (status, codes)


def test_dry_run(client: Client, server: EuroSms) -> None:
    """A test answers the same, takes nothing and costs nothing."""
    server.top_up("0.10")
    messages = [message(ANNA), message(5), message(BOB), message(EVA)]
    dry = client.m2m(*messages, mode="test")
    assert server.taken == []
    assert client.balance() == "0.100 EUR"
    real = client.m2m(*messages)
    codes = ["ENQUEUED", "WRONG_NUMBER", "ENQUEUED", "NO_BALANCE"]
    assert [each["e"] for each in dry["result"]] == [each["e"] for each in real["result"]] == codes
    assert client.status(dry["result"][0]["i"][0]) == []
    server.top_up(1)
    assert client.one(mode="test").keys() == client.one().keys()
    assert client.o2m([ANNA, 5], mode="test").keys() == client.o2m([ANNA, 5]).keys()
    assert len(server.taken) == 4


def test_money(client: Client, server: EuroSms) -> None:
    """Messages are taken as long as the money lasts; one text for several goes to all of them or to none."""
    server.top_up("0.14")
    assert client.o2m([ANNA, BOB, EVA])["err_code"] == "NO_BALANCE"
    assert [each["e"] for each in client.m2m(message(ANNA, "x" * 161, flgs=3), message(BOB))["result"]] == [
        "ENQUEUED",
        "NO_BALANCE",
    ]
    assert client.one()["err_code"] == "NO_BALANCE"
    assert (client.balance(), len(server.taken)) == ("0.040 EUR", 1)


def test_balance_of_nobody(client: Client) -> None:
    """Asked for the balance of an unknown account, the answer has BAD_INT in it."""
    assert "BAD_INT" in client.balance("9-ZZZZZZ")


def test_many_clients_at_once(server: EuroSms) -> None:
    """What comes at the same time over several connections is all taken, once, and all paid."""

    def send(worker: int) -> None:
        client = Client(server)
        for index in range(20):
            assert client.one({"r": ANNA, "f": f"{worker}-{index}"})["err_code"] == "ENQUEUED"
        client.http.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert len(server.taken) == 160
    assert server.doubles() == []
    assert server.account().balance == Decimal(100) - 160 * Decimal("0.05")


def test_doubles(client: Client, server: EuroSms) -> None:
    """A message that is taken twice is told: by its own key, or by number and text where it has none."""
    for _ in range(2):
        client.one({"r": ANNA, "f": "order-7"})
        client.one(BOB, "Ahoj")
    client.one({"r": ANNA, "f": "order-8"})
    client.one(BOB, "Ahoj!")
    assert server.doubles() == ["order-7", (BOB, "Ahoj")]


# --- Receipts --------------------------------------------------------------------------------------------------------


def test_receipt(server: EuroSms, client: Client) -> None:
    """A receipt tells number, network, price, times, part, state, uuid and own key, one a part."""
    uuids = client.one({"r": ANNA, "f": "order-7"}, "x" * 161, flgs=3)["uuid"]
    answer = client.any("nightly-1")
    assert (answer["count"], answer["err_code"]) == (2, "OK")
    report = answer["dlrs"][1]
    assert [each["i"] for each in answer["dlrs"]] == uuids
    assert (report["rcpt"], report["sgmnt"], report["dlr"], report["f"]) == (ANNA, 2, "DELIVRD", "order-7")
    assert (report["price"], report["err_code"], report["carrier"]) == (0.05, "OK", "231.1")
    assert report.keys() == {"rcpt", "carrier", "price", "dlr_time", "sgmnt", "dlr", "i", "snd", "err_code", "f"}


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (WINTER, "2026-01-10 12:00:00"),
        (datetime(2026, 7, 1, 11, 0, tzinfo=UTC), "2026-07-01 13:00:00"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25 02:30:00"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25 02:30:00"),
    ],
)
def test_times(moment: datetime, written: str) -> None:
    """Times are those of Bratislava, without a zone: in autumn an hour comes twice, and nothing tells which."""
    with EuroSms(account(), clock=lambda: moment) as server:
        client = Client(server)
        client.one()
        (report,) = client.any("nightly-1")["dlrs"]
    assert (report["snd"], report["dlr_time"]) == (written, written)


def test_each_change_once(client: Client) -> None:
    """A change is told once; asked again for the same transaction, the same is told again."""
    client.one(ANNA)
    first = client.any("nightly-1")
    client.one(BOB)
    assert client.any("nightly-2")["dlrs"][0]["rcpt"] == BOB
    assert client.any("nightly-3")["dlrs"] == []
    assert client.any("nightly-1") == first
    assert [each["rcpt"] for each in first["dlrs"]] == [ANNA]


def test_transaction_is_its_account_s() -> None:
    """Another account's transaction of the same name is another, and tells nothing of the first."""
    with EuroSms(account(), Account("2-OTHER", "other")) as server:
        client = Client(server)
        client.one(ANNA)
        other = client.any("nightly-1", iid="2-OTHER", sgn=sign("nightly-1", key="other"))
        assert other["dlrs"] == []
        assert client.any("nightly-1")["count"] == 1


@pytest.mark.parametrize(
    ("transaction", "fields", "code"),
    [
        ("nightly-1", {"sgn": "0" * 40}, "WRONG_SIGNATURE"),
        ("nightly-1", {"sgn": sign("nightly-2")}, "WRONG_SIGNATURE"),
        ("nightly-1", {"iid": "9-ZZZZZZ"}, "WRONG_IID"),
        ("x" * 7, {}, "ERR_OTHER"),
        ("x" * 65, {}, "ERR_OTHER"),
    ],
)
def test_queries_that_are_refused(client: Client, transaction: str, fields: dict[str, Any], code: str) -> None:
    """A query with a wrong signature, account or transaction has a code and tells nothing; the change is not lost."""
    client.one()
    assert client.any(transaction, **fields)["err_code"] == code
    assert client.any("nightly-9")["count"] == 1


def test_longest_and_shortest_transaction(client: Client) -> None:
    """A transaction has 8 to 64 characters."""
    assert client.any("x" * 8)["err_code"] == client.any("x" * 64)["err_code"] == "OK"


def test_only_so_many_at_once() -> None:
    """Where the gateway tells only so many changes at once, the next query tells the next."""
    with EuroSms(account(), manner=Manner(most_reports=2)) as server:
        client = Client(server)
        client.m2m(message(ANNA), message(BOB), message(EVA))
        told = [[number for number, _, _ in client.states(f"nightly-{query}")] for query in range(3)]
    assert told == [[ANNA, BOB], [EVA], []]


def test_without_the_flag_no_receipt(client: Client) -> None:
    """A message without the flag for a receipt has none; asked by its uuid it is on its way for ever."""
    (uuid,) = client.one(flgs=0)["uuid"]
    assert client.any("nightly-1")["dlrs"] == []
    assert client.status(uuid)[0]["dlr"] == "ENROUTE"


def test_one_receipt(client: Client) -> None:
    """Asked by uuid, in any case, a part tells how it stands, as often as it is asked; no signature is needed."""
    uuids = client.one(ANNA, "x" * 161, flgs=3)["uuid"]
    for _ in range(2):
        (report,) = client.status(uuids[1].upper())
        assert (report["i"], report["sgmnt"], report["dlr"]) == (uuids[1], 2, "DELIVRD")
    assert client.any("nightly-1")["count"] == 2


@pytest.mark.parametrize(
    ("manner", "known", "unknown"),
    [
        (Manner(), list, []),
        (Manner(one_status="object"), dict, []),
        (Manner(one_status="dlrs"), dict, {"dlrs": [], "count": 0, "err_code": "OK"}),
    ],
)
def test_manners_of_one_receipt(manner: Manner, known: type, unknown: Any) -> None:
    """A receipt comes in a list, alone, or in an envelope; of an unknown uuid nothing is told."""
    with EuroSms(account(), manner=manner) as server:
        client = Client(server)
        (uuid,) = client.one()["uuid"]
        report = client.status(uuid)
        assert isinstance(report, known)
        assert uuid in json.dumps(report)
        assert client.status("c0ffee00-0000-0000-0000-000000000000") == unknown


def test_code_of_an_unknown_uuid() -> None:
    """If that is wanted, an unknown uuid has a code."""
    with EuroSms(account(), manner=Manner(unknown_uuid="code")) as server:
        assert Client(server).status("c0ffee00")["err_code"] == "ERR_NO_SUCH_UUID"


def test_group(client: Client) -> None:
    """Asked for a group, all its parts tell how they stand, each time, and no others; that tells nobody else."""
    group = client.o2m([ANNA, BOB])["group_id"]
    other = client.m2m(message(EVA))["group_id"]
    for _ in range(2):
        assert [(each["rcpt"], each["dlr"]) for each in client.group(group)["dlrs"]] == [
            (ANNA, "DELIVRD"),
            (BOB, "DELIVRD"),
        ]
    assert [each["rcpt"] for each in client.group(other)["dlrs"]] == [EVA]
    assert client.group(999_999)["dlrs"] == []
    assert client.any("nightly-1")["count"] == 3


def test_group_once() -> None:
    """If that is wanted, a group tells only what has changed since it was last asked."""
    fates = {"": Fate(("ENROUTE", "DELIVRD"))}
    with EuroSms(account(), fates=fates, manner=Manner(groups="changes")) as server:
        client = Client(server)
        group = client.o2m([ANNA])["group_id"]
        told = [[each["dlr"] for each in client.group(group)["dlrs"]] for _ in range(3)]
    assert told == [["ENROUTE"], ["DELIVRD"], []]


def test_group_of_another_account() -> None:
    """A group is told to its own account only, and by its own signature."""
    with EuroSms(account(), Account("2-OTHER", "other")) as server:
        client = Client(server)
        group = client.o2m([ANNA])["group_id"]
        assert client.group(group, iid="2-OTHER", key="other")["dlrs"] == []
        assert client.group(group, key="other")["err_code"] == "WRONG_SIGNATURE"


def test_fates(client: Client, server: EuroSms) -> None:
    """What becomes of a message is decided by how its number ends; each query tells one state more."""
    server.fate("2", Fate(("UNDELIV",)))
    server.fate("3", Fate(("ENROUTE", "ACCEPTD", "DELIVRD")))
    server.fate(str(EVA), Fate(("UNKNOWN", "DELIVRD"), after=1))
    server.fate("44", Fate(()))
    client.m2m(message(ANNA), message(BOB), message(421903000013), message(EVA), message(421903000044))
    told = [{(number, state) for number, _, state in client.states(f"nightly-{query}")} for query in range(4)]
    assert told == [
        {(ANNA, "DELIVRD"), (BOB, "UNDELIV"), (421903000013, "ENROUTE")},
        {(421903000013, "ACCEPTD"), (EVA, "UNKNOWN")},
        {(421903000013, "DELIVRD"), (EVA, "DELIVRD")},
        set(),
    ]
    assert [sms.states for sms in server.taken] == [["DELIVRD"], ["UNDELIV"], ["DELIVRD"], ["DELIVRD"], ["ENROUTE"]]


def test_out_of_order_and_twice(client: Client, server: EuroSms) -> None:
    """States may come in any order, twice, and all with one query."""
    server.fate("1", Fate(("DELIVRD", "ENROUTE"), after=1, together=True))
    server.fate("2", Fate(("DELIVRD", "DELIVRD")))
    client.m2m(message(ANNA), message(BOB))
    assert client.states("nightly-1") == [(BOB, 1, "DELIVRD")]
    assert client.states("nightly-2") == [(ANNA, 1, "DELIVRD"), (ANNA, 1, "ENROUTE"), (BOB, 1, "DELIVRD")]


def test_not_for_all_parts(client: Client, server: EuroSms) -> None:
    """Some parts may have no receipt, or another."""
    server.fate("1", Fate(("DELIVRD",), only=frozenset({1, 3})))
    server.fate("2", Fate(("DELIVRD",), only=frozenset({1}), others=("UNDELIV",)))
    client.m2m(message(ANNA, "x" * 400, flgs=3), message(BOB, "x" * 400, flgs=3))
    assert client.states("nightly-1") == [
        (ANNA, 1, "DELIVRD"),
        (ANNA, 3, "DELIVRD"),
        (BOB, 1, "DELIVRD"),
        (BOB, 2, "UNDELIV"),
        (BOB, 3, "UNDELIV"),
    ]


def test_after_queries_by_uuid(client: Client, server: EuroSms) -> None:
    """A receipt that waits for queries waits for those by uuid too."""
    server.fate("", Fate(("DELIVRD",), after=2))
    (uuid,) = client.one()["uuid"]
    states = [client.status(uuid)[0] for _ in range(3)]
    assert [each["dlr"] for each in states] == ["ENROUTE", "ENROUTE", "DELIVRD"]
    assert states[0]["dlr_time"] is None


def test_seven_days(client: Client, server: EuroSms) -> None:
    """After seven days nobody can ask any more; the record stays."""
    group = client.o2m([ANNA])["group_id"]
    (uuid,) = server.taken[0].uuids
    server.forward(timedelta(days=7) - timedelta(minutes=1))
    assert client.status(uuid)[0]["dlr"] == "DELIVRD"
    server.forward(timedelta(minutes=2))
    assert client.status(uuid) == []
    assert client.group(group)["dlrs"] == []
    assert client.any("nightly-1")["dlrs"] == []
    assert len(server.taken) == 1


# --- Pushed receipts -------------------------------------------------------------------------------------------------


class Listener(ThreadingHTTPServer):
    """Whom receipts are pushed to.

    :param words: what it answers to each; the uuid stands for {}
    """

    daemon_threads = True

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.received: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Listening)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/receipts"


class _Listening(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        listener = self.server
        assert isinstance(listener, Listener)
        fields = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        listener.received.append(fields)
        uuid = json.loads(fields["delivery_report"])["sms_uuid"] if "delivery_report" in fields else fields["sms_uuid"]
        words = listener.words.pop(0) if listener.words else "ok|{}"
        if words:
            answer = words.format(uuid).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *_words: object) -> None: ...


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Start listeners."""
    started: list[Listener] = []

    def start(*words: str) -> Listener:
        listener = Listener(*words)
        threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        listener.shutdown()
        listener.server_close()


def confirmed(count: int) -> Callable[[EuroSms], bool]:
    return lambda server: sum(push.confirmed for push in server.pushes) >= count


def test_push(client: Client, server: EuroSms, listen: Callable[..., Listener]) -> None:
    """A receipt is pushed in the query, one a part; a signed query tells the same afterwards."""
    listener = listen()
    server.push_to(listener.url)
    uuids = client.one(ANNA, "x" * 161, flgs=3)["uuid"]
    assert server.wait(confirmed(2))
    assert [each["sms_uuid"] for each in listener.received] == uuids
    fields = {
        "sms_uuid",
        "delivery_result",
        "delivery_time",
        "sent_time",
        "sent_result",
        "operator",
        "price",
        "segment",
    }
    assert listener.received[1].keys() == fields
    assert (listener.received[1]["segment"], listener.received[1]["delivery_result"]) == ("2", "DELIVRD")
    assert [(each["i"], each["dlr"]) for each in client.any("nightly-1")["dlrs"]] == [
        (uuid, "DELIVRD") for uuid in uuids
    ]


def test_push_as_json(client: Client, server: EuroSms, listen: Callable[..., Listener]) -> None:
    """A receipt may be pushed as JSON in one field."""
    listener = listen()
    server.push_to(listener.url, form="json")
    (uuid,) = client.one()["uuid"]
    assert server.wait(confirmed(1))
    report = json.loads(listener.received[0]["delivery_report"])
    assert (report["sms_uuid"], report["price"], report["segment"]) == (uuid, 0.05, 1)


def test_push_until_confirmed(client: Client, server: EuroSms, listen: Callable[..., Listener]) -> None:
    """A receipt is pushed again until the answer is ok and its uuid; silence and other words are none."""
    listener = listen("", "ok", "ok|c0ffee", "no|{}", "ok|{}\n")
    server.push_to(listener.url, pause=0.01)
    (uuid,) = client.one()["uuid"]
    assert server.wait(confirmed(1))
    assert [(push.uuid, push.confirmed) for push in server.pushes] == [(uuid, False)] * 4 + [(uuid, True)]


def test_push_follows_what_a_query_would_tell(client: Client, server: EuroSms, listen: Callable[..., Listener]) -> None:
    """The next state is pushed when the next query would tell it."""
    server.fate("", Fate(("ENROUTE", "DELIVRD")))
    client.one()
    server.push_to(listen().url)
    assert server.wait(confirmed(1))
    assert client.states("nightly-1") == [(ANNA, 1, "ENROUTE")]
    assert server.wait(confirmed(2))
    assert [push.state for push in server.pushes] == ["ENROUTE", "DELIVRD"]


def test_push_for_a_day(client: Client, server: EuroSms, listen: Callable[..., Listener]) -> None:
    """What nobody confirms is not pushed any more after 24 hours."""
    client.one(ANNA)
    server.forward(timedelta(hours=24, minutes=1))
    (uuid,) = client.one(BOB)["uuid"]
    server.push_to(listen().url)
    assert server.wait(confirmed(1))
    assert {push.uuid for push in server.pushes} == {uuid}


# --- Faults ----------------------------------------------------------------------------------------------------------

#: Fault, what the client makes of it, whether a repeat doubles.
BROKEN: list[tuple[Fault, type[Exception], bool]] = [
    (never(), httpx.ReadTimeout, False),
    (never(taken=True), httpx.ReadTimeout, True),
    (cut(), httpx.NetworkError, False),
    (cut(taken=True), httpx.NetworkError, True),
    (truncated(), json.JSONDecodeError, True),
    (garbage(), json.JSONDecodeError, False),
    (garbage(b"", taken=True), json.JSONDecodeError, True),
]


@pytest.mark.parametrize(("fault", "exception", "taken"), BROKEN)
def test_no_answer(server: EuroSms, fault: Fault, exception: type[Exception], taken: bool) -> None:
    """Silence, a broken connection and garbage look alike from outside, whether the message was taken or not."""
    client = Client(server, http_client(0.3))
    server.order(fault)
    with pytest.raises(exception):
        client.one({"r": ANNA, "f": "order-7"})
    assert [sms.key for sms in server.taken] == ["order-7"] * taken
    client.http.timeout = httpx.Timeout(10)
    assert client.one({"r": ANNA, "f": "order-7"})["err_code"] == "ENQUEUED"
    assert server.doubles() == ["order-7"] * taken
    client.http.close()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (error(), (503, "SYSTEM_ERROR", 0)),
        (error(500, taken=True), (500, "SYSTEM_ERROR", 1)),
        (refusal("NO_BALANCE"), (200, "NO_BALANCE", 0)),
        (refusal("QUOTA_OF_THE_MOON"), (200, "QUOTA_OF_THE_MOON", 0)),
        (refusal("ERR_OTHER", taken=True), (200, "ERR_OTHER", 1)),
    ],
)
def test_wrong_answer(client: Client, server: EuroSms, fault: Fault, expected: tuple[int, str, int]) -> None:
    """An error or a code is answered for the whole request, and may be a lie."""
    server.order(fault, on="send/m2m")
    answer = client.post("send/m2m", {"iid": IID, "msgs": [message()]})
    assert (answer.status_code, answer.json()["err_code"], len(server.taken)) == expected


def test_late(client: Client, server: EuroSms) -> None:
    """A late answer is the right one; what still waits is answered when the server is to behave."""
    server.order(late(0.05))
    assert client.one()["err_code"] == "ENQUEUED"
    server.order(late(3600))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.one, BOB)
        assert server.wait(lambda each: len(each.requests()) == 2)
        assert not waiting.done()
        server.behave()
        assert waiting.result(10)["err_code"] == "ENQUEUED"


def test_silence_ends(client: Client, server: EuroSms) -> None:
    """A silent connection ends when the server is to behave; nothing else is ordered any more."""
    server.order(never(), times=None)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.one)
        assert server.wait(lambda each: each.requests("send"))
        server.behave()
        assert isinstance(waiting.exception(10), httpx.RemoteProtocolError)
    assert server.waiting == []
    assert client.one()["err_code"] == "ENQUEUED"


def test_which_requests(client: Client, server: EuroSms) -> None:
    """A fault meets the requests that it was ordered for, as often as it was, after as many as it was."""
    server.order(error(), on="status/any", times=2, skip=1)
    assert client.one()["err_code"] == "ENQUEUED"
    codes = [client.any(f"nightly-{query}")["err_code"] for query in range(4)]
    assert codes == ["OK", "SYSTEM_ERROR", "SYSTEM_ERROR", "OK"]
    assert [request.words[1] for request in server.requests("status/any")] == [f"nightly-{query}" for query in range(4)]


def test_lost_query_is_asked_again(client: Client, server: EuroSms) -> None:
    """A query whose answer was lost tells the same reports to the same transaction, and none to another."""
    client.one()
    server.order(cut(taken=True), on="status")
    with pytest.raises(httpx.NetworkError):
        client.any("nightly-1")
    assert client.any("nightly-2")["dlrs"] == []
    assert client.any("nightly-1")["count"] == 1


def test_reports_twice_backwards_fewer(client: Client, server: EuroSms) -> None:
    """An answer may tell each report twice, in another order, or one less."""
    client.m2m(message(ANNA), message(BOB))
    orders = ((twice(), [ANNA, ANNA, BOB, BOB]), (backwards(), [BOB, ANNA]), (fewer(), [ANNA]))
    for fault, numbers in orders:
        server.order(fault, on="status/any")
        answer = client.any("nightly-1")
        assert ([each["rcpt"] for each in answer["dlrs"]], answer["count"]) == (numbers, len(numbers))


def test_altered(client: Client, server: EuroSms) -> None:
    """A right answer may be changed at will."""
    server.order(altered(lambda body: body | {"result": body["result"][::-1], "more": 1}), on="send/m2m")
    answer = client.m2m(message(ANNA), message(BOB))
    assert ([each["r"] for each in answer["result"]], answer["more"]) == ([BOB, ANNA], 1)


def test_refused_numbers(client: Client, server: EuroSms) -> None:
    """A number may be refused with any code, until it is taken again."""
    server.refuse("2", "WRONG_NUMBER")
    server.refuse(str(EVA), "QUOTA_OF_THE_MOON")
    codes = [each["e"] for each in client.m2m(message(ANNA), message(BOB), message(EVA))["result"]]
    assert codes == ["ENQUEUED", "WRONG_NUMBER", "QUOTA_OF_THE_MOON"]
    assert client.o2m([ANNA, BOB])["wrong_numbers"] == [{"r": BOB}]
    assert client.o2m([ANNA, EVA])["err_code"] == "QUOTA_OF_THE_MOON"
    server.refuse("2", None)
    assert client.one(BOB)["err_code"] == "ENQUEUED"


def test_balance_and_dry_run_fail_too(client: Client, server: EuroSms) -> None:
    """Faults can be ordered for dry runs, and for the balance."""
    server.order(error(500), on="test")
    server.order(garbage(b"80.693"), on="balance")
    assert client.one()["err_code"] == "ENQUEUED"
    assert client.one(mode="test")["err_code"] == "SYSTEM_ERROR"
    assert client.balance() == "80.693"


# --- The page --------------------------------------------------------------------------------------------------------


def test_page(client: Client, server: EuroSms) -> None:
    """The page shows number, sender, text, parts and state of what was taken, and runs nothing of it."""
    page = client.http.get(server.url)
    assert "Nothing was sent yet." in page.text
    client.one({"r": ANNA, "f": "<b>key"}, "<script>alert('Ďakujeme')</script>" + "x" * 70, flgs=1 | 2 | 4)
    client.any("nightly-1")
    page = client.http.get(server.url)
    for shown in (
        f"+{ANNA}",
        "MyShop",
        "&lt;script&gt;alert(&#39;Ďakujeme&#39;)",
        "<td>2</td>",
        "DELIVRD",
        "&lt;b&gt;key",
    ):
        assert shown in page.text
    assert "<script" not in page.text
    assert KEY not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_messages_as_json(client: Client, server: EuroSms) -> None:
    """Programs see the same messages as JSON."""
    (uuid,) = client.one({"r": ANNA, "f": "order-7"})["uuid"]
    (told,) = client.http.get(f"{server.url}/control/messages").json()
    assert (told["number"], told["text"], told["key"], told["parts"], told["price"], told["uuids"]) == (
        ANNA,
        "Ahoj",
        "order-7",
        1,
        "0.05",
        [uuid],
    )


def test_orders_by_the_page(client: Client, server: EuroSms) -> None:
    """Forms, or JSON, order a fault, set a balance, a fate, a refused number, and forget the faults."""

    def post(action: str, **form: Any) -> None:
        answer = client.http.post(f"{server.url}/control/{action}", data=form)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")

    post("order", fault="503, nothing taken", on="sending", times="2")
    assert "503, nothing taken: sending, 2 more times" in client.http.get(server.url).text
    assert client.one()["err_code"] == "SYSTEM_ERROR"
    post("behave")
    post("fate", number=f"+{ANNA}", states="enroute, undeliv", after="1")
    post("refuse", number=str(BOB), code="WRONG_NUMBER")
    post("balance", account=IID, balance="1,5")
    assert [each["e"] for each in client.m2m(message(ANNA), message(BOB))["result"]] == ["ENQUEUED", "WRONG_NUMBER"]
    assert [client.states(f"nightly-{query}") for query in range(3)] == [
        [],
        [(ANNA, 1, "ENROUTE")],
        [(ANNA, 1, "UNDELIV")],
    ]
    assert client.balance() == "1.450 EUR"
    body = {"fault": "an unknown code", "on": "everything", "times": ""}
    assert client.http.post(f"{server.url}/control/order", json=body).status_code == 303
    assert client.one()["err_code"] == client.any("nightly-4")["err_code"] == "QUOTA_OF_THE_MOON"


@pytest.mark.parametrize(
    ("action", "form"),
    [
        ("order", {"fault": "none such"}),
        ("order", {"fault": "no balance", "on": "nothing"}),
        ("order", {"fault": "no balance", "times": "-1"}),
        ("fate", {"number": "x", "states": "DELIVRD"}),
        ("fate", {"number": "1", "after": "soon"}),
        ("balance", {"account": "9-ZZZZZZ", "balance": "1"}),
        ("balance", {"account": IID, "balance": "much"}),
        ("balance", {"account": IID, "balance": "NaN"}),
    ],
)
def test_forms_that_make_no_sense(client: Client, server: EuroSms, action: str, form: dict[str, str]) -> None:
    """What makes no sense in a form is told, and changes nothing."""
    answer = client.http.post(f"{server.url}/control/{action}", data=form)
    assert (answer.status_code, bool(answer.text)) == (400, True)
    assert (server.waiting, server.fates, client.balance()) == ([], {"": Fate()}, "100.000 EUR")


def test_form_of_another_site(client: Client, server: EuroSms) -> None:
    """A page of another site cannot order anything."""
    form = {"fault": "no balance"}
    for origin, status in ((server.url, 303), ("https://evil.example.com", 403), ("null", 403)):
        answer = client.http.post(f"{server.url}/control/order", data=form, headers={"Origin": origin})
        assert answer.status_code == status
    assert len(server.waiting) == 1


@pytest.mark.parametrize("name", NAMED)
def test_faults_by_name(client: Client, server: EuroSms, name: str) -> None:
    """Each fault of the page takes the message or not, as it says, and leaves the server of use."""
    client.http.timeout = httpx.Timeout(0.3)
    client.http.post(f"{server.url}/control/order", data={"fault": name, "times": "1"})
    with suppress(httpx.TransportError, json.JSONDecodeError):
        client.one()
    assert len(server.taken) == NAMED[name].taken
    server.behave()
    client.http.timeout = httpx.Timeout(10)
    assert client.one()["err_code"] == "ENQUEUED"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/v3/send/one"), ("GET", "/favicon.ico"), ("POST", "/control/x")]
)
def test_unknown_paths(client: Client, server: EuroSms, method: str, path: str) -> None:
    """What the server does not have is not found."""
    answer = client.http.request(method, server.url + path)
    assert (answer.status_code, answer.json()["err_code"]) == (404, "ERR_OTHER")


# --- The server itself -----------------------------------------------------------------------------------------------


def test_stop_leaves_nothing(server: EuroSms) -> None:
    """A server that stops ends its connections, silent ones too, and all its threads."""
    before = set(threading.enumerate())
    with EuroSms(account()) as stopping:
        client = Client(stopping, http_client(30))
        client.one()  # a connection that stays open
        stopping.push_to("http://127.0.0.1:9/")
        stopping.order(never())
        with ThreadPoolExecutor(1) as pool:
            silent = pool.submit(Client(stopping).one)
            assert stopping.wait(lambda each: len(each.requests()) == 2)
            stopping.stop()
            assert silent.exception(10) is not None
    assert set(threading.enumerate()) <= before
    with pytest.raises(httpx.TransportError):
        client.one()


def test_record(tmp_path: Path) -> None:
    """The record has a line for each message that was taken."""
    record = tmp_path / "taken.jsonl"
    with EuroSms(account(), record=record) as server:
        client = Client(server)
        client.m2m(message({"r": ANNA, "f": "a"}), message(5), message({"r": BOB, "f": "b"}))
        client.one(mode="test")
    assert [json.loads(line)["key"] for line in record.read_text().splitlines()] == ["a", "b"]


def test_what_an_earlier_server_took(tmp_path: Path) -> None:
    """A server that recalls the record goes on as the one that wrote it: messages, money, receipts, groups."""
    record = tmp_path / "taken.jsonl"
    with EuroSms(account(), record=record, recall=True) as server:  # there is none yet
        client = Client(server)
        client.one({"r": ANNA, "f": "a"}, "Ďakujeme", flgs=5)
        group = client.m2m(message({"r": 421903000006, "f": "b"}), message(BOB, flgs=0))["group_id"]
    with record.open("a") as file:
        file.write('{"at": "2026-')  # killed while it wrote
    with EuroSms(account(), fates=BY_LAST_DIGIT, record=record, recall=True) as again:
        known = [{**each.as_json(), "states": None} for each in again.taken]
        assert known == [{**each.as_json(), "states": None} for each in server.taken]
        assert again.account().balance == server.account().balance
        client = Client(again)
        assert client.states("nightly-1") == [(ANNA, 1, "DELIVRD"), (421903000006, 1, "UNDELIV")]
        assert client.status(again.taken[0].uuids[0])[0]["dlr"] == "DELIVRD"
        assert client.m2m(message())["group_id"] > group
    with EuroSms(account(), record=record) as forgetful:
        assert forgetful.taken == []


def test_port_in_use(server: EuroSms) -> None:
    """A port that somebody uses is told, and by which setting to choose another."""
    with pytest.raises(StackError, match="SMS_PORT"):
        EuroSms(port=server.port).start()


def test_tls(tmp_path: Path) -> None:
    """With a certificate it speaks TLS, and breaks connections as it does without."""
    certificate = Certificate.make(tmp_path)
    with EuroSms(account(), tls=certificate.context()) as server:
        trusting = ssl.create_default_context(cafile=certificate.file)
        client = Client(server, httpx.Client(timeout=10, trust_env=False, verify=trusting))
        assert server.url.startswith("https://")
        assert client.one()["err_code"] == "ENQUEUED"
        server.order(cut(taken=True))
        with pytest.raises(httpx.TransportError):
            client.one()
        assert len(server.taken) == 2
        with pytest.raises(httpx.ConnectError, match="certificate"):
            Client(server, httpx.Client(trust_env=False)).one()


def test_by_hand() -> None:
    """The program says its port, takes messages for the account it is told, and ends at a signal."""
    command = [sys.executable, "-m", "dev.eurosms", "--iid", IID, "--key", KEY, "--balance", "1", "--price", "0.25"]
    environment = {"PYTHONPATH": f"{CHECKOUT / 'plugins'}:{CHECKOUT}"}
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            word, port = process.stdout.readline().split()
            assert word == "listening"
            elsewhere = EuroSms(port=int(port))  # only its address is used
            client = Client(elsewhere)
            assert client.m2m(message(421903000006), message(421903000009))["err_code"] == "ENQUEUED"
            assert client.states("nightly-1") == [(421903000006, 1, "UNDELIV")]
            assert client.balance() == "0.500 EUR"
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
