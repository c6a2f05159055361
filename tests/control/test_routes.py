"""The one table of routes, against its own source and the Backend."""

import ast
import inspect
from pathlib import Path

import pytest

from hermes_router.control import routes
from hermes_router.control import types as t
from hermes_router.control.backend import Backend
from hermes_router.control.routes import ROUTES, Route, without_duplicates

SOURCE = ast.parse(Path(routes.__file__).read_text())


def written() -> list[tuple[str, str]]:
    """Path and method of each line of the table, in the order of the source."""
    (table,) = (
        node.value
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "ROUTES"
    )
    assert isinstance(table, ast.Call)
    found = []
    for line in table.args:
        assert isinstance(line, ast.Call)
        assert isinstance(line.func, ast.Name)
        assert line.func.id == "Route"
        method, path = (ast.literal_eval(arg) for arg in line.args[:2])
        found.append((path, method))
    return found


def test_the_table_is_sorted_and_is_the_only_one() -> None:
    """Keep it sorted: by path, then method. No Route is made anywhere else."""
    assert written() == sorted(written())
    assert [(r.path, r.method) for r in ROUTES] == written()
    calls = [n for n in ast.walk(SOURCE) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Route"]
    assert len(calls) == len(ROUTES)


def test_two_routes_for_one_request_are_an_error() -> None:
    """Where the table is made, so that no daemon starts with it."""
    ping = Route("GET", "/v1/ping", "read", lambda b, _: b.ping())
    with pytest.raises(ValueError, match="two routes for GET /v1/ping"):
        without_duplicates(ping, ping)


def test_every_method_of_the_backend_has_its_route() -> None:
    """What the daemon implements can be asked for, and nothing else is called."""
    wanted = {name for name, _ in inspect.getmembers(Backend, inspect.isfunction) if not name.startswith("_")}
    called = {
        node.func.attr
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"b", "backend"}
    }
    assert called == wanted


def test_whatever_changes_something_needs_the_right_to_write() -> None:
    """Only GET and the dry run may be asked by who may only look; a login under way holds a link that lets in."""
    assert {(r.method, r.path) for r in ROUTES if r.permission == "read" and r.method != "GET"} == {
        ("POST", "/v1/plan")
    }
    closed = {r.path for r in ROUTES if r.method == "GET" and r.permission != "read"}
    assert closed == {"/v1/accounts/login/{id}"}


def test_the_frozen_subset_is_in_the_table() -> None:
    """Ping, stop and restart exist, whatever else changes."""
    assert {("GET", "/v1/ping"), ("POST", "/v1/restart"), ("POST", "/v1/shutdown")} == t.FROZEN
    assert {(r.method, r.path) for r in ROUTES} > t.FROZEN
