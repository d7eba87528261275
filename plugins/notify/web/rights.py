"""Who may do what: every route names a right, and Airflow's auth manager decides.

A right is two questions to the auth manager, and both must be answered with yes. The first is about a resource of ours
(:attr:`Right.resource`), which an auth manager with permissions of its own, as FAB's, can grant to roles one by one.
The second is about something of Airflow's own (:attr:`Right.like`), for auth managers that know roles only:
SimpleAuthManager lets every viewer into a plugin's page.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends

from notify.web.problems import Forbidden

Method = Literal["GET", "POST", "PUT", "DELETE"]

#: What an auth manager is asked beside the resource of ours.
Like = Callable[[BaseAuthManager[Any], BaseUser], bool]


def _look(manager: BaseAuthManager[Any], user: BaseUser) -> bool:
    return manager.is_authorized_dag(method="GET", user=user)


def _trigger(manager: BaseAuthManager[Any], user: BaseUser) -> bool:
    # As Airflow's own route asks. Without the entity it is about a DAG itself, which none of FAB's roles may POST.
    return manager.is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, user=user)


def _administer(manager: BaseAuthManager[Any], user: BaseUser) -> bool:
    return manager.is_authorized_variable(method="PUT", user=user)


class Right(Enum):
    """What somebody may do.

    :ivar resource: as the auth manager knows it
    :ivar method: what is done with that resource
    :ivar like: who may do this must also be allowed to do that in Airflow
    :ivar means: what it lets people do, for the documentation and for errors
    """

    READ_REGISTER = "Notify Register", "GET", _look, "see what became of messages, without their texts"
    READ_BODIES = "Notify Bodies", "GET", _trigger, "read the texts of messages"
    CHANGE_MESSAGES = "Notify Messages", "PUT", _trigger, "resend, hold, release and cancel messages"
    HAND_OVER = (
        "Notify Messages",
        "POST",
        _trigger,
        "hand over messages, write and steer campaigns, publish events and set deadlines",
    )
    READ_PEOPLE = "Notify People", "GET", _trigger, "see people, their preferences and the suppression list"
    CHANGE_PEOPLE = "Notify People", "PUT", _administer, "change people's preferences and the suppression list"
    READ_SETTINGS = "Notify Settings", "GET", _look, "see schedules, senders, limits and the state of health"
    CHANGE_SETTINGS = "Notify Settings", "PUT", _administer, "change schedules"

    def __init__(self, resource: str, method: Method, like: Like, means: str) -> None:
        self.resource = resource
        self.method: Method = method
        self.like = like
        self.means = means

    def of(self, user: BaseUser) -> bool:
        """Whether somebody has it."""
        manager = get_auth_manager()
        asked = manager.is_authorized_custom_view(method=self.method, resource_name=self.resource, user=user)
        return bool(asked and self.like(manager, user))


def requires(right: Right) -> Any:
    """Let only those in who have a right; the user, for the route.

    :returns: a FastAPI dependency
    """

    async def user_with_right(user: Annotated[BaseUser, Depends(get_user)]) -> BaseUser:
        if not right.of(user):
            raise Forbidden(right.means)
        return user

    user_with_right.right = right  # type: ignore[attr-defined]  # read by those who look whether every route has one
    return Depends(user_with_right)


def anybody() -> Any:
    """Let everybody in, for the few routes that need no login; who looks whether each route has a right knows these.

    :returns: a FastAPI dependency
    """

    async def nobody_in_particular() -> None:
        pass

    nobody_in_particular.public = True  # type: ignore[attr-defined]  # as above
    return Depends(nobody_in_particular)
