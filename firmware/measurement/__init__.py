"""What the grid does, from samples or from telemetry: r.m.s. values, frequency, sequences, power, harmonics.

Pure: fed samples, returns records; no I/O, no clock. `record` needs the standard library only and is what protection
works on. `waveform`, `frequency`, `window` and `harmonics` process samples and need numpy (extra `waveform`); nothing
that a charger without waveform sampling runs imports them.
"""
