"""The Variables, the time zones, the secrets; and what is there for trying only."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from zoneinfo import available_timezones

from notify import settings
from notify.checks import ids
from notify.checks.check import Check, Found, Need, Place
from notify.checks.surroundings import Surroundings
from notify.domain.working_time import read_calendars
from notify.exceptions import ConfigurationError

_VARIABLES = Place("variables", "Variables")

#: How the mail catcher of the local stack greets.
_CATCHER = b"mail catcher"

#: How its SMS gateway calls itself.
_GATEWAY = "EuroSMS on this machine"

#: How the embedded PostgreSQL of the local stack is called.
_EMBEDDED = "notify-trial"

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _calendars() -> object:
    return read_calendars(settings.variable("notify_calendars"), settings.timezone())


#: What hand-over needs of the Variables, and what other tasks do.
_HAND_OVER: tuple[Callable[[], object], ...] = (
    settings.timezone,
    settings.kinds,
    settings.blocked,
    settings.case_url,
    settings.attachment_sources,
    settings.campaign_connections,
    settings.base_url,
    settings.phone_region,
    _calendars,
)
_OTHERS: tuple[Callable[[], object], ...] = (settings.keep, settings.bounce_settings)


def _read(readers: tuple[Callable[[], object], ...]) -> Iterator[Found]:
    told = []
    for read in readers:
        try:
            read()
        except ConfigurationError as error:
            told.append(str(error))
    for one in dict.fromkeys(told):  # what two of them need is told once
        yield Found(one)


def _hand_over(_around: Surroundings) -> Iterator[Found]:
    yield from _read(_HAND_OVER)


def _others(_around: Surroundings) -> Iterator[Found]:
    yield from _read(_OTHERS)


def _addressed(_around: Surroundings) -> Iterator[Found]:
    with suppress(ConfigurationError):  # an address that is none is told with what hand-over needs
        if not settings.base_url():
            yield Found("The Variable notify_base_url is not set.")


def _zones(_around: Surroundings) -> Iterator[Found]:
    if settings.DEFAULT_TIMEZONE not in available_timezones():
        yield Found("This machine knows no time zones, not even UTC.")


def _secrets(_around: Surroundings) -> Iterator[Found]:
    from airflow import configuration

    if not configuration.conf.get("core", "fernet_key"):
        yield Found(
            "[core] fernet_key is empty, so Airflow stores the passwords of connections as they are.",
            "Set one, the same for all of Airflow, and save the connections again.",
        )
    if configuration.conf.get("api", "secret_key") in {"", configuration.SECRET_KEY}:
        yield Found(
            "[api] secret_key is not set, so each process of the API server makes up its own, anew at each start. A "
            "form of the page that another process answers is refused.",
            "Set one, the same for all processes of the API server.",
        )


def _trial(around: Surroundings) -> Iterator[Found]:
    from airflow.configuration import conf

    with around.outbox() as connection:
        if connection.exec_driver_sql("select current_setting('cluster_name')").scalar() == _EMBEDDED:
            yield Found(
                "The outbox lies in the embedded PostgreSQL of make up.",
                "Point notify_db at a PostgreSQL server that is backed up.",
                Place("connections", "Connections"),
            )
    for sender in around.served:
        if _leads_to_the_catcher(sender):
            yield Found(
                f"The sender {sender} leads to the mail catcher of make up: its mails reach nobody.",
                f"Put a mail server's address into the connection {sender}.",
                Place("connections", "Connections"),
            )
        elif _leads_to_the_gateway(sender):
            yield Found(
                f"The sender {sender} leads to the SMS gateway of make up: its SMS reach nobody.",
                f"Put a gateway's address into the connection {sender}, or none, which is that of EuroSMS.",
                Place("connections", "Connections"),
            )
    if conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False):
        yield Found(
            "[core] simple_auth_manager_all_admins is on: whoever reaches this Airflow is an admin, without a login.",
            "Switch it off, or use another auth manager.",
        )


def _leads_to_the_catcher(sender: str) -> bool:
    with suppress(ConfigurationError, OSError):
        found = settings.connection(sender)
        if found is not None and found.conn_type == "smtp" and found.host in _LOOPBACK:
            with socket.create_connection((found.host, found.port or 25), timeout=1) as line:
                return _CATCHER in line.recv(200)
    return False


def _leads_to_the_gateway(sender: str) -> bool:
    with suppress(ConfigurationError, OSError, HTTPException):
        found = settings.connection(sender)
        if found is not None and found.conn_type == "http" and found.host in _LOOPBACK:
            with closing(HTTPConnection(found.host, found.port, timeout=1)) as line:
                line.request("GET", "/nothing-is-here")
                return _GATEWAY in (line.getresponse().getheader("Server") or "")
    return False


CHECKS = (
    Check(
        id=ids.NO_TIME_ZONES,
        title="Time zones are known",
        meaning="Nothing can be handed over: no moment can be put into a reader's zone.",
        remedy="Install the Python package tzdata, or the system's.",
        look=_zones,
    ),
    Check(
        id=ids.HAND_OVER,
        title="The Variables that hand-over needs can be used",
        meaning="Nothing can be handed over or published; the task that tries fails, with these words.",
        remedy="Correct the Variable, or delete it: then its default applies.",
        look=_hand_over,
        place=_VARIABLES,
    ),
    Check(
        id=ids.VARIABLES,
        title="The other Variables can be used",
        meaning="Housekeeping or DeliveryReports fails, with these words.",
        remedy="Correct the Variable, or delete it: then its default applies.",
        look=_others,
        place=_VARIABLES,
    ),
    Check(
        id=ids.BASE_URL,
        title="The address of this Airflow is known",
        meaning="Mails carry no links to this Airflow; where a sender has no address, its host names Message-IDs.",
        remedy="Write the address that people reach it at into the Variable notify_base_url.",
        look=_addressed,
        place=_VARIABLES,
    ),
    Check(
        id=ids.SECRETS,
        title="Airflow's secrets are set",
        meaning="What a secret protects is open, or lasts only until a process starts anew.",
        remedy="Set it in Airflow's configuration.",
        look=_secrets,
    ),
    Check(
        id=ids.TRIAL,
        title="Nothing in use is meant for trying only",
        meaning="What make up sets up is for trying on one machine.",
        remedy="Put the real thing in its place.",
        look=_trial,
        needs=frozenset({Need.DATABASE}),
    ),
)
