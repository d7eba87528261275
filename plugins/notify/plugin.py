"""What Airflow sees of us."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from notify.listeners import hourly_limits
from notify.web.mount import MountedApp


class NotifyPlugin(AirflowPlugin):
    """The notification outbox: its listener, its page and its API.

    Addresses are relative to Airflow's own, so they hold behind a base path. (Airflow 3.3.2, 2026-11: it puts them into
    a frame as they are, and its page names its base.)
    """

    name = "notify"
    listeners = [hourly_limits]  # noqa: RUF012 - Airflow's way to declare them, as below
    fastapi_apps = [{"name": "Notify", "app": MountedApp(), "url_prefix": "/notify"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Notify", "href": "notify/", "destination": "nav", "url_route": "notify"},
        {
            "name": "Messages",
            "href": "notify/messages?dag_id={DAG_ID}&run_id={RUN_ID}",
            "destination": "dag_run",
            "url_route": "notify_messages_of_run",
        },
        {
            "name": "Messages",
            "href": "notify/messages?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
            "destination": "task_instance",
            "url_route": "notify_messages_of_task",
        },
    ]
