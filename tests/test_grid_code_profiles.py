"""Every profile: the trips as its sources give them, and whether it runs, needs a flag, or is refused.

TRIPS was written from the sources, not from the profiles: element, quantity, direction, threshold, time, the lower of
the two confidences, sources (keys of firmware/grid_codes/_sources.toml). `relay`: set on a relay. `clear`: to be ceased
by. `from .. off by`: not before, off by. A name instead of a table: the same trips as that profile.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.grid_codes import (
    Chain,
    ClearingMax,
    Confidence,
    DelayMinAndDisconnectMax,
    GridCode,
    GridCodeError,
    MeanMethod,
    RelaySetting,
    RideThroughMode,
    Side,
    TripSetting,
    adjust,
    check_response,
    inspect,
    internal_delay,
    load,
    names,
)
from firmware.protection.grid import GridProtection

# The chain of the desk board (boards/desk.toml).
DESK = Chain(measure_window_s=0.010, report_period_s=0.005, tick_s=0.010, converter_off_s=0.020, contactor_open_s=0.030)

# fmt: off
TRIPS = {
    "as4777_2_2020_au_a": """
        UV2       voltage       under      70 V    from 1 off by 2     low     recall
        UV1       voltage       under     180 V    from 10 off by 11   low     recall
        OV1       voltage       over      265 V    from 1 off by 2     low     tesla_as
        OV2       voltage       over      275 V    off by 0.2          low     recall
        UF1       frequency     under      47 Hz   from 1 off by 2     low     recall
        OF1       frequency     over       52 Hz   off by 0.2          low     recall
        OV1_10MIN voltage_10min over      258 V    off by 3            high    qvolt tesla_as
    """,
    "as4777_2_2020_au_b": """
        UV2       voltage       under      70 V    from 1 off by 2     low     recall
        UV1       voltage       under     180 V    from 10 off by 11   low     recall
        OV1       voltage       over      265 V    from 1 off by 2     low     recall
        OV2       voltage       over      275 V    off by 0.2          low     recall
        UF1       frequency     under      47 Hz   from 1 off by 2     low     recall
        OF1       frequency     over       52 Hz   off by 0.2          low     recall
        OV1_10MIN voltage_10min over      258 V    off by 3            medium  qvolt
    """,
    "as4777_2_2020_au_c": """
        UV2       voltage       under      70 V    from 1 off by 2     low     recall
        UV1       voltage       under     180 V    from 10 off by 11   low     recall
        OV1       voltage       over      265 V    from 1 off by 2     low     recall
        OV2       voltage       over      275 V    off by 0.2          low     recall
        UF1       frequency     under      45 Hz   from 5 off by 6     low     recall
        OF1       frequency     over       55 Hz   off by 0.2          low     recall
        OV1_10MIN voltage_10min over      258 V    off by 3            medium  qvolt
    """,
    "as4777_2_2020_nz": """
        UV2       voltage       under      70 V    from 1 off by 2     low     recall
        UV1       voltage       under     180 V    from 10 off by 11   low     recall
        OV1       voltage       over      265 V    from 1 off by 2     low     recall
        OV2       voltage       over      275 V    off by 0.2          low     recall
        UF1       frequency     under      45 Hz   from 1 off by 2     low     recall
        OF1       frequency     over       55 Hz   off by 0.2          low     recall
        OV1_10MIN voltage_10min over      249 V    off by 3            medium  qvolt
    """,
    "at_tor_erzeuger": """
        OV1_10MIN voltage_10min over     1.11 pu   relay 0.1           low     es_iss
        OV2       voltage       over     1.15 pu   relay 0.1           low     recall
        UV1       voltage       under     0.8 pu   relay 1.5           low     recall
        UV2       voltage       under    0.25 pu   relay 0.5           low     recall
        OF1       frequency     over     51.5 Hz   relay 0.1           low     recall
        UF1       frequency     under    47.5 Hz   relay 0.1           low     recall
    """,
    "de_vde_ar_n_4105_2018": """
        OV2       voltage       over     1.25 pu   relay 0.1           high    xolta hoy_de
        OV1_10MIN voltage_10min over      1.1 pu   relay 0.1           high    xolta hoy_de lovato
        UV1       voltage       under     0.8 pu   relay 3             medium  hoy_de
        UV2       voltage       under    0.45 pu   relay 0.3           high    xolta hoy_de
        UF1       frequency     under    47.5 Hz   relay 0.1           medium  hoy_de hoy_es
        OF1       frequency     over     51.5 Hz   relay 0.1           medium  hoy_de xolta
    """,
    "dk_lv_type_a": """
        OV2       voltage       over     1.15 pu   relay 0.2           low     recall
        OV1       voltage       over      1.1 pu   relay 60            low     recall
        UV1       voltage       under    0.85 pu   relay 50            low     recall
        UV2       voltage       under     0.8 pu   relay 0.2           low     recall
        OF1       frequency     over     51.5 Hz   relay 0.2           low     recall
        UF1       frequency     under    47.5 Hz   relay 0.2           low     recall
        LOM_ROCOF rocof         over      2.5 Hz/s relay 0.08          low     recall
    """,
    "en50549_1_2019": """
        UV1       voltage       under    0.85 pu   relay 1.5           medium  hoy_eu
        UV2       voltage       under     0.7 pu   relay 0.2           medium  hoy_eu
        OV1       voltage       over      1.1 pu   relay 3             medium  hoy_eu
        OV2       voltage       over     1.15 pu   relay 0.2           medium  hoy_eu
        OV3       voltage       over      1.2 pu   relay 0.1           medium  hoy_eu
        OV1_10MIN voltage_10min over      1.1 pu   relay 3             medium  hoy_eu
        UF1       frequency     under      48 Hz   relay 2             medium  hoy_eu
        UF2       frequency     under    47.5 Hz   relay 0.05          medium  hoy_eu
        OF1       frequency     over       51 Hz   relay 2             medium  hoy_eu
        OF2       frequency     over       52 Hz   relay 0.05          medium  hoy_eu
    """,
    "es_rd1699": """
        UV1       voltage       under    0.85 pu   relay 1.2           medium  hoy_es
        OV1       voltage       over      1.1 pu   relay 1.2           medium  hoy_es
        OV2       voltage       over     1.15 pu   relay 0.16          medium  hoy_es
        UF1       frequency     under      48 Hz   relay 3.6           medium  hoy_es
        OF1       frequency     over     50.5 Hz   relay 0.4           medium  hoy_es
    """,
    "fi_lv": "en50549_1_2019",
    "ieee1547_2018_cat1": """
        OF2       frequency     over       62 Hz   clear 0.16          high    opender kxie pydss sma_us
        OF1       frequency     over     61.2 Hz   clear 300           high    opender kxie pydss sma_us
        UF1       frequency     under    58.5 Hz   clear 300           high    opender kxie pydss sma_us
        UF2       frequency     under    56.5 Hz   clear 0.16          high    opender kxie pydss
        OV2       voltage       over      1.2 pu   clear 0.16          high    kxie pydss recall
        OV1       voltage       over      1.1 pu   clear 2             high    kxie pydss recall
        UV1       voltage       under     0.7 pu   clear 2             high    kxie pydss recall
        UV2       voltage       under    0.45 pu   clear 0.16          high    kxie pydss recall
    """,
    "ieee1547_2018_cat1_normA": "ieee1547_2018_cat1",
    "ieee1547_2018_cat1_normB": "ieee1547_2018_cat1",
    "ieee1547_2018_cat2": """
        OF2       frequency     over       62 Hz   clear 0.16          high    opender kxie pydss sma_us
        OF1       frequency     over     61.2 Hz   clear 300           high    opender kxie pydss sma_us
        UF1       frequency     under    58.5 Hz   clear 300           high    opender kxie pydss sma_us
        UF2       frequency     under    56.5 Hz   clear 0.16          high    opender kxie pydss
        OV2       voltage       over      1.2 pu   clear 0.16          high    kxie pydss recall
        OV1       voltage       over      1.1 pu   clear 2             high    kxie pydss recall
        UV1       voltage       under     0.7 pu   clear 10            high    kxie pydss recall
        UV2       voltage       under    0.45 pu   clear 0.16          high    kxie pydss recall
    """,
    "ieee1547_2018_cat2_normA": "ieee1547_2018_cat2",
    "ieee1547_2018_cat2_normB": "ieee1547_2018_cat2",
    "ieee1547_2018_cat3": """
        OF2       frequency     over       62 Hz   clear 0.16          high    opender kxie pydss sma_us
        OF1       frequency     over     61.2 Hz   clear 300           high    opender kxie pydss sma_us
        UF1       frequency     under    58.5 Hz   clear 300           high    opender kxie pydss sma_us
        UF2       frequency     under    56.5 Hz   clear 0.16          high    opender kxie pydss
        OV2       voltage       over      1.2 pu   clear 0.16          high    opender kxie pydss sma_us
        OV1       voltage       over      1.1 pu   clear 13            high    opender kxie pydss sma_us
        UV1       voltage       under    0.88 pu   clear 21            high    opender kxie pydss sma_us
        UV2       voltage       under     0.5 pu   clear 2             high    opender kxie pydss sma_us
    """,
    "ieee1547_2018_cat3_normA": "ieee1547_2018_cat3",
    "ieee1547_2018_cat3_normB": "ieee1547_2018_cat3",
    "it_cei_0_21": """
        59.S1     voltage_10min over      1.1 pu   relay 3             low     sungrow_it
        59.S2     voltage       over     1.15 pu   relay 0.2           low     sungrow_it
        27.S1     voltage       under    0.85 pu   relay 1.5           low     sungrow_it
        27.S2     voltage       under     0.4 pu   relay 0.2           low     sungrow_it
        81>.S2    frequency     over     51.5 Hz   relay 0.1           low     sungrow_it
        81<.S2    frequency     under    47.5 Hz   relay 0.1           low     sungrow_it
    """,
    "it_cei_0_21_restrictive": """
        59.S1     voltage_10min over      1.1 pu   relay 3             low     sungrow_it
        59.S2     voltage       over     1.15 pu   relay 0.2           low     sungrow_it
        27.S1     voltage       under    0.85 pu   relay 1.5           low     sungrow_it
        27.S2     voltage       under     0.4 pu   relay 0.2           low     sungrow_it
        81>.S1    frequency     over     50.5 Hz   relay 0.1           low     sungrow_it
        81<.S1    frequency     under    49.5 Hz   relay 0.1           low     sungrow_it
        81>.S2    frequency     over     51.5 Hz   relay 0.1           low     sungrow_it
        81<.S2    frequency     under    47.5 Hz   relay 0.1           low     sungrow_it
    """,
    "jp_jeac9701_2019": """
        OVR       voltage       over     1.15 pu   relay 1             low     recall
        UVR       voltage       under     0.8 pu   relay 1             low     recall
        OFR       frequency     over       51 Hz   relay 1             low     jesc recall
        UFR       frequency     under    48.5 Hz   relay 1             low     jesc recall
    """,
    "nl_50549": """
        UV1       voltage       under    0.85 pu   relay 1.5           medium  hoy_eu
        UV2       voltage       under     0.7 pu   relay 0.2           medium  hoy_eu
        OV1       voltage       over      1.1 pu   relay 3             medium  hoy_eu
        OV2       voltage       over     1.15 pu   relay 0.2           medium  hoy_eu
        OV3       voltage       over      1.2 pu   relay 0.1           medium  hoy_eu
        OV1_10MIN voltage_10min over      1.1 pu   relay 3             medium  hoy_eu
        UF1       frequency     under    47.5 Hz   relay 2             medium  sungrow_p20
        UF2       frequency     under      47 Hz   relay 0.1           medium  sungrow_p20
        OF1       frequency     over     51.5 Hz   relay 2             medium  sungrow_p20
        OF2       frequency     over       52 Hz   relay 0.1           medium  sungrow_p20
    """,
    "no_lv": "en50549_1_2019",
    "se_alp_50549": """
        OV1       voltage       over      1.1 pu   relay 60            high    se_hofors se_varberg se_gavle se_skovde
        OV2       voltage       over     1.15 pu   relay 0.2           high    se_hofors se_varberg se_gavle se_skovde
        UV1       voltage       under    0.85 pu   relay 0.2           high    se_hofors se_varberg se_gavle
        OF1       frequency     over     51.5 Hz   relay 0.5           high    se_hofors se_varberg se_gavle
        UF1       frequency     under    47.5 Hz   relay 0.5           high    se_hofors se_varberg se_gavle
        LOM_ROCOF rocof         over      2.5 Hz/s relay 0.5           high    se_hofors se_varberg
    """,
    "uk_g98": """
        UV1       voltage       under     0.8 pu   relay 2.5           low     uk_sched
        OV1       voltage       over     1.14 pu   relay 1             low     uk_victron
        OV2       voltage       over     1.19 pu   relay 0.5           low     recall
        UF1       frequency     under    47.5 Hz   relay 20            low     uk_sched recall
        UF2       frequency     under      47 Hz   relay 0.5           low     uk_sched
        OF1       frequency     over       52 Hz   relay 0.5           low     uk_sched
        LOM_ROCOF rocof         over        1 Hz/s relay 0.5           medium  bender uk_sched
    """,
    "uk_g99_type_a": "uk_g98",
    "us_ca_rule21": """
        OF2       frequency     over       62 Hz   clear 0.16          medium  hoy_r21
        OF1       frequency     over     60.5 Hz   clear 300           medium  hoy_r21
        UF1       frequency     under    58.5 Hz   clear 300           medium  hoy_r21
        UF2       frequency     under      57 Hz   clear 0.16          medium  hoy_r21
        OV2       voltage       over      1.2 pu   clear 0.16          high    delta hoy_r21
        OV1       voltage       over      1.1 pu   clear 13            high    delta hoy_r21
        UV1       voltage       under    0.88 pu   clear 21            high    delta hoy_r21
        UV2       voltage       under     0.7 pu   clear 11            high    delta hoy_r21
        UV3       voltage       under     0.5 pu   clear 1.5           high    delta hoy_r21
    """,
    "us_hi_rule14h": """
        OF2       frequency     over       64 Hz   clear 0.16          medium  sinexcel
        OF1       frequency     over       63 Hz   clear 21            medium  outback sinexcel
        UF1       frequency     under      57 Hz   clear 20            medium  sinexcel
        UF2       frequency     under      56 Hz   clear 0.16          low     sinexcel
        OV2       voltage       over      1.2 pu   clear 0.16          low     recall
        OV1       voltage       over      1.1 pu   clear 1             low     recall
        UV1       voltage       under    0.88 pu   clear 21            low     recall
        UV2       voltage       under     0.5 pu   clear 2             low     recall
    """,
}
# fmt: on
# What `load` does with each: runs, needs allow_unverified (with these trips unverified), or never runs.
RUNS = {
    "de_vde_ar_n_4105_2018",
    "en50549_1_2019",
    "es_rd1699",
    "fi_lv",
    "nl_50549",
    "se_alp_50549",
    "us_ca_rule21",
    "ieee1547a_2020_cat3",
    *(f"ieee1547_2018_cat{n}{norm}" for n in "123" for norm in ("", "_normA", "_normB")),
}  # fmt: skip
PASSIVE = "UV2 UV1 OV1 OV2 UF1 OF1"
UNVERIFIED = {
    "as4777_2_2020_au_a": PASSIVE, "as4777_2_2020_au_b": PASSIVE,
    "as4777_2_2020_au_c": PASSIVE, "as4777_2_2020_nz": PASSIVE,
    "it_cei_0_21": "59.S1 59.S2 27.S1 27.S2 81>.S2 81<.S2",
    "it_cei_0_21_restrictive": "59.S1 59.S2 27.S1 27.S2 81>.S2 81<.S2 81>.S1 81<.S1",
    "us_hi_rule14h": "UF2 OV2 OV1 UV1 UV2",
    "dk_lv_type_a": "OV2 OV1 UV1 UV2 OF1 UF1 LOM_ROCOF",
    "uk_g98": "UV1 OV1 OV2 UF1 UF2 OF1", "uk_g99_type_a": "UV1 OV1 OV2 UF1 UF2 OF1",
}  # fmt: skip
NEVER = {
    "at_tor_erzeuger": "there is no source for enter_service.v_min, enter_service.v_max, enter_service.f_min",
    "jp_jeac9701_2019": "there is no source for enter_service.v_min",
    "no_lv": "230 V IT networks need phase-to-phase measurement",
}


def time_words(trip: TripSetting) -> str:
    match trip.time:
        case RelaySetting(delay):
            return f"relay {delay.value:g}"
        case ClearingMax(limit):
            return f"clear {limit.value:g}"
        case DelayMinAndDisconnectMax(first, last):
            return (f"from {first.value:g} " if first is not None else "") + f"off by {last.value:g}"


def words(trip: TripSetting) -> list[str]:
    """One trip in the columns of TRIPS."""
    threshold = trip.threshold.written or f"{trip.threshold.value:g} {trip.threshold.unit}"
    conf = min(s.conf for _, s in trip.numbers())
    head = [trip.id, trip.quantity.value, trip.side.value, *threshold.split(), *time_words(trip).split()]
    return [*head, conf.name.lower(), *trip.threshold.src]


def golden(name: str) -> str:
    text = TRIPS[name]
    return text if "\n" in text else TRIPS[text]


def code(name: str) -> GridCode:
    return inspect(name)


# --------------------------------------------------------------------------------------------------------- the numbers
@pytest.mark.parametrize("name", sorted(TRIPS))
def test_the_trips_of_a_profile_are_those_of_its_sources(name: str) -> None:
    expected = sorted(line.split() for line in golden(name).splitlines() if line.strip())
    assert sorted(words(trip) for trip in code(name).trips) == expected


def test_every_profile_has_its_table_and_its_fate() -> None:
    everything = set(names(refused=True))
    assert set(TRIPS) | {"ieee1547a_2020_cat3"} == everything
    assert RUNS | set(UNVERIFIED) | set(NEVER) == everything
    assert len(RUNS) + len(UNVERIFIED) + len(NEVER) == len(everything)


@pytest.mark.parametrize("name", names(refused=True))
def test_every_number_says_where_it_is_from(name: str) -> None:
    for key, setting in code(name).numbers():
        if not setting.known:
            assert (setting.clause, setting.src) == ("no source found", ())
            continue
        assert setting.unit, key
        assert setting.clause, key
        assert setting.src, key
        if setting.min is not None:
            assert setting.max is not None
            assert setting.min <= setting.value <= setting.max, key
    for section in code(name).support:
        for key, curve in section.curves:
            assert len(curve.points) >= 2, key
            assert curve.src, key
            assert [x for x, _ in curve.points] == sorted((x for x, _ in curve.points), reverse=curve.points[-1][0] < 0)


# ------------------------------------------------------------------------------------------------------------ the fate
@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_verified_profile_runs_on_the_desk_board(name: str) -> None:
    found = load(name, nominal_v=code(name).nominal_v)
    assert found.verified
    assert found.caution == ""
    GridProtection(found, DESK)


@pytest.mark.parametrize("name", sorted(UNVERIFIED))
def test_an_unverified_profile_runs_only_with_the_flag_and_names_its_unverified_trips(name: str) -> None:
    with pytest.raises(GridCodeError, match="rests on numbers that are only remembered") as caught:
        load(name, nominal_v=code(name).nominal_v)
    assert all(f"trip.{element}" in str(caught.value) for element in UNVERIFIED[name].split())
    found = load(name, nominal_v=code(name).nominal_v, allow_unverified=True)
    assert not found.verified
    assert found.unverified_trips == tuple(t.id for t in found.trips if t.id in UNVERIFIED[name].split())
    assert set(found.unverified_trips) == set(UNVERIFIED[name].split())
    assert found.caution.startswith(f"{name} is NOT VERIFIED: trips ")
    GridProtection(found, DESK)


@pytest.mark.parametrize("name", sorted(NEVER))
@pytest.mark.parametrize("flag", [False, True])
def test_a_profile_that_asks_for_what_is_not_here_is_refused_with_one_sentence(name: str, flag: bool) -> None:
    with pytest.raises(GridCodeError) as caught:
        load(name, nominal_v=code(name).nominal_v, allow_unverified=flag)
    assert NEVER[name] in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- details
def test_the_italian_and_european_means_are_rms_and_the_german_is_arithmetic() -> None:
    methods = {n: m.method for n in names() if (m := code(n).mean_10min) is not None}
    rms = {n for n, method in methods.items() if method is MeanMethod.RMS}
    assert {"it_cei_0_21", "en50549_1_2019", "fi_lv"} <= rms
    assert methods["de_vde_ar_n_4105_2018"] is MeanMethod.ARITHMETIC


def test_volts_become_shares_of_the_nominal_voltage_of_the_board() -> None:
    for nominal in (230.0, 231.0):
        trip = load("as4777_2_2020_au_a", nominal_v=nominal, allow_unverified=True).trip("OV1_10MIN")
        assert trip.threshold.value == 258.0 / nominal
        assert (trip.threshold.min, trip.threshold.max) == (244.0 / nominal, 258.0 / nominal)
        assert trip.threshold.written == "258 V"


def test_the_time_to_ride_through_grows_along_the_sloped_rows() -> None:
    """OpenDER and PyDSS: 0.7 s + 4 s/pu from 0.70 pu (Category I), 3 s + 8.7 s/pu from 0.65 pu (Category II)."""
    for name, lo, low_s, high_s in (("ieee1547_2018_cat1", 0.7, 0.7, 1.42), ("ieee1547_2018_cat2", 0.65, 3.0, 5.001)):
        row = next(r for r in code(name).ride_through if r.lo.value == lo and r.hi.value == 0.88)
        assert row.min_time_at(lo) == pytest.approx(low_s)
        assert row.min_time_at(0.88) == pytest.approx(high_s)


@pytest.mark.parametrize("name", sorted(n for n in RUNS if n.startswith("ieee1547_2018")))
def test_no_trip_of_ieee_1547_comes_inside_what_must_be_ridden_through(name: str) -> None:
    found = load(name, nominal_v=120.0)
    no_room = set()
    for row in found.ride_through:
        for trip in found.trips:
            assert isinstance(trip.time, ClearingMax)
            for value in (row.lo.value, (row.lo.value + row.hi.value) / 2, row.hi.value):
                least = row.min_time_at(value)
                beyond = value > trip.threshold.value if trip.side is Side.OVER else value < trip.threshold.value
                if trip.quantity is not row.quantity or not beyond or least is None:
                    continue
                if trip.time.limit.value == least:
                    no_room.add((trip.id, row.mode))
                else:
                    assert internal_delay(trip, DESK) >= least, (trip.id, value)
    # Category II itself asks to clear within 0.16 s and to ride through 0.16 s between 0.30 and 0.45 pu: only a chain
    # that takes no time does both. The trip comes first; the row is permissive (one may cease).
    assert no_room == ({("UV2", RideThroughMode.PERMISSIVE)} if "cat2" in name else set())


def test_a_composed_profile_has_the_trips_of_one_part_and_the_support_of_the_other() -> None:
    for category in "123":
        alone = code(f"ieee1547_2018_cat{category}")
        a, b = (code(f"ieee1547_2018_cat{category}_norm{norm}") for norm in "AB")
        assert alone.trips == a.trips == b.trips
        assert alone.section("volt_var") is None
        curves = [s.curve().points[0] for x in (a, b) if (s := x.section("volt_var")) is not None]
        assert curves == [(0.9, 0.25), (0.92, 0.44)]


def test_a_support_section_adds_to_the_one_it_inherits() -> None:
    droop = code("us_hi_rule14h").section("freq_droop")
    assert droop is not None
    assert (droop.enabled, droop.number("k_of").value, droop.number("db_uf_hz").value) == (True, 0.04, 0.036)
    with pytest.raises(GridCodeError, match="freq_droop has no number x; it has "):
        droop.number("x")
    with pytest.raises(GridCodeError, match="freq_droop has no curve curve"):
        droop.curve()


# ----------------------------------------------------------------------------------------------------- the three times
CHAINS = st.builds(Chain, *[st.floats(0.0, 0.2)] * 5)
TRIP_OF = {t.id: t for t in code("as4777_2_2020_au_a").trips}


@given(CHAINS, st.sampled_from(sorted(TRIP_OF)))
def test_between_not_before_and_off_by_every_possible_chain_fits_or_the_board_is_refused(
    chain: Chain, key: str
) -> None:
    trip = TRIP_OF[key]
    assert isinstance(trip.time, DelayMinAndDisconnectMax)
    first = 0.0 if trip.time.delay_min is None else trip.time.delay_min.value
    last, takes = trip.time.disconnect_max.value, chain.until_open_s(trip.quantity)
    try:
        delay = internal_delay(trip, chain)
    except GridCodeError:
        # Too slow, or so slow that a frequency element would have to act on a phase jump.
        assert first + takes > last or last - takes < 0.05
        return
    assert delay >= first  # a chain that takes no time at all is not too early
    assert delay + takes <= last + 1e-9  # one that takes its worst case is not too late


@given(st.data())
def test_an_adjustment_is_accepted_exactly_inside_its_range(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(RUNS | set(UNVERIFIED))))
    found = load(name, nominal_v=code(name).nominal_v, allow_unverified=True)
    ranges = {k: s for k, s in found.numbers() if s.min is not None and k.startswith(("trip.", "enter_service."))}
    if not ranges:
        return
    key = data.draw(st.sampled_from(sorted(ranges)))
    low, high = ranges[key].min, ranges[key].max
    assert low is not None
    assert high is not None
    span = max(high - low, 1.0)
    value = data.draw(st.floats(low - span, high + span))
    try:
        moved = adjust(found, {key: value})
    except GridCodeError as error:
        fits = "must lie" in str(error) or "does not hold" in str(
            error
        )  # in range, but no longer with the other numbers
        assert fits or not low <= value <= high
        return
    assert low <= value <= high
    assert dict(moved.numbers())[key].value == value
    assert (moved.profile_hash == found.profile_hash) is False
    others = {k: s.value for k, s in found.numbers() if k != key}
    assert {k: s.value for k, s in moved.numbers() if k != key} == others


def test_every_ceasing_row_of_a_profile_that_runs_is_met_by_the_desk_board() -> None:
    for name in RUNS:
        for row in load(name, nominal_v=code(name).nominal_v).ride_through:
            if row.lo.conf is not Confidence.LOW:
                check_response(row, DESK)
