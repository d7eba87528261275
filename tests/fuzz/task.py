"""A task as Airflow runs it: its fields, its run's params, its context."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from notify import settings
from tests.fuzz.stage import replaced, variable_of

DAGS = Path(__file__).resolve().parents[2] / "dags"

_RUNS = count(1)


def context(params: Mapping[str, Any] | None = None) -> Any:
    """What a task sees of its run, as far as we look; each is a run of its own."""
    ti = SimpleNamespace(dag_id="fuzz", run_id=f"manual__{next(_RUNS)}", task_id="tell", map_index=-1)
    return {"ti": ti, "params": params or {}}


def filled(operator: Any, names: Iterable[str], fields: Mapping[Any, Any]) -> Any:
    """As Airflow leaves it when it has rendered the fields."""
    for name in names:
        if name in fields:
            operator.__dict__[name] = fields[name]  # Airflow searches what is set for other tasks' results
    return operator


def execute(operator: Any, about: Any) -> Any:
    """Run it."""
    with replaced(ExecutorSafeguard, test_mode=True):  # it warns, for Airflow's own runner is not here
        return operator.execute(about)


def triggered(dag_id: str, conf: Mapping[str, Any]) -> Any:
    """The context of a run that was triggered: the conf, as JSON, over the defaults; then the schemas.

    :raises ParamValidationError: Airflow refuses it
    """
    params = ParamsDict(copy.deepcopy(_params(dag_id)))
    try:
        params.update(json.loads(json.dumps(dict(conf))))
        params.validate()
    except RecursionError as error:  # of Airflow and jsonschema, when they say what is wrong
        raise ParamValidationError("nested too deeply") from error
    return context(params.dump())


@cache
def _params(dag_id: str) -> dict[str, Any]:
    found = importlib.util.spec_from_file_location(f"fuzzed_{dag_id}", DAGS / f"{dag_id}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    with replaced(settings, variable=variable_of({})):
        found.loader.exec_module(module)
    params: dict[str, Any] = module.PARAMS
    return params
