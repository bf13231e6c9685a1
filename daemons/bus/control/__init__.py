"""The control bus in three transports: memory, Kafka (SAL, byte for byte) and MQTT (JSON)."""
