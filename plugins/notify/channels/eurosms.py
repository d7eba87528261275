"""SMS through EuroSMS, as an Airflow connection of type ``http`` describes it.

There is no key by which EuroSMS would know a request that comes twice. So whatever was handed over without an answer
is in doubt, and an SMS is sent at most once unless its producer says otherwise. The message's own number travels with
it: a receipt that bears it settles the doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Connection

from notify.channels.base import Channel, Session
from notify.channels.eurosms_client import Answer, EuroSmsClient, Silence, code_and_words, listed
from notify.channels.eurosms_codes import ENQUEUED, Meaning, meaning_of
from notify.channels.eurosms_credit import ask
from notify.channels.eurosms_receipts import EuroSmsReceipts
from notify.channels.eurosms_settings import EuroSmsSettings
from notify.channels.replies import words
from notify.domain import sms
from notify.domain.credit import Credit
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.parcel import Addressee, Parcel
from notify.domain.receipt import own_key
from notify.exceptions import SenderFault, SenderRefused

#: Flags of a message.
RECEIPT, LONG, DIACRITICS, LOW_PRIORITY = 1, 2, 4, 32

#: An SMS has no more parts than the header of a part can count; what a gateway says beyond that is not kept.
MOST_REFERENCES = 255

#: A message and one of its numbers.
Item = tuple[Parcel, Addressee]


class EuroSmsChannel(Channel):
    """EuroSMS, and whom its SMS are from.

    :param sender: the connection's id
    :param connection: the connection
    :raises notify.exceptions.SenderFault: a field of the connection is missing or wrong
    """

    pushes = True

    def __init__(self, sender: str, connection: Connection) -> None:
        self.sender = sender
        self._settings = EuroSmsSettings.of(sender, connection)
        self.max_connections = self._settings.max_connections
        self.batch = self._settings.batch
        self.site = self._settings.site

    def about(self) -> Mapping[str, str]:
        """Where it leads, and whom readers see."""
        return {**self._settings.about(), **super().about()}

    def receipts(self) -> EuroSmsReceipts:
        """What EuroSMS tells of messages after it took them."""
        return EuroSmsReceipts(self._settings)

    def credit(self) -> Credit:
        """What is left on the account."""
        return ask(self._settings)

    def open(self) -> EuroSmsSession:
        """Make a client. It connects with its first message; a refused login is an answer to that."""
        return EuroSmsSession(self._settings)


class EuroSmsSession(Session):
    """A kept connection to the gateway.

    :param settings: the Airflow connection's
    """

    def __init__(self, settings: EuroSmsSettings) -> None:
        self._settings = settings
        self._client = EuroSmsClient(settings)
        self._alive = True

    @property
    def alive(self) -> bool:
        """Whether nothing broke yet."""
        return self._alive

    def close(self) -> None:
        """Close the connection."""
        self._alive = False
        self._client.close()

    def send(self, parcel: Parcel) -> Outcome:
        """Hand over one SMS.

        :raises SenderFault: the gateway cannot be reached, or refuses to work for this account
        """
        [said] = self.send_all([parcel])
        if isinstance(said, SenderFault):
            raise said
        return said

    def send_all(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | SenderFault]:
        """Hand over several SMS in one request (m2m), each signed by itself."""
        items = [(parcel, addressee) for parcel in parcels for addressee in parcel.addressees]
        way = "test" if self._settings.test else "send"
        self._alive = False
        try:
            answer = self._client.ask(f"/api/v3/{way}/m2m", self._request(items))
        except SenderFault as fault:
            return [fault] * len(parcels)
        told = _told(items, answer, self._settings)
        refused = any(isinstance(one, SenderFault) for one in told.values())
        self._alive = not (refused or isinstance(answer, Silence))
        return [_joined([told[_key((parcel, one))] for one in parcel.addressees]) for parcel in parcels]

    def _request(self, items: Sequence[Item]) -> dict[str, Any]:
        settings = self._settings
        return {
            "iid": settings.login,
            "dsndr": settings.sender,
            "rsp": "full",
            "msgs": [self._message(item) for item in items],
        }

    def _message(self, item: Item) -> dict[str, Any]:
        parcel, addressee = item
        settings, text, number = self._settings, parcel.body.decode(), addressee.address.removeprefix("+")
        message: dict[str, Any] = {
            "sgn": settings.sign(settings.sender, number, text),
            "rcpt": {"r": int(number), "f": _key(item)},
            "sndr": settings.sender,
            "txt": text,
            "flgs": _flags(text, bulk=parcel.bulk),
        }
        return message | ({"ttl": settings.ttl} if settings.ttl else {})


def _key(item: Item) -> str:
    parcel, addressee = item
    return str(own_key(parcel.id, addressee.position, parcel.message_id))


def _flags(text: str, *, bulk: bool) -> int:
    found = sms.count(text)
    return (
        RECEIPT
        | (LONG if found.parts > 1 else 0)
        | (0 if found.encoding is sms.Encoding.GSM else DIACRITICS)
        | (LOW_PRIORITY if bulk else 0)
    )


# --- What an answer says ---------------------------------------------------------------------------------------------

Said = RecipientOutcome | SenderFault


def _told(items: Sequence[Item], answer: Answer | Silence, settings: EuroSmsSettings) -> dict[str, Said]:
    """What an answer says of each message, by its own key; where it says nothing of one, that is in doubt."""
    if isinstance(answer, Silence):
        return {_key(item): _doubt(item, answer.words) for item in items}
    results = [one for one in listed(answer.get("result")) if isinstance(one, dict)]
    if not results:
        return {_key(item): _understood(item, answer, settings) for item in items}
    by_key = {str(one.get("f")): _as_one(one) for one in reversed(results)}
    return {_key(item): _understood(item, by_key.get(_key(item), _NO_WORD), settings) for item in items}


def _as_one(result: Mapping[str, Any]) -> Answer:
    """A line of the answer to several, as an answer to one."""
    return {"err_code": result.get("e"), "uuid": result.get("i")}


_NO_WORD: Answer = {}


def _understood(item: Item, answer: Answer, settings: EuroSmsSettings) -> Said:
    """What an answer about one message, or about all of them, says."""
    code, said = code_and_words(answer)
    if code == ENQUEUED and "uuid" in answer:
        references = tuple(words(one) for one in listed(answer["uuid"])[:MOST_REFERENCES])
        return RecipientOutcome(item[1].position, Verdict.ACCEPTED, None, said, references)
    if code in {ENQUEUED, ""}:
        return _doubt(item, "the answer says nothing of it")
    found = meaning_of(code)
    if isinstance(found, Meaning):
        return SenderRefused(f"{settings.url} refuses: {said}.", found.remedy.format(conn_id=settings.conn_id))
    return RecipientOutcome(item[1].position, found, None, said)


def _doubt(item: Item, why: str) -> RecipientOutcome:
    return RecipientOutcome(item[1].position, Verdict.IN_DOUBT, None, why)


def _joined(told: Sequence[Said]) -> Outcome | SenderFault:
    """What came of one message. It has one number; of several only all together can go back."""
    outcomes = [one for one in told if isinstance(one, RecipientOutcome)]
    faults = [one for one in told if isinstance(one, SenderFault)]
    return faults[0] if faults and not outcomes else Outcome(tuple(outcomes))
