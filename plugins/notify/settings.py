"""Settings, read when they are used and never at import: Airflow Variables, connections, and where files lie."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from zoneinfo import available_timezones

from notify.domain.blame import HARD_EXPIRY
from notify.domain.channel import ChannelName
from notify.domain.keeping import KEEP_BODIES, KEEP_ROWS, Keep, read_duration
from notify.domain.kind import BUILT_IN, Kind, read_kinds
from notify.domain.link import PLACEHOLDER
from notify.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from sqlalchemy.engine import URL

#: The Airflow connection of the outbox database.
DATABASE = "notify_db"

DEFAULT_SENDERS = ("smtp_default",)
DEFAULT_TIMEZONE = "UTC"

#: What Airflow takes for a task, a pool and a connection alike: a sender names all three.
_SENDER = re.compile(r"[A-Za-z0-9_.-]{1,200}")

#: What a reader of a mail can follow.
_WEB_PAGE = re.compile(r"https?://\S+", re.IGNORECASE)

#: What the links in mails may begin with: it stands in a header and in HTML, and needs no encoding in either.
_BASE_URL = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+(?:/[A-Za-z0-9._~%+-]+)*/?", re.IGNORECASE)
_LONGEST_BASE_URL = 300

#: A country as ISO 3166-1 has it.
_REGION = re.compile(r"[A-Z]{2}")

#: How messages of a sender travel, by the type of its connection.
CHANNELS = {"smtp": ChannelName.EMAIL, "http": ChannelName.SMS}

#: Most mail servers refuse more than this (RFC 1870 lets them say so); base64 included.
LARGEST_MESSAGE = 25 * 1024 * 1024

#: Types that a connection to PostgreSQL may have. Where Airflow's postgres provider is not installed, neither the form
#: nor ``airflow connections add`` knows that type: generic, with the same fields, is left (Airflow 3.3.2, 2026-11).
_POSTGRES = frozenset({"postgres", "postgresql", "generic"})

#: What libpq takes from a connection's extras; others belong to Airflow's own hook.
_LIBPQ = frozenset(
    {
        "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "target_session_attrs",
        "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    }
)  # fmt: skip


def variable(name: str, default: str = "") -> str:
    """An Airflow Variable, stripped; the default where it is missing or empty."""
    from airflow.sdk import Variable

    value = Variable.get(name, default=None)
    return str(value).strip() or default if value is not None else default


def senders() -> tuple[str, ...]:
    """The senders in the order of ``notify_senders``; the first is the default.

    :raises ConfigurationError: the Variable is no JSON list of connection ids
    """
    text = variable("notify_senders")
    if not text:
        return DEFAULT_SENDERS
    names = _json(text)
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and _SENDER.fullmatch(name) for name in names)
    ):
        raise ConfigurationError(
            f"The Variable notify_senders is {text!r}, which is no JSON list of connection ids "
            "(letters, digits, dashes, dots and underscores). "
            'Write, for example, ["smtp_default"] (Admin → Variables).'
        )
    return tuple(dict.fromkeys(names))


def senders_of(channel: ChannelName) -> tuple[str, ...]:
    """The senders of a channel, by the types of their connections.

    :raises ConfigurationError: the Variable is no JSON list of connection ids
    """
    found = ((sender, connection(sender)) for sender in senders())
    return tuple(sender for sender, its in found if its is not None and CHANNELS.get(its.conn_type or "") is channel)


def served() -> tuple[tuple[str, ...], str]:
    """The senders that Notifications serves, as far as it can be told from here; and what is wrong with their list."""
    try:
        return senders(), ""
    except ConfigurationError as error:
        return DEFAULT_SENDERS, f"{error} Until then only {DEFAULT_SENDERS[0]} is served."


def _json(text: str) -> Any:
    """What a text says in JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def timezone() -> str:
    """The zone of schedules, and of readers whose own is not known.

    :raises ConfigurationError: it is no IANA name
    """
    return known_timezone(variable("notify_timezone", DEFAULT_TIMEZONE))


def known_timezone(name: str) -> str:
    """A name for the Variable ``notify_timezone``, if it is one.

    :raises ConfigurationError: it is no IANA name
    """
    if name not in available_timezones():
        raise ConfigurationError(
            f"The Variable notify_timezone is {name!r}, which is no time zone. Write an IANA name, e.g. Europe/Warsaw."
        )
    return name


def connection(conn_id: str) -> Connection | None:
    """An Airflow connection, None where there is none.

    :raises ConfigurationError: Airflow knows it but does not hand it out
    """
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowRuntimeError

    try:
        found: Connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        return None
    except (AirflowException, AirflowRuntimeError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"Airflow did not hand out the connection {conn_id} ({type(error).__name__}). "
            "Check it in Admin → Connections, and the secrets backend."
        ) from error
    return found


def database_url() -> URL:
    """The address of the outbox database, from the connection ``notify_db``.

    :raises ConfigurationError: there is no such connection, it is not PostgreSQL, or its extras cannot be read
    """
    found = connection(DATABASE)
    if found is None and os.environ.get("AIRFLOW_CONN_NOTIFY_DB"):
        raise ConfigurationError(
            "Airflow cannot read AIRFLOW_CONN_NOTIFY_DB. Write it as postgres://user:password@host:5432/database, or "
            'as JSON: {"conn_type": "postgres", "host": …, "login": …, "password": …, "schema": "database"}.'
        )
    if found is None:
        raise ConfigurationError(
            "There is no connection notify_db. Add it in Airflow's UI (Admin → Connections, type postgres or generic, "
            "with the outbox database's host, login, password and database), or set AIRFLOW_CONN_NOTIFY_DB."
        )
    if not is_postgres(found):
        raise ConfigurationError(
            f"The connection notify_db has the type {found.conn_type!r}; the outbox needs postgres or generic. "
            "Change it in the Airflow UI (Admin → Connections)."
        )
    return postgres_url(found)


def is_postgres(found: Connection) -> bool:
    """Whether a connection may lead to a PostgreSQL database."""
    return found.conn_type in _POSTGRES


def postgres_url(found: Connection) -> URL:
    """The address of a connection's PostgreSQL database, for our own driver.

    :raises ConfigurationError: its extras cannot be read
    """
    from sqlalchemy.engine import URL

    extras = {name: str(value) for name, value in _extras(found).items() if name in _LIBPQ}
    return URL.create(
        "postgresql+psycopg",
        username=found.login or None,
        password=found.password or None,
        host=found.host or None,
        port=found.port or None,
        database=found.schema or None,
        query=extras,
    )


def _extras(found: Connection) -> dict[str, Any]:
    """A connection's extras. Airflow takes broken ones for none at all; an ``sslmode`` must not get lost so."""
    values = _json(found.extra) if found.extra else {}
    if not isinstance(values, dict):
        raise ConfigurationError(
            f"The extras of the connection {found.conn_id} are no JSON object. Correct them (Admin → Connections)."
        )
    return values


def templates_root() -> Path:
    """Where the templates lie: ``NOTIFY_TEMPLATES``, else ``include/templates`` beside the plugins folder."""
    named = os.environ.get("NOTIFY_TEMPLATES")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "include" / "templates"


@dataclass(frozen=True, slots=True)
class SenderIdentity:
    """What readers see of a sender.

    :param domain: the right side of its Message-IDs
    :param name: the name at the head of the house template; None for the template's own
    :param channel: how its messages travel; None where there is no connection yet that says so
    :param site: the branch that it belongs to
    """

    domain: str
    name: str | None = None
    channel: ChannelName | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class HandOverSettings:
    """What hand-over needs to know.

    :param senders: known senders, the default first
    :param templates: root of the templates
    :param timezone: of readers whose own is not known
    :param case_url: pattern of a case's URL with ``{case_id}``, or empty
    :param attachment_sources: URI prefixes that attachments may be fetched from
    :param attachment_store: object storage URI to keep attachments below, None for the outbox itself
    :param largest: bytes that a message may have, attachments included
    :param identity: what readers see of a sender
    :param kinds: kinds of event by name
    :param blocked: kinds that a process sends no mail about, by process
    :param calendars: of working time, as the Variable ``notify_calendars`` has them
    :param base_url: where this Airflow is reached, without a slash at its end; empty: mails have no links to it
    :param region: the country of telephone numbers without a country code, as in ``SK``; empty: they are refused
    :param campaign_connections: those that campaigns may ask for recipients
    """

    senders: tuple[str, ...]
    templates: Path
    timezone: str = DEFAULT_TIMEZONE
    case_url: str = ""
    attachment_sources: tuple[str, ...] = ()
    attachment_store: str | None = None
    largest: int = LARGEST_MESSAGE
    identity: Callable[[str], SenderIdentity] = lambda _sender: SenderIdentity(socket.getfqdn())
    kinds: Mapping[str, Kind] = field(default_factory=lambda: BUILT_IN)
    blocked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    calendars: str = ""
    base_url: str = ""
    region: str = ""
    campaign_connections: frozenset[str] = frozenset()

    def sender_of(self, channel: ChannelName, site: str | None = None) -> str | None:
        """The first sender of a channel that belongs to a site, else the first of the channel, None if there is none.

        One without a connection may be of any channel, and belongs to no site.
        """
        of_channel = (one for one in self.senders if self.identity(one).channel in {channel, None})
        if site is None:  # no more connections are asked for than need be: each may cost a way over the network
            return next(of_channel, None)
        found = list(of_channel)
        return next((one for one in found if self.identity(one).site == site), next(iter(found), None))

    @property
    def mail_sender(self) -> str:
        """The first sender of mails; what is for one that nobody has set up yet waits."""
        return self.mail_sender_of(None)

    @property
    def sms_sender(self) -> str | None:
        """The first sender of SMS; an event goes by mail where there is none."""
        return self.sms_sender_of(None)

    def mail_sender_of(self, site: str | None) -> str:
        """The sender of mails of a site, else the first."""
        return self.sender_of(ChannelName.EMAIL, site) or DEFAULT_SENDERS[0]

    def sms_sender_of(self, site: str | None) -> str | None:
        """The sender of SMS of a site, else the first; one without a connection sends no SMS."""
        of_channel = [one for one in self.senders if self.identity(one).channel is ChannelName.SMS]
        of_site = (one for one in of_channel if site is not None and self.identity(one).site == site)
        return next(of_site, None) or next(iter(of_channel), None)

    def fault_of_site(self, site: str | None) -> str | None:
        """What is wrong with a site that a producer names; None where some sender belongs to it."""
        if site is None:
            return None
        known = sorted({found for one in self.senders if (found := self.identity(one).site) is not None})
        if site in known:
            return None
        if not known:
            return f"{site!r} is the site of no sender, nor has any sender one; it stands in a connection's extra site"
        return f"{site!r} is the site of no sender ({', '.join(known)}); see the extra site of their connections"

    @property
    def settings_link(self) -> str | None:
        """Where readers change what they get; a placeholder for the token in it. None if nobody has said where."""
        return f"{self.base_url}/notify/my/{PLACEHOLDER}" if self.base_url else None

    @property
    def unsubscribe_link(self) -> str | None:
        """Where readers say that they want no more of it, likewise."""
        return f"{self.base_url}/notify/unsubscribe/{PLACEHOLDER}" if self.base_url else None

    def url_of_case(self, case_id: str) -> str | None:
        """Where a case can be looked at, None if nobody has said."""
        return self.case_url.replace("{case_id}", quote(case_id, safe="")) if self.case_url else None


def hand_over_settings() -> HandOverSettings:
    """The settings of hand-over, from Variables.

    :raises ConfigurationError: one of them cannot be used
    """
    known = kinds()
    return HandOverSettings(
        senders=senders(),
        templates=templates_root(),
        timezone=timezone(),
        case_url=case_url(),
        attachment_sources=attachment_sources(),
        attachment_store=variable("notify_attachment_store") or None,
        identity=cache(sender_identity),  # Reminders asks for each event, and Airflow each time over the network
        kinds=known,
        blocked=blocked(known),
        calendars=variable("notify_calendars"),
        base_url=base_url(),
        region=phone_region(),
        campaign_connections=campaign_connections(),
    )


@dataclass(frozen=True, slots=True)
class BounceSettings:
    """What follows from a mail that came back.

    :param hard_expiry: how long an address gets nothing after a hard bounce; None: until somebody lifts it
    :param contact: address, login or group that is told where a mail's sender is not known; empty: nobody
    """

    hard_expiry: timedelta | None = HARD_EXPIRY
    contact: str = ""


def bounce_settings() -> BounceSettings:
    """The settings of DeliveryReports, from Variables.

    :raises ConfigurationError: one of them cannot be used
    """
    text = variable("notify_bounce_hard_days", str(HARD_EXPIRY.days))
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ConfigurationError(
            f"The Variable notify_bounce_hard_days is {text!r}, which is no number of days. Write, for example, 90; 0 "
            "is until somebody lifts it (Admin → Variables)."
        )
    return BounceSettings(timedelta(days=int(text)) or None, variable("notify_bounce_contact"))


def kinds() -> dict[str, Kind]:
    """Kinds of event by name: the built-in ones, and those in the Variable ``notify_kinds``.

    :raises ConfigurationError: the Variable cannot be used
    """
    return read_kinds(variable("notify_kinds"))


def blocked(known: Mapping[str, Kind] | None = None) -> dict[str, frozenset[str]]:
    """Kinds that a process sends no mail about, by process.

    :param known: the kinds there are, where the caller has them
    :raises ConfigurationError: the Variable cannot be used
    """
    known = kinds() if known is None else known
    text = variable("notify_blocked")
    given = _json(text) if text else {}
    if not isinstance(given, dict) or not all(
        isinstance(names, list)
        and all(isinstance(name, str) and name in known and not known[name].mandatory for name in names)
        for names in given.values()
    ):
        blockable = ", ".join(sorted(name for name, kind in known.items() if not kind.mandatory))
        raise ConfigurationError(
            f"The Variable notify_blocked is {text!r}, which is no JSON object of processes, each with a list of kinds "
            f'that it sends no mail about. Write, for example, {{"Onboarding": ["case_received"]}}; what is mandatory '
            f"cannot be blocked, these kinds can: {blockable}."
        )
    return {process: frozenset(names) for process, names in given.items()}


def keep() -> Keep:
    """How long bodies and rows are kept.

    :raises ConfigurationError: a Variable is no such time
    """
    bodies = _duration("notify_keep_bodies", variable("notify_keep_bodies"), KEEP_BODIES)
    return Keep(bodies, _duration("notify_keep_rows", variable("notify_keep_rows"), KEEP_ROWS))


def _duration(name: str, text: str, default: timedelta) -> timedelta:
    try:
        return read_duration(text) if text else default
    except ValueError as error:
        raise ConfigurationError(f"The Variable {name} cannot be used: {error} (Admin → Variables).") from None


def case_url() -> str:
    """The pattern of a case's URL. What no reader can follow would break every mail that links its case.

    :raises ConfigurationError: it is no URL
    """
    text = variable("notify_case_url")
    if text and not _WEB_PAGE.fullmatch(text):
        raise ConfigurationError(
            f"The Variable notify_case_url is {text!r}, which is no URL. Write it whole, with {{case_id}} where the "
            "case's id belongs, for example https://erp.example.com/case/{case_id} (Admin → Variables)."
        )
    return text


def base_url() -> str:
    """Where this Airflow is reached. What no reader can follow would break the links in every mail.

    :raises ConfigurationError: it is no URL that mails can link to
    """
    text = variable("notify_base_url")
    if text and not (_BASE_URL.fullmatch(text) and len(text) <= _LONGEST_BASE_URL):
        raise ConfigurationError(
            f"The Variable notify_base_url is {text!r}, which mails cannot link to. Write where this Airflow is "
            "reached (for example https://airflow.example.com; a name beyond ASCII as DNS has it, xn--…), or "
            "delete it (Admin → Variables)."
        )
    return text.rstrip("/")


def phone_region() -> str:
    """The country of telephone numbers that are written without a country code; empty: there is none.

    :raises ConfigurationError: it is no code of a country
    """
    text = variable("notify_phone_region").upper()
    if text and not _REGION.fullmatch(text):
        raise ConfigurationError(
            f"The Variable notify_phone_region is {text!r}, which is no code of a country. Write its two letters, for "
            "example SK, or delete it (Admin → Variables)."
        )
    return text


def attachment_sources() -> tuple[str, ...]:
    """Prefixes of what attachments may be fetched from.

    :raises ConfigurationError: the Variable is no JSON list of URI prefixes
    """
    text = variable("notify_attachment_sources")
    prefixes = _json(text) if text else []
    if not isinstance(prefixes, list) or not all(isinstance(prefix, str) and "://" in prefix for prefix in prefixes):
        raise ConfigurationError(
            f"The Variable notify_attachment_sources is {text!r}, which is no JSON list of URI prefixes. "
            'Write, for example, ["s3://reports/monthly/"].'
        )
    return tuple(prefixes)


def campaign_connections() -> frozenset[str]:
    """The connections that campaigns may ask for recipients: whoever writes a campaign can read all that is there.

    :raises ConfigurationError: the Variable is no JSON list of connection ids
    """
    text = variable("notify_campaign_connections")
    names = _json(text) if text else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f"The Variable notify_campaign_connections is {text!r}, which is no JSON list of connection ids. "
            'Write, for example, ["warehouse"] (Admin → Variables).'
        )
    return frozenset(names)


def sender_identity(sender: str) -> SenderIdentity:
    """What a sender's connection says of it; without a domain there, ``notify_base_url`` or this host's name."""
    found = connection(sender)
    extras: dict[str, Any] = {}
    # What is wrong with a sender's extras or address is told where it is used; here only clean ones are of use.
    with suppress(ConfigurationError):
        extras = _extras(found) if found is not None else {}
    addresses = [str(extras.get("from_email") or ""), (found.login or "") if found else "", _address_of_page()]
    name, site = (str(extras.get(extra) or "").strip() or None for extra in ("from_name", "site"))
    channel = CHANNELS.get(found.conn_type or "") if found is not None else None
    return SenderIdentity(_first_domain(addresses) or socket.getfqdn(), name, channel, site)


def sites(senders: Iterable[str]) -> dict[str, str]:
    """The sites of those senders that belong to one, for people who look; what cannot be read has none."""
    found = {}
    for sender in senders:
        with suppress(ConfigurationError):
            if site := sender_identity(sender).site:
                found[sender] = site
    return found


def _first_domain(addresses: Iterable[str]) -> str | None:
    from notify.domain.address import parse_address

    for written in addresses:
        with suppress(ValueError):
            return parse_address(written).domain
    return None


def _address_of_page() -> str:
    page = variable("notify_base_url")
    with suppress(ValueError):
        return f"x@{urlsplit(page).hostname or ''}"
    return ""
