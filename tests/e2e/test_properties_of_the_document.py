"""The published document is the hand-written one, and the server does what it says, whatever is generated from it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openapi_document
import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig

from house import build
from kf2v.settings import Settings
from service import Service

#: how many requests are made up per operation, beside those that cover every keyword of its schema
EXAMPLES = 30

load_all_checks()
#: what does not hold here, each with the reason
UNTRUE = (
    "positive_data_acceptance",  # a generated policy is never a signed one, a generated URL not always parsable
    "negative_data_rejection",  # unknown members and parameters are ignored, as the cloud ignores them
    "missing_required_header",  # 403 is the vendor's answer to a missing X-DashScope-Async, not 400
)

schema = schemathesis.openapi.from_dict(
    openapi_document.source(),
    config=SchemathesisConfig.from_dict(
        {
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none", "no-shrink": True},
            "phases": {"stateful": {"enabled": False}},
        }
    ),
)


def test_the_published_document_is_the_written_one(idle_service: Service) -> None:
    reply = idle_service.get("/openapi.json", key=None)
    assert reply.json == json.loads(json.dumps(openapi_document.source()))
    assert openapi_document.RENDERED.read_bytes() == reply.body


def test_the_document_knows_every_route_of_the_server(tmp_path: Path) -> None:
    """Looked up inside, because a path that nobody documents cannot be found from outside."""
    with asyncio.Runner() as runner:
        house = runner.run(build(runner, Settings(data_dir=tmp_path, engine="still", workers=0)))
        table: Any = house.front.app._routes
        runner.run(house.client.aclose())
    served = {path: set(methods) for path, methods in table._fixed.items()}
    served |= {path: set(methods) for path, (_, methods) in table._open.items()}
    documented = openapi_document.source()["paths"].items()
    assert served == {
        path: {name.upper() for name in operations if name != "parameters"} for path, operations in documented
    }


@pytest.mark.filterwarnings("ignore")  # schemathesis' own advice about what it could not generate
@schema.parametrize()
def test_the_server_does_what_the_document_says(case: schemathesis.Case, idle_service: Service) -> None:
    _turn_inwards(case)
    headers = {"Authorization": f"Bearer {idle_service.api_key}"} if case.operation.security else {}
    response = case.call(base_url=idle_service.url, headers=headers)
    case.validate_response(response, excluded_checks=[CHECKS.get_one(name) for name in UNTRUE])
    (content_type,) = response.headers.get("content-type", [""])
    if content_type.startswith("application/json") and response.content and "openapi" not in case.path:
        assert response.headers["x-request-id"] == [response.json()["request_id"]]


def _turn_inwards(case: schemathesis.Case) -> None:
    """Whatever host was made up to receive events, none is told any: ``.invalid`` never resolves (RFC 6761)."""
    body: Any = case.body
    if isinstance(body, dict) and str(body.get("url", "")).startswith(("http://", "https://")):
        body["url"] = "https://receiver.invalid/"
