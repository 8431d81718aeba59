import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.DeleteFile;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.FileScanTask;
import org.apache.iceberg.PartitionKey;
import org.apache.iceberg.RewriteFiles;
import org.apache.iceberg.StructLike;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.GenericAppenderFactory;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.InternalRecordWrapper;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.encryption.EncryptionUtil;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.DataWriter;
import org.apache.iceberg.rest.RESTCatalog;

/**
 * Rewrites all data files of a table with Iceberg's Java library, as a compaction does: arguments are
 * the URI of a REST catalog and the table. It is validated that no row of these files was deleted
 * meanwhile; the answer is "compacted" or "conflict".
 */
public final class TableCompactor {
  public static void main(String[] args) throws Exception {
    try (RESTCatalog catalog = new RESTCatalog()) {
      catalog.setConf(new Configuration());
      catalog.initialize("rest", new HashMap<>(Map.of("uri", args[0])));
      Table table = catalog.loadTable(TableIdentifier.parse(args[1]));
      long snapshot = table.currentSnapshot().snapshotId();
      Set<DataFile> oldFiles = new HashSet<>();
      Set<DeleteFile> oldDeletes = new HashSet<>();
      try (CloseableIterable<FileScanTask> tasks = table.newScan().useSnapshot(snapshot).planFiles()) {
        for (FileScanTask task : tasks) {
          oldFiles.add(task.file());
          oldDeletes.addAll(task.deletes());
        }
      }
      Set<DataFile> newFiles = write(table, snapshot);
      RewriteFiles rewrite = table.newRewrite().validateFromSnapshot(snapshot);
      oldFiles.forEach(rewrite::deleteFile);
      oldDeletes.forEach(rewrite::deleteFile);
      newFiles.forEach(rewrite::addFile);
      try {
        rewrite.commit();
        System.out.println("compacted");
      } catch (org.apache.iceberg.exceptions.ValidationException conflict) {
        System.out.println("conflict");
      }
    }
  }

  /** Writes the rows of a snapshot, each partition into a file. */
  private static Set<DataFile> write(Table table, long snapshot) throws Exception {
    GenericAppenderFactory factory = new GenericAppenderFactory(table.schema(), table.spec());
    InternalRecordWrapper wrapper = new InternalRecordWrapper(table.schema().asStruct());
    Map<String, DataWriter<Record>> writers = new HashMap<>();
    try (CloseableIterable<Record> rows =
        IcebergGenerics.read(table).useSnapshot(snapshot).select(names(table)).build()) {
      for (Record row : rows) {
        PartitionKey key = new PartitionKey(table.spec(), table.schema());
        key.partition(wrapper.wrap(row));
        DataWriter<Record> writer = writers.get(key.toPath());
        if (writer == null) {
          writer = open(table, factory, key.copy());
          writers.put(key.toPath(), writer);
        }
        writer.write(row.copy());
      }
    }
    Set<DataFile> files = new HashSet<>();
    for (DataWriter<Record> writer : writers.values()) {
      writer.close();
      files.add(writer.toDataFile());
    }
    return files;
  }

  private static DataWriter<Record> open(Table table, GenericAppenderFactory factory, StructLike key) {
    String location =
        table.locationProvider().newDataLocation("java-" + UUID.randomUUID() + ".parquet");
    return factory.newDataWriter(
        EncryptionUtil.plainAsEncryptedOutput(table.io().newOutputFile(location)),
        FileFormat.PARQUET,
        key);
  }

  private static List<String> names(Table table) {
    return table.schema().columns().stream().map(column -> column.name()).toList();
  }
}
