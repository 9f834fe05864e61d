#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX's own backend node tests through caat, and docs/operators.md, which says what of each operator works.

    node_tests.py [--only REGEX] [--verbose]    run, print the counts, fail where a claimed case does not pass
    node_tests.py --check                       fail as well where docs/operators.md is not what this run would write
    node_tests.py --write                       write docs/operators.md

Each case is compiled for one rank and run with its own tolerances. It has passed, or is refused (the compiler names the
node, and the form is listed in node_claims.py), or is not claimed (an operator listed there); anything else, a wrong
number, a crash, a hang, a refusal of another form, is a failure.
"""
import argparse
import collections
import concurrent.futures
import queue
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import node_claims
import node_table
import programs
from node_cases import Case, collect

TABLE = programs.ROOT / "docs" / "operators.md"


class Worker:
    """A process that compiles and runs cases one after another."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        self.process = None

    def start(self):
        self.process = subprocess.Popen([programs.BIN / "caat-test-cases", self.folder / "program"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process.stdin.close()
            self.process = None

    def run(self, case: Case) -> tuple[str, str]:
        """("ok" | "wrong" | "refused" | "failed" | "crashed" | "hangs", text)"""
        model, inputs, outputs = (self.folder / name for name in
                                  ("model.onnx", "inputs.safetensors", "outputs.safetensors"))
        case.write(model, inputs)
        if not self.process:
            self.start()
        self.process.stdin.write(f"{model}\t{inputs}\t{outputs}\n".encode())
        self.process.stdin.flush()
        text, end = b"", time.monotonic() + programs.TIMEOUT
        while b"\n=> " not in b"\n" + text or not text.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            more = self.process.stdout.read1(1 << 16) if ready else b""
            if not more:
                code = self.process.poll() if ready else None
                self.stop()
                return ("crashed" if ready else "hangs"), f"{text.decode(errors='replace')}[exit {code}]"
            text += more
        said, _, status = ("\n" + text.decode(errors="replace")).rpartition("\n=> ")
        if status.strip() != "ok":
            return status.strip(), said.strip()
        different = case.compare(outputs)
        return ("wrong", different) if different else ("ok", "")


def names_a_node(case: Case, text: str) -> bool:
    """Whether an error says where in the model it is: a node with its operator, or a value by name."""
    operators = {name.rpartition(".")[2] for name in case.operators()}
    values = {value.name for value in (*case.model.graph.input, *case.model.graph.output)}
    values.update(name for node in case.model.graph.node for name in node.output if name)
    return any(f"({name}," in text or f"({name})" in text for name in operators) or \
        any(f"'{name}'" in text or f'loc("{name}")' in text for name in values) or "opset" in text


class Result:
    """How a case went: `status` is passed, constants (passed with shape operands as initializers), refused,
    unclaimed or FAILED."""

    def __init__(self, case: Case, status: str, text: str = "", note: str = ""):
        self.case, self.status, self.text, self.note = case, status, text, note


def judge(worker: Worker, case: Case) -> Result:
    unclaimed = node_claims.not_claimed(case)
    if unclaimed:
        return Result(case, "unclaimed", unclaimed)
    case = case.widened()
    unstorable = case.storable()
    if unstorable:
        return Result(case, "FAILED", unstorable)
    status, text = worker.run(case)
    if status == "ok":
        return Result(case, "passed")
    bound = case.with_constants()
    if bound and status == "refused" and names_a_node(case, text):
        status, text = worker.run(bound)
        if status == "ok":
            return Result(case, "constants")
    if status == "refused" and names_a_node(case, text):
        note = node_claims.refused_form(case, text)
        if note:
            return Result(case, "refused", text, note)
    return Result(case, "FAILED", f"{status}: {text}")


def run_all(cases: list[Case], workers: int, verbose: bool) -> list[Result]:
    with tempfile.TemporaryDirectory() as holder:
        idle = queue.SimpleQueue()
        everyone = [Worker(Path(holder) / str(i)) for i in range(workers)]
        for worker in everyone:
            idle.put(worker)

        def one(case):
            worker = idle.get()
            try:
                begin = time.monotonic()
                result = judge(worker, case)
                if verbose or result.status == "FAILED":
                    text = re.sub(r"\s+", " ", result.text)[:300]
                    print(f"{result.status} {case.op} {case.name} ({time.monotonic() - begin:.2f} s) {text}",
                          flush=True)
                return result
            finally:
                idle.put(worker)

        try:
            with concurrent.futures.ThreadPoolExecutor(workers) as pool:
                return list(pool.map(one, cases))
        finally:
            for worker in everyone:
                worker.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="regular expression of case names")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="a line for each case, not only for failures")
    parser.add_argument("--check", action="store_true", help="compare docs/operators.md with this run")
    parser.add_argument("--write", action="store_true", help="write docs/operators.md")
    options = parser.parse_args()
    cases = [case for case in collect() if re.search(options.only, case.name)]
    results = run_all(cases, options.workers, options.verbose)
    counts = collections.Counter(result.status for result in results)
    print(f"{len(results)} cases: {counts['passed']} passed, {counts['constants']} passed with shape operands as "
          f"constants, {counts['refused']} refused, {counts['unclaimed']} not claimed, {counts['FAILED']} FAILED")
    bad = counts["FAILED"] > 0
    if options.write or options.check:
        table = node_table.render(results)
        if options.write:
            TABLE.write_text(table)
        elif not TABLE.exists() or TABLE.read_text() != table:
            print("docs/operators.md is out of date: run test/Execution/node_tests.py --write")
            bad = True
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
