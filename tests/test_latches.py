"""Latched faults outlive guard, services and power."""

from __future__ import annotations

from pathlib import Path

from firmware.guard.events import Severity
from firmware.guard.faults import Faults
from firmware.guard.messages import Operator
from firmware.services.latches import FILE, Latches
from tests.guard.puppet import Puppet, make_guard


def test_a_latched_fault_is_told_to_the_next_guard_until_it_knows(tmp_path: Path) -> None:
    Latches(tmp_path).take("a", ["contactor_welded"])
    after = Latches(tmp_path)
    assert after.to_tell("b") == ["contactor_welded"]
    after.take("b", [])  # the first snapshot of a guard that does not know yet
    assert after.to_tell("b") == ["contactor_welded"]
    after.take("b", ["contactor_welded"])
    assert after.to_tell("b") == []


def test_a_cleared_fault_is_forgotten(tmp_path: Path) -> None:
    latches = Latches(tmp_path)
    latches.take("a", ["pilot_estop"])
    latches.take("a", [])
    assert Latches(tmp_path).codes == []


def test_a_damaged_file_is_said_and_not_believed(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    latches = Latches(tmp_path)
    assert latches.codes == []
    assert FILE in latches.problem


def test_guard_takes_over_a_latched_fault_and_only_clear_ends_it() -> None:
    world = Puppet(guard=make_guard())
    world.guard.step(world.now, world.readings(), [Operator("latch", "contactor_welded")])
    world.tick(3000)
    assert world.guard.faults.latched == ["contactor_welded"]
    assert world.state == "FAULT"
    assert not world.tick().outputs.pilot.coils.grid
    world.guard.step(world.now, world.readings(), [Operator("clear")])
    world.until("CONNECTED")


def test_only_faults_of_the_table_can_be_latched_from_outside() -> None:
    faults = Faults()
    assert faults.latch(0.0, "nonsense") is None
    assert faults.latch(0.0, "request") is None
    assert faults.worst is Severity.INFO


def test_what_a_full_disk_refused_is_written_when_there_is_room_again(tmp_path: Path) -> None:
    latches = Latches(tmp_path)
    part = tmp_path / FILE.replace(".json", ".part")
    part.symlink_to("/dev/full")  # the kernel's own ENOSPC
    latches.take("a", ["contactor_welded"])
    assert "cannot be written (No space left on device)" in latches.problem
    part.unlink()
    for _ in range(10):  # a second of snapshots in which nothing changes
        latches.take("a", ["contactor_welded"])
    assert latches.problem == ""
    assert Latches(tmp_path).codes == ["contactor_welded"]
