"""What breaks a rule and why it may. These lists may only shrink."""

# Files longer than LINES_MAX: reason.
LONG_FILES: dict[str, str] = {}

# Functions longer than FUNCTION_LINES_MAX, as "file:name": reason.
LONG_FUNCTIONS: dict[str, str] = {
    "tests/python/iceberg/test_schema.py:test_every_type_through_writer_and_committer": (
        "one row with a column of every type"
    ),
}

# Includes against the order of the folders, as "file -> folder": reason.
INCLUDES: dict[str, str] = {}

# Files with a path of a machine: reason.
PATHS: dict[str, str] = {"deploy/docker/Dockerfile": "a folder inside the image"}

# Files of tests that sleep: reason.
SLEEPS: dict[str, str] = {
    "tests/cdc/mirror.py": "polls processes and a topic; a deadline ends it",
    "tests/cdc/test_mirror.py": "a drawn moment at which a process is killed",
    "tests/services/connect.py": "polls the worker; a deadline ends it",
    "tests/crash/scene.py": "polls another process's state, which tells nobody; with a deadline",
    "tests/crash/test_changes.py": "a random moment to kill at",
    "tests/crash/test_embed.py": "a moment to kill at",
    "tests/crash/test_http.py": "polls a client, with a deadline; a random moment to kill at",
    "tests/crash/test_joins.py": "a random moment to kill at",
    "tests/crash/test_keyed.py": "a random moment to kill at",
    "tests/crash/test_lancedb.py": "a random moment to kill at",
    "tests/crash/test_many_tables.py": "a random moment to kill at",
    "tests/crash/test_nexmark.py": "a random moment to kill at",
    "tests/crash/test_ordered.py": "a random moment to kill at",
    "tests/crash/test_objects.py": "a random moment to kill at",
    "tests/crash/test_others.py": "a random moment to kill at",
    "tests/crash/test_kafka.py": "a random moment to kill at",
    "tests/crash/test_postgres.py": "a random moment to kill at",
    "tests/crash/test_python.py": "a random moment to kill at",
    "tests/crash/test_sql.py": "a random moment to kill at; polls a table, with a deadline",
    "tests/crash/test_upserts.py": "a random moment to kill at",
    "tests/crash/test_windows.py": "a random moment to kill at",
    "tests/e2e/test_kafka_pipeline.py": "polls what a broker and a table have; with a deadline",
    "tests/e2e/test_object_notifications.py": "polls what a broker has; with a deadline",
    "tests/e2e/test_process_ends.py": "a random moment to kill at",
    "tests/e2e/test_services_away.py": "the time a service is away is what is tested",
    "tests/e2e/waiting.py": "polls what services have; with a deadline",
    "tests/pipelines/test_ends.py": "that nothing happens for a second is what is tested",
    "tests/python/run/test_losses.py": "no sleep of its own: it watches that of the coordinator",
    "tests/services/process.py": "polls a service that is starting; with a deadline",
}

_PLAN = "reads the plan, which this version's Python wrote; plan_fuzz.cc goes through it"
_JSON = "a part of the JSON decoder, which json_fuzz.cc goes through"
_AVRO = "a part of the Avro decoder, which avro_fuzz.cc goes through"
_PROTO = "a part of the Protobuf decoder, which protobuf_fuzz.cc goes through"
_BINDINGS = "arguments from this version's Python"

# Files that parse bytes from outside and have no fuzzer beside them: reason.
PARSERS: dict[str, str] = {
    "engine/base/schema_text.cc": _PLAN,
    "engine/connector/dead_letter/source.cc": "positions of its own, two numbers",
    "engine/connector/generator/source.cc": "positions of its own, one number",
    "engine/connector/iceberg/options.cc": _PLAN,
    "engine/connector/iceberg/upsert_sink.cc": "a local file that this Python has just made",
    "engine/connector/memory/source.cc": "positions of its own, one number",
    "engine/connector/python/source.cc": "positions of its own, a number and a text",
    "engine/connector/kafka/publisher.cc": "the proof has a parser of its own, files are Arrow's",
    "engine/expr/bind.cc": _PLAN,
    "engine/expr/functions/binary.cc": "base64 and hex of rows by Arrow and two loops",
    "engine/format/avro_step.cc": _AVRO,
    "engine/format/avro_text.cc": _AVRO,
    "engine/format/json_cursor.cc": _JSON,
    "engine/format/json_index.cc": _JSON,
    "engine/format/json_keys.cc": _JSON,
    "engine/format/proto_text.cc": _PROTO,
    "engine/format/quoted_text.cc": "cuts a text for an error; avro_fuzz.cc goes through it",
    "engine/python/aggregate.cc": _BINDINGS,
    "engine/python/connector.cc": "answers of this version's Python",
    "engine/python/decode.cc": _BINDINGS,
    "engine/python/expr.cc": _BINDINGS,
    "engine/python/job.cc": _BINDINGS,
    "engine/python/kafka.cc": _BINDINGS,
    "engine/python/module.cc": "names simdjson's version",
    "engine/python/sink.cc": _BINDINGS,
}
