"""What the API says of itself, in OpenAPI and in the documentation: it is complete, and it is so."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from sqlalchemy.engine import Connection

from notify.domain.campaign import CampaignDraft
from notify.domain.deadline import ReminderDraft, TermDraft
from notify.domain.event import EventDraft
from notify.domain.message import Draft
from notify.domain.person import Person
from notify.domain.preference import Preference
from notify.storage import people
from notify.web import problems
from notify.web.api import PREFIX
from notify.web.api.answer import Answer
from notify.web.api.request import REPLAYED
from notify.web.app import create_app
from notify.web.body import MOST, MOST_HANDED_OVER
from notify.web.rights import Right
from tests.web.test_rights import ROUTES
from tests.web_client import As

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()

Document = Mapping[str, Any]


@pytest.fixture
def document(program: As) -> Document:
    """The description, as a program gets it."""
    answer = program("viewer").get("/notify/openapi.json")
    assert answer.status_code == 200
    found: Document = answer.json()
    return found


def operations(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each method of each path, and what is said of it."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


# --- OpenAPI ---------------------------------------------------------------------------------------------------------


def test_it_is_openapi(document: Document) -> None:
    """The description is valid OpenAPI, and says where the API is."""
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert [server["url"] for server in document["servers"]] == ["/notify"]


def test_every_route_is_in_it(document: Document) -> None:
    """It has all routes of the API, and none of the page."""
    routes = {
        (method, route.path_format)
        for route in create_app().routes
        if isinstance(route, APIRoute) and route.path.startswith(PREFIX)
        for method in route.methods
    }
    assert {(method, path) for method, path, _ in operations(document)} == routes
    assert ("POST", f"{PREFIX}/messages") in routes


def test_every_route_is_explained(document: Document) -> None:
    """Each operation has a name of its own, says what it does, and shows what goes in and what comes out."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"].endswith("."), path
        assert set(operation["tags"]) <= tags, path
        assert operation["security"], path
        assert all(
            one.get("description") or one["schema"].get("description") for one in operation.get("parameters", ())
        ), path
        if method in {"POST", "PUT", "PATCH"} and "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["example"], path
        [(status, answer)] = [(code, one) for code, one in operation["responses"].items() if code.startswith("2")]
        if status == "204":
            assert "content" not in answer, path
        else:
            assert example(document, answer), path


def example(document: Document, answer: Mapping[str, Any]) -> Any:
    """The example of an answer, or, of a file, of what stands in it."""
    schema = answer["content"]["application/json"]["schema"]
    name = schema.get("items", schema)["$ref"].rpartition("/")[2]
    return document["components"]["schemas"][name]["examples"][0]


def test_every_problem_is_in_it(document: Document) -> None:
    """Each operation says how it may end otherwise: as a problem document."""
    for _, path, operation in operations(document):
        refusals = {code: one for code, one in operation["responses"].items() if not code.startswith("2")}
        assert {"401", "403", "422", "500", "503"} <= refusals.keys(), path
        for refusal in refusals.values():
            assert refusal["description"]
            assert refusal["content"] == {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_every_field_is_in_it(document: Document) -> None:
    """Each field that the doors take is named and explained; there is no other list of them."""
    schemas = document["components"]["schemas"]
    for model in (Draft, CampaignDraft, EventDraft, TermDraft, ReminderDraft, Preference):
        properties = schemas[model.__name__]["properties"]
        assert set(properties) == set(model.model_fields)
        assert all(one.get("description") for one in properties.values()), model
        assert schemas[model.__name__]["additionalProperties"] is False


def answers(model: type[Answer] = Answer) -> Iterator[type[Answer]]:
    """All documents that the API answers with."""
    for one in model.__subclasses__():
        yield one
        yield from answers(one)


@pytest.mark.parametrize("model", [one for one in answers() if one.EXAMPLE], ids=lambda model: model.__name__)
def test_examples_of_answers(model: type[Answer]) -> None:
    """What is shown of an answer has the fields that it has, of their types."""
    assert set(model.EXAMPLE) == set(model.model_fields)
    model.model_validate(model.EXAMPLE)


def test_answers_are_as_described(document: Document, program: As, staff: None, numbered: None) -> None:
    """What comes fits the schema that is told of it."""
    admin, seen = program("admin"), 0
    registry = Registry().with_resource("urn:here", Resource(document, DRAFT202012))
    admin.post(f"/notify{PREFIX}/events", json=body_of(document, "/events"))
    admin.post(f"/notify{PREFIX}/deadlines", json=body_of(document, "/deadlines"))
    admin.post(f"/notify{PREFIX}/campaigns", json=body_of(document, "/campaigns"))
    admin.put(f"/notify{PREFIX}/suppressions/eve@example.com", json=body_of(document, "/suppressions/{address}", "put"))
    admin.put(
        f"/notify{PREFIX}/people/anna/preferences/case_changed",
        json=body_of(document, "/people/{login}/preferences/{kind}", "put"),
    )
    for method, path, operation in operations(document):
        if method != "GET":
            continue
        number = "4711" if "/messages/" in path else "1"
        asked = path.format(login="anna", name="smtp_default", number=number)
        answer = admin.get(f"/notify{asked}", params={"person": "anna"} if asked.endswith("/explain") else None)
        assert answer.status_code == 200, f"{asked}: {answer.text}"
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        reference = json.loads(json.dumps(schema).replace('"#/', '"urn:here#/'))
        errors = list(Draft202012Validator(reference, registry=registry).iter_errors(answer.json()))
        assert errors == [], asked
        seen += 1
    assert seen > 10


def body_of(document: Document, path: str, method: str = "post") -> Any:
    """The example of a request's body."""
    operation = document["paths"][f"{PREFIX}{path}"][method]
    return operation["requestBody"]["content"]["application/json"]["example"]


@pytest.fixture
def staff(connection: Connection) -> None:
    """Those of whom the examples speak."""
    names = ("anna", "brian", "eve")
    found = [Person(login=one, name=one.title(), email=f"{one}@example.com", groups=["finance"]) for one in names]
    people.save(connection, [one.model_copy(update={"supervisor": "eve"}) for one in found], source="test")
    connection.commit()


@pytest.fixture
def numbered(connection: Connection, program: As) -> None:
    """The messages of which the examples speak."""
    connection.execute(sa.text("select setval(pg_get_serial_sequence('notify.messages', 'id'), 4710)"))
    connection.commit()
    letter = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hi"}
    program("admin").post(f"/notify{PREFIX}/messages/batch", json={"messages": [letter, letter]})


def test_examples_of_requests(document: Document, program: As, staff: None, numbered: None) -> None:
    """What is shown of a request is taken; or refused only because a message is in another state by then."""
    admin, taken = program("admin"), 0
    for method, path, operation in operations(document):
        if "requestBody" in operation:
            asked = path.format(login="anna", kind="case_changed", address="eve@example.com", number=1)
            shown = operation["requestBody"]["content"]["application/json"]["example"]
            answer = admin.request(method, f"/notify{asked}", json=shown)
            assert answer.status_code in {200, 201, 204, 409}, f"{asked}: {answer.text}"
            taken += answer.is_success
    assert taken > 7


# --- The documentation -----------------------------------------------------------------------------------------------


def test_the_table_of_routes() -> None:
    """docs/api.md tells of each route by what right it may be used."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines()]
    verb = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) /")
    told = {row[0].strip("`"): row[2] for row in rows if len(row) == 3 and verb.match(row[0])}
    known = {}
    for route in create_app().routes:
        if isinstance(route, APIRoute) and route.path.startswith((PREFIX, "/openapi.json")):
            path = route.path_format.removeprefix(PREFIX).replace("/openapi.json", "/notify/openapi.json")
            for method in route.methods:
                known[f"{method} {path}"] = next(
                    right for verb, asked, right in ROUTES if verb == method and asked == filled(route.path)
                ).name
    assert told == known


def test_the_table_of_parameters(document: Document) -> None:
    """docs/api.md tells of each route by which parameters it looks, beside those of pages and of files."""
    elsewhere = {"limit", "before", "after", "format", "bom", "raw", "bodies", "recipients"}
    rows = re.findall(r"^\| (`(?:GET|DELETE) /[^|]*) \| ([^|]*) \|$", PAGE, flags=re.MULTILINE)
    told = {}
    for routes, named in rows:
        told |= {route: set(re.findall(r"`(\w+)`", named)) for route in re.findall(r"`([^`]+)`", routes)}
    known = {}
    for method, path, operation in operations(document):
        names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"} - elsewhere
        if names:
            known[f"{method} {path.removeprefix(PREFIX)}"] = names
    assert told == known


def test_the_table_of_rights() -> None:
    """docs/api.md says of each right that a route asks for what it lets people do, in the words of an error."""
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", PAGE, flags=re.MULTILINE))
    asked = set(re.findall(r"\| ([A-Z_]+) \|$", PAGE, flags=re.MULTILINE))
    assert asked == set(told)
    assert told == {right.name: right.means for right in Right if right.name in asked}


def filled(path: str) -> str:
    """A route's path as the tests of rights ask for it."""
    from tests.web.test_rights import PLACES

    return "/notify" + re.sub(r"\{(\w+)(?::\w+)?\}", lambda place: PLACES.get(place[1], "1"), path)


def test_the_table_of_errors() -> None:
    """docs/api.md tells of each kind of error, with its status."""
    told = {
        (int(status), kind)
        for status, kinds in re.findall(r"^\| (\d{3}) \| (`urn:notify:.*?`) \|", PAGE, flags=re.MULTILINE)
        for kind in re.findall(r"`urn:notify:([\w-]+)`", kinds)
    }
    known = {(status, name) for _, status, name, _ in problems._KINDS}
    known |= {(status, name) for status, (name, _) in problems._STATUS.items()}
    assert told == known | {(500, "unexpected")}


def test_the_limits() -> None:
    """docs/api.md names the limits that there are, and the header of an answer that came again."""
    assert f"{MOST_HANDED_OVER // 2**20} MiB, as of a mail" in PAGE
    assert f"| any other body | {MOST // 2**20} MiB |" in PAGE
    assert f"`{REPLAYED}: true`" in PAGE


def commands() -> list[list[str]]:
    """Every call of the API that the documentation shows, as words."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
    lines = [line for block in blocks for line in re.split(r"^\$ ", block, flags=re.MULTILINE) if "/notify/" in line]
    return [shlex.split(line.replace("\\\n", " ")) for line in lines]


def called(client: TestClient, words: list[str]) -> Any:
    """What a call of curl is answered with."""
    method, url, headers, content = "GET", "", {}, None
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            content = next(rest).encode()
        else:
            url = word.removeprefix("$URL")
    assert headers.pop("Authorization") == "Bearer $TOKEN"
    return client.request(method, url, headers=headers, content=content)


def test_every_call_that_is_shown(program: As, staff: None, numbered: None) -> None:
    """Every call that the documentation shows does what it says, one after the other."""
    admin, shown = program("admin"), commands()
    assert len(shown) > 12
    for words in shown:
        assert words[0] == "curl"
        answer = called(admin, words)
        assert answer.is_success, f"{json.dumps(words)}: {answer.text}"
