# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/operators.md from the results of the node tests."""
import collections

import onnx

import node_claims

OLDEST = 7
HEADER = """\
<!-- Written by test/Execution/node_tests.py --write: do not edit. -->
# Operators

What of ONNX's operators caat compiles and runs, as ONNX's own backend node tests show ({count} cases of onnx {version};
`ctest -R execution-node-tests` runs them and compares this page). Each case is compiled for one rank and compared with the test's own
tolerances; 16-bit floats with two units in their last place, as ONNX's own runner does for bfloat16, and the two inverse DFT
cases with 1e-6, since they expect the rounding errors of 32-bit floats where the sums are zero.

- **passed**: as the test gives it. In brackets: of these, cases of the operator's function body, which run through other operators.
- **constants**: passed with operands that decide shapes (a Reshape's shape, axes, …) as initializers, as exporters write them, and
  refused with these as inputs of the graph.
- **refused**: the compiler says which node it cannot compile, and why.

{counts}

## Supported

Versions are those opsets between {oldest} and {newest} in which the operator got a new form; all of them are accepted.

| operator | versions | passed | constants | refused | refused forms |
|---|---|---:|---:|---:|---|
"""


def versions(domain: str, op: str) -> str:
    """Since which opsets a form of the operator exists, from the one that opset 7 has."""
    found = sorted({schema.since_version for schema in onnx.defs.get_all_schemas_with_history()
                    if schema.name == op and schema.domain == domain})
    start = max((v for v in found if v <= OLDEST), default=0)
    return ", ".join(str(v) for v in found if v >= start)


def total(counts: collections.Counter) -> str:
    return (f"Of all cases {counts['passed']} passed, {counts['constants']} more passed with constants, "
            f"{counts['refused']} are refused and {counts['unclaimed']} are of operators without support.")


def render(results) -> str:
    counts = collections.Counter(result.status for result in results)
    rows = collections.defaultdict(list)
    unclaimed = collections.defaultdict(collections.Counter)
    for result in results:
        if result.status == "unclaimed":
            unclaimed[result.text][node_claims.tested(result.case)] += 1
        else:
            rows[node_claims.tested(result.case)].append(result)
    text = HEADER.format(count=len(results), version=onnx.__version__, counts=total(counts), oldest=OLDEST,
                         newest=onnx.defs.onnx_opset_version())
    for name in sorted(rows, key=str.lower):
        group = rows[name]
        each = collections.Counter(result.status for result in group)
        expanded = sum(result.case.expanded for result in group if result.status == "passed")
        forms = sorted({result.note for result in group if result.note})
        domain, _, op = name.rpartition(".")
        passed = f"{each['passed']} ({expanded})" if expanded else str(each["passed"])
        text += (f"| {name} | {versions(domain, op)} | {passed} | {each['constants'] or ''} | {each['refused'] or ''} | "
                 f"{'; '.join(forms)} |\n")
    text += "\n## Not supported\n\n| what | operators and number of cases |\n|---|---|\n"
    for reason in sorted(unclaimed):
        names = ", ".join(f"{name} {count}" for name, count in sorted(unclaimed[reason].items()))
        text += f"| {reason} | {names} |\n"
    return text
