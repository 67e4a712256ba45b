"""Child of the doctor: free space of the current folder and how long a write takes to reach the disk; one JSON line."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time

TRIES = 5
BLOCK = bytes(256 * 1024)


def main() -> None:
    """Leaves nothing behind."""
    times_ms = []
    with tempfile.TemporaryFile(dir=".") as file:
        for _ in range(TRIES):
            begin = time.monotonic()
            file.write(BLOCK)
            file.flush()
            os.fsync(file.fileno())
            times_ms.append((time.monotonic() - begin) * 1e3)
    print(json.dumps({"free": shutil.disk_usage(".").free, "sync_ms": max(times_ms)}))


if __name__ == "__main__":
    main()
