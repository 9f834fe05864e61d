# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""launch.py N [RANK:NAME=VALUE]... -- COMMAND...: runs a command N times at once, as torchrun would, a GPU of the double for each. Prints what
rank 0 printed, then each rank's errors and exit code in the order of the ranks."""
import os
import socket
import subprocess
import sys
import tempfile

split = sys.argv.index("--")
size, settings, command = int(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1:]
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
with tempfile.TemporaryDirectory() as folder:
    ranks = []
    for rank in range(size):
        variables = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                                  "MASTER_PORT": str(min(port, 65000)), "CAAT_DOUBLE_DEVICES": str(size), "CAAT_DOUBLE_SHARED": folder}
        for setting in settings:
            who, _, assignment = setting.partition(":")
            name, _, value = assignment.partition("=")
            if who == "*" or int(who) == rank:
                variables[name] = value
        if variables.get("ABSENT"):
            continue
        ranks.append((rank, subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)))
    for rank, process in ranks:
        out, errors = process.communicate(timeout=120)
        sys.stdout.write(out)
        sys.stdout.write("".join(f"[rank {rank}] {line}\n" for line in errors.splitlines()))
        print(f"[rank {rank}] exit {process.returncode}")
