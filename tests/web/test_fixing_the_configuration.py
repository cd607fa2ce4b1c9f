"""A configuration that cannot be read names the least role that can fix it, and that role can."""

from __future__ import annotations

from typing import Any

import pytest

from app.lib import strict_json
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import assert_problem

APPROVAL = {"auto_approve_paper": False, "require_approval_for_live": True, "approval_timeout_minutes": 5}
LAYERS = {"macro": True, "competitive": True}
CASES = [
    ({"signal_layers": 7}, "/signal-layers", LAYERS, "operator"),
    ({"signal_layers": {"macro": 0}}, "/signal-layers", {"macro": True}, "operator"),
    ({"signal_layers": {"macro": 0, "competitive": "x"}}, "/signal-layers", LAYERS, "operator"),
    (
        {"operator_approval": {"auto_approve_paper": "x"}},
        "/approval-config",
        {"auto_approve_paper": True},
        "operator",
    ),
    (
        {"operator_approval": {"approval_timeout_minutes": 0, "auto_approve_paper": 1}},
        "/approval-config",
        {"approval_timeout_minutes": 5, "auto_approve_paper": False},
        "operator",
    ),
    ({"operator_approval": {"require_approval_for_live": 1}}, "/approval-config", APPROVAL, "admin"),
    (
        {"operator_approval": {"auto_approve_paper": 1, "require_approval_for_live": 1}},
        "/approval-config",
        APPROVAL,
        "admin",
    ),
    ({"operator_approval": None}, "/approval-config", APPROVAL, "admin"),
]


@pytest.mark.parametrize(("stored", "route", "fix", "role"), CASES)
def test_the_role_that_is_named_fixes_it(
    operator: Api, admin: Api, desk: Desk, stored: dict[str, Any], route: str, fix: dict[str, Any], role: str
) -> None:
    desk.sql("UPDATE risk_configs SET config = %s::jsonb", strict_json.dumps(stored))
    assert operator.get("/state").json["config_error"]["fixable_by"] == role
    said = assert_problem(operator.get(route), 409, "config_invalid")["detail"]
    assert f"an{' operator' if role == 'operator' else ' admin'} can fix it: PUT {route} with " in said
    assert ("admin" in said) == (role == "admin")
    for key in fix if role == "operator" else ():
        assert key in said
    answer = operator.put(route, fix)
    if role == "admin":
        assert answer.status_code == 403
        assert admin.put(route, fix).status_code == 200
    else:
        assert answer.status_code == 200
    assert operator.get("/state").json["config_error"] is None


def test_other_sections_are_for_an_admin(operator: Api, desk: Desk) -> None:
    desk.sql("""UPDATE risk_configs SET config = '{"order_rate": {"max_orders": 5}}'""")
    assert operator.get("/state").json["config_error"]["fixable_by"] == "admin"
