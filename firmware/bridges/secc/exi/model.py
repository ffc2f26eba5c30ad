"""From the content model of a type to states: which elements may come next, after each element.

A place in a content model is a stack of particles still to be consumed, each with how often it was already matched.
Walking from a place gives the elements that may come next, each with the place that follows, in schema order. Places
that are the same stack are the same state.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from firmware.bridges.secc.exi.errors import SchemaError
from firmware.bridges.secc.exi.xsd import Name

# Policy: states of one type. The largest particle of the V2G schemas repeats 2048 times; DTDs of nested bounded
# repetitions would explode, and a schema that does must be seen, not waited for.
MAX_STATES = 20_000


@dataclass(frozen=True, eq=False)
class Particle:
    """An element, a wildcard or a group with its repetitions; identity distinguishes particles."""

    low: int
    high: int | None  # None: unbounded


@dataclass(frozen=True, eq=False)
class ElementParticle(Particle):
    """An element; several alternatives if it heads a substitution group."""

    alternatives: tuple[tuple[Name, int], ...]  # name and type


@dataclass(frozen=True, eq=False)
class WildcardParticle(Particle):
    """xs:any."""


@dataclass(frozen=True, eq=False)
class GroupParticle(Particle):
    """A sequence (all children in order) or a choice (one of them)."""

    choice: bool
    children: tuple[Particle, ...]


Place = tuple[tuple[Particle, int], ...]
# Name and type of the element (None: wildcard) and the place after it.
Step = tuple[tuple[Name, int] | None, Place]


def start_of(model: Particle | None) -> Place:
    """The place before anything was consumed."""
    return () if model is None else ((model, 0),)


def steps_from(place: Place) -> tuple[list[Step], bool]:
    """What may come next at `place`, in schema order, wildcards last; and whether the content may end here."""
    steps: list[Step] = []
    may_end = _walk(place, steps)
    unique: dict[Name | None, Step] = {}
    for step in steps:
        name = None if step[0] is None else step[0][0]
        if name not in unique:
            unique[name] = step
        elif unique[name] != step and name is not None:
            raise SchemaError(f"element {name.local} leads to two different places of the content model")
    wildcards = [step for name, step in unique.items() if name is None]
    return [step for name, step in unique.items() if name is not None] + wildcards, may_end


def places_of(model: Particle | None) -> dict[Place, tuple[list[Step], bool]]:
    """All places of a content model in depth-first order by the first step, with what may come next at each.

    That order makes the places of one repeated particle neighbours, so that the tables can fold them.
    """
    found: dict[Place, tuple[list[Step], bool]] = {}
    waiting = [start_of(model)]
    while waiting:
        place = waiting.pop()
        if place in found:
            continue
        if len(found) >= MAX_STATES:
            raise SchemaError(f"a content model has more than {MAX_STATES} states")
        steps, _ = found[place] = steps_from(place)
        waiting += [after for _, after in reversed(steps)]
    return found


def repeated_names(model: Particle | None, inside_repeat: bool = False) -> Iterator[str]:
    """Local names of the elements that may come more than once."""
    if model is None:
        return
    repeats = inside_repeat or model.high is None or model.high > 1
    if isinstance(model, ElementParticle) and repeats:
        yield from (name.local for name, _ in model.alternatives)
    elif isinstance(model, GroupParticle):
        for child in model.children:
            yield from repeated_names(child, repeats)


def _walk(place: Place, steps: list[Step]) -> bool:
    """Appends what may come next at `place`; returns whether all of it may be left out."""
    if not place:
        return True
    (particle, count), rest = place[0], place[1:]
    may_skip = count >= particle.low
    if particle.high is None or count < particle.high:
        # Beyond the minimum an unbounded particle need not be counted: otherwise its places would never end.
        matched = count + 1 if particle.high is not None else min(count + 1, particle.low)
        again = rest if matched == particle.high else ((particle, matched), *rest)
        if isinstance(particle, ElementParticle):
            steps += [(alternative, again) for alternative in particle.alternatives]
        elif isinstance(particle, WildcardParticle):
            steps.append((None, again))
        elif isinstance(particle, GroupParticle):
            inner: list[Step] = []
            if particle.choice:
                empty = not particle.children
                for child in particle.children:
                    empty |= _walk(((child, 0),), inner)
            else:
                empty = _walk(tuple((child, 0) for child in particle.children), inner)
            steps += [(element, after + again) for element, after in inner]
            may_skip = may_skip or empty
    return _walk(rest, steps) if may_skip else False
