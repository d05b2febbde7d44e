"""Broken slides, as many as one likes: each must end in a result or a sentence, within 10 s of the processor and 1 GB.

    python benchmarks/mutations.py [--count 2000] [--first 0]

Prints how the looks ended, by format and by kind of mutation, and every one that ended otherwise. Status 1 if any did.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "slides")]

from mutations import mutations, originals  # noqa: E402
from supervised import looks  # noqa: E402

GOOD = ("result", "sentence")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep the files that ended badly in this folder")
    arguments = parser.parse_args()
    ends: Counter[tuple[str, str]] = Counter()
    slowest = largest = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = originals(folder)
        broken = folder / "broken"
        broken.mkdir()
        names = list(files)
        made = mutations(files, broken, arguments.first, arguments.first + arguments.count)
        for one in looks(made):
            number = int(one.path.name.partition("-")[0])
            ends[names[number % len(names)], one.end] += 1
            slowest, largest = max(slowest, one.seconds), max(largest, one.megabytes)
            if one.end not in GOOD:
                print(f"{one.path.name}: {one.end} after {one.seconds:.1f} s, {one.megabytes:.0f} MB\n{one.said}")
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    (arguments.keep / one.path.name).write_bytes(one.path.read_bytes())
    kinds = sorted({end for _, end in ends})
    print("| format | " + " | ".join(kinds) + " |")
    print("| --- |" + " --- |" * len(kinds))
    for name in names:
        print(f"| {name} | " + " | ".join(str(ends[name, kind]) for kind in kinds) + " |")
    print(f"slowest {slowest:.2f} s, largest {largest:.0f} MB")
    return 0 if all(end in GOOD for _, end in ends) else 1


if __name__ == "__main__":
    sys.exit(main())
