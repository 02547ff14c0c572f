"""The vocabulary: event types, their JSON form, commits and the hash chain, and the log port.

Here belongs what is written to or read from the log, the log's implementations (JetStream,
memory) and the embedded nats-server. What an event means (state) belongs in `projections`;
whether it may happen belongs in `engine`. Nothing here imports another folder of the house.
"""
