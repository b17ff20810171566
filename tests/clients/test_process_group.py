"""A process group is ended with the process that started it, also when that one is killed and ends nothing itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

STARTER = """
import subprocess, sys, time
from tests.process_group import ended_with_us
leader = subprocess.Popen(["bash", "-c", "sleep 1000 & echo $!"], stdout=subprocess.PIPE, text=True, start_new_session=True)
with ended_with_us(leader):
    print(leader.stdout.readline().strip(), flush=True)
    time.sleep(1000)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_process_leaves_nothing_of_the_group() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        grandchild = int(starter.stdout.readline())
        assert is_alive(grandchild)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 120
    while is_alive(grandchild):
        assert time.monotonic() < deadline
        time.sleep(0.05)
