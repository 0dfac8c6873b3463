#!/usr/bin/env python3
"""A drone claims a sector of the airspace, reads who has it, and gives it back.

    dunlind dev --nodes 1                    # prints a line `node 1 socket PATH`
    DUNLIN_SOCKET=PATH ./example.py [SECTOR [DRONE]]

Ends by 0 if the drone had the sector, 1 if somebody else has it, 3 if there is no daemon.
"""

import sys

import dunlin


def claim(airspace: dunlin.Space, sector: str, drone: str) -> dunlin.Version:
    """Written only if nobody has the sector; the version is the fencing token of the claim."""
    try:
        return airspace.put_if(sector, drone, dunlin.ABSENT)
    except dunlin.FateUnknown as error:
        # Why the same again: under its name it is applied at most once, so this cannot claim twice.
        return airspace.put_if(sector, drone, dunlin.ABSENT, retry=error.write)


def fly(node: dunlin.Attachment, sector: str, drone: str) -> int:
    airspace = node.space("airspace")
    try:
        token = claim(airspace, sector, drone)
    except dunlin.Conflict as conflict:
        print(f"{sector} is taken, by {airspace.get(sector).text}, at version {conflict.version}")
        return 1
    print(f"{drone} claimed {sector} at version {token}")

    # Linearizable, and still neither a system call nor a message while the daemon's lease holds.
    read = airspace.get(sector)
    print(f"{sector} is held by {read.text} at version {read.version}, {read.age_s:.3f} s old")
    try:
        claim(airspace, sector, "drone-8")
    except dunlin.Conflict as conflict:
        print(f"drone-8 came too late: version {conflict.version} stands there")

    airspace.delete_if(sector, token)
    info = node.info()
    print(f"{drone} gave {sector} back; {info.reads_in_place} read in place, "
          f"{info.reads_by_ring} by asking node {info.node_id}")
    return 0


def main(sector: str = "u0qj2c", drone: str = "drone-7") -> int:
    try:
        with dunlin.attach() as node:
            return fly(node, sector, drone)
    except dunlin.Unavailable as error:
        print(f"{error}; is dunlind running, and DUNLIN_SOCKET its socket?", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
