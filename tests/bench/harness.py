"""What every row of `make bench` shares: quantiles, fair comparison in one run, a table and JSON.

A figure alone says little about another machine, so each row carries a yardstick that was measured in the same run,
interleaved or under the same load, and the ratio to it.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. `values`: name -> figure in `unit`; `yardstick`: the same for what it is held against.

    ratio: of the value named `ratio_of` to the yardstick's. skipped: why there are no figures, else empty.
    missed: what had to be met and was not, else empty; the command then exits with 1.
    """

    name: str
    unit: str = ""
    values: dict[str, float] = field(default_factory=dict)
    yardstick_name: str = ""
    yardstick: dict[str, float] = field(default_factory=dict)
    ratio_of: str = ""
    note: str = ""
    skipped: str = ""
    missed: str = ""

    @property
    def ratio(self) -> float | None:
        """Own figure / yardstick's; None where there is nothing to divide by."""
        below = self.yardstick.get(self.ratio_of, 0.0)
        return self.values[self.ratio_of] / below if below and self.ratio_of in self.values else None


def quantile(samples: Sequence[float], q: float) -> float:
    """The q-quantile (0..1) by nearest rank: a sample that was measured, never one between two. Raises ValueError
    without samples or outside 0..1."""
    if not samples or not 0.0 <= q <= 1.0:
        raise ValueError(f"quantile {q} of {len(samples)} samples; q must be 0 to 1 and there must be samples")
    ranked = sorted(samples)
    rank = -int(-q * len(ranked) // 1)  # ceil without a detour through rounding
    return ranked[max(0, rank - 1)]


def latency(samples_s: Sequence[float], scale: float = 1e6) -> dict[str, float]:
    """p50, p99, p99.9 and max of samples in seconds, in microseconds by default, and how many there were."""
    figures = {f"p{100 * q:g}": quantile(samples_s, q) * scale for q in (0.5, 0.99, 0.999)}
    return {**figures, "max": max(samples_s) * scale, "n": float(len(samples_s))}


def compare(
    own: Callable[[], object], yardstick: Callable[[], object], calls: int, rounds: int = 60, batch: int = 2000
) -> tuple[dict[str, float], dict[str, float]]:
    """Time two callables that each do `calls` operations: (own, yardstick) as ns per operation and operations/s.

    They take turns in short batches, so that a neighbour's load hits both alike; each batch gives one mean, and median
    and p99 are over the batches. The garbage collector is off, as it is in guard.
    """
    loops = max(1, batch // calls)
    spent: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        own(), yardstick()  # warm
        for _ in range(rounds):
            for call, times in zip((own, yardstick), spent, strict=True):
                start = time.perf_counter()
                for _ in range(loops):
                    call()
                times.append((time.perf_counter() - start) / (loops * calls))
    finally:
        if enabled:
            gc.enable()

    def figures(times: list[float]) -> dict[str, float]:
        median = quantile(times, 0.5)
        return {"median": median * 1e9, "p99": quantile(times, 0.99) * 1e9, "per_s": 1.0 / median}

    return figures(spent[0]), figures(spent[1])


def machine() -> dict[str, object]:
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "python": platform.python_version(),
        "load_1min": os.getloadavg()[0],
    }


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps({"machine": machine(), "rows": [{**asdict(row), "ratio": row.ratio} for row in rows]}, indent=1)


def as_text(rows: Sequence[Row]) -> str:
    """The table for people: own figures, below them the yardstick's, then the ratio."""
    lines = ["machine: " + ", ".join(f"{key} {value}" for key, value in machine().items())]
    for row in rows:
        lines.append("")
        if row.skipped:
            lines.append(f"{row.name}: SKIPPED: {row.skipped}")
            continue
        names = list(row.values)
        width = max(len(row.name), len(row.yardstick_name))
        lines.append(f"{'':{width}}  " + "".join(f"{name:>12}" for name in names) + f"  [{row.unit}]")
        lines.append(f"{row.name:{width}}  " + "".join(_figure(row.values[name]) for name in names))
        if row.yardstick:
            cells = "".join(_figure(row.yardstick.get(name)) for name in names)
            ratio = f"  ratio of {row.ratio_of}: {row.ratio:.2f}" if row.ratio is not None else ""
            lines.append(f"{row.yardstick_name:{width}}  {cells}{ratio}")
        if row.note:
            lines.append(f"  {row.note}")
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    if value is None:
        return f"{'-':>12}"
    return f"{value:>12,.0f}" if abs(value) >= 1000 else f"{value:>12.4g}"
