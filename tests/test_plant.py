"""Physics of the plant: switches, limits, faults, sources, instruments."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.plant.ac import AcParams, AcSide, IslandLoad, rk4_matrices
from hil.plant.contactors import Contactor
from hil.plant.dc import DcParams, DcSide
from hil.plant.grid_source import ProgrammableSource, ReplayedSource, Segment, toledo
from hil.plant.instruments import GridInstrument
from hil.plant.link import FIELDS, PlantLink
from hil.plant.plant import Plant, PlantParams
from hil.plant.validate import energy_error_share, powered, stores_j

FIXED = PlantParams(contactor_delay_s=0.02)


def start(params: PlantParams = FIXED, source: ProgrammableSource | None = None) -> tuple[Plant, PlantLink]:
    plant = Plant(PlantLink(), source or ProgrammableSource(), params)
    return plant, plant.link


def programmable(plant: Plant) -> ProgrammableSource:
    assert isinstance(plant.source, ProgrammableSource)
    return plant.source


def steps(plant: Plant, until_s: float, every_s: float = 0.0005) -> Iterator[float]:
    while plant.t_s < until_s - 1e-9:
        plant.advance(plant.t_s + every_s)
        yield plant.t_s


# ---------------------------------------------------------------------------------------------------- contactors, stops
def test_a_contactor_moves_after_its_delay_and_the_mirror_shows_the_real_position() -> None:
    plant, link = start()
    link.coil_grid = 1.0
    plant.advance(0.0195)
    assert link.k_grid == 0.0
    plant.advance(0.021)
    assert link.k_grid == 1.0


def test_a_coil_that_is_withdrawn_before_the_delay_moves_nothing() -> None:
    k = Contactor(delay_s=0.02)
    assert not k.update(0.0, True)
    assert not k.update(0.01, False)
    assert not k.update(0.05, False)


def test_a_welded_contactor_stays_closed_and_a_stuck_one_stays_open() -> None:
    plant, link = start()
    link.stuck_dc = link.coil_dc = 1.0
    plant.advance(0.1)
    assert link.k_dc == 0.0
    link.stuck_dc = 0.0
    plant.advance(0.2)
    assert link.k_dc == 1.0
    link.weld_dc, link.coil_dc = 1.0, 0.0
    plant.advance(0.3)
    assert link.k_dc == 1.0
    link.weld_dc = 0.0
    plant.advance(0.4)
    assert link.k_dc == 0.0


@pytest.mark.parametrize(("field", "within_s"), [("converter_enable", 0.001), ("conv_on", 0.005), ("coil_grid", 0.022)])
def test_each_way_to_stop_the_stage_takes_both_currents_to_zero(field: str, within_s: float) -> None:
    plant = powered(FIXED, 25.0, -1)
    link = plant.link
    assert link.cable_i_a < -24.0
    setattr(link, field, 0.0)
    stop = plant.t_s
    plant.advance(stop + within_s)
    assert abs(link.dc_i_a) < 0.25
    assert abs(link.ac_p_w) < 100.0
    plant.advance(stop + within_s + 0.02)
    assert abs(link.dc_i_a) < 0.01
    assert abs(link.cable_i_a) < 0.05  # the bleed resistor


def test_without_a_closed_grid_contactor_nothing_flows_whatever_is_commanded() -> None:
    plant, link = start()
    link.coil_dc = link.ev_plugged = link.ev_contactor = link.converter_enable = link.conv_on = 1.0
    link.conv_i_a, link.conv_v_v = 50.0, 900.0
    for direction in (1.0, -1.0):
        link.conv_dir = direction
        plant.advance(plant.t_s + 0.5)
        assert link.dc_i_a == 0.0
        assert (link.ac_va_v, link.ac_f_hz, link.ac_p_w, link.ac_ia_a) == (0.0, 0.0, 0.0, 0.0)


# ------------------------------------------------------------------------------------------------------------- DC side
def test_on_an_open_output_the_voltage_ramps_to_the_set_point_and_holds() -> None:
    plant, link = start()
    link.coil_grid = link.coil_dc = link.converter_enable = 1.0
    plant.advance(1.0)
    link.conv_dir, link.conv_i_a, link.conv_v_v, link.conv_on = 1.0, 2.0, 500.0, 1.0
    top = max(link.dc_v_v for _ in steps(plant, 2.0))
    assert link.cable_v_v == pytest.approx(500.0, abs=0.5)
    assert top < 505.0
    link.conv_on = 0.0
    plant.advance(4.0)
    assert link.dc_v_v < 60.0  # EVerest CABLECHECK_SAFE_VOLTAGE


def test_a_thousand_volts_fall_below_sixty_within_two_seconds_of_off() -> None:
    dc = DcSide(DcParams(), 1e-4, 0.5)
    dc.v1_v = 1000.0
    for _ in range(4000):
        dc.run(5, running=False, blocked=True, direction=1, current_a=0.0, voltage_v=0.0, cutoff_v=0.0, link_share=1.0,
               k_dc=False, k_precharge=False, k_ev=False)  # fmt: skip
    assert dc.v1_v < 60.0


def test_the_voltage_limit_holds_while_charging() -> None:
    plant = powered(FIXED, 20.0, 1)
    link = plant.link
    link.conv_v_v = link.batt_v_v + 0.5
    plant.advance(plant.t_s + 3.0)
    assert link.dc_v_v <= link.conv_v_v + 0.05
    assert 0.0 < link.dc_i_a < 20.0


def test_the_discharge_stops_at_the_cut_off_voltage() -> None:
    plant = powered(FIXED, 20.0, -1)
    link = plant.link
    link.conv_cutoff_v = 360.0  # above the battery
    plant.advance(plant.t_s + 1.0)
    assert abs(link.dc_i_a) < 0.01


def test_a_load_dump_while_charging_stays_below_the_hardware_limit() -> None:
    plant = powered(FIXED, 40.0, 1)
    link = plant.link
    link.conv_v_v = 450.0
    plant.advance(plant.t_s + 0.2)
    link.ev_plugged = 0.0  # the plug is gone under load
    top = max(link.dc_v_v for _ in steps(plant, plant.t_s + 0.1))
    assert 450.0 < top < 650.0
    assert link.batt_i_a == 0.0


def test_a_load_dump_while_discharging_never_makes_the_voltage_negative() -> None:
    plant = powered(FIXED, 40.0, -1)
    plant.link.ev_plugged = 0.0
    assert min(plant.link.dc_v_v for _ in steps(plant, plant.t_s + 0.1)) >= 0.0


def test_power_is_limited_to_the_rating() -> None:
    plant = powered(FIXED, 80.0, 1)
    plant.advance(plant.t_s + 1.0)
    assert plant.link.dc_v_v * plant.link.dc_i_a == pytest.approx(22000.0, rel=0.01)


def test_a_leak_lowers_the_insulation_resistance_in_parallel() -> None:
    plant, link = start()
    plant.advance(0.1)
    assert link.insulation_ohm == pytest.approx(5e6)
    link.leak_ohm = 50e3
    plant.advance(0.2)
    assert link.insulation_ohm == pytest.approx(1 / (1 / 5e6 + 1 / 50e3))


def test_the_exact_dc_step_agrees_with_many_small_explicit_steps() -> None:
    dc = DcSide(DcParams(output_f=1e-3, cable_f=0.4e-3), 1e-4, 0.5)
    p = dc.params
    g12, gb, e, i = 1 / p.precharge_ohm, 1.0, 355.0, 3.0
    v1, v2 = 100.0, 30.0
    p11, p12, p21, p22, q1i, q1e, q2i, q2e = dc.matrix(g12, gb, 1e-4)
    exact = (p11 * v1 + p12 * v2 + q1i * i + q1e * e, p21 * v1 + p22 * v2 + q2i * i + q2e * e)
    n = 20000
    for _ in range(n):
        d1 = (i - v1 / p.bleed_ohm - g12 * (v1 - v2)) / p.output_f
        d2 = (g12 * (v1 - v2) - v2 / p.cable_leak_ohm + gb * (e - v2)) / p.cable_f
        v1, v2 = v1 + d1 * 1e-4 / n, v2 + d2 * 1e-4 / n
    assert exact == pytest.approx((v1, v2), rel=1e-5)


# ------------------------------------------------------------------------------------------------------------- AC side
def test_the_step_matrix_is_rk4_of_the_network() -> None:
    ac = AcSide(AcParams(), IslandLoad.tuned(10e3, 1.0), 1e-4)
    a, b = ac.equations(True, True)
    x = [3 + 1j, 320 - 5j, 2 - 9j, 7j]
    u = [325 + 0j, 330 + 4j, -0.1 + 0j]
    p, q = rk4_matrices(a, b, 1e-4, 4)
    by_matrix = [sum(p[r][k] * x[k] for k in range(4)) + sum(q[r][k] * u[k] for k in range(3)) for r in range(4)]

    def slope(y: list[complex]) -> list[complex]:
        return [sum(a[r][k] * y[k] for k in range(4)) + sum(b[r][k] * u[k] for k in range(3)) for r in range(4)]

    h = 25e-6
    for _ in range(4):
        k1 = slope(x)
        k2 = slope([v + h / 2 * d for v, d in zip(x, k1, strict=True)])
        k3 = slope([v + h / 2 * d for v, d in zip(x, k2, strict=True)])
        k4 = slope([v + h * d for v, d in zip(x, k3, strict=True)])
        x = [v + h / 6 * (p + 2 * q + 2 * r + s) for v, p, q, r, s in zip(x, k1, k2, k3, k4, strict=True)]
    for one, other in zip(by_matrix, x, strict=True):
        assert one == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("residual", [0.0, 0.05, 0.2])
def test_a_collapsed_grid_limits_current_and_the_dc_link_stays_in_range(direction: int, residual: float) -> None:
    plant = powered(FIXED, 28.0, direction)
    programmable(plant).sag(residual, 0.3)
    plant.advance(plant.t_s + 0.25)
    link = plant.link
    assert link.pcc_va_v < 230.0 * residual + 40.0
    assert link.ac_ia_a <= plant.params.ac.i_max_a / math.sqrt(2.0) * 1.05
    assert 400.0 < plant.ac.link_v < 950.0
    assert all(math.isfinite(value) for value in link.as_dict().values())
    plant.advance(plant.t_s + 0.5)
    assert abs(link.dc_i_a) == pytest.approx(28.0, abs=0.1)  # the plant alone knows no trip
    assert link.pcc_f_hz == pytest.approx(50.0, abs=0.01)


def test_an_inverter_on_a_nearly_unloaded_island_raises_the_voltage_until_its_bridge_ends() -> None:
    plant = powered(FIXED, 25.0, -1)
    plant.link.grid_switch_open = 1.0
    top = max(plant.link.pcc_va_v for _ in steps(plant, plant.t_s + 0.5))
    assert 253.0 < top < 500.0
    assert all(math.isfinite(value) for value in plant.link.as_dict().values())


def test_an_island_without_inverter_dies() -> None:
    plant, link = start()
    plant.advance(0.1)
    link.grid_switch_open = 1.0
    plant.advance(0.5)
    assert link.pcc_va_v < 1.0


@pytest.mark.parametrize("dt_s", [50e-6, 100e-6, 200e-6])
def test_the_converter_is_stable_on_strong_and_weak_grids_at_each_step_size(dt_s: float) -> None:
    for weak in (1.0, 5.0):
        ac = AcParams(grid_ohm=0.1 * weak, grid_h=0.3e-3 * weak)
        plant = powered(PlantParams(dt_s=dt_s, ac=ac, contactor_delay_s=0.02), 40.0, -1)
        powers = [plant.link.ac_p_w for _ in steps(plant, plant.t_s + 0.05, plant.block_s)]
        assert max(powers) - min(powers) < 0.01 * abs(powers[0])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1.0, -1.0]), st.floats(0.0, 50.0), st.floats(0.15, 1.1), st.floats(-60.0, 60.0),
            st.floats(48.0, 52.0),
        ),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_no_energy_appears_or_vanishes(course: list[tuple[float, float, float, float, float]]) -> None:
    plant = powered(FIXED, 10.0, -1)
    before = (plant.ac_in_j, plant.ac_loss_j, plant.dc_out_j, stores_j(plant))
    for direction, current_a, depth, jump_deg, f_hz in course:
        plant.link.conv_dir, plant.link.conv_i_a = direction, current_a
        programmable(plant).sag(depth, 0.05)
        programmable(plant).jump(jump_deg)
        programmable(plant).set_frequency(f_hz)
        plant.advance(plant.t_s + 0.15)
    assert energy_error_share(plant, *before) < 0.02


def test_the_fast_idle_path_agrees_with_the_full_one() -> None:
    readings = []
    for fast in (True, False):
        plant, link = start(PlantParams(contactor_delay_s=0.02, fast_idle=fast))
        source = programmable(plant)
        link.coil_grid = 1.0
        plant.advance(0.5)
        source.set_voltage((200.0, 210.0, 220.0))
        source.set_frequency(49.0)
        series = []
        for t in steps(plant, 0.7, 0.005):
            series.append((t, link.pcc_va_v, link.pcc_vc_v, link.pcc_f_hz, link.ac_va_v))
        readings.append(series)
    for quick, full in zip(*readings, strict=True):
        settled = quick[0] > 0.545  # 5 ms of network transient after the windows are full
        assert quick == pytest.approx(full, rel=2e-5 if settled else 0.02)


def test_the_result_does_not_depend_on_how_time_is_cut() -> None:
    results = []
    for slice_s in (0.0005, 0.002, 0.0137, 0.25):
        plant = Plant(PlantLink(), ProgrammableSource(), PlantParams(), random.Random(7))
        link = plant.link
        link.coil_grid = link.coil_dc = link.converter_enable = link.ev_plugged = link.ev_contactor = 1.0
        link.conv_dir, link.conv_i_a, link.conv_v_v, link.conv_on = 1.0, 10.0, 800.0, 1.0
        for _ in range(math.ceil(1.0 / slice_s)):
            plant.advance(min(1.0, plant.t_s + slice_s + plant.block_s * 0.999))
        plant.advance(1.0)
        results.append(link.as_dict())
    assert all(result == results[0] for result in results)


def test_going_back_in_time_does_nothing() -> None:
    plant, link = start()
    plant.advance(0.1)
    plant.advance(0.05)
    assert link.t_s == pytest.approx(0.1)


@pytest.mark.parametrize("dt_s", [0.0, 1e-6, 300e-6, 130e-6])
def test_a_step_size_outside_the_range_is_refused(dt_s: float) -> None:
    with pytest.raises(ValueError, match=r"microseconds|whole number"):
        Plant(PlantLink(), ProgrammableSource(), PlantParams(dt_s=dt_s))


def test_the_module_warms_up_under_load() -> None:
    plant = powered(FIXED, 50.0, 1)
    warm = plant.link.module_temp_c
    plant.advance(plant.t_s + 3.0)
    assert warm < plant.link.module_temp_c < 35.0


def test_the_plant_writes_its_own_fields_only() -> None:
    plant, link = start()
    for name in FIELDS[: FIELDS.index("t_s")]:
        if name != "ambient_c":
            setattr(link, name, 0.5)  # below every switching threshold but not zero
    before = link.as_dict()
    plant.advance(0.1)
    for name in FIELDS[: FIELDS.index("t_s")]:
        assert getattr(link, name) == before[name]


# --------------------------------------------------------------------------------------------------------- instruments
def test_half_cycle_rms_slides_over_exactly_half_a_cycle() -> None:
    meter = GridInstrument(0.0005)
    for _ in range(40):
        meter.update(230.0**2, 230.0**2, 230.0**2, 325 + 0j, 50.0)
    for k in range(20):
        meter.update(46.0**2, 0.0, 230.0**2, 65 + 0j, 50.0)
        share = (k + 1) / 20
        assert meter.rms_v()[0] == pytest.approx(math.sqrt((1 - share) * 230.0**2 + share * 46.0**2))
    assert meter.rms_v() == pytest.approx((46.0, 0.0, 230.0), abs=1e-3)


def test_without_voltage_the_frequency_instrument_free_runs_on_what_the_source_says() -> None:
    plant, link = start()
    programmable(plant).set_voltage(0.3)
    programmable(plant).set_frequency(47.0)
    plant.advance(0.5)
    assert link.pcc_va_v == pytest.approx(0.3, abs=0.01)
    assert link.pcc_f_hz == pytest.approx(47.0, abs=0.01)


def test_phases_keep_the_ratio_of_the_source() -> None:
    plant, link = start()
    programmable(plant).sag(0.5, phases="b")
    plant.advance(0.5)
    assert link.pcc_vb_v / link.pcc_va_v == pytest.approx(0.5, abs=1e-6)
    assert link.pcc_va_v == pytest.approx(230.0, abs=1.0)


# -------------------------------------------------------------------------------------------------------------- sources
def test_a_schedule_plays_steps_ramps_and_jumps_one_after_another() -> None:
    source = ProgrammableSource()
    source.sample(1.0)
    source.schedule([Segment(0.5, v_v=200.0), Segment(1.0, f_hz=52.0, shape="ramp"), Segment(0.1, phase_deg=20.0)])
    assert source.sample(1.1) == ((200.0, 200.0, 200.0), 50.0, 0.0)
    assert source.sample(2.0)[1] == pytest.approx(51.0)
    volts, f_hz, jump_rad = source.sample(9.0)
    assert (volts, f_hz) == ((200.0, 200.0, 200.0), 52.0)
    assert jump_rad == pytest.approx(math.radians(20.0))


def test_a_set_value_in_the_middle_of_a_ramp_freezes_the_other_quantity_where_it_is() -> None:
    source = ProgrammableSource()
    source.ramp(2.0, f_hz=52.0)
    source.sample(0.0)
    source.sample(1.0)
    source.set_voltage(220.0)
    (volts, f_hz, _) = source.sample(5.0)
    assert volts == (220.0, 220.0, 220.0)
    assert f_hz == pytest.approx(51.0)


def test_a_sag_ends_by_itself() -> None:
    source = ProgrammableSource()
    source.sample(1.0)
    source.sag(0.2, 0.5)
    assert source.sample(1.4)[0][0] == pytest.approx(46.0)
    assert source.sample(1.5)[0][0] == 230.0


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.set_voltage(-1.0),
        lambda s: s.set_voltage((230.0, 230.0)),
        lambda s: s.set_frequency(float("nan")),
        lambda s: s.jump(500.0),
        lambda s: s.sag(-0.1, 1.0),
        lambda s: s.sag(0.1, 0.0),
        lambda s: s.sag(0.1, 1.0, "d"),
        lambda s: s.schedule([Segment(1.0, v_v=100.0), Segment(-1.0)]),
        lambda s: s.schedule([Segment(1.0, v_v=100.0), Segment(1.0, shape="curve")]),
    ],
)
def test_a_bad_request_is_refused_with_a_sentence_and_changes_nothing(call: object) -> None:
    source = ProgrammableSource()
    with pytest.raises(ValueError, match=r"needed|share"):
        call(source)  # type: ignore[operator]
    assert source.sample(1.0) == ((230.0, 230.0, 230.0), 50.0, 0.0)


def test_the_recording_of_toledo_is_scaled_and_its_holes_are_named() -> None:
    source = toledo()
    assert source.gaps == ((172.0, 176.0), (246.0, 250.0), (1054.0, 1058.0))
    assert source.length_s == 1474.0
    (v, _, _), f_hz = source.course(0.0)
    assert v == pytest.approx(27698.273 / (46000 / math.sqrt(3)) * 230.0)
    assert f_hz == 50.023
    assert source.course(1198.0)[1] == 47.476
    assert source.course(1199.0)[1] == pytest.approx((47.476 + 47.408) / 2)
    assert source.course(1210.0)[0][0] < 1.0
    assert source.course(5000.0) == source.course(1474.0)


def test_a_recording_with_a_long_hole_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "grid.csv"
    file.write_text("t_s,v1_v,v2_v,v3_v,f_hz\n0,1,1,1,50\n2,NaN,NaN,NaN,NaN\n6,1,1,1,50\n")
    with pytest.raises(ValueError, match="line 4: 6 s without data"):
        ReplayedSource(file, 1.0)
    file.write_text("t_s,v1_v,v2_v,v3_v,f_hz\n0,1,1,1,50\n2,1,x,1,50\n")
    with pytest.raises(ValueError, match="line 3"):
        ReplayedSource(file, 1.0)


def test_the_plant_follows_the_collapse_of_toledo() -> None:
    plant = Plant(PlantLink(), toledo(start_s=1185.0), FIXED)
    link = plant.link
    plant.advance(5.0)
    assert link.pcc_f_hz == pytest.approx(49.95, abs=0.005)
    plant.advance(14.0)
    assert link.pcc_va_v == pytest.approx(114.0, abs=3.0)
    plant.advance(25.0)
    assert link.pcc_va_v < 1.0
    assert 46.0 < link.pcc_f_hz < 47.4


def test_a_bouncing_contact_parts_within_its_time_and_then_stays() -> None:
    for rng in (None, random.Random(4)):
        contact = Contactor(rng, 0.02, bounce_s=0.006)
        seen = [contact.update(0.0001 * k, True) for k in range(400)]
        first = seen.index(True)
        assert first == 200
        partings = [k for k in range(first + 1, 400) if seen[k - 1] and not seen[k]]
        assert 1 <= len(partings) <= 3
        assert all(seen[first + 60 :])
        assert contact.rests(True)


def test_opening_does_not_bounce_and_a_contact_opened_while_it_bounces_stays_open() -> None:
    contact = Contactor(None, 0.02, bounce_s=0.006)
    for k in range(220):
        contact.update(0.0001 * k, True)
    assert not contact.rests(True)
    seen = [contact.update(0.0001 * k, False) for k in range(220, 600)]
    assert not any(seen[seen.index(False) + 200 :])
    assert contact.rests(False)
    assert not any(contact.update(0.0001 * k, False) for k in range(600, 700))


def test_a_contact_that_welds_while_it_bounces_stays_closed() -> None:
    contact = Contactor(None, 0.02, bounce_s=0.006)
    for k in range(215):
        contact.update(0.0001 * k, True)
    assert all(contact.update(0.0001 * k, True, welded=True) for k in range(215, 300))
    assert contact.update(0.5, False, welded=True)
    assert contact.update(1.0, False, welded=True)


def test_a_bounce_of_no_possible_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contactor_bounce_s is 0\.5: 0 to 0\.1 s"):
        PlantParams(contactor_bounce_s=0.5)


@given(
    p_w=st.floats(500.0, 22_000.0),
    qf=st.floats(0.3, 2.5),
    q_share=st.floats(-0.75, 0.75),
    f_hz=st.sampled_from([50.0, 60.0]),
)
def test_a_load_tuned_to_reactive_power_gives_it_at_its_quality_factor(
    p_w: float, qf: float, q_share: float, f_hz: float
) -> None:
    load = IslandLoad.tuned(p_w, qf, 230.0, f_hz, q_var=q_share * p_w)
    w, square = 2.0 * math.pi * f_hz, 3.0 * 230.0**2
    given_var = square * (w * load.c_f - load.inv_l_per_h / w)
    assert given_var == pytest.approx(q_share * p_w, rel=1e-9, abs=1e-6)
    assert square * load.g_s == pytest.approx(p_w)
    assert math.sqrt(load.c_f * load.inv_l_per_h) / load.g_s == pytest.approx(qf)
