"""A small back end for the desk: shows what a charger tells and sends it calls. `quadrant csms`; see docs/ocpp.md."""
