"""Jars from Maven Central, with everything they need, in one cache folder per list."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.services.cache import FetchError, digest, install, run_tool

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>{name}</artifactId><version>1</version>
<packaging>pom</packaging>
<dependencies>
{dependencies}
</dependencies>
</project>
"""

# Small and quick to start; these are test services, not servers.
JAVA_FLAGS = ("-Xms32m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


def java_tool(command: str) -> str:
    """Return the path of java, javac or mvn; FetchError that names the packages if missing."""
    path = shutil.which(command)
    if path is None:
        raise FetchError(
            f"looking for `{command}`: not on the PATH. `make services` installs the Debian "
            "packages openjdk-17-jdk-headless and maven"
        )
    return path


def jars(name: str, artifacts: Sequence[str], *, transitive: bool = True) -> Path:
    """Return the folder with the jars of `group:artifact:version[:classifier]` and their needs.

    With `transitive=False` their needs are left out.
    """
    listed = "\n".join(_dependency(artifact, transitive=transitive) for artifact in artifacts)
    pom = _POM.format(name=name, dependencies=listed)

    def build(folder: Path) -> None:
        (folder / "pom.xml").write_text(pom)
        # -U: a lookup that once found nothing would otherwise be remembered as such for a day.
        run_tool(
            [java_tool("mvn"), "-q", "-B", "-U", _COPY, "-DincludeScope=runtime",
             f"-DoutputDirectory={folder}"],
            cwd=folder,
        )  # fmt: skip

    return install(f"{name}-{digest(pom)}", build)


def classes(name: str, source: Path, libraries: Path) -> Path:
    """Return the folder with one Java source compiled against `libraries`."""

    def build(folder: Path) -> None:
        run_tool(
            [java_tool("javac"), "-Xlint:-options", "--release", "17", "-cp", f"{libraries}/*",
             "-d", folder, source],
            cwd=folder,
        )  # fmt: skip

    return install(f"{name}-{digest(source.read_bytes(), libraries.name)}", build)


def _dependency(artifact: str, *, transitive: bool) -> str:
    group, name, version, *classifier = artifact.split(":")
    extra = f"<classifier>{classifier[0]}</classifier>" if classifier else ""
    if not transitive:
        every = "<groupId>*</groupId><artifactId>*</artifactId>"
        extra += f"<exclusions><exclusion>{every}</exclusion></exclusions>"
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version>{extra}</dependency>"
    )
