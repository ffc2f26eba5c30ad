"""Broken messages against the EXI decoder: nothing but a message or an `ExiError` may come out, and soon.

    python -m tests.secc.fuzz_exi [--count 1000000] [--seed 1]     own mutations of recorded and composed messages
    python -m tests.secc.fuzz_exi --atheris [libFuzzer options]    guided by coverage (pip install atheris)

What is decoded is encoded and decoded again: the result must be the same. Time is taken as processor time, so that a
busy machine is no finding.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass

from firmware.bridges.secc.exi.codec import ISO_20_DC, SCHEMA_FILES, XML_SIGNATURE, ExiCodec
from firmware.bridges.secc.exi.errors import ExiError
from tests.secc.environment import codec
from tests.secc.test_exi_messages import CHARGE_LOOP, SIGNED_INFO, recorded

# Policy: no single input may take longer, in seconds of processor time. A valid message takes a fraction of a
# millisecond; the longest that the limits permit (20 000 elements) some tenths of a second.
LONGEST_S = 1.0


@dataclass
class Result:
    """What a run found."""

    inputs: int = 0
    decoded: int = 0
    longest_s: float = 0.0


def seeds() -> list[tuple[str, bytes]]:
    """Messages to mutate: every recorded one, and some of -20 and of signatures."""
    found = [(namespace, data) for _, namespace, data in recorded()]
    extra = [(ISO_20_DC, CHARGE_LOOP), (XML_SIGNATURE, SIGNED_INFO)]
    return found + [(namespace, codec().encode_message(message, namespace)) for namespace, message in extra] * 40


def mutated(data: bytes, rng: random.Random, pool: list[tuple[str, bytes]]) -> bytes:
    """`data` after a few random faults, most often a single one, which more of a message survives."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place = rng.randrange(len(changed) + 1)
        match rng.choice((0, 0, 0, 1, 2, 3, 4, 5, 6)):
            case 0 if changed:
                changed[place % len(changed)] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[place % len(changed)] = rng.randrange(256)
            case 2:
                del changed[place:]
            case 3:
                changed[place:place] = rng.randbytes(rng.randint(1, 8))
            case 4:
                changed[place:place] = bytes([rng.choice((0, 255, 128, 127))]) * rng.randint(1, 64)
            case 5:
                other = rng.choice(pool)[1]
                changed[place:] = other[rng.randrange(len(other)) :]
            case _:
                del changed[place : place + rng.randint(1, 4)]
    return bytes(changed)


def check(target: ExiCodec, data: bytes, namespace: str, fragment: bool, result: Result) -> None:
    """Decodes one input; an exception other than `ExiError`, or a decoding that is not stable, is a finding."""
    begun = time.process_time()
    result.inputs += 1
    try:
        message = target.decode_message(data, namespace, fragment)
        result.decoded += 1
        try:
            again = target.encode_message(message, namespace, fragment or namespace == XML_SIGNATURE)
        except ExiError:
            pass  # read as it was sent, but outside its type
        else:
            assert target.decode_message(again, namespace, fragment) == message, data.hex()
    except ExiError as refusal:
        if "\n" in str(refusal):
            raise RuntimeError(f"a refusal of more than one line: {refusal!r}") from refusal
    result.longest_s = max(result.longest_s, time.process_time() - begun)
    assert result.longest_s < LONGEST_S, f"{result.longest_s:.2f} s for {data.hex()[:200]} in {namespace}"


def run(count: int, seed: int) -> Result:
    """`count` mutated and random inputs; the same seed gives the same inputs."""
    rng = random.Random(seed)
    pool, namespaces, result = seeds(), list(SCHEMA_FILES), Result()
    target = codec()
    target.preload()
    for number in range(count):
        if number % 10 == 0:
            namespace, data = rng.choice(namespaces), b"\x80" + rng.randbytes(rng.randrange(120))
        else:
            namespace, data = rng.choice(pool)
            data = mutated(data, rng, pool)
            if number % 10 == 1:
                namespace = rng.choice(namespaces)
        try:
            check(target, data, namespace, number % 10 == 2, result)
        except Exception:
            print(f"finding: seed {seed}, input {number}, {namespace}, {data.hex()}", file=sys.stderr)
            raise
    return result


def run_atheris(options: list[str]) -> None:
    """Coverage-guided, without end unless libFuzzer is given -runs=."""
    import atheris  # not among the dependencies: it has wheels for few platforms

    target, namespaces, result = codec(), list(SCHEMA_FILES), Result()
    target.preload()
    atheris.instrument_all()

    def one_input(data: bytes) -> None:
        if data:
            kind = data[0] % (2 * len(namespaces))
            check(target, b"\x80" + data[1:], namespaces[kind // 2], kind % 2 == 1, result)

    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", action="store_true", help="coverage-guided; further options go to libFuzzer")
    arguments, rest = parser.parse_known_args()
    if arguments.atheris:
        run_atheris(rest)
        return
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    begun = time.monotonic()
    result = run(arguments.count, arguments.seed)
    print(
        f"{result.inputs} inputs, {result.decoded} of them messages, the slowest {1000 * result.longest_s:.1f} ms, "
        f"no finding in {time.monotonic() - begun:.0f} s"
    )


if __name__ == "__main__":
    main()
