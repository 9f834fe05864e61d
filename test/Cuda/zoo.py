#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every test model compiled for GPUs, on the stand-in for the driver, which runs its kernels on the host: the host program, memory,
streams, graphs, collectives and products of every model and every kind of plan, against the outputs of ONNX Runtime and of the CPU's program.

    zoo.py [--tp 1,2,4] [--only a,b] [--plan-models a,b] [--flags=--dtype=bf16] [--tolerance 1e-4]
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Execution"))
import plans  # noqa: E402
import programs  # noqa: E402
import model as reference  # noqa: E402

DOUBLE = programs.BIN.parent / "lib" / "libcaat-cuda-double.so"
FLAGS = ["--target=cuda", "--host-kernels"]


def environment(program: Path) -> dict:
    return {"CAAT_CUDA_DRIVER": str(DOUBLE), "CAAT_CUBLASLT": str(DOUBLE), "CAAT_DOUBLE_CODE": str(program / "code.so")}


def infer(program: Path, inputs: Path, flags=()) -> dict:
    outputs = program.with_name(f"{program.name}-{inputs.stem}.npz")
    done = programs.run("caat-run", "infer", program, f"--inputs={inputs}", f"--outputs={outputs}", "--runs=3", "--quiet", *flags,
                        environment=environment(program))
    if done.returncode != 0:
        raise programs.Failed(done.stderr.strip()[:500] or f"exit {done.returncode}")
    return programs.load(outputs)


def attention_by(program: Path) -> str:
    done = programs.run("caat-run", "bench", program, "--prefill=7", "--decode=0", "--repeats=2", "--json", "--quiet",
                        environment=environment(program))
    if done.returncode != 0:
        raise programs.Failed(done.stderr.strip()[:500] or f"exit {done.returncode}")
    return json.loads(done.stdout).get("attention", "nobody")


class Zoo:
    def __init__(self, flags: list[str], tolerance: float):
        self.flags, self.tolerance = FLAGS + flags, tolerance
        self.total = self.failed = 0

    def check(self, name: str, inputs: Path, want: dict, program: Path, flags=()):
        self.total += 1
        try:
            difference, where = programs.worst_difference(programs.load(inputs), want, infer(program, inputs, flags))
            problem = "" if difference <= self.tolerance else f"off by {difference:.2g}: {where}"
        except programs.Failed as failure:
            problem = str(failure)
        if problem:
            self.failed += 1
            print(f"{name} {inputs.stem}: {problem}", flush=True)

    def model(self, model: Path, tp: int, folder: Path):
        program = programs.compile_model(model, folder / "plain", tp, flags=self.flags)
        for inputs, outputs in programs.cases(model):
            self.check(f"{model.name} N={tp}", inputs, programs.load(outputs), program)
        if os.environ.get("CAAT_CUDNN") and not (who := attention_by(program)).startswith("cuDNN"):
            raise programs.Failed(f"attention by {who}")

    def plans(self, model: Path, tp: int, folder: Path):
        loaded = reference.load(model / "model.onnx")
        inputs = programs.cases(model)[-1][0]
        lossy = plans.make_plans(folder, loaded.hidden, len(loaded.layers), tp)
        for name, plan in (lossy | plans.make_rounding_plans(loaded.hidden, len(loaded.layers), tp)).items():
            cpu = programs.compile_model(model, folder / f"{name}-cpu", tp, plan)
            gpu = programs.compile_model(model, folder / name, tp, plan, self.flags)
            self.check(f"{model.name} N={tp} {name}", inputs, programs.infer(cpu, inputs), gpu)
        # The same plans, given to one program when it runs.
        cpu = programs.compile_model(model, folder / "switchable-cpu", tp, flags=["--switchable"])
        gpu = programs.compile_model(model, folder / "switchable", tp, flags=["--switchable", *self.flags])
        for name in lossy:
            flags = [f"--plan={(folder / name).with_suffix('.plan.json')}"]
            self.check(f"{model.name} N={tp} switchable {name}", inputs, programs.infer(cpu, inputs, flags=flags), gpu, flags)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tp", default="1,2,4")
    parser.add_argument("--only")
    parser.add_argument("--plan-models", default="llama-gqa-genai")
    parser.add_argument("--flags", default="", help="more flags for caat-compile")
    parser.add_argument("--cudnn", action="store_true", help="attention must be cuDNN's: of every shape, from its first call on")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    if arguments.cudnn:
        os.environ.update({"CAAT_CUDNN": str(DOUBLE), "CAAT_CUDNN_AFTER": "1", "CAAT_CUDA_FEW_TOKENS": "0"})
    zoo = Zoo(arguments.flags.split(), arguments.tolerance)
    for model in sorted(p.parent for p in programs.MODELS.glob("*/model.onnx")):
        if arguments.only and model.name not in arguments.only.split(","):
            continue
        for tp in map(int, arguments.tp.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    zoo.model(model, tp, Path(folder))
                    if tp == 2 and model.name in arguments.plan_models.split(","):
                        zoo.plans(model, tp, Path(folder))
                except programs.Failed as failure:
                    zoo.total += 1
                    zoo.failed += 1
                    print(f"{model.name} N={tp}: {failure}", flush=True)
    print(f"{zoo.total - zoo.failed} of {zoo.total} agree")
    sys.exit(zoo.failed != 0 or zoo.total == 0)


if __name__ == "__main__":
    os.environ.setdefault("CAAT_TEST_TIMEOUT", "300")
    main()
