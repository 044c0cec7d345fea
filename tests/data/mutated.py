"""``python mutated.py FOLDER FIRST LAST``: prepares the containers of a folder in turns, each with a damage of its own.

Damages FIRST to LAST of a fixed sequence; in a process of its own, since a container may kill the one that reads it.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from pathlib import Path

from avq.data.cards import get_card
from avq.data.open import open_container
from avq.data.prepare import prepare
from avq.data.prepared import check
from avq.errors import AvqError


def damage(data: bytes, chance: random.Random) -> bytes:
    """Bytes overwritten, cut off, left out or said twice; often near the ends, where containers keep their own."""
    changed, edge = bytearray(data), min(len(data), 4096)
    place = chance.choice((chance.randrange(len(data)), chance.randrange(edge), len(data) - 1 - chance.randrange(edge)))
    length = chance.choice((1, 8, 512, 4096))
    match chance.randrange(6):
        case 0:
            del changed[place:]
        case 1:
            del changed[place : place + length]
        case 2:
            changed[place:place] = changed[chance.randrange(len(data)) :][:length]
        case _:
            for _ in range(chance.choice((1, 4, 40))):
                near = place + chance.randrange(64) if length > 1 else chance.randrange(len(data))
                changed[near % len(data)] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    return bytes(changed)


def ending(source: Path, output: Path) -> str:
    """How a preparation ends; whatever else is raised is a fault."""
    try:
        made = prepare(get_card("folder"), open_container(source), 16, output, processes=False, max_bad=10**9).prepared
    except AvqError as error:
        return "refused" if "\n" not in str(error) else "several lines"
    check(made)
    return "some refused" if made.manifest["counts"]["unusable"] else "whole"


def main(folder: Path, first: int, last: int) -> None:
    sources, work = sorted(folder.iterdir()), folder.with_name(f"{folder.name}-{first}")
    endings: Counter[str] = Counter()
    for number in range(first, last):
        source = sources[number % len(sources)]
        print(number, source.name, file=sys.stderr, flush=True)
        copy = work / source.name
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            work.mkdir()
            shutil.copy(source, copy)
        chance = random.Random(number)
        file = chance.choice(sorted(path for path in (copy, *copy.rglob("*")) if path.is_file()))
        file.write_bytes(damage(file.read_bytes(), chance))
        endings[f"{source.name}: {ending(copy, work / 'out')}"] += 1
        shutil.rmtree(work)
    print(*(f"{what} {count}" for what, count in sorted(endings.items())), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
