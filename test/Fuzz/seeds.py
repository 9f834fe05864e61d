# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Seed inputs of the fuzz targets, made from the tests' own models, plans and modules."""
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

TEST = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TEST / "Import"))
MAX_BYTES = 1 << 16


def arrays():
    values = np.arange(12)
    return {"f4": values.astype(np.float32).reshape(3, 4), "i8": values.astype(np.int64), "f2": values.astype(np.float16),
            "b1": values.astype(bool).reshape(2, 6), "u1": values.astype(np.uint8), "scalar": np.array(2.0),
            "empty": np.zeros((0, 3), np.float32), "fortran": np.asfortranarray(values.astype(np.int32).reshape(2, 2, 3))}


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def safetensors(tensors, metadata={"format": "caat"}):
    from safetensors.numpy import save
    return save(tensors, metadata)


def safe_tensors():
    yield safetensors({name: np.ascontiguousarray(array) for name, array in arrays().items() if array.size})
    yield safetensors({})
    yield safetensors({"x": np.zeros((2, 2), np.float32)})


def npys():
    for array in arrays().values():
        yield npy(array)


def npzs():
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, **arrays())
        yield out.getvalue()
        out = io.BytesIO()
        save(out, x=np.zeros(1000))
        yield out.getvalue()


def manifests(tools):
    for model, tp in (("mlp-block", 2), ("llama-gqa-genai", 3)):
        with tempfile.TemporaryDirectory() as out:
            subprocess.run([tools / "caat-compile", "--quiet", TEST / "models" / model / "model.onnx", f"--tp={tp}", "-o", out],
                           check=True)
            yield (Path(out) / "manifest.json").read_bytes()


def plans():
    partial = {"sync": "partial", "shared": 0.5}
    for plan in ({"version": 1}, {"version": 1, "tp": 2, "default": {"sync": "drop"}},
                 {"version": 1, "default": {**partial, "rest": "private", "scale": "sqrt"}},
                 {"version": 1, "default": {**partial, "rest": "private", "scale": 1.5},
                  "sites": {"layers.0.attn": {**partial, "order": [2, 0, 1]}, "layers.0.mlp": {"sync": "full"}}},
                 {"version": 1, "sites": {"layers.0.attn": {**partial, "order": "order.npy", "estimate": "e.safetensors"},
                                          "layers.1.mlp": {**partial, "bits": 4, "block": 32, "exact": [1]}}}):
        yield b"0" + json.dumps(plan).encode()
    for dtype in (np.int64, np.int32, np.float32):
        yield b"1" + npy(np.array([2, 0, 1, 3], dtype))
    yield b"2" + safetensors({"s.a": np.ones((2, 2), np.float32), "s.b": np.zeros((2, 2), np.float32)})
    yield b"2" + safetensors({"s.u": np.ones((2, 2, 1), np.float32), "s.v": np.zeros((2, 1, 2), np.float32)}, {"s.f": "input"})


def external_data():
    for entries in (dict(location="weights.bin"), dict(location="weights.bin", offset=0, length=512, checksum="ab"),
                    dict(location="./weights.bin", offset=512, length=0), dict(location="../weights.bin", offset=-1),
                    dict(location="/etc/hostname"), dict(location="a/../weights.bin"), dict(location="https://host/w"),
                    dict(location="model.onnx", offset=1), dict(location="*/_ORT_MEM_ADDR_/*", offset=4096, length=512)):
        yield "\n".join(f"{key}={value}" for key, value in entries.items()).encode()


def light(model):
    """The model with its larger weights in weights.bin, which the target has (zeros)."""
    offset = 0
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 512:
            length = len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", "weights.bin"), ("offset", offset), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
            offset += length
    return model.SerializeToString()


def models():
    import make_models
    import make_structures  # noqa: F401, adds its models
    slow = ("explosion", "loop-forever")  # they take their whole budget
    for make in (make for name, make in make_models.MODELS.items() if name not in slow):
        with tempfile.TemporaryDirectory() as out:
            made = make(out)
        if made is not None:  # what is not written by itself, since it is huge
            yield made if isinstance(made, bytes) else made.SerializeToString()
    for path in sorted((TEST / "models").glob("*/model.onnx")):
        yield light(onnx.load(path))


def modules(tools):
    for folder in ("dialects/onnx", "dialects/tp", "Raise", "Shard", "Sync"):
        for path in sorted((TEST / folder).glob("*.mlir")):
            for part in path.read_text().split("// -----"):
                lines = [line for line in part.splitlines() if line.strip() and not line.lstrip().startswith("//")]
                if lines:
                    yield "\n".join(lines).encode() + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        for model in models():
            path = Path(folder) / "model.onnx"
            path.write_bytes(model)
            with open(Path(folder) / "weights.bin", "wb") as weights:
                weights.truncate(16 << 20)
            done = subprocess.run([tools / "caat-opt", path, "--onnx-raise-pipeline"], capture_output=True)
            if done.returncode == 0:
                yield done.stdout


def write(target, folder, tools):
    """Writes the target's seeds to `folder`; returns how many there are."""
    makers = {"SafeTensors": safe_tensors, "Npy": npys, "Npz": npzs, "Manifest": lambda: manifests(tools), "Plan": plans,
              "ExternalData": external_data, "Model": models, "Module": lambda: modules(tools)}
    count = 0
    for seed in makers[target]():
        if len(seed) <= MAX_BYTES:
            (folder / f"seed-{count:03}").write_bytes(seed)
            count += 1
    return count
