#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Collects what scripts/gpu-check needs on a machine with a GPU and nothing else: tools, libraries, programs for the GPU, inputs,
and the outputs that the CPU's programs give for the same number of ranks. DIR gets the script and an archive of the rest.

    bundle.py DIR [--models a,b|none] [--tp 1,2,4] [--shapes 8b-bf16] [--flags=...]
"""
import argparse
import concurrent.futures
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Execution"))
import programs  # noqa: E402
import plans  # noqa: E402

PLAN_MODELS = ("llama-gqa-genai", "gpt2-op", "opt-d18")
TOLERANCE = 1e-4
NEW_TOKENS = 24


def say(progress: str):
    print(progress, file=sys.stderr, flush=True)


class Bundle:
    def __init__(self, folder: Path, flags: list[str]):
        self.folder, self.flags = folder, flags
        self.scratch = folder / "scratch"
        self.lines: list[str] = []
        self.missing: list[str] = []

    def programs(self, model: Path, name: str, tp: int, plan: dict | None = None, estimates: Path | None = None, flags=()):
        """The same program for the CPU and for the GPU, or nothing."""
        cpu, gpu = self.scratch / f"{name}-cpu", self.folder / "programs" / name
        for out, target in ((cpu, []), (gpu, ["--target=cuda", *self.flags])):
            where = out if estimates is None else estimates / f"{name}-{out.parent.name}"
            try:
                programs.compile_model(model, where, tp, plan, [*flags, *target])
            except programs.Failed as failure:
                self.missing.append(f"{name} {' '.join(target)}: {failure}")
                return None
            if where != out:
                shutil.move(where, out)
        return cpu, gpu

    def infer(self, name: str, both, inputs: Path, kind="infer", tolerance=TOLERANCE):
        cpu, gpu = both
        case = self.folder / "cases" / name.split(" ")[0]
        case.mkdir(parents=True, exist_ok=True)
        own = case / inputs.name
        shutil.copy(inputs, own)
        want = case / f"{gpu.name}-{inputs.stem}-want.npz"
        programs.must("caat-run", "infer", cpu, f"--inputs={inputs}", f"--outputs={want}")
        if kind == "mean" and len(list(cpu.glob("weights-*.safetensors"))) > 1:  # what caat-test-programs --halves compares with
            programs.must("caat-run", "infer", cpu, f"--inputs={inputs}", f"--outputs={want}.halves.npz", "--halves=on")
        self.check(kind, f"{name} {inputs.stem}", gpu, own, want, str(tolerance))
        return programs.load(want)

    def check(self, kind: str, name: str, *rest):
        fields = [str(r.relative_to(self.folder)) if isinstance(r, Path) else r for r in rest]
        self.lines.append("\t".join([kind, name, *fields]))

    def model(self, model: Path, tps: list[int]):
        import model as reference
        for tp in tps:
            say(f"{model.name} N={tp}")
            both = self.programs(model, f"{model.name}-{tp}", tp)
            if not both:
                continue
            for inputs, _ in programs.cases(model):
                self.infer(f"{model.name} N={tp}", both, inputs)
            self.generate(model, tp)
            if model.name in PLAN_MODELS and tp > 1:
                loaded = reference.load(model / "model.onnx")
                self.plans(model, tp, loaded.hidden, len(loaded.layers))
                self.rotated(model, tp)
            if model.name in PLAN_MODELS:
                self.few_bits(model, tp)

    def rotated(self, model: Path, tp: int):
        for name, flags in (("rtp", []), ("rtp-in-place", ["--rotate=in-place"])):
            both = self.programs(model, f"{model.name}-{tp}-{name}", tp, flags=["--strategy=rtp", *flags])
            if both:
                self.infer(f"{model.name} N={tp} {name}", both, programs.cases(model)[-1][0])

    def few_bits(self, model: Path, tp: int):
        """Products that read codes, of few rows and, where matrices are large enough for that, of many."""
        for kind in ("i4", "i8"):
            both = self.programs(model, f"{model.name}-{tp}-{kind}", tp, flags=[f"--weights={kind}"])
            for inputs, _ in programs.cases(model) if both else []:
                self.infer(f"{model.name} N={tp} {kind}", both, inputs)

    def generate(self, model: Path, tp: int):
        """Decoders with a cache continue a prompt."""
        session = programs.load(programs.cases(model)[0][0])
        if "input_ids" not in session or not any(name.startswith("past") for name in session):
            return
        both = self.programs(model, f"{model.name}-{tp}-long", tp, flags=["--max-length=64"])
        if not both:
            return
        cpu, gpu = both
        case = self.folder / "cases" / model.name
        prompt, want = case / "prompt.npy", case / f"{gpu.name}-want.npy"
        np.save(prompt, np.random.default_rng(1).integers(0, int(session["input_ids"].max()) + 1, (2, 5)))
        try:
            programs.must("caat-run", "generate", cpu, f"--tokens={prompt}", f"--max-new-tokens={NEW_TOKENS}", "-o", want)
        except programs.Failed as failure:
            self.missing.append(f"{gpu.name}: {failure}")
            shutil.rmtree(gpu)
            return
        self.check("generate", f"{model.name} N={tp} generate", gpu, prompt, want)

    def plans(self, model: Path, tp: int, hidden: int, layers: int):
        """Each kind of plan. Rounding to few bits goes either way by the least difference before it, so those are compared in the
        mean, with a part of what the plan changes."""
        folder = self.scratch / f"{model.name}-{tp}-plans"
        folder.mkdir(parents=True)
        inputs = programs.cases(model)[-1][0]
        plain = programs.load(self.folder / "cases" / model.name / f"{model.name}-{tp}-{inputs.stem}-want.npz")
        lossy = plans.make_plans(folder, hidden, layers, tp)
        for name, plan in (lossy | plans.make_rounding_plans(hidden, layers, tp)).items():
            title = f"{model.name} N={tp} {name}"
            both = self.programs(model, f"{model.name}-{tp}-{name}", tp, plan, folder)
            if not both:
                continue
            want = self.infer(title, both, inputs, "infer" if name in lossy else "mean")
            if name not in lossy:
                self.lines[-1] = self.lines[-1].rsplit("\t", 1)[0] + f"\t{plans.root_mean_square(plain, want) / 4:.3g}"


def libraries(tool: Path) -> list[Path]:
    """What a bare machine may lack."""
    found = []
    for line in subprocess.run(["ldd", tool], capture_output=True, text=True, check=True).stdout.splitlines():
        name, _, path = line.strip().partition(" => ")
        if any(name.startswith(f"lib{known}.") for known in ("dnnl", "gomp", "OpenCL", "z", "caat_runtime")):
            found.append(Path(path.split(" ")[0]))
    return found


def shapes(folder: Path, names: str, tps: list[int]) -> list[str]:
    """Decoders of the usual sizes without their weights. Returns what was left out."""
    missing = []
    for name in filter(None, names.split(",")):
        shape, kind, *layers = name.split("-")
        rounds = kind in ("i4", "i8")  # these are rounded from bf16
        dtype = "bf16" if rounds else kind
        weights = [f"--weights={kind}"] if rounds else []
        model = folder / "scratch" / f"{name}.onnx"
        model.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, programs.ROOT / "examples" / "gpu-bench" / "make_model.py", model, f"--shape={shape}",
                        f"--dtype={dtype}", *(f"--layers={number}" for number in layers)], stdout=subprocess.DEVNULL, check=True)
        for tp in tps:
            out = folder / "programs" / f"shape-{name}-{tp}"
            say(out.name)
            try:
                programs.compile_model(model, out, tp, flags=["--target=cuda", "--gpu-arch=sm_90", "--max-length=8192", "--no-weights",
                                                                *weights])
            except programs.Failed as failure:
                missing.append(f"{out.name}: {failure}")
    return missing


def share_equal_files(folder: Path):
    """Programs of one model have the same weights: the archive holds them once."""
    seen: dict[str, Path] = {}
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        first = seen.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), file)
        if first != file:
            file.unlink()
            os.link(first, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", help="names, separated by commas, or none; all without it")
    parser.add_argument("--tp", default="1,2,4")
    parser.add_argument("--flags", default="--gpu-arch=sm_90", help="more for caat-compile --target=cuda")
    parser.add_argument("--shapes", default="1b-bf16,8b-bf16,8b-i4", help="decoders to measure: SHAPE-DTYPE[-LAYERS], DTYPE also i4 or i8")
    parser.add_argument("--shape-tp", default="1,2", help="their ranks")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    target = arguments.folder.resolve()
    target.mkdir(parents=True, exist_ok=True)
    folder = target / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("programs", "cases", "checks", "scratch"):
        (folder / part).mkdir(parents=True)
    for part, files in (("bin", [programs.BIN / t for t in ("caat-run", "caat-test-programs", "caat-test-device")]),
                        ("lib", [*libraries(programs.BIN / "caat-run"), programs.BIN.parent / "lib" / "libcaat_cuda.so"])):
        (folder / part).mkdir(exist_ok=True)
        for file in files:
            if file.exists():
                shutil.copy(file, folder / part)
    shutil.copy(programs.ROOT / "scripts" / "gpu-check", target)
    for script in ("table.py", "shapes.py"):
        shutil.copy(programs.ROOT / "examples" / "gpu-bench" / script, folder / "bin")
    programs.must("caat-test-artifact", folder / "programs" / "tiny", 1, "cuda")

    def one(model: Path) -> Bundle:
        bundle = Bundle(folder, arguments.flags.split())
        try:
            bundle.model(model, [int(tp) for tp in arguments.tp.split(",")])
        except programs.Failed as failure:
            bundle.missing.append(f"{model.name}: {failure}")
        (folder / "checks" / f"{model.name}.txt").write_text("".join(line + "\n" for line in bundle.lines))
        say(f"{next(done)} of {len(models)} models: {model.name}, {len(bundle.lines)} checks")
        return bundle

    models = sorted(p.parent for p in programs.MODELS.glob("*/model.onnx"))
    if arguments.models:
        models = [m for m in models if m.name in arguments.models.split(",")]
    done = itertools.count(1)
    checks, missing = 0, shapes(folder, arguments.shapes, [int(tp) for tp in arguments.shape_tp.split(",")])
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for bundle in pool.map(one, models):
            checks += len(bundle.lines)
            missing += bundle.missing
    shutil.rmtree(folder / "scratch")
    for text in missing:
        print(f"left out: {text}")
    say("packing")
    share_equal_files(folder)
    archive = Path(shutil.make_archive(str(folder), "xztar", folder))
    shutil.rmtree(folder)
    print(f"{checks} checks of {len(models)} models, {archive.stat().st_size / 1e6:.1f} MB: {archive}")
    sys.exit(bool(models) and not checks)


if __name__ == "__main__":
    os.environ.setdefault("CAAT_TEST_TIMEOUT", "300")
    main()
