"""Through which sender a message leaves."""

from __future__ import annotations

from notify.domain.channel import ChannelName
from notify.exceptions import Fault
from notify.settings import HandOverSettings

_ADD_SENDER = {
    ChannelName.EMAIL: "add the id of a connection of type smtp to the Variable notify_senders",
    ChannelName.SMS: "add the id of a connection to an SMS gateway, such as eurosms_default, to the Variable "
    "notify_senders (docs/sms.md)",
}


def choose_sender(
    channel: ChannelName, named: str | None, site: str | None, settings: HandOverSettings, faults: list[Fault]
) -> str:
    """The sender that was named, else that of the site, else the first one of the channel (behaviour.md, Senders).

    :param faults: what is wrong is added here
    """
    known = settings.senders
    if (wrong := settings.fault_of_site(site)) is not None:
        faults.append(Fault("site", wrong))
    if named is None:
        found = settings.sender_of(channel, site)
        if found is None:
            faults.append(Fault("channel", f"no sender is there for {channel}; {_ADD_SENDER[channel]}"))
        return found or known[0]
    if named not in known:
        told = f"{named!r} is not among the senders ({', '.join(known)}); see Variable notify_senders"
        faults.append(Fault("sender", told))
        return known[0]  # no producer makes us look up connections that are no senders
    if (its := settings.identity(named).channel) not in {channel, None}:
        faults.append(Fault("sender", f"{named!r} is for {its}, not for {channel}; name another, or none"))
    return named
