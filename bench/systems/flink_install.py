"""What Flink needs: PyFlink in a venv of its own, and jars from Maven Central, by their checksums.

It is some 400 MB in the user's cache folder, and is fetched when Flink is first asked for.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.cache import cache_dir
from bench.systems.venv import make_locked_venv
from tests.services.cache import FetchError
from tests.services.maven import jars, java_tool

PYTHON = "3.11"
"""The newest version that PyFlink 1.20 has wheels for."""

REQUIREMENTS = Path(__file__).with_name("flink-requirements.txt")

# Flink's SQL jars for Parquet and Kafka hold the same classes, with their libraries moved to
# other names; these are the jars that they are made of.
ARTIFACTS = {
    "org.apache.iceberg:iceberg-flink-runtime-1.20:1.11.0": (
        "33f7c29e2d53ef2c6e2942c1c324d817a03e32cc080f8a8b3056a3d0846e3691"
    ),
    "org.apache.hadoop:hadoop-client-api:3.4.1": (
        "a964d4daa054c9615bbafb4553efbb140fa7fb9ac6f358a24393f183a5703438"
    ),
    "org.apache.hadoop:hadoop-client-runtime:3.4.1": (
        "f6a800a159f918670db533606d33560d6c13b7e13f14eda493280ae33b9eeb2f"
    ),
    "org.apache.flink:flink-connector-kafka:3.4.0-1.20": (
        "0deab094f7f54df9e8cb7c77c15b4392e1f9923f98f8972b4346f6ff384bf5e6"
    ),
    "org.apache.kafka:kafka-clients:3.9.1": (
        "7568b998572d256f0b7bc0afdc1b7a2588b8b08415c62ce314c864a6851ae9d9"
    ),
    "org.apache.flink:flink-parquet:1.20.1": (
        "da897630b713506e2e5e92b40edda23629ec6291e0461c2717f844eece03e2a0"
    ),
    "org.apache.parquet:parquet-hadoop:1.13.1": (
        "5b86f191d0bbfe866d194bd1a336fa79d049d342fb7a05aefcf31ea266792a40"
    ),
    "org.apache.parquet:parquet-column:1.13.1": (
        "3ff4222b5da77cc85e3fee623ff9779f991a1a0987125e68bc642ff913ec5612"
    ),
    "org.apache.parquet:parquet-common:1.13.1": (
        "4a2d7a8eb395bbc8d202fa74b272e45374a1034b351028824ad46925366297ea"
    ),
    "org.apache.parquet:parquet-encoding:1.13.1": (
        "0c921d275bbcc31552ee94d383ea38b2615110790d59f11ad07ffe5f3f0c23b3"
    ),
    "org.apache.parquet:parquet-format-structures:1.13.1": (
        "57b3e31e9502a1121dc481a3017fc2f20d1d6116da82dd58155a69b10b28e1e6"
    ),
    "org.apache.parquet:parquet-jackson:1.13.1": (
        "d1e66f2a392d1777425688d3439b7f57d08c4404a81ae95bb247a16cfc773da1"
    ),
}


@dataclass(frozen=True)
class Installation:
    """Where Flink is."""

    python: Path
    lib: Path  # all jars, Flink's own among them


def install_flink() -> Installation:
    """Fetch what is not there yet, check it, put the jars together.

    Raises
    ------
    FileNotFoundError
        Java or Maven are not there, or an artifact is not to be had.
    ValueError
        A jar is not the one that is meant.
    """
    python = make_locked_venv("flink", PYTHON, REQUIREMENTS)
    try:
        java_tool("java")
        fetched = jars("flink", list(ARTIFACTS), transitive=False)
    except FetchError as error:
        raise FileNotFoundError(str(error)) from None
    own = next(python.parents[1].glob("lib/python*/site-packages/pyflink/lib"))
    lib = cache_dir() / "flink" / f"{python.parents[1].name}-{fetched.name}"
    lib.mkdir(parents=True, exist_ok=True)
    for jar in (*own.glob("*.jar"), *checked(fetched)):
        link = lib / jar.name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(jar)
    return Installation(python, lib)


def checked(folder: Path) -> list[Path]:
    """The jars of a folder, which have to be those of `ARTIFACTS`; a folder that is not goes."""
    found = []
    for artifact, expected in ARTIFACTS.items():
        _, name, version = artifact.split(":")
        jar = folder / f"{name}-{version}.jar"
        sha256 = hashlib.sha256(jar.read_bytes()).hexdigest()
        if sha256 != expected:
            shutil.rmtree(folder, ignore_errors=True)
            raise ValueError(
                f"checking {jar.name}: its SHA-256 is {sha256}, not {expected}; it has been "
                "removed, so the next run fetches it again"
            )
        found.append(jar)
    return found
