"""The one table of events: severity, sentence, remedy and how each clears.

Everything that explains the charger to people (screen, log, back end) takes its words from here, and the state
machine takes its consequence from here: a cause is an event code, and the code's severity decides what follows.
`docs/events.md` is generated from this table.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.IntEnum):
    """What an event does to the charger, in rising order."""

    INFO = 0  # recorded, nothing more
    WARNING = 1  # told; power goes on
    NO_ENTRY = 2  # no new transfer starts while it lasts; a running one goes on
    SOFT_STOP = 3  # ramp to zero, open, end the session
    TRIP = 4  # power off and contactors open now
    LATCH = 5  # as TRIP, and stays until an operator clears it


@dataclass(frozen=True, slots=True)
class Event:
    code: str
    severity: Severity
    sentence: str
    remedy: str
    clears: str


def _table(*rows: tuple[str, Severity, str, str, str]) -> dict[str, Event]:
    return {row[0]: Event(*row) for row in rows}


_I, _W, _N, _S, _T, _L = Severity

# fmt: off
EVENTS = _table(
    # ---- life of the charger
    ("guard_started", _I, "Guard started.", "None.", "at once"),
    ("guard_not_realtime", _W, "Guard runs without real-time priority or locked memory.",
     "Run `quadrant doctor`; grant CAP_SYS_NICE and CAP_IPC_LOCK or start as root.", "next start"),
    ("late_tick", _W, "A control period was missed by more than one period.",
     "Look for load on the machine; isolate a CPU for guard.", "at once"),
    ("late_repeated", _S, "Control periods are missed again and again.",
     "Stop whatever loads the machine; check `quadrant doctor` for real-time priority.",
     "after 10 s without a missed period"),
    ("services_lost", _W, "Services do not answer; the charger goes on without them until the lease ends.",
     "None if they come back by themselves; else read the log of services.", "when services answer"),
    ("report_refused", _W, "Services reported something that cannot be true; it was not believed.",
     "Look at the device that the detail names, then at the log of services.", "1 s after the last such report"),
    ("services_restarted", _I, "Services were started again.", "Read the log of services for the cause.", "at once"),
    ("guard_restarted", _W, "Guard ended unexpectedly and was started again; contactors were opened by the pilot MCU.",
     "Read the log of guard for the cause.", "at once"),
    ("state", _I, "The charger changed its state.", "None.", "at once"),
    ("operator_stop", _I, "The operator stopped the session.",
     "`quadrant run` or a new request starts again.", "at start"),
    ("operator_clear", _I, "The operator cleared latched faults.", "None.", "at once"),
    ("shutdown", _I, "The charger was asked to shut down.", "None.", "at next start"),
    # ---- power and leases
    ("request", _I, "Somebody asks for power.", "None.", "at once"),
    ("request_refused", _W, "A request for power was refused.",
     "The detail says which value is out of which range.", "at once"),
    ("lease_ended", _I, "A power lease ended; the power goes to what is asked next, or to zero.",
     "Ask again, with a longer lease.", "at once"),
    ("no_lease", _I, "Nobody holds a power lease: power ramps to zero and the contactors open.",
     "Ask for power, or look why services are silent.", "with the next lease"),
    # ---- grid
    ("grid_code", _I, "The grid code in force: profile, hash over all its numbers, adjustments.", "None.", "at once"),
    ("grid_code_unverified", _W, "The grid code in force has trips that rest on numbers nobody verified.",
     "Check them against the standard. Until then this charger is for a desk: do not connect it to a grid.",
     "with another grid code"),
    ("grid_trip", _T, "Grid protection tripped.",
     "None if the grid was at fault; the charger waits to enter service again.",
     "when enter-service conditions have held for their time"),
    ("grid_cease", _I, "Momentary cessation: the charger ceased to energize without opening.",
     "None.", "when the grid returns"),
    ("grid_ride_through", _I, "The grid left its continuous range; the charger rides through.",
     "None.", "when the grid returns"),
    ("grid_enter_service", _I, "The charger enters service.", "None.", "at once"),
    ("grid_wait", _I, "The charger waits to enter service.", "None.", "when the waiting time is over"),
    ("grid_support", _I, "A support function of the grid code changes the power.", "None.",
     "when it has left the power alone for a minute"),
    ("grid_support_functions", _I, "The support functions of the grid code in force.", "None.", "at once"),
    ("grid_support_left_out", _W, "Support functions of the grid code are left out.",
     "The detail says which numbers nobody verified; check them against the standard.", "with another grid code"),
    ("person", _I, "Somebody used the service screen.", "None.", "at once"),
    ("grid_control", _I, "A control of the grid functions was set or cleared, or its time came.", "None.", "at once"),
    ("grid_controls", _I, "Guard applies these controls of the grid functions.", "None.", "at once"),
    ("grid_controls_refused", _W, "Guard refused the controls of the grid functions; what was in force stays.",
     "The detail says which number contradicts the grid code; clear that control.", "with the next controls"),
    ("grid_sense_lost", _N, "One of the two grid measurements is missing.",
     "Check the pilot MCU's link and grid-sense wiring, or the converter's CAN.", "when it is back"),
    ("grid_sense_disagree", _W, "The two grid measurements disagree.",
     "Compare both with a meter; check wiring, ratios and phase order.", "when they agree for 1 s"),
    ("anti_islanding_passive", _W, "Anti-islanding is passive only: the converter does not carry out the probe.",
     "Check that the module takes a power factor (firmware version, CAN); where active detection is demanded, stop.",
     "when it confirms a change of reactive power, or power ends"),
    # ---- converter
    ("converter_lost", _T, "The converter does not answer.",
     "Check CAN wiring, 120 ohm termination, bit rate 125 kbit/s, the module's address and its AC supply.",
     "when it answers"),
    ("converter_missing", _N, "The converter has not answered since its supply was closed.",
     "Check CAN wiring, termination, bit rate and the module's address.", "when it answers"),
    ("converter_no_echo", _S, "The converter did not confirm a set-point.",
     "Check the bus load and wiring.", "when it confirms"),
    ("converter_mode_unconfirmed", _S, "The converter did not confirm its direction by echo and read-back.",
     "Check the module's firmware version (V1.04 is what was written for) and the CAN wiring.", "when confirmed"),
    ("converter_wrong_direction", _L, "The converter's current has the wrong sign for its direction.",
     "Do not restart: check the module's mode by hand and the wiring of the DC meter.", "operator"),
    ("converter_id_clash", _L, "Two modules answer under one address.",
     "Give every module its own address.", "operator"),
    ("converter_reset", _W, "The converter restarted by itself.",
     "Check its AC supply and its temperature.", "at once"),
    ("converter_fault", _T, "The converter reports a fault.",
     "Read the module's display; check AC and DC sides.", "when the bit clears"),
    ("converter_protection", _T, "The converter reports that its protection acted.",
     "Check AC voltage and DC load.", "when the bit clears"),
    ("converter_output_short", _L, "The converter reports a short circuit at its DC output.",
     "Check cable, contactors and insulation before clearing.", "operator"),
    ("converter_discharge_abnormal", _T, "The converter reports an abnormal discharge.",
     "Check the car's discharge limits and the AC side.", "when the bit clears"),
    ("converter_over_temperature", _T, "The converter is too hot.",
     "Check fans, filters and the cabinet's temperature.", "when it cooled down"),
    ("converter_output_over_voltage", _T, "The converter reports over-voltage at its DC output.",
     "Check the over-voltage point and the car's voltage.", "when the bit clears"),
    ("converter_fan", _W, "A fan of the converter has failed.",
     "Replace the fan; the module derates by itself.", "when the bit clears"),
    ("converter_input", _T, "The converter reports a bad AC supply (phase lost, too low, too high).",
     "Check the AC supply and its fuses.", "when the bit clears"),
    ("converter_input_unbalanced", _W, "The converter reports an unbalanced AC supply.",
     "Check the AC supply.", "when the bit clears"),
    ("converter_limited", _W, "The converter limits its power by itself.",
     "Check temperature and AC voltage.", "when the bit clears"),
    ("converter_load_sharing", _W, "The converter reports a load-sharing alarm.",
     "Check the group's wiring.", "when the bit clears"),
    ("converter_no_power_factor", _W, "The converter does not take a power factor: no reactive power on command.",
     "Check the module's firmware version; what the grid code asks of reactive power cannot be done.",
     "at the next start that it takes it"),
    ("converter_comm", _W, "The converter reports that its communication was interrupted.",
     "Check the CAN wiring.", "when the bit clears"),
    ("converter_current", _T, "The converter's current is far above its set-point.",
     "Check the module and the current measurement.", "when it is back inside"),
    ("converter_not_off", _T, "The converter still carries current after it was switched off.",
     "The hardware enable was dropped; check the module before the next start.", "when the current is zero"),
    # ---- pilot and contactors
    ("pilot_lost", _T, "The pilot MCU does not answer.",
     "Check its serial link (115200 8N1) and its supply.", "when it answers"),
    ("pilot_safe_state", _T, "The pilot MCU went to its safe state because the host was silent.",
     "None: it is reset when all coils are off.", "after its reset"),
    ("pilot_estop", _L, "The emergency stop was pressed.",
     "Find out why, release it, then `quadrant stop --clear`.", "operator"),
    ("pilot_diode_fault", _T, "The pilot's diode test failed.",
     "Check the plug and the car's inlet.", "when the fault is gone"),
    ("pilot_short", _T, "The control pilot is shorted.", "Check cable and plug.", "when the short is gone"),
    ("pilot_temperature", _S, "A connector temperature sensor is above its limit or has failed its self-test.",
     "Check the contacts of the plug and the sensor.", "when it is below the limit"),
    ("pilot_grid_stuck", _N, "The pilot MCU's grid measurement repeats to the last bit: it is stuck, and not believed.",
     "Check the MCU and its grid sense.", "when it moves again"),
    ("contactor_grid_fault", _L, "The grid contactor does not follow its coil.",
     "Welded or stuck: isolate the charger from the grid by its breaker and replace the contactor.", "operator"),
    ("contactor_dc_fault", _L, "The DC contactor does not follow its coil.",
     "Welded or stuck: do not plug in a car; replace the contactor.", "operator"),
    ("contactor_precharge_fault", _L, "The precharge relay does not follow its coil.",
     "Replace the relay.", "operator"),
    ("contactor_welded", _L, "The weld check found voltage behind an open DC contactor.",
     "Do not unplug by force; isolate the charger and replace the contactor.", "operator"),
    ("open_at_current", _W, "The contactors were opened at current because waiting took too long.",
     "Check why the converter's current did not fall.", "at once"),
    # ---- insulation
    ("insulation_lost", _S, "There is no fresh insulation measurement: no energy without it.",
     "Check the insulation monitor's RS-485 link, address and baud rate.", "when it answers"),
    ("insulation_low", _S, "The insulation resistance is below its limit.",
     "Dry and check cable, plug and car; then try another car.", "when it is above the limit"),
    ("insulation_device", _S, "The insulation monitor reports a fault of its own.",
     "Read the device's display.", "when the fault is gone"),
    ("insulation_self_test_failed", _S, "The insulation monitor failed its self-test or did not end it in time.",
     "Check its wiring to DC+, DC- and PE.", "with the next session"),
    # ---- the car and the session
    ("car_lost", _S, "The vehicle side does not answer.", "Check the SECC and its CAN.", "when it answers"),
    ("car_plugged", _I, "A car is connected.", "None.", "at once"),
    ("car_unplugged", _I, "The car was unplugged.", "None.", "at once"),
    ("car_left_c", _T, "The car left pilot state C while contactors were closed.",
     "None if the car ended the session.", "with the next session"),
    ("car_stop", _I, "The car ends the session.", "None.", "at once"),
    ("session_started", _I, "A session started.", "None.", "at once"),
    ("session_ended", _I, "The session ended.", "None.", "at once"),
    ("cable_not_discharged", _S, "The cable did not discharge below 60 V in time.",
     "Check the discharge path and the voltage measurement.", "with the next session"),
    ("contactor_timeout", _S, "The contactors did not confirm in time.",
     "Check coil supply and mirror contacts.", "with the next session"),
    ("ramp_test_failed", _S, "The cable-check ramp did not reach its voltage: short circuit or failed output.",
     "Check cable and plug for a short.", "with the next session"),
    ("precharge_timeout", _S, "Precharge did not reach the car's voltage in time.",
     "Check the car's target voltage and its contactors.", "with the next session"),
    ("dc_over_voltage", _T, "The DC voltage is above the limit of car or charger.",
     "Check the voltage measurement and the car.", "with the next session"),
    ("car_disconnected", _T, "In transfer the battery's voltage has gone: the car opened its contactors.",
     "None if the car has shut down; else look there for the cause.", "with the next session"),
    ("dc_disagree", _W, "DC meter and converter disagree on voltage or current.",
     "Check the DC meter's wiring and ratios.", "when they agree"),
    # ---- records
    ("record", _I, "A disturbance record is taken.", "Read it: `quadrant records`.", "at once"),
    ("record_asked", _I, "Somebody asked for a disturbance record.", "None.", "at once"),
    ("records_held_back", _W, "Disturbances come so often that some leave no record; each is in the log of events.",
     "Find the cause of the first ones: `quadrant records list`.", "when fewer come"),
    ("messages_dropped", _W, "Messages to services were dropped because they did not read.",
     "Look why services are slow.", "at once"),
    ("records_unwritable", _W, "Records cannot be written; they are kept in memory and tried again every second.",
     "Free space on the disk of the records, or replace it.", "when they are written again"),
    ("records_lost", _W, "Records were given up: the disk refused them for too long, or they could never be written.",
     "The detail says how many and why; free space on the disk of the records, or replace it.", "at once"),
    ("records_set_aside", _W, "The records file was unusable and was set aside; a new one was begun.",
     "Keep the file that was set aside; compare the energy registers with the meter.", "at once"),
    ("energy_refused", _W, "An energy report of guard could not be true and was not counted.",
     "Compare the energy registers with the meter; report it with the record of the session.",
     "with the next sound report"),
    ("clock_step", _W, "The wall clock jumped.", "Check time synchronisation.", "at once"),
)
# fmt: on


def severity(code: str) -> Severity:
    return EVENTS[code].severity
