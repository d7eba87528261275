"""A client of Airflow's REST API, as any program of a user would be one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from dev.errors import StackError

FINISHED = frozenset({"success", "failed"})
POLL_SECONDS = 0.3


class AirflowClient:
    """Airflow's REST API, as the user ``admin``.

    :param url: where Airflow answers
    :param passwords: the file in which Airflow keeps its generated passwords
    """

    def __init__(self, url: str, passwords: Path) -> None:
        self.url = url
        self._passwords = passwords
        # The first task makes Airflow put its API for tasks together, and answer nobody until that is done.
        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client's connections."""
        self._http.close()

    @property
    def password(self) -> str:
        """The password of ``admin``."""
        return str(json.loads(self._passwords.read_text())["admin"])

    def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask anything of Airflow, logged in.

        :param path: with a leading slash, e.g. ``/api/v2/dags``
        """
        if "Authorization" not in self._http.headers:
            self._log_in()
        response = self._http.request(method, path, json=body)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            response = self._http.request(method, path, json=body)
        return response

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Airflow's API; an answer that is an error raises.

        :param path: below ``/api/v2``, e.g. ``/pools/smtp_default``
        """
        response = self.request(method, f"/api/v2{path}", body)
        if response.is_error:
            raise StackError(
                f"Airflow answered {method} {path} with {response.status_code}: {response.text[:500]}",
                "Compare the request with Airflow's API reference at /docs.",
            )
        return response.json() if response.content else None

    def health(self) -> dict[str, str]:
        """The state of each of Airflow's parts; empty while nothing answers."""
        try:
            response = self._http.get("/api/v2/monitor/health", timeout=5)
            response.raise_for_status()
        except httpx.HTTPError:
            return {}
        return {part: str((state or {}).get("status")) for part, state in response.json().items()}

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run.

        :return: the run's id
        """
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 120) -> str:
        """Wait until a run has ended.

        :return: ``success`` or ``failed``
        """
        deadline = time.monotonic() + timeout
        while (state := self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]) not in FINISHED:
            if time.monotonic() > deadline:
                raise StackError(
                    f"The run {run_id} of {dag_id} is still {state} after {timeout:.0f} seconds.",
                    f"See what it waits for: {self.url}/dags/{dag_id}/runs/{run_id}",
                )
            time.sleep(POLL_SECONDS)
        return str(state)

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        answer = self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return list(answer["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task left behind."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=false"
        value = self.api("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """What a task logged."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        return "\n".join(map(_log_line, self.api("GET", path)["content"]))

    def set_pool(self, name: str, slots: int) -> None:
        """Give a pool another number of slots, as an admin does on the Pools page."""
        self.api(
            "PATCH",
            f"/pools/{name}?update_mask=slots",
            {"pool": name, "slots": slots, "include_deferred": False},
        )

    def set_variable(self, key: str, value: str) -> None:
        """Set a Variable, as an admin does on the Variables page."""
        body = {"key": key, "value": value}
        exists = self.request("GET", f"/api/v2/variables/{key}").is_success
        self.api("PATCH" if exists else "POST", f"/variables/{key}" if exists else "/variables", body)

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json={"username": "admin", "password": self.password})
        if answer.is_error:
            raise StackError(
                f"Airflow refuses the password of admin from {self._passwords}: {answer.status_code}.",
                "Delete that file and start again: Airflow generates another password.",
            )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _log_line(event: Any) -> str:
    """One entry of a task's log; Airflow keeps an exception's text apart from it."""
    if not isinstance(event, dict):
        return str(event)
    errors = [f"{error.get('exc_type')}: {error.get('exc_value')}" for error in event.get("error_detail") or ()]
    return "\n".join([str(event.get("event", "")), *errors])
