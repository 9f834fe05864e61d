# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""check_trace.py TRACE RANKS COLLECTIVE: the trace has so many ranks, each with the collective as often as the others, and each time is
one that all have in common."""
import json
import sys

trace, ranks, name = json.load(open(sys.argv[1]))["traceEvents"], int(sys.argv[2]), sys.argv[3]
assert {e["args"]["name"] for e in trace if e["name"] == "process_name"} == {f"rank {r}" for r in range(ranks)}
spans = [sorted((e["ts"], e["ts"] + e["dur"]) for e in trace if e["pid"] == r and e["name"] == name) for r in range(ranks)]
assert spans[0] and all(len(s) == len(spans[0]) for s in spans), [len(s) for s in spans]
slack = 3000  # us, of clocks and of a busy machine
for together in zip(*spans):
    assert max(begin for begin, _ in together) <= min(end for _, end in together) + slack, together
