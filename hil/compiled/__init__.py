"""An optional build of what a step runs through as C modules: for the bench, replay and lockstep (docs/compiled.md).

The Python sources stay the reference, and what a charger runs. `make compiled` makes the build; nothing imports it.
"""
