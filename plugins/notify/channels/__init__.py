"""Ways of sending. A channel is one file; which one a sender uses, its connection's type decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from notify.channels.base import Channel
    from notify.domain.channel import ChannelName


def channel_of(sender: str) -> ChannelName | None:
    """How a sender's messages travel, by the type of its connection; None where there is none that says so."""
    from notify import settings
    from notify.exceptions import ConfigurationError

    try:
        found = settings.connection(sender)
    except ConfigurationError:  # whoever uses the connection tells of it
        return None
    return settings.CHANNELS.get(found.conn_type or "") if found is not None else None


def channel_for(sender: str) -> Channel:
    """The channel for a sender, configured from its connection.

    :param sender: connection id
    :raises notify.exceptions.SenderFault: there is no such connection, or no channel for its type
    """
    from notify import settings
    from notify.exceptions import SenderFault

    found = settings.connection(sender)
    if found is None:
        raise SenderFault(
            f"There is no connection {sender}.",
            f"Add it in the Airflow UI (Admin → Connections, connection id {sender}, type smtp for mails, http for an "
            "SMS gateway); until then its messages wait.",
        )
    if found.conn_type == "smtp":
        from notify.channels.smtp import SmtpChannel

        return SmtpChannel(sender, found)
    if found.conn_type == "http":
        return _sms_gateway(sender, found)
    raise SenderFault(
        f"The connection {sender} has the type {found.conn_type!r}, which no channel can send through.",
        "Give it the type smtp or http, or take it out of the Variable notify_senders.",
    )


def _sms_gateway(sender: str, connection: Connection) -> Channel:
    """The gateway that the extra ``gateway`` names, EuroSMS where it names none."""
    from notify.channels.extras import Extras

    name = Extras.of(sender, connection, "http").choice("gateway", ("eurosms", "template"))
    if name == "template":
        from notify.channels.template_gateway import TemplateGatewayChannel

        return TemplateGatewayChannel(sender, connection)
    from notify.channels.eurosms import EuroSmsChannel

    return EuroSmsChannel(sender, connection)
