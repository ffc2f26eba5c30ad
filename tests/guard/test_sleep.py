"""A converter that may sleep while nobody wants power: off behind closed contactors, until somebody asks."""

from __future__ import annotations

from firmware.guard import numbers as n
from firmware.guard.messages import PowerRequest
from tests.guard.puppet import TICK_S, Puppet
from tests.guard.test_endings import drive_to


def idle(world: Puppet, for_s: float, sleep: bool = True) -> list[bool]:
    """Idle with evseSleep goes on for so long; whether the converter was told to be on, tick by tick."""
    found = []
    for _ in range(round(for_s / TICK_S)):
        world.inbox.append(PowerRequest("back end", 0.0, world.now + 2.0, sleep=sleep))
        found.append(world.tick().outputs.converter.on)
    return found


def asleep() -> Puppet:
    world = drive_to("HOLDING")
    world.renew = False
    assert idle(world, n.SLEEP_S + 1.0)[-1] is False
    assert world.state == "HOLDING"
    return world


def test_the_end_of_the_last_lease_does_not_switch_a_sleeping_converter_on() -> None:
    world = asleep()
    for _ in range(1000):
        assert not world.tick().outputs.converter.on, world.state
    assert world.last is not None
    assert not world.last.outputs.pilot.coils.dc


def test_it_wakes_for_a_request_without_sleep_and_for_power() -> None:
    assert idle(asleep(), 0.1, sleep=False)[-1] is True
    world = asleep()
    world.power_w, world.renew = 10_000.0, True
    world.until("CHARGING")
