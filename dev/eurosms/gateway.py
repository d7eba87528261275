"""What the gateway answers to each request that it understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any

from dev.eurosms.book import Account, Book, Result
from dev.eurosms.rules import (
    CODES,
    ENQUEUED,
    MOST_MESSAGES,
    Message,
    Recipient,
    Refused,
    read_message,
    recipients,
    require_object,
    require_signature,
)

Body = Mapping[str, Any]


@dataclass
class Manner:
    """How to answer where descriptions of the interface differ.

    :param refusals: a refusal has its ``code``; or is FAILED, with a ``list`` of codes; or has ``both``
    :param refusal_status: the HTTP status of a refusal
    :param one_status: a receipt asked for by uuid comes in a ``list``, as an ``object``, or in ``dlrs``
    :param unknown_uuid: of an unknown uuid nothing is told (``empty``), or a ``code``
    :param groups: asked for a group, ``all`` its receipts are told, or the ``changes`` since the last query
    :param most_reports: how many changes ``status/any`` tells at once; all, if None
    """

    refusals: str = "code"
    refusal_status: int = 200
    one_status: str = "list"
    unknown_uuid: str = "empty"
    groups: str = "all"
    most_reports: int | None = None


@dataclass(frozen=True)
class Answer:
    """What goes back: JSON, text or bytes."""

    body: Any
    status: int = 200


@dataclass
class Gateway:
    """The interface without HTTP. Not safe for threads."""

    book: Book
    manner: Manner = field(default_factory=Manner)

    # --- Sending ------------------------------------------------------------------------------------------------------

    def send(self, way: str, body: object, *, dry: bool) -> Answer:
        """Take messages.

        :param way: ``one``, ``o2m`` or ``m2m``
        :param dry: take nothing, charge nothing, and answer the same
        :raises Refused: nothing is taken
        """
        ways = {"one": self._one, "o2m": self._one_to_many, "m2m": self._many_to_many}
        request = require_object(body)
        account = self._account(request.get("iid"))
        return Answer(ways[way](replace(account) if dry else account, request, dry))

    def _one(self, account: Account, body: Body, dry: bool) -> dict[str, Any]:
        message = self._message(account, body, recipients(body, "rcpt"))
        result = self.book.hand_in(account, message, None, dry=dry)[0]
        if result.code != ENQUEUED:
            raise Refused(result.code)
        return {"uuid": list(result.uuids), **_described(ENQUEUED)}

    def _one_to_many(self, account: Account, body: Body, dry: bool) -> dict[str, Any]:
        to = recipients(body, "rcpts")
        if len(to) > MOST_MESSAGES:
            raise Refused("TOO_MANY_MESSAGES")
        message = self._message(account, body, to)
        self._require_all(account, message)
        group = self.book.new_group()
        results = self.book.hand_in(account, message, group, dry=dry)
        accepted = [_entry(result) for result in results if result.code == ENQUEUED]
        answer = {**_verdict(bool(accepted), "WRONG_NUMBER"), "group_id": group}
        if not _is_full(body):
            return answer
        wrong = [_entry(result) for result in results if result.code != ENQUEUED]
        return {**answer, "accepted": accepted, "wrong_numbers": wrong}

    def _require_all(self, account: Account, message: Message) -> None:
        """One text is sent to all good numbers or to none."""
        codes = [self.book.refused(each) for each in message.recipients]
        if other := [code for code in codes if code and code != "WRONG_NUMBER"]:
            raise Refused(other[0])
        if account.balance < account.price * message.parts * codes.count(None):
            raise Refused("NO_BALANCE")

    def _many_to_many(self, account: Account, body: Body, dry: bool) -> dict[str, Any]:
        messages = body.get("msgs")
        if not messages or not isinstance(messages, list):
            raise Refused("NO_MSG")
        if sum(_count(each) for each in messages) > MOST_MESSAGES:
            raise Refused("TOO_MANY_MESSAGES")
        defaults = {"sndr": body.get("dsndr"), "flgs": body.get("dflgs", 0)}
        group = self.book.new_group()
        results = [result for each in messages for result in self._one_of_many(account, defaults, each, group, dry)]
        accepted = sum(result.code == ENQUEUED for result in results)
        if not _is_full(body):
            return {"accepted": accepted, "rejected": len(results) - accepted, "group_id": group}
        entries = [{"e": result.code, **_entry(result)} for result in results]
        return {**_verdict(bool(accepted), "FAILED"), "group_id": group, "result": entries}

    def _one_of_many(self, account: Account, defaults: Body, body: object, group: int, dry: bool) -> list[Result]:
        to: tuple[Recipient, ...] = ()
        try:
            given = require_object(body)
            to = recipients(given, "rcpts" if "rcpts" in given else "rcpt")
            message = self._message(account, {**defaults, **given}, to)
            return self.book.hand_in(account, message, group, dry=dry)
        except Refused as refused:
            return [Result(each, refused.code) for each in to or (Recipient(None),)]

    def _message(self, account: Account, body: Body, to: tuple[Recipient, ...]) -> Message:
        message = read_message(body, account.key, to)
        if account.senders is not None and message.sender not in account.senders:
            raise Refused("WRONG_SENDER")
        return message

    # --- Asking -------------------------------------------------------------------------------------------------------

    def status_one(self, uuid: str) -> Answer:
        """How it stands with a part.

        :raises Refused: nobody knows it, and the manner is to say so
        """
        report = self.book.status_one(uuid)
        if report is None and self.manner.unknown_uuid == "code":
            raise Refused("ERR_NO_SUCH_UUID")
        reports = [] if report is None else [report]
        if self.manner.one_status == "dlrs":
            return _envelope(reports)
        return Answer(report if report and self.manner.one_status == "object" else reports)

    def status_group(self, iid: str, group: str, given: str) -> Answer:
        """How it stands with the messages of a request.

        :raises Refused: account, signature or group
        """
        account = self._account(iid)
        require_signature(account.key, given, group)
        if not (group.isascii() and group.isdigit()):
            raise Refused("ERR_OTHER")
        return _envelope(self.book.status_group(account, int(group), once=self.manner.groups == "changes"))

    def status_any(self, iid: str, transaction: str, given: str) -> Answer:
        """What has changed since the last query; the same for the same transaction.

        :raises Refused: account, signature or transaction
        """
        account = self._account(iid)
        require_signature(account.key, given, transaction)
        if not 8 <= len(transaction) <= 64:
            raise Refused("ERR_OTHER")
        return _envelope(self.book.status_any(account, transaction, self.manner.most_reports))

    def balance(self, iid: str) -> Answer:
        """What is left, as text."""
        account = self.book.accounts.get(iid)
        if account is None:
            return Answer("|BAD_INT|")
        return Answer(f"{account.balance.quantize(Decimal('0.001'), ROUND_DOWN)} EUR")

    # --- Refusing -----------------------------------------------------------------------------------------------------

    def refusal(self, code: str, status: int | None = None) -> Answer:
        """The answer to a request of which nothing is done."""
        described = _described(code)
        forms = {
            "code": described,
            "list": {**_described("FAILED"), "err_list": [described]},
            "both": {**described, "err_list": [described]},
        }
        return Answer(forms[self.manner.refusals], status or self.manner.refusal_status)

    def _account(self, iid: object) -> Account:
        if not iid:
            raise Refused("NO_IID")
        if not isinstance(iid, str) or iid not in self.book.accounts:
            raise Refused("WRONG_IID")
        return self.book.accounts[iid]


def _described(code: str) -> dict[str, Any]:
    return {"err_code": code, "err_desc": CODES.get(code, "Not described")}


def _verdict(good: bool, otherwise: str) -> dict[str, Any]:
    if good:
        return {"err_code": ENQUEUED, "err_list": []}
    return {"err_code": otherwise, "err_list": [_described(otherwise)]}


def _entry(result: Result) -> dict[str, Any]:
    """A line of an answer: number and own key as they came, and a uuid a part."""
    entry = {"r": result.recipient.number}
    if result.uuids:
        entry["i"] = list(result.uuids)
    if result.recipient.key is not None:
        entry["f"] = result.recipient.key
    return entry


def _envelope(reports: list[dict[str, Any]]) -> Answer:
    return Answer({"dlrs": reports, "count": len(reports), "err_code": "OK"})


def _count(body: object) -> int:
    """How many messages an entry of a request stands for."""
    several = body.get("rcpts") if isinstance(body, Mapping) else None
    return len(several) if isinstance(several, list) else 1


def _is_full(body: Body) -> bool:
    return str(body.get("rsp", "basic")).lower() == "full"
