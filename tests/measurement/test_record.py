"""The record that protection works on, and that it needs no numpy."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from firmware.measurement.record import Measured, Quality, from_telemetry

# A None in sys.modules makes the import fail as if the package were not installed.
WITHOUT_NUMPY = "import sys; sys.modules['numpy'] = None; import {}"


def test_telemetry_gives_the_same_record_with_fewer_fields() -> None:
    record = from_telemetry(12.5, (230.0, 231.0, 229.0), 50.02)
    assert isinstance(record, Measured)
    assert (record.t_s, record.v_half_v, record.v_cycle_v) == (12.5, (230.0, 231.0, 229.0), (230.0, 231.0, 229.0))
    assert record.f_hz == 50.02
    assert record.quality is Quality.GOOD
    assert (record.v_pp_v, record.seq_v, record.dc_v, record.p_w, record.q_var, record.s_va) == (None,) * 6
    assert math.isnan(record.rocof_hz_s)
    assert math.isnan(record.jump_deg)


def test_telemetry_without_a_frequency_says_so() -> None:
    record = from_telemetry(0.0, (1.0, 2.0, 0.0), math.nan)
    assert math.isnan(record.f_hz)
    assert record.quality is Quality.NO_FREQUENCY


@pytest.mark.parametrize("module", ["firmware.measurement.record", "firmware.guard.step", "firmware.services.app"])
def test_what_runs_on_every_charger_starts_without_numpy(module: str) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_NUMPY.format(module)], check=True, timeout=60)


def test_the_check_above_notices_an_import_of_numpy() -> None:
    script = WITHOUT_NUMPY.format("firmware.measurement.waveform")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert b"numpy" in result.stderr
    assert result.returncode != 0
