"""SAL as it is on the wire: topic dictionary, Avro schemas, registry, framing and keys."""
