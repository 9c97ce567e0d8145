"""``make fuzz``: random inputs for all that is decoded of others, guided by the lines that they reach.

It needs atheris, which has an environment of its own (``build/fuzz-venv``). The decoders, and what each may raise, are
those of ``tests/attack/decoders.py``; anything else is reported with the input, which is left in ``build/``::

    make fuzz RUNS=5000000
    build/fuzz-venv/bin/python tools/fuzz.py --decoder batch --runs 100000
    build/fuzz-venv/bin/python tools/fuzz.py --again build/fuzz-crash-0123…
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parent.parent
INPUT_BYTES_MAX = 4096

sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "attack")]

with atheris.instrument_imports(include=["windrow", "decoders"]):
    import decoders


def main() -> None:
    """Read the command line, write the good examples down, and go on until all runs are done or one has failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--decoder", choices=decoders.DECODERS, help="this one alone")
    parser.add_argument("--again", metavar="FILE", help="an input that has failed")
    options = parser.parse_args()
    names = [options.decoder] if options.decoder else list(decoders.DECODERS)
    corpus = ROOT / "build" / "fuzz-corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        for count, data in enumerate(decoders.seeds()[name]):
            (corpus / f"good-{name.replace(' ', '-')}-{count}").write_bytes(bytes([number]) + data)

    def test_one(data: bytes) -> None:
        if data:
            decoders.DECODERS[names[data[0] % len(names)]](data[1:])

    arguments = [
        f"-runs={options.runs}",
        f"-seed={options.seed}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={ROOT / 'build'}/fuzz-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *arguments, options.again or str(corpus)], test_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
