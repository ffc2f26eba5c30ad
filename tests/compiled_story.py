"""`python -m tests.compiled_story TICKS`: what is said and sent on a wild grid, a recorded one, by a charger.

Run with the sources and with the compiled build (`make compiled`), it must say the same to the last bit: every verdict,
notice, sentence, element, permission, row, frame and event is in a digest.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import random
import sys
from pathlib import Path

import firmware.protection.grid
from firmware.grid_codes import GridCode, inspect, load, names
from firmware.grid_support.compose import GridSupport
from firmware.grid_support.settings import capability_of, settings_of
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.types import GridSample, Transfer
from firmware.replay import replay
from tests.bench.opender import CHAIN, RATED_W, TICK_S
from tests.sim.rig import duplicate, transfer
from tests.sim.test_determinism import play, story

TOLEDO = Path(__file__).parent.parent / "hil" / "data" / "toledo-2025-04-28.csv"
TOLEDO_V = 26_558.0  # 46 kV / sqrt 3
FROM_S, TO_S = 1270.0, 1300.0  # of the recording: the collapse
CALM_STEP_S = 0.09  # while the time to enter service runs: inside of both age limits
CALM_S = 420.0  # longer than the longest time to enter service (300 s) with its random part


class Digest:
    """Of all that was said, and a few words that show that something happened."""

    def __init__(self) -> None:
        self._sha, self.seen = hashlib.sha256(), set[str]()

    def add(self, *said: object) -> None:
        self._sha.update(repr(said).encode())

    def __str__(self) -> str:
        return f"{self._sha.hexdigest()} {' '.join(sorted(self.seen))}"


def tell(digest: Digest, code: GridCode, mode: Mode, seed: int, ticks: int) -> None:
    """One story of `ticks` after the charger has entered service, if the code lets it."""
    rng = random.Random(f"{code.name} {mode} {seed}")
    island = None if mode is Mode.OFF else Islanding(mode, code.nominal_f_hz, random.Random(seed))
    protection = GridProtection(
        code, CHAIN, enter_service_random_s=5.0 * (seed % 2), rng=random.Random(seed), islanding=island
    )
    support = GridSupport(settings_of(code, RATED_W), capability_of(code, RATED_W))
    calm_ticks = int(CALM_S / CALM_STEP_S)
    t, left, v0_pu, df_hz, spread_pu, serving, probe = 0.0, calm_ticks, 1.0, 0.0, 0.0, False, 0.0
    for k in range(calm_ticks + ticks):
        left -= 1
        t += TICK_S if serving or v0_pu != 1.0 else CALM_STEP_S
        if k > calm_ticks and rng.random() < 0.0005:
            t += rng.choice((0.2, 0.6, 3.0, 700.0))  # nobody measured
        if left <= 0:
            kind, left = rng.random(), rng.randrange(5, 150)
            v0_pu = rng.uniform(0.0, 1.35) if kind > 0.9 else rng.uniform(0.75, 1.2) if kind > 0.7 else 1.0
            df_hz = rng.uniform(-2.6, 2.6) if 0.4 < kind < 0.8 else 0.0
            spread_pu = rng.uniform(0.0, 0.5) if rng.random() < 0.05 else 0.002
        x = rng.random() if k > calm_ticks else 0.6
        v_pu = max(0.0, v0_pu + rng.gauss(0.0, 0.003))
        f_hz = math.nan if x < 0.0001 else code.nominal_f_hz + df_hz + rng.gauss(0.0, 0.01)
        phases = (v_pu, v_pu + 0.002, math.nan if x > 0.9999 else max(0.0, v_pu - spread_pu))
        sample = GridSample(t, phases, f_hz, 0.4 < x < 0.402)
        pilot = [sample._replace(t=t - TICK_S / 2.0), sample] if x < 0.5 else [] if 0.997 < x < 0.999 else [sample]
        converter = [sample] if k % 5 == 0 and x < 0.995 else []
        expected = k < calm_ticks or k % 3000 > 200
        transfer = Transfer(-0.5, probe) if x < 0.999 else None
        status = protection.step(t, pilot, converter, converter_expected=expected, transfer=transfer)
        probe = 0.5 * (probe + status.probe_tan_phi)
        digest.add(*status, status.reason)
        digest.seen.add(status.state.name)
        if k % 100 == 0:
            digest.add(protection.elements())
        if not status.may_transfer:
            serving = serving and status.may_connect
            continue
        if not serving:
            support.enter_service(t)
        serving = True
        if phases[2] == phases[2]:
            permission = support.step(
                t,
                phases,
                f_hz,
                (-10_000.0, 22_000.0, 0.0)[k // 700 % 3],
                service_pu=status.power_limit_pu,
                flowing_w=-9000.0 if seed == 2 else None,
            )
            digest.add(*permission, permission.reason)


def replayed() -> dict[str, str]:
    """What `quadrant replay` makes of the recorded collapse, under every profile: each event and each row."""
    with TOLEDO.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if FROM_S <= float(row["t_s"]) <= TO_S]
    found = {}
    for code in profiles():
        scale = code.nominal_f_hz / 50.0
        samples = [
            GridSample(
                float(r["t_s"]),
                (float(r["v1_v"]) / TOLEDO_V, float(r["v2_v"]) / TOLEDO_V, float(r["v3_v"]) / TOLEDO_V),
                float(r["f_hz"]) * scale,
            )
            for r in rows
        ]
        digest = Digest()
        for in_service in (True, False):
            result = replay(samples, code, CHAIN, rated_w=RATED_W, p_set_w=-10_000.0, in_service=in_service)
            digest.add(result)
            digest.seen |= {event.kind for event in result.events}
        found[f"replay {code.name}"] = str(digest)
    return found


def lockstep() -> dict[str, str]:
    """Every frame on the bus with its time, every event and the plant at the end: of a charger that meets a sag, a
    corrupted line and a jump, of a copy of it, and of one that is told to wait for the copy's sake."""
    original = transfer(-8_000.0)
    copied = duplicate(original)
    found = {}
    for name, sim in (("original", original), ("copy", copied)):
        play(sim)
        frames, events, plant = story(sim)
        digest = Digest()
        digest.add(frames, events, plant)
        digest.seen |= {event.code for event in events}
        found[f"lockstep {name}"] = f"{digest} {len(frames)} frames"
    return found | {"lockstep faults": bent()}


def bent() -> str:
    """The same of one that meets faults of its devices one after another, and then the end of its guard."""
    sim = transfer(-8_000.0)
    for converter, pilot in (
        ({"corrupt_share": 0.2, "drop_share": 0.1}, {"corrupt_next": 3, "garbage_next": 40}),
        ({"clear": True, "delay_s": 0.03, "babble_hz": 80.0}, {"swap_next": 4, "freeze_grid": True}),
        ({"babble_hz": 0.0, "error_code": 3}, {"freeze_grid": False, "temperatures_c": [20.0, 96.0, None, None]}),
        ({"clear": True, "ignore_off": True}, {"temperatures_c": [None] * 4, "mute": True}),
        ({"reset": True, "clear": True}, {"mute": False, "reboot": True}),
    ):
        sim.converter.handle(converter)
        sim.pilot.handle(pilot)
        sim.run(sim.now + 0.8)
    sim.kill_guard(0.5)
    sim.run(sim.now + 2.0)
    frames, events, plant = story(sim)
    digest = Digest()
    digest.add(frames, events, plant)
    digest.seen |= {event.code for event in events}
    return f"{digest} {len(frames)} frames"


def profiles() -> list[GridCode]:
    shown = [inspect(name) for name in names()]
    return [load(x.name, nominal_v=x.nominal_v, allow_unverified=True) for x in shown if not x.missing]


def stories(ticks: int) -> dict[str, str]:
    """All of them by name, and which file of protection they are of."""
    found = {"": str(firmware.protection.grid.__file__)}
    for code in profiles():
        digest = Digest()
        for seed, mode in enumerate((Mode.OFF, Mode.ACTIVE, Mode.PASSIVE)):
            tell(digest, code, mode, seed, ticks)
        found[code.name] = str(digest)
    return found | replayed() | lockstep()


if __name__ == "__main__":
    print(json.dumps(stories(int(sys.argv[1])), indent=1))
