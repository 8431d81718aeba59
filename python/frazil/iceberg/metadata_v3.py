"""Writing metadata.json of format version 3, for catalogs whose metadata the client writes.

PyIceberg reads version 3 and applies changes to it, and refuses to write it. What it leaves to a
later version is done here: the next row's id, and that a snapshot's sequence number is its own.
A REST catalog does both itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil.iceberg.manifests import next_row_id
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.serializers import Compressor, ToOutputFile
from pyiceberg.typedef import IcebergBaseModel

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.io import FileIO
    from pyiceberg.table.metadata import TableMetadata


def write_v3(catalog: Catalog) -> None:
    """Let a catalog object write version 3 too. Others of its class stay as they are."""
    if isinstance(catalog, MetastoreCatalog):
        catalog._write_metadata = _write_metadata  # type: ignore[method-assign]


def _write_metadata(metadata: TableMetadata, io: FileIO, metadata_path: str) -> None:
    output = io.new_output(metadata_path)
    if metadata.format_version < 3:
        ToOutputFile.table_metadata(metadata, output)
        return
    _check_sequence(metadata)
    whole = metadata.model_copy(update={"next_row_id": next_row_id(metadata)})
    data = IcebergBaseModel.model_dump_json(whole, exclude_none=True, by_alias=True).encode()
    compress = Compressor.get_compressor(output.location).bytes_compressor()
    with output.create() as stream:
        stream.write(compress(data))


def _check_sequence(metadata: TableMetadata) -> None:
    """Refuse a snapshot that was made beside another one, of another branch."""
    numbers = [each.sequence_number or 0 for each in metadata.snapshots]
    last = metadata.next_sequence_number() - 1
    if last and (max(numbers, default=0) > last or numbers.count(last) > 1):
        raise CommitFailedException(
            f"sequence number {last} is not above those of all other snapshots"
        )
