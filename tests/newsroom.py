"""What the tests of events share: kinds and templates of their own, people, and what became of their notifications."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from notify.domain.channel import ChannelName
from notify.domain.kind import read_kinds
from notify.domain.person import Person
from notify.domain.preference import Preference
from notify.merge import Merger, MergeResult
from notify.publishing import Published, publish_event
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import balance, people, preferences
from notify.storage.balance import Balance
from notify.storage.outbox import Origin

#: Kinds of event: *news* leaves everything to people, *alarm* nothing, *chores* is daily unless they say otherwise.
#: *letter* names its reader.
KINDS = json.dumps(
    {
        "news": {},
        "alarm": {"choices": "mandatory"},
        "chores": {"choices": ["hourly", "daily", "never"], "default": "daily"},
        "letter": {},
    }
)

_PLAIN = {
    "subject.txt.j2": "{{ word }}",
    "body.txt.j2": "It says {{ word }}.",
    "summary.txt.j2": "{{ word }}",
    "sms.txt.j2": "Short: {{ word }}",
}
_ENTRIES = (
    "{% for section in digest.sections %}# {{ section.title or '-' }}\n"
    "{% for entry in section.entries %}* {{ entry.summary }}\n{% endfor %}"
    "{% if section.more %}+ {{ section.more }}\n{% endif %}{% endfor %}"
)

_SHORT = (
    "{{ digest.count }}:{% for section in digest.sections %}"
    "{% for entry in section.entries %} {{ entry.summary }}{% endfor %}{% endfor %}"
)

#: File by kind and language; *chores* cannot be told by SMS.
TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "news/en": {**_PLAIN, "subject.txt.j2": "News: {{ word }}"},
    "news/pl": {**_PLAIN, "subject.txt.j2": "Wieści: {{ word }}", "body.txt.j2": "Mówi {{ word }}."},
    "alarm/en": {**_PLAIN, "subject.txt.j2": "Alarm: {{ word }}"},
    "chores/en": {"subject.txt.j2": "Chore: {{ word }}", "body.txt.j2": "Do {{ word }}, {{ occurred_at | datetime }}."},
    "letter/en": {
        "subject.txt.j2": "For {{ recipient.name }}",
        "body.txt.j2": "Dear {{ recipient.name }}, {{ word }}.",
        "sms.txt.j2": "{{ recipient.name }}, {{ word }}",
    },
    "digest/en": {"subject.txt.j2": "Digest of {{ digest.count }}", "body.txt.j2": _ENTRIES, "sms.txt.j2": _SHORT},
    "digest/pl": {"subject.txt.j2": "Zestawienie: {{ digest.count }}", "body.txt.j2": _ENTRIES},
}

#: Long enough ago for an hour's or a day's mail to be due.
LONG_AGO = datetime.now(UTC) - timedelta(days=3)


def write_templates(root: Path) -> Path:
    """Write the templates above into a folder."""
    for place, files in TEMPLATES.items():
        folder = root / place
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    return root


def settings_of(templates: Path, **more: Any) -> HandOverSettings:
    """Settings with the kinds above."""
    given = {
        "senders": ("smtp_default",),
        "templates": templates,
        "identity": lambda _sender: SenderIdentity("example.com"),
        "kinds": read_kinds(KINDS),
    }
    return HandOverSettings(**given | more)


#: The sender of SMS, where there is one.
SMS_SENDER = "eurosms_default"


def with_sms(templates: Path, **more: Any) -> HandOverSettings:
    """The same, with a sender of SMS; telephone numbers without the code of a country are Slovak ones."""

    def identity(sender: str) -> SenderIdentity:
        return SenderIdentity("example.com", None, ChannelName.SMS if sender == SMS_SENDER else ChannelName.EMAIL)

    given = {"senders": ("smtp_default", SMS_SENDER), "identity": identity, "region": "SK"}
    return settings_of(templates, **given | more)


def person(login: str, **fields: Any) -> Person:
    """Somebody with an address of their own."""
    return Person(**{"login": login, "name": login.title(), "email": f"{login}@example.com"} | fields)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message in the outbox.

    :param headers: as they are stored, the text's among them
    """

    id: int
    kind: str
    language: str | None
    subject: str
    to: str
    login: str | None
    headers: bytes
    body: bytes

    @property
    def parsed(self) -> EmailMessage:
        """As a mail program reads it."""
        found = message_from_bytes(self.headers + b"\r\n" + self.body, policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found

    @property
    def text(self) -> str:
        """What it says, as plain text."""
        part = self.parsed.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    @property
    def by_sms(self) -> bool:
        """Whether it is an SMS."""
        return self.subject == "SMS"

    @property
    def words(self) -> list[str]:
        """The events that it tells of, by their words."""
        if self.by_sms:
            return self.body.decode().partition(":")[2].split()
        return [entry.split()[-1] for entry in self.entries] or [self.subject.split()[-1]]

    @property
    def entries(self) -> list[str]:
        """The lines of a digest made by the template above."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("* ")]


_MAILS = sa.text("""
    select m.id, m.kind, m.language, m.subject, r.address, r.login, m.headers, c.body
    from notify.messages m join notify.recipients r on r.message_id = m.id join notify.contents c on c.id = m.content_id
    order by m.id, r.position
""")

_HOMES = sa.text("""
    select coalesce(login, address) as who, coalesce(reason, home) as home from notify.notifications
    where event_id = coalesce(cast(:event_id as bigint), event_id) order by id
""")

_AGE = sa.text("update notify.deferred set due_at = due_at - cast(:by as interval), look_at = look_at - :by")


@dataclass(slots=True)
class Newsroom:
    """Publishes, lets time pass, merges, and tells where everything is; each step in a transaction of its own."""

    engine: Engine
    settings: HandOverSettings
    published: list[int] = field(default_factory=list)

    def hire(self, *logins: str, **fields: Any) -> None:
        """Add people, or bring them up to date."""
        with self.engine.begin() as connection:
            people.save(connection, [person(login, **fields) for login in logins])

    def choose(self, login: str, frequency: str | None, kind: str = "*", **more: Any) -> None:
        """Put down what somebody wants."""
        with self.engine.begin() as connection:
            preferences.save(connection, login, kind, Preference(frequency=frequency, **more))

    def publish(
        self, recipients: Any, kind: str = "news", word: str = "word", origin: Origin | None = None, **fields: Any
    ) -> Published:
        """Publish an event of one word."""
        given = {"kind": kind, "recipients": recipients, "data": {"word": word}} | fields
        with self.engine.begin() as connection:
            published = publish_event(connection, given, self.settings, origin=origin)
        self.published.append(published.event_id)
        return published

    def merge(self, **plan: Any) -> MergeResult:
        """Move what is due."""
        return Merger(self.engine, self.settings, **plan).run()

    def pass_time(self, by: timedelta) -> None:
        """Let what waits have been put aside so much earlier."""
        self.do(_AGE.text, by=by)

    def do(self, statement: str, **values: Any) -> int:
        """Execute a statement; how many rows it changed."""
        with self.engine.begin() as connection:
            return connection.execute(sa.text(statement), values).rowcount

    def rows(self, query: str, **values: Any) -> list[Any]:
        """What a query finds; of one column, its values."""
        with self.engine.connect() as connection:
            return [row[0] if len(row) == 1 else tuple(row) for row in connection.execute(sa.text(query), values)]

    def homes(self, event_id: int | None = None) -> dict[str, str]:
        """The home of each notification, or its reason; where an event is not named, of all by their order."""
        with self.engine.connect() as connection:
            return {row.who: row.home for row in connection.execute(_HOMES, {"event_id": event_id})}

    def homes_of(self, login: str) -> list[str]:
        """The homes of a person's notifications, oldest first."""
        return self.rows(
            "select coalesce(reason, home) from notify.notifications where login = :l order by id", l=login
        )

    def mails(self, login: str | None = None) -> list[Mail]:
        """The messages in the outbox; of a person, theirs."""
        with self.engine.connect() as connection:
            mails = [Mail(*row) for row in connection.execute(_MAILS)]
        return [mail for mail in mails if login is None or mail.login == login]

    def balance(self) -> Balance:
        """The balance."""
        return balance.check(self.engine)
