"""Questions to a schema registry: what is asked, with which login, and what its answers mean."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.errors import AuthError, ConfigError, ConnectError, PlanError, SchemaError
from frazil.registry_client import (
    ANSWER_BYTES_MAX,
    RegistryAway,
    RegistryClient,
    SchemaMissing,
    SchemaRefused,
)

from tests.services.certificates import make_certificates

Answer = tuple[int, Any]
ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}


class Server:
    """Answers by path; what it has no answer for, as a registry that does not know it."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.bodies: dict[str, Any] = {}  # that were sent, by path
        self.clients: list[RegistryClient] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                server.bodies[self.path] = json.loads(self.rfile.read(size))
                self.do_GET()

            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers["Authorization"]))
                known = server.answers.get(self.path)
                missing = {"error_code": 40403, "message": "Schema not found"}
                status, body = (404, missing) if not known else known[0]
                if known and len(known) > 1:
                    known.pop(0)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def client(self, **options: Any) -> RegistryClient:
        made = RegistryClient({"url": self.url, "timeout_ms": 5_000, **options})
        self.clients.append(made)
        return made


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.close()


def answer(schema: Any, **more: Any) -> list[Answer]:
    return [(200, {"schema": json.dumps(schema), **more})]


def test_a_schema_comes_with_those_it_refers_to(server: Server) -> None:
    server.answers = {
        "/schemas/ids/7": answer(
            "C",
            references=[
                {"name": "b", "subject": "b/x", "version": 2},
                {"name": "a", "subject": "a", "version": 1},
            ],
        ),
        "/subjects/b%2Fx/versions/2": answer(
            "B", references=[{"name": "a", "subject": "a", "version": 1}]
        ),
        "/subjects/a/versions/1": answer("A"),
    }
    client = server.client()
    found = client.schema(7)
    client.close()
    assert found.kind == "AVRO"
    assert found.texts == ('"A"', '"B"', '"C"')
    assert found.names == ("a", "b")


def test_references_in_a_circle_are_refused(server: Server) -> None:
    server.answers = {
        "/schemas/ids/1": answer("A", references=[{"name": "b", "subject": "b", "version": 1}]),
        "/subjects/b/versions/1": answer(
            "B", references=[{"name": "b", "subject": "b", "version": 1}]
        ),
    }
    with pytest.raises(SchemaMissing, match="refers to more than"):
        server.client().schema(1)


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({}, None),
        ({"username": "frazil", "password": "s3cret"}, "Basic ZnJhemlsOnMzY3JldA=="),
        ({"token": "t0ken"}, "Bearer t0ken"),
    ],
)
def test_logins(server: Server, options: Any, header: str | None) -> None:
    server.answers["/schemas/ids/1"] = answer("A")
    server.client(**options).schema(1)
    assert server.asked == [("/schemas/ids/1", header)]


def test_answers_that_are_no_schema(server: Server) -> None:
    client = server.client(username="frazil", password="s3cret")
    with pytest.raises(SchemaMissing, match="Schema not found"):
        client.schema(1)
    for status, kind in (
        (401, AuthError),
        (403, AuthError),
        (404, ConfigError),
        (200, ConfigError),
    ):
        server.answers["/schemas/ids/2"] = [(status, {"message": "no"})]
        with pytest.raises(kind) as raised:
            client.schema(2)
        assert not raised.value.retryable
        assert "s3cret" not in str(raised.value)
    server.answers["/schemas/ids/2"] = [(200, b" " * (ANSWER_BYTES_MAX + 1))]
    with pytest.raises(ConfigError, match="an answer of more than"):
        client.schema(2)
    for status in (429, 500, 503):
        server.answers["/schemas/ids/2"] = [(status, {"message": "busy"})]
        with pytest.raises(RegistryAway, match=f"answers {status} busy") as away:
            client.schema(2)
        assert away.value.retryable


def test_a_gateway_that_stumbles_is_asked_again(server: Server) -> None:
    server.answers["/schemas/ids/1"] = [(503, {}), (502, {}), *answer("A")]
    assert server.client().schema(1).texts == ('"A"',)
    assert len(server.asked) == 3


def test_a_registry_that_is_not_there() -> None:
    server = Server()
    server.http.server_close()
    with pytest.raises(RegistryAway, match=r"does not answer: .*refused"):
        server.client().schema(1)


def test_tls_trusts_only_the_authorities_given(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_pem)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    server.answers["/schemas/ids/1"] = answer("A")
    server.start()
    try:
        client = server.client(ca=str(certificates.ca))
        assert client.schema(1).texts == ('"A"',)
        client.close()
        with pytest.raises(ConfigError, match="certificate verify failed"):
            server.client().schema(1)
    finally:
        server.close()


def test_readers_take_the_newest_schema(server: Server) -> None:
    latest = {"id": 4, "version": 2, "schema": json.dumps(ORDER)}
    server.answers["/subjects/orders-value/versions/latest"] = [(200, latest)]
    orders = fz.read_kafka("orders", servers="h:1", format="avro", registry=server.url)
    assert orders.schema == pa.schema(
        [pa.field("id", pa.int64(), False), pa.field("note", pa.string())]
    )
    envelope = {
        "type": "record",
        "name": "Envelope",
        "fields": [
            {"name": "before", "type": ["null", {**ORDER, "name": "Value"}]},
            {"name": "after", "type": ["null", "Value"]},
        ],
    }
    latest = {"id": 5, "version": 1, "schema": json.dumps(envelope)}
    server.answers["/subjects/crm.orders-value/versions/latest"] = [(200, latest)]
    changes = fz.read_kafka(
        "crm.orders", servers="h:1", format="debezium-avro", registry=server.url, key=["id"]
    )
    assert changes.schema.names == ["id", "note"]
    with pytest.raises(PlanError, match="have different schemas"):
        fz.read_kafka("orders", "crm.orders", servers="h:1", format="avro", registry=server.url)
    server.answers["/subjects/none-value/versions/latest"] = [
        (404, {"error_code": 40401, "message": "no such subject"})
    ]
    with pytest.raises(PlanError, match="has no subject 'none-value'"):
        fz.read_kafka("none", servers="h:1", format="avro", registry=server.url)
    latest = {"id": 6, "schema": "syntax = 'proto3';", "schemaType": "PROTOBUF"}
    server.answers["/subjects/proto-value/versions/latest"] = [(200, latest)]
    with pytest.raises(SchemaError, match="is PROTOBUF"):
        fz.read_kafka("proto", servers="h:1", format="avro", registry=server.url)


def test_what_a_plan_says_of_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "s3cret")
    registry = fz.SchemaRegistry(
        "https://registry.example/", username="me", password=fz.secret("REGISTRY_PASSWORD")
    )
    orders = fz.read_kafka(
        "orders", servers="h:1", format="avro", registry=registry, schema={"id": int}
    )
    pipeline = fz.Pipeline("p", orders.write_console())
    (source,) = (node for node in pipeline.plan.json["nodes"] if node["kind"] == "source")
    assert source["format"] == {"kind": "avro", "registry": "https://registry.example"}
    assert source["registry"]["password"] == {"$secret": "REGISTRY_PASSWORD"}
    assert "s3cret" not in pipeline.plan.text + repr(registry)
    assert "schemas of https://registry.example" in pipeline.explain()


def test_what_is_refused() -> None:
    read: Any = fz.read_kafka
    with pytest.raises(ConfigError, match="no registry is given"):
        read("orders", servers="h:1", format="avro", schema={"id": int})
    with pytest.raises(ConfigError, match="json has no schemas there"):
        read("orders", servers="h:1", schema={"id": int}, registry="http://h:1")
    with pytest.raises(PlanError, match="carry no schema"):
        read("orders", servers="h:1")
    with pytest.raises(ConfigError, match="DebeziumAvro"):
        fz.read_files("a", format=fz.DebeziumAvro(), schema={"id": int}, key=["id"])  # type: ignore[arg-type]
    for url in ("registry:8081", "ftp://h", "http://user:pass@h", 7):
        with pytest.raises(PlanError):
            fz.SchemaRegistry(url)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="secrets are not written into programs"):
        fz.SchemaRegistry("http://h", username="u", password="p")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="one of username and password"):
        fz.SchemaRegistry("http://h", username="u")
    assert issubclass(RegistryAway, ConnectError)


def test_schemas_are_registered(server: Server) -> None:
    client = server.client(token="t")
    path = "/subjects/orders-value/versions"
    server.answers[path] = [(200, {"id": 7})]
    assert client.register("orders-value", '"long"') == 7
    assert server.bodies[path] == {"schema": '"long"', "schemaType": "AVRO"}
    server.answers["/subjects/orders-value"] = [(200, {"id": 8, "schema": '"long"'})]
    assert client.lookup("orders-value", '"long"') == 8
    server.answers[path] = [(409, {"error_code": 409, "message": "incompatible with version 1"})]
    with pytest.raises(SchemaRefused, match="409 incompatible with version 1"):
        client.register("orders-value", '"long"')
    server.answers[path] = [(422, {"error_code": 42201, "message": "no schema"})]
    with pytest.raises(SchemaRefused, match="no schema"):
        client.register("orders-value", "x")
    with pytest.raises(SchemaMissing):
        client.lookup("nowhere", '"long"')
    server.answers[path] = [(403, {"message": "read only"})]
    with pytest.raises(AuthError, match="read only"):
        client.register("orders-value", '"long"')
    server.answers[path] = [(200, {"fine": True})]
    with pytest.raises(ConfigError, match="which no registry does"):
        client.register("orders-value", '"long"')
