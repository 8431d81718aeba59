"""Streams into Apache Iceberg tables, exactly once; Python pipelines, a C++ engine inside."""

import atexit as _atexit

import pyarrow as _pyarrow  # noqa: F401  (its libarrow is the one the engine links to)
from frazil import _engine, testing
from frazil.async_udf import async_udf
from frazil.avro_format import Avro
from frazil.concat import concat
from frazil.debezium import DebeziumAvro, DebeziumJson, DebeziumProtobuf
from frazil.drift import Drift
from frazil.errors import (
    AuthError,
    CheckpointError,
    ColumnExists,
    ColumnNotFound,
    CommitError,
    CommitRefused,
    CommitUnknown,
    ConfigError,
    ConnectError,
    DataError,
    DecodeError,
    EngineError,
    Fenced,
    FrazilError,
    FunctionNotFound,
    LookupChanged,
    ModeMismatch,
    NoTruthValue,
    PlanError,
    SchemaError,
    SchemaMismatch,
    SinkError,
    SourceError,
    TooManyRejected,
    TypeMismatch,
    UdfError,
    WatermarkMissing,
)
from frazil.expr import (
    Expr,
    coalesce,
    col,
    concat_str,
    from_epoch,
    lit,
    max_of,
    min_of,
    struct,
    when,
)
from frazil.expr_aggregate import Aggregate, count
from frazil.fill_gaps import previous
from frazil.grouped import Grouped, Windowed
from frazil.http_ingest import HttpIngest, read_http
from frazil.infer import infer
from frazil.installed_connectors import FoundConnector, installed_connectors, load_connector
from frazil.keyed import KeyedFunction, State
from frazil.keyed_groups import GroupStates
from frazil.keyed_out import Out
from frazil.lookup import Lookup, lookup_iceberg, lookup_parquet, lookup_sql
from frazil.object_notifications import read_object_notifications
from frazil.onnx_model import OnnxModel
from frazil.openai_embeddings import OpenAIEmbeddings
from frazil.pattern import PatternStep, Without, step, without
from frazil.pipeline import Pipeline
from frazil.protobuf import Protobuf
from frazil.python_sink import (
    Commit,
    PythonSink,
    SimpleSink,
    SinkWriter,
    Token,
    TransactionalSink,
    TwoPhaseSink,
)
from frazil.python_source import (
    END,
    End,
    PartitionedSource,
    PartitionReader,
    PollingSource,
    Position,
    Rows,
)
from frazil.read import read_files, read_generator, read_kafka, read_memory
from frazil.read_python import read_python
from frazil.read_sql import read_sql
from frazil.replay import Replayed, replay
from frazil.report import PartitionReport, RunReport, SinkReport, SourceReport
from frazil.route import Route, route
from frazil.schema import Schema, field
from frazil.schema_registry import SchemaRegistry
from frazil.secret import Secret, secret
from frazil.security import S3, Sasl, Tls
from frazil.stream import Stream
from frazil.types import (
    Decimal,
    Float32,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
)
from frazil.udf import Udf, batch_udf, udf
from frazil.user_aggregate import UserAggregateFunction, aggregate
from frazil.window import Window, cumulating, hopping, session, tumbling
from frazil.write import MemorySink, Sink

_atexit.register(_engine.finalize)

__version__ = "0.1.0"

__all__ = [
    "END",
    "S3",
    "Aggregate",
    "AuthError",
    "Avro",
    "CheckpointError",
    "ColumnExists",
    "ColumnNotFound",
    "Commit",
    "CommitError",
    "CommitRefused",
    "CommitUnknown",
    "ConfigError",
    "ConnectError",
    "DataError",
    "DebeziumAvro",
    "DebeziumJson",
    "DebeziumProtobuf",
    "Decimal",
    "DecodeError",
    "Drift",
    "End",
    "EngineError",
    "Expr",
    "Fenced",
    "Float32",
    "Float64",
    "FoundConnector",
    "FrazilError",
    "FunctionNotFound",
    "GroupStates",
    "Grouped",
    "HttpIngest",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "KeyedFunction",
    "Lookup",
    "LookupChanged",
    "MemorySink",
    "ModeMismatch",
    "NoTruthValue",
    "OnnxModel",
    "OpenAIEmbeddings",
    "Out",
    "PartitionReader",
    "PartitionReport",
    "PartitionedSource",
    "PatternStep",
    "Pipeline",
    "PlanError",
    "PollingSource",
    "Position",
    "Protobuf",
    "PythonSink",
    "Replayed",
    "Route",
    "Rows",
    "RunReport",
    "Sasl",
    "Schema",
    "SchemaError",
    "SchemaMismatch",
    "SchemaRegistry",
    "Secret",
    "SimpleSink",
    "Sink",
    "SinkError",
    "SinkReport",
    "SinkWriter",
    "SourceError",
    "SourceReport",
    "State",
    "Stream",
    "Tls",
    "Token",
    "TooManyRejected",
    "TransactionalSink",
    "TwoPhaseSink",
    "TypeMismatch",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Udf",
    "UdfError",
    "UserAggregateFunction",
    "WatermarkMissing",
    "Window",
    "Windowed",
    "Without",
    "aggregate",
    "async_udf",
    "batch_udf",
    "coalesce",
    "col",
    "concat",
    "concat_str",
    "count",
    "cumulating",
    "field",
    "from_epoch",
    "hopping",
    "infer",
    "installed_connectors",
    "lit",
    "load_connector",
    "lookup_iceberg",
    "lookup_parquet",
    "lookup_sql",
    "max_of",
    "min_of",
    "previous",
    "read_files",
    "read_generator",
    "read_http",
    "read_kafka",
    "read_memory",
    "read_object_notifications",
    "read_python",
    "read_sql",
    "replay",
    "route",
    "secret",
    "session",
    "step",
    "struct",
    "testing",
    "tumbling",
    "udf",
    "when",
    "without",
]
