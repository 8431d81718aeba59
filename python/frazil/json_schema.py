"""Columns of a JSON Schema: what a reader declares if the program does not say it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from frazil.avro_schema import DECIMAL256_MAX, NUMBERS, TEXTS, VARIABLE, decimal_type
from frazil.errors import SchemaError

DEPTH_MAX = 32
"""Levels of nesting of a schema; one that refers to itself has no end."""
REFERENCES_MAX = 64
"""References that one of them may go through."""

_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
    "null": pa.null(),
}
_FORMATS: dict[str, pa.DataType] = {
    "date-time": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "duration": pa.duration("us"),
}
_CONNECT: dict[str, pa.DataType] = {
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bytes": pa.binary(),
}
"""Types by what Kafka Connect's converter says of them."""
_DECIMAL = "org.apache.kafka.connect.data.Decimal"


class JsonSchemaColumns:
    """The types of a JSON Schema as Arrow's.

    Parameters
    ----------
    texts
        The schema, behind those it refers to.
    names
        What it calls those by.
    what
        How errors call it.
    connect
        Kafka Connect's converter wrote it: titles are names of types, and "connect.type" counts.
    """

    def __init__(
        self, texts: Sequence[str], names: Sequence[str], what: str, *, connect: bool = False
    ) -> None:
        self._what = what
        self._connect = connect
        try:
            documents = [json.loads(text) for text in texts]
        except ValueError:
            raise SchemaError(f"{what} is not JSON", "declare schema= yourself") from None
        self._root = documents[-1]
        self._named: dict[str, Any] = dict(zip(names, documents, strict=False))
        for document in documents:
            if isinstance(document, dict) and isinstance(document.get("$id"), str):
                self._named.setdefault(document["$id"], document)
        self._path: list[str] = []

    def schema(self, inside: str | None = None) -> pa.Schema:
        """The columns of the object.

        Parameters
        ----------
        inside
            The name of a property of it, whose object is meant.

        Raises
        ------
        SchemaError
            If it is no object, or a property has a type that no column has.
        """
        root, document = self._resolved(self._root, self._root)
        if inside is not None:
            found = (root.get("properties") or {}).get(inside)
            if not isinstance(found, dict):
                raise SchemaError(
                    f"{self._what} has no property {inside!r}: it is no change event of Debezium",
                    'rows that are no changes are read with format="json-schema"',
                )
            root, document = self._resolved(self._only(found), document)
        if not isinstance(root.get("properties"), dict):
            raise SchemaError(f"{self._what} is no object with properties", "declare schema=")
        return pa.schema(self._properties(root, document))

    def _resolved(self, schema: Any, document: Any) -> tuple[dict[str, Any], Any]:
        """A schema without references, and the document it stands in."""
        for _ in range(REFERENCES_MAX):
            if not isinstance(schema, dict):
                break
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema, document
            name, _, pointer = reference.partition("#")
            if name:
                document = self._named.get(name)
            schema = document
            for key in pointer.split("/")[1:]:
                key = key.replace("~1", "/").replace("~0", "~")
                schema = schema.get(key) if isinstance(schema, dict) else None
        raise self._cannot("of a type that is not defined or not said")

    def _properties(self, schema: dict[str, Any], document: Any) -> list[pa.Field]:
        required = schema.get("required") or ()
        # Kafka Connect's converter says of each by itself whether it may be null.
        all_there = self._connect and not required
        fields = []
        for name, each in schema["properties"].items():
            self._path.append(str(name))
            type_, nullable = self._type(each, document)
            fields.append(
                pa.field(str(name), type_, nullable or not (all_there or name in required))
            )
            self._path.pop()
        if not fields:
            raise self._cannot("an object without properties")
        return fields

    def _type(self, schema: Any, document: Any) -> tuple[pa.DataType, bool]:
        """Arrow type, and whether null is allowed."""
        if len(self._path) > DEPTH_MAX:
            raise self._cannot("of a type that holds itself")
        schema, document = self._resolved(schema, document)
        for union in ("oneOf", "anyOf", "allOf"):
            if isinstance(schema.get(union), list):
                return self._union(schema[union], document)
        kinds = schema.get("type")
        listed = kinds if isinstance(kinds, list) else [kinds]
        named = [kind for kind in listed if kind != "null"]
        nullable = len(named) < len(listed)
        if not named:
            return pa.null(), True
        if set(named) == {"integer", "number"}:
            named = ["number"]
        if len(named) > 1:
            raise self._cannot("of several types")
        return self._one(named[0], schema, document), nullable

    @staticmethod
    def _only(schema: dict[str, Any]) -> dict[str, Any]:
        """A schema that may be null without its null."""
        for union in ("oneOf", "anyOf"):
            for branch in schema.get(union) or ():
                if isinstance(branch, dict) and branch.get("type") != "null":
                    return branch
        return schema

    def _union(self, branches: list[Any], document: Any) -> tuple[pa.DataType, bool]:
        made = [self._type(branch, document) for branch in branches]
        types = [type_ for type_, _ in made if type_ != pa.null()]
        if not types or any(type_ != types[0] for type_ in types):
            raise self._cannot("of several types")
        return types[0], any(nullable for _, nullable in made)

    def _one(self, kind: Any, schema: Mapping[str, Any], document: Any) -> pa.DataType:
        if kind is None and "enum" in schema:
            kind = "string" if all(isinstance(each, str) for each in schema["enum"]) else None
        if kind is None and "properties" in schema:
            kind = "object"
        found = self._of_connect(kind, schema) if self._connect else None
        if found is not None:
            return found
        match kind:
            case "array" if isinstance(schema.get("items"), dict):
                self._path.append("[]")
                item, nullable = self._type(schema["items"], document)
                self._path.pop()
                return pa.list_(pa.field("element", item, nullable))
            case "object" if isinstance(schema.get("properties"), dict):
                return pa.struct(self._properties(dict(schema), document))
            case "object" if isinstance(schema.get("additionalProperties"), dict):
                self._path.append("{}")
                item, nullable = self._type(schema["additionalProperties"], document)
                self._path.pop()
                return pa.map_(pa.string(), pa.field("value", item, nullable))
            case "string" if schema.get("format") in _FORMATS:
                return _FORMATS[schema["format"]]
            case "string" if schema.get("contentEncoding") == "base64":
                return pa.binary()
            case str() if kind in _TYPES:
                return _TYPES[kind]
        raise self._cannot("of a type that is not said")

    def _of_connect(self, kind: Any, schema: Mapping[str, Any]) -> pa.DataType | None:
        """The type by the names of Kafka Connect; None if they say nothing."""
        title = schema.get("title")
        if title == VARIABLE:
            raise self._cannot("a decimal of any scale")
        if title == _DECIMAL:
            parameters = schema.get("connect.parameters") or {}
            precision = parameters.get("connect.decimal.precision")
            if precision is None or int(precision) > DECIMAL256_MAX or "scale" not in parameters:
                raise self._cannot("a decimal of digits that are not said, or too many")
            return decimal_type(int(precision), int(parameters["scale"]))
        if kind == "integer" and title in NUMBERS:
            return NUMBERS[str(title)][0]
        if kind == "string" and title in TEXTS:
            return TEXTS[str(title)]
        return _CONNECT.get(str(schema.get("connect.type")))

    def _cannot(self, what: str) -> SchemaError:
        path = ".".join(self._path[:8]).replace(".[]", "[]").replace(".{}", "{}")
        return SchemaError(
            f"{self._what}: property {path!r} is {what}, and a column has one type",
            "declare schema= with the columns you need: what is not in it is skipped",
        )
