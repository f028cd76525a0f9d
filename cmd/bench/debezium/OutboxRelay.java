import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.Header;
import io.debezium.engine.format.Json;
import io.debezium.engine.format.KeyValueHeaderChangeEventFormat;
import io.debezium.engine.format.SimpleString;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.internals.RecordHeaders;

/**
 * Debezium's engine and outbox router on prefsd's own outbox table, publishing to Kafka with acks=all: the relay that prefsd's
 * own is measured beside. It is run from source, with the jars of pom.xml on the class path.
 *
 * <p>Arguments: brokers, PostgreSQL host, port, user, password, database, poll interval in milliseconds. It ends with SIGTERM.
 */
public final class OutboxRelay {
  private OutboxRelay() {}

  public static void main(String[] args) throws Exception {
    KafkaProducer<String, String> producer = new KafkaProducer<>(producer(args[0]));
    DebeziumEngine<?> engine =
        DebeziumEngine.create(KeyValueHeaderChangeEventFormat.of(SimpleString.class, SimpleString.class, Json.class))
            .using(connector(args))
            .using(
                (success, message, error) -> {
                  if (!success) {
                    System.err.println(message);
                    System.exit(1);
                  }
                })
            .notifying((batch, committer) -> publish(producer, batch, committer))
            .build();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(engine)));
    engine.run();
  }

  private static void close(DebeziumEngine<?> engine) {
    try {
      engine.close();
    } catch (IOException e) {
      System.err.println(e);
    }
  }

  private static void publish(
      KafkaProducer<String, String> producer,
      List<ChangeEvent<String, String>> batch,
      DebeziumEngine.RecordCommitter<ChangeEvent<String, String>> committer)
      throws InterruptedException {
    List<Future<RecordMetadata>> sent = new ArrayList<>(batch.size());
    for (ChangeEvent<String, String> event : batch) {
      if (event.value() != null) {
        sent.add(producer.send(new ProducerRecord<>(event.destination(), null, event.key(), event.value(), headers(event))));
      }
    }
    producer.flush();
    for (Future<RecordMetadata> one : sent) {
      try {
        one.get();
      } catch (ExecutionException e) {
        throw new IllegalStateException(e.getCause());
      }
    }
    for (ChangeEvent<String, String> event : batch) {
      committer.markProcessed(event);
    }
    committer.markBatchFinished();
  }

  private static RecordHeaders headers(ChangeEvent<String, String> event) {
    RecordHeaders out = new RecordHeaders();
    if (event.headers() == null) {
      return out;
    }
    for (Header<?> header : event.headers()) {
      Object value = header.getValue();
      if (value != null) {
        out.add(header.getKey(), value instanceof byte[] bytes ? bytes : value.toString().getBytes(StandardCharsets.UTF_8));
      }
    }
    return out;
  }

  private static Properties producer(String brokers) {
    Properties p = new Properties();
    p.put("bootstrap.servers", brokers);
    p.put("acks", "all");
    p.put("enable.idempotence", "true");
    p.put("linger.ms", "0");
    p.put("batch.size", "131072");
    p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
    p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
    return p;
  }

  private static Properties connector(String[] args) {
    Properties p = new Properties();
    p.put("name", "bench");
    p.put("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
    p.put("offset.storage", "org.apache.kafka.connect.storage.MemoryOffsetBackingStore");
    p.put("offset.flush.interval.ms", "1000");
    p.put("database.hostname", args[1]);
    p.put("database.port", args[2]);
    p.put("database.user", args[3]);
    p.put("database.password", args[4]);
    p.put("database.dbname", args[5]);
    p.put("topic.prefix", "bench");
    p.put("plugin.name", "pgoutput");
    p.put("slot.name", "debezium");
    p.put("publication.autocreate.mode", "filtered");
    p.put("table.include.list", "public.outbox");
    p.put("snapshot.mode", "no_data");
    p.put("skipped.operations", "u,d,t");
    p.put("tombstones.on.delete", "false");
    p.put("extended.headers.enabled", "false");
    p.put("max.batch.size", "2048");
    p.put("max.queue.size", "8192");
    p.put("poll.interval.ms", args[6]);
    p.put("binary.handling.mode", "base64");
    p.put("transforms", "outbox");
    p.put("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter");
    p.put("transforms.outbox.table.field.event.id", "event_id");
    p.put("transforms.outbox.table.field.event.key", "aggregateid");
    p.put("transforms.outbox.table.field.event.payload", "payload");
    p.put("transforms.outbox.table.fields.additional.placement", "type:header:ce_type,aggregate_seq:header:ce_sequence");
    p.put("transforms.outbox.route.by.field", "topic");
    p.put("transforms.outbox.route.topic.replacement", "${routedByValue}");
    p.put("key.converter.schemas.enable", "false");
    p.put("value.converter.schemas.enable", "false");
    p.put("header.converter.schemas.enable", "false");
    return p;
  }
}
