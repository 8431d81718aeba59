"""Secrets are references until the pipeline runs, and are nowhere else."""

import json

import frazil as fz
import pytest
from frazil.secret import resolve_secrets

CODE = "hunter2-not-to-be-seen"


def kafka(**options: object) -> fz.Stream:
    return fz.read_kafka("orders", servers="localhost:9092", schema={"id": int}, **options)  # type: ignore[arg-type]


def test_a_plan_holds_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", CODE)
    monkeypatch.setenv("S3_SECRET", CODE)
    stream = kafka(
        security=fz.Sasl(username="me", password=fz.secret("KAFKA_PASSWORD"), tls=fz.Tls()),
        client_options={
            "ssl.key.password": fz.secret("KAFKA_PASSWORD"),
            "socket.nagle.disable": True,
        },
    )
    sink = stream.write_iceberg(
        "a.b", catalog={"name": "lake", "s3.secret-access-key": fz.secret("S3_SECRET")}
    )
    pipeline = fz.Pipeline("p", sink)
    for text in (pipeline.plan.text, repr(pipeline), pipeline.explain(), repr(pipeline.plan)):
        assert CODE not in text
    resolved = resolve_secrets(pipeline.plan.json)
    source = next(node for node in resolved["nodes"] if node["kind"] == "source")
    assert source["options"]["security"] == {
        "protocol": "sasl_ssl",
        "mechanism": "SCRAM-SHA-512",
        "username": "me",
        "password": CODE,
    }
    assert source["options"]["client_options"] == {
        "ssl.key.password": CODE,
        "socket.nagle.disable": "true",
    }
    assert CODE not in json.dumps(pipeline.plan.json)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fz.Sasl(username="me", password=CODE),  # type: ignore[arg-type]
        lambda: fz.Tls(key="k", certificate="c", key_password=CODE),  # type: ignore[arg-type]
        lambda: fz.S3(access_key=fz.secret("A"), secret_key=CODE),  # type: ignore[arg-type]
        lambda: kafka(client_options={"sasl.password": CODE}),
        lambda: fz.read_memory([{"id": 1}]).write_iceberg("a.b", catalog={"token": CODE}),
    ],
)
def test_written_out_secrets_are_refused_and_not_shown(make) -> None:
    with pytest.raises(fz.PlanError, match=r"fz\.secret") as caught:
        make()
    assert CODE not in str(caught.value)


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(fz.ConfigError, match="NOT_THERE is not set"):
        resolve_secrets({"a": [fz.secret("NOT_THERE").to_json()]})


@pytest.mark.parametrize("name", ["", "A=B"])
def test_names(name: str) -> None:
    with pytest.raises(fz.PlanError, match="not the name of an environment variable"):
        fz.secret(name)
