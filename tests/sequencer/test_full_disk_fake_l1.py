"""A full disk at every write of the scripted line, each refused for real by the kernel: see full_disk_fake_l1.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_full_disk_at_every_write_means_read_only_and_nothing_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.sequencer.full_disk_fake_l1", str(tmp_path), "limit"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    tried = json.loads(done.stdout.splitlines()[-1])
    assert tried["batch"] >= 28 and tried["file"] >= 7 and tried["start"] >= 1, tried
