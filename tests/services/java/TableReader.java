import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.time.temporal.TemporalAccessor;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.BaseTable;
import org.apache.iceberg.MetadataColumns;
import org.apache.iceberg.StaticTableOperations;
import org.apache.iceberg.StructLike;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.ResolvingFileIO;
import org.apache.iceberg.rest.RESTCatalog;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;

/**
 * Reads Iceberg tables with Iceberg's Java library, one request a line.
 *
 * <p>A request on stdin is a JSON object: {@code properties} for the file access and either {@code
 * location} (of a metadata.json) or {@code uri} and {@code table} (a REST catalog); {@code snapshot}
 * chooses one; {@code lineage} adds the ids of rows that tables of version 3 have. The answer on stdout is a line of JSON for each row and then {@code #end <rows>}, or
 * {@code #error <text>}. How types are written is said in java_reader.py.
 */
public final class TableReader {
  private static final JsonMapper JSON =
      JsonMapper.builder().disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS).build();
  private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("HH:mm:ss.SSSSSS");
  private static final String MICROS = "uuuu-MM-dd'T'HH:mm:ss.SSSSSS";
  private static final String NANOS = "uuuu-MM-dd'T'HH:mm:ss.SSSSSSSSS";

  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    System.setOut(System.err); // nothing but answers may come on stdout
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      try {
        out.print("#end " + answer(JSON.readTree(line), out) + "\n");
      } catch (Exception | LinkageError error) {
        error.printStackTrace();
        out.print("#error " + String.valueOf(error).replace('\n', ' ') + "\n");
      }
      out.flush();
    }
  }

  private static long answer(JsonNode request, PrintStream out) throws Exception {
    Map<String, String> properties = new HashMap<>();
    request.path("properties").fields()
        .forEachRemaining(entry -> properties.put(entry.getKey(), entry.getValue().asText()));
    if (request.hasNonNull("location")) {
      try (ResolvingFileIO io = new ResolvingFileIO()) {
        io.setConf(new Configuration());
        io.initialize(properties);
        String location = request.get("location").asText();
        return write(new BaseTable(new StaticTableOperations(location, io), "t"), request, out);
      }
    }
    try (RESTCatalog catalog = new RESTCatalog()) {
      catalog.setConf(new Configuration());
      properties.put("uri", request.get("uri").asText());
      catalog.initialize("rest", properties);
      TableIdentifier name = TableIdentifier.parse(request.get("table").asText());
      return write(catalog.loadTable(name), request, out);
    }
  }

  private static long write(Table table, JsonNode request, PrintStream out) throws Exception {
    IcebergGenerics.ScanBuilder scan = IcebergGenerics.read(table);
    if (request.hasNonNull("snapshot")) {
      scan = scan.useSnapshot(request.get("snapshot").asLong());
    }
    if (request.path("lineage").asBoolean()) {
      scan = scan.project(MetadataColumns.schemaWithRowLineage(table.schema()));
    }
    long rows = 0;
    try (CloseableIterable<Record> records = scan.build()) {
      for (Record record : records) {
        StringWriter line = new StringWriter();
        try (JsonGenerator json = JSON.createGenerator(line)) {
          writeStruct(json, record.struct(), record);
        }
        out.print(line.append('\n'));
        rows++;
      }
    }
    return rows;
  }

  private static void writeStruct(JsonGenerator json, Types.StructType type, StructLike row)
      throws Exception {
    json.writeStartObject();
    List<Types.NestedField> fields = type.fields();
    for (int i = 0; i < fields.size(); i++) {
      json.writeFieldName(fields.get(i).name());
      writeValue(json, fields.get(i).type(), row.get(i, Object.class));
    }
    json.writeEndObject();
  }

  private static void writeValue(JsonGenerator json, Type type, Object value) throws Exception {
    if (value == null) {
      json.writeNull();
      return;
    }
    switch (type.typeId()) {
      case BOOLEAN -> json.writeBoolean((Boolean) value);
      case INTEGER, LONG -> json.writeNumber(((Number) value).longValue());
      case FLOAT, DOUBLE -> json.writeNumber(((Number) value).doubleValue());
      case DECIMAL -> json.writeString(((BigDecimal) value).toPlainString());
      case DATE, STRING, UUID -> json.writeString(value.toString());
      case TIME -> json.writeString(TIME.format((TemporalAccessor) value));
      case TIMESTAMP -> json.writeString(timestamp(MICROS, value));
      case TIMESTAMP_NANO -> json.writeString(timestamp(NANOS, value));
      case BINARY -> json.writeString(hex((ByteBuffer) value));
      case FIXED -> json.writeString(HexFormat.of().formatHex((byte[]) value));
      case STRUCT -> writeStruct(json, type.asStructType(), (StructLike) value);
      case LIST -> {
        json.writeStartArray();
        for (Object element : (List<?>) value) {
          writeValue(json, type.asListType().elementType(), element);
        }
        json.writeEndArray();
      }
      case MAP -> {
        json.writeStartArray();
        for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
          json.writeStartArray();
          writeValue(json, type.asMapType().keyType(), entry.getKey());
          writeValue(json, type.asMapType().valueType(), entry.getValue());
          json.writeEndArray();
        }
        json.writeEndArray();
      }
      default -> throw new IllegalArgumentException("writing a value of type " + type);
    }
  }

  private static String timestamp(String pattern, Object value) {
    String zone = value instanceof OffsetDateTime ? "xxx" : "";
    if (!(value instanceof OffsetDateTime) && !(value instanceof LocalDateTime)) {
      throw new IllegalArgumentException("writing a timestamp of class " + value.getClass());
    }
    return DateTimeFormatter.ofPattern(pattern + zone).format((TemporalAccessor) value);
  }

  private static String hex(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}
