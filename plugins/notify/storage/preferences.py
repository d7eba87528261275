"""Preferences: how often people want to hear of each kind of event.

Every row that is written makes the database look again at what waits for its person, so nothing is written that stands
there already. Who writes locks the person first, as a merge does: two that lock in different orders would wait for each
other for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.engine import Connection

from notify.domain.faults import faults_of
from notify.domain.preference import Preference
from notify.exceptions import UnusableRecord
from notify.storage.models import people, preferences

_FIELDS = tuple(Preference.model_fields)

_INSERT = insert(preferences)

_SAVE = _INSERT.on_conflict_do_update(
    index_elements=["login", "kind"],
    set_={name: _INSERT.excluded[name] for name in _FIELDS} | {"updated_at": sa.func.now()},
    where=sa.tuple_(*(preferences.c[name] for name in _FIELDS)).is_distinct_from(
        sa.tuple_(*(_INSERT.excluded[name] for name in _FIELDS))
    ),
)

_CLEAR = sa.text("""
    delete from notify.preferences p
    using unnest(cast(:logins as text[]), cast(:kinds as text[])) as gone (login, kind)
    where p.login = gone.login and p.kind = gone.kind
""")


def find(connection: Connection, logins: Iterable[str]) -> dict[str, dict[str, Preference]]:
    """What people said, by login and by kind, ``*`` among the kinds; who said nothing is left out.

    :raises UnusableRecord: what is stored of one of them cannot be used, by whatever way it came there
    """
    wanted = sa.literal(list(logins), ARRAY(sa.Text))
    found: dict[str, dict[str, Preference]] = {}
    for row in connection.execute(sa.select(preferences).where(preferences.c.login == sa.any_(wanted))):
        found.setdefault(row.login, {})[row.kind] = _preference(row)
    return found


def held(connection: Connection, login: str) -> dict[str, Preference]:
    """What a person said, by kind, kept from changing until the transaction ends."""
    _lock(connection, [login])
    return find(connection, [login]).get(login, {})


def _preference(row: sa.Row[Any]) -> Preference:
    try:
        return Preference(**{name: getattr(row, name) for name in _FIELDS})
    except ValidationError as error:
        fields = ", ".join(fault.field for fault in faults_of(error, Preference))
        raise UnusableRecord(
            f"What {row.login!r} said of {row.kind} cannot be used ({fields}). Set it anew, or clear it: "
            f"python -m notify preferences clear {row.login} {row.kind}."
        ) from None


def save(connection: Connection, login: str, kind: str, preference: Preference) -> bool:
    """Put down what a known person said of a kind, instead of what they said of it before.

    :returns: whether that differs
    """
    _lock(connection, [login])
    done = connection.execute(_SAVE.returning(preferences.c.kind), _row(login, kind, preference))
    return done.first() is not None


def clear(connection: Connection, login: str, kind: str) -> bool:
    """Forget what a person said of a kind.

    :returns: whether they had said anything
    """
    _lock(connection, [login])
    return connection.execute(_CLEAR, {"logins": [login], "kinds": [kind]}).rowcount > 0


def replace(connection: Connection, wanted: Mapping[str, Mapping[str, Preference]]) -> int:
    """Put down all that known people said, instead of all that they said before.

    :param wanted: by login and by kind
    :returns: how many of these people had said something else
    """
    before = find(connection, wanted)
    changed = sorted(login for login, said in wanted.items() if said != before.get(login, {}))
    _lock(connection, changed)  # and nobody else: a merge passes over who is locked, and comes back an hour later
    before = find(connection, changed)
    gone = [(login, kind) for login in changed for kind in before.get(login, {}) if kind not in wanted[login]]
    if gone:
        logins, kinds = zip(*gone, strict=True)
        connection.execute(_CLEAR, {"logins": list(logins), "kinds": list(kinds)})
    rows = [
        _row(login, kind, said)
        for login in changed
        for kind, said in wanted[login].items()
        if said != before.get(login, {}).get(kind)
    ]
    if rows:
        connection.execute(_SAVE, rows)
    return len(changed)


def _lock(connection: Connection, logins: Iterable[str]) -> None:
    wanted = sa.literal(list(logins), ARRAY(sa.Text))
    query = sa.select(people.c.login).where(people.c.login == sa.any_(wanted)).order_by(people.c.login)
    connection.execute(query.with_for_update(key_share=True))


def _row(login: str, kind: str, preference: Preference) -> dict[str, Any]:
    return {"login": login, "kind": kind} | {name: getattr(preference, name) for name in _FIELDS}
