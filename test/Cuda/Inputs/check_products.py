# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""check_products.py LOG RANKS NAME: the products of each rank's stream, which has kernels of the program, have this name."""
import sys

operations = [line.rstrip("\n").split("\t") for line in open(sys.argv[1])]
streams = {stream for stream, _, name in operations if name == "tiny_embed"}
names = {name for stream, _, name in operations if stream in streams and name.startswith("a product")}
assert len(streams) == int(sys.argv[2]) and names == {sys.argv[3]}, (streams, names)
