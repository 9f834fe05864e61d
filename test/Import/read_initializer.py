# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints the float elements of an initializer of the module on stdin: read_initializer.py DIRECTORY NAME."""
import os
import re
import sys

import numpy as np

directory, name = sys.argv[1:]
line = next(l for l in sys.stdin if f"onnx.initializer @{name} " in l)
field = lambda pattern: re.search(pattern, line).group(1)
offset, length = int(field(r"offset = (\d+)")), int(field(r"length = (\d+)"))
values = np.fromfile(os.path.join(directory, field(r'file = "([^"]*)"')), dtype=np.uint8)[offset : offset + length].view("<f4")
print(*values)
