#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Assembles the GPU kernels of every test model, number of ranks and kind of plan, and the runtime's own, and prints what they use.

    ptx.py [--tp 1,2,4] [--arch sm_80,sm_90] [--only a,b] [--verbose]

A kernel that does not assemble, names what no library has, keeps registers in memory, waits for each product of warp groups (where ptxas
finds no order for several), or touches memory before it has waited for the kernels before it (sm_90 and later) is a failure. Exit 77 where there
is no ptxas: it is looked for on the PATH, in CUDA_HOME and among Python's packages (nvidia-cuda-nvcc).
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import plans
import programs
import model as reference

SKIPPED = 77
# ptxas may lay a register or two aside, for an address that is needed again at the end, where one more block then fits.
MOST_SPILLED = 16
# What else changes the kernels of a program.
VARIANTS = {"llama-gqa-genai": {"rtp": ["--strategy=rtp"], "switchable": ["--switchable"],
                                "row-lengths": ["--row-lengths"], "bf16": ["--dtype=bf16"], "f16": ["--dtype=f16"]},
            "gpt2-op": {"bf16": ["--dtype=bf16"]},
            "llama-mha-d23": {"unraised": ["--no-raise"]}}


def find_ptxas() -> str | None:
    if found := shutil.which("ptxas"):
        return found
    folders = [Path(os.environ[name], "bin") for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    folders.append(Path("/usr/local/cuda/bin"))
    folders += sorted(Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/*/bin"))
    return next((str(folder / "ptxas") for folder in folders if (folder / "ptxas").exists()), None)


def assemble(ptxas: str, ptx: Path, arch: str) -> tuple[dict[str, tuple[int, int, int]], str]:
    """(registers, bytes of spills, bytes of stack) of each kernel, and what went wrong."""
    done = subprocess.run([ptxas, "-v", f"-arch={arch}", "-o", os.devnull, ptx], capture_output=True, text=True)
    if done.returncode != 0:
        return {}, f"ptxas: {done.stderr.strip().splitlines()[0]}"
    if serialized := re.search(r"wgmma.* are serialized.*", done.stderr):
        return {}, serialized[0]
    kernels, name, spilled, stack = {}, "", 0, 0
    for line in done.stderr.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)'", line):
            name = found[1]
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, spilled = int(found[1]), int(found[2]) + int(found[3])
        elif found := re.search(r"Used (\d+) registers", line):
            kernels[name] = int(found[1]), spilled, stack
    return kernels, ""


def first_accesses(ptx: str) -> list[str]:
    """Kernels for later chips that touch memory before they have waited for the kernels before."""
    wrong = []
    for name, body in re.findall(r"^\.visible \.entry (\w+)\(.*?\{(.*?)^\}", ptx, re.MULTILINE | re.DOTALL):
        before, waits, _ = body.partition("griddepcontrol.wait")
        if not waits or re.search(r"\b(ld|st|atom|red)\.(?!param)", before):
            wrong.append(name)
    return wrong


def programs_of(model: Path, ranks: list[int], folder: Path):
    """(title, compiled program) of each number of ranks, plan and variant."""
    for tp in ranks:
        yield f"N={tp}", {"tp": tp}
    for name, flags in VARIANTS.get(model.name, {}).items():
        yield name, {"tp": 2, "flags": flags}
    if model.name in plans.MODELS:
        loaded = reference.load(model / "model.onnx")
        tp = max(ranks)
        everything = {**plans.make_plans(folder, loaded.hidden, len(loaded.layers), tp),
                      **plans.make_rounding_plans(loaded.hidden, len(loaded.layers), tp)}
        for name, plan in everything.items():
            yield f"N={tp} {name}", {"tp": tp, "plan": plan}


class Assembler:
    """Counts kernels, the most registers of one, and keeps a text for each failure."""

    def __init__(self, ptxas: str, archs: list[str], verbose: bool):
        self.ptxas, self.archs, self.verbose = ptxas, archs, verbose
        self.count, self.most, self.wrong = 0, 0, []

    def add(self, title: str, ptx: Path):
        needed = re.search(r"^\.target sm_(\d+)(a?)", ptx.read_text(), re.MULTILINE)
        for arch in self.archs:
            number = int(re.sub(r"\D", "", arch))
            if needed and int(needed[1]) > number:
                continue  # for later chips
            if needed and needed[2]:  # for that chip alone
                if int(needed[1]) != number:
                    continue
                arch = f"sm_{number}a"
            kernels, problem = assemble(self.ptxas, ptx, arch)
            if problem:
                self.wrong.append(f"{title} {arch}: {problem}")
            for name, (registers, spilled, stack) in kernels.items():
                self.count, self.most = self.count + 1, max(self.most, registers)
                if self.verbose:
                    print(f"  {title} {arch} {name}: {registers} registers, {spilled} bytes spilled, {stack} of stack")
                if spilled > MOST_SPILLED:
                    self.wrong.append(f"{title} {arch}: {name} spills {spilled} bytes")


def check(model: Path, ranks: list[int], result: Assembler) -> Assembler:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for number, (title, how) in enumerate(programs_of(model, ranks, folder)):
            try:
                flags = ["--target=cuda", *how.pop("flags", [])]
                program = programs.compile_model(model, folder / f"program-{number}", flags=flags, **how)
            except programs.Failed as failure:
                result.wrong.append(f"{title}: {failure}")
                continue
            for ptx in ("kernels.ptx", "kernels-sm_90.ptx"):
                if ".extern" in (program / ptx).read_text():
                    result.wrong.append(f"{title}: a kernel calls what no library has")
                result.add(title, program / ptx)
            if early := first_accesses((program / "kernels-sm_90.ptx").read_text()):
                result.wrong.append(f"{title}: {', '.join(early)} touch memory before they wait")
    return result


def check_own(files: list[Path], result: Assembler) -> Assembler:
    for file in files:
        result.add(file.stem, file)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tp", default="1,2,4")
    parser.add_argument("--arch", default="sm_80,sm_90")
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true", help="a line for each kernel")
    arguments = parser.parse_args()
    ptxas = find_ptxas()
    if not ptxas:
        print("no ptxas: put it on the PATH, set CUDA_HOME, or pip install nvidia-cuda-nvcc")
        sys.exit(SKIPPED)
    models = [p.parent for p in sorted(programs.MODELS.glob("*/model.onnx"))
              if not arguments.only or p.parent.name in arguments.only.split(",")]
    own = [] if arguments.only else sorted((programs.BIN.parent / "runtime" / "cuda").glob("*.ptx"))
    ranks = [int(n) for n in arguments.tp.split(",")]

    def assembler():
        return Assembler(ptxas, arguments.arch.split(","), arguments.verbose)

    total = failed = 0
    with ThreadPoolExecutor(2) as pool:
        jobs = {"the runtime": pool.submit(check_own, own, assembler())} if own else {}
        jobs |= {model.name: pool.submit(check, model, ranks, assembler()) for model in models}
        for name, job in jobs.items():
            result = job.result()
            total, failed = total + result.count, failed + len(result.wrong)
            print(f"{name}: {result.count} kernels, at most {result.most} registers", *result.wrong, sep="\n  ", flush=True)
    print(f"{total} kernels assembled, {failed} failures")
    sys.exit(failed != 0 or total == 0)


if __name__ == "__main__":
    main()
