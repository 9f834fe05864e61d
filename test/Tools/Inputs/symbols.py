# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""symbols.py LIBRARY: its dynamic symbols, and whether it has writable data of its own."""
import subprocess
import sys

lines = subprocess.run(["llvm-nm", "-D", sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()
entries = [line.split()[-2:] for line in lines]
print("defined:", *sorted(name for kind, name in entries if kind == "T"))
print("undefined:", *sorted(name for kind, name in entries if kind == "U"))
everything = subprocess.run(["llvm-nm", sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()
writable = [line for line in everything if line.split()[-2] in "BbDd" and not line.split()[-1].startswith(("_DYNAMIC", "__"))]
assert not writable, writable
