# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""stop_check.py FOLDER SIGNAL JOBS: stops FOLDER's gpu-check when as many lists run as may at once, and sees that nothing of it is left."""
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def running(mark: str) -> list[str]:
    """Processes that have `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass
    return found


def until(holds, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


folder, number, jobs = Path(sys.argv[1]), signal.Signals[sys.argv[2]], int(sys.argv[3])
with tempfile.TemporaryDirectory() as scratch:
    mark = f"{scratch}/started"
    # SIGINT is ignored by what a shell starts in the background: here it is not.
    script = subprocess.Popen([folder / "gpu-check", f"--jobs={jobs}", "checks"], env=os.environ | {"STARTED": mark, "TMPDIR": scratch},
                              stdout=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert until(lambda: len(list(Path(scratch).glob("started.*"))) == jobs, 30), "the lists did not start"
    time.sleep(0.3)
    assert len(list(Path(scratch).glob("started.*"))) == jobs, "more lists run than may"
    assert sum("sleep 987" in command for command in running(mark)) >= jobs
    script.send_signal(number)
    status = script.wait(timeout=20)
    assert status == 128 + number, status
    assert until(lambda: not running(mark), 5), running(mark)
    assert not [p for p in Path(scratch).iterdir() if p.is_dir()], "its folder is left"
