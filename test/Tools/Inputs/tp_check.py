# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares what --tp-check says with what compiling the model does: tp_check.py FOLDER RANKS MODEL..."""
import json
import os
import struct
import subprocess
import sys


def stored_bytes(path):
    """Bytes of all tensors in a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return sum(end - begin for name, entry in header.items() if name != "__metadata__" for begin, end in [entry["data_offsets"]])


def check(model, folder, ranks):
    options = f"size={ranks} link=2GB/s,10us prefill=7 context=32 json"
    report = json.loads(subprocess.run(["caat-opt", model, f"--tp-check={options}"], check=True, capture_output=True).stdout)
    size, = report["sizes"]
    out = os.path.join(folder, "communication.json")
    subprocess.run(["caat-opt", model, f"--tp-pipeline=size={ranks}", f"--tp-report-communication=json file={out}", "-o", os.devnull],
                   check=True, capture_output=True)
    with open(out) as file:
        communication = json.load(file)
    sites = {row["site"]: row["bytes_per_token"] for rows in ("sites", "others") for row in communication[rows]}
    assert {message["site"]: message["bytes"]["token"] for message in size["messages"]} == sites, (size["messages"], sites)
    assert size["bytes"]["token"] == communication["total"]["bytes_per_token"]

    assert all(message["kind"] == "all_reduce" for message in size["messages"])
    assert size["bytes"]["prefill"] == 7 * size["bytes"]["token"]
    sent = 2 * (ranks - 1) / ranks * size["bytes"]["prefill"]
    assert abs(size["sent_bytes"]["prefill"] - sent) < 1e-6
    steps = 2 * (ranks - 1) * len(size["messages"])
    assert abs(size["seconds"]["prefill"] - (sent / 2e9 + steps * 10e-6)) < 1e-12

    artifact = os.path.join(folder, "artifact")
    subprocess.run(["caat-compile", model, f"--tp={ranks}", "--quiet", "-o", artifact], check=True)
    stored = stored_bytes(os.path.join(artifact, "weights-0.safetensors"))
    # Scalars and small tables that are computed from shapes are parameters of an artifact too.
    assert abs(stored - size["weight_bytes"]) <= 0.01 * stored, (stored, size["weight_bytes"])
    print(f"{model}: {len(size['messages'])} messages, {size['weight_bytes']} bytes of weights, {stored} stored")


if __name__ == "__main__":
    folder, ranks, *models = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for model in models:
        check(model, folder, int(ranks))
