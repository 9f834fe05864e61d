# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""steps.py LOG WORD...: the different names of steps with one of the words."""
import sys

names = {line.rstrip("\n").split("\t")[2] for line in open(sys.argv[1])}
print(*sorted(name for name in names if any(word in name for word in sys.argv[2:])), sep="\n")
