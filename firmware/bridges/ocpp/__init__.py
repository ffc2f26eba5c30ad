"""The back end: OCPP 2.1, 2.0.1 and 1.6 over one engine. See docs/ocpp.md.

frames, rpc          who may say what on the wire, sans I/O; what differs between versions is a table (dialect)
schemas, checks      whether a payload is good
outbox               what must reach the back end survives kill -9 and a week without it
station, transaction what a charger tells, sans I/O; view is what it knows of the charger
security, transport  TLS contexts, the WebSocket
bridge               the only part that waits
"""
