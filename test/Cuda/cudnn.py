# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Has the real cuDNN compile the runtime's attention, for GPUs that are only described to it, and compares the values that
the runtime uses with those of its header. Skipped (exit code 77) where there is no cuDNN: it is looked for where
CAAT_TEST_CUDNN says (a folder with nvidia/cudnn and nvidia/cuda_nvrtc, as pip install --target makes it of
nvidia-cudnn-cu12 and nvidia-cuda-nvrtc-cu12), and among Python's packages."""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("CAAT_BIN", ROOT / "build" / "bin"))


def find() -> Path | None:
    own = os.environ.get("CAAT_TEST_CUDNN")
    for folder in [own] if own else sys.path:
        if folder and (Path(folder) / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9").exists():
            return Path(folder) / "nvidia"
    return None


def check_values(header: Path) -> None:
    there = {m[1]: int(m[2]) for m in re.finditer(r"\b(CUDNN_\w+?)(?: CUDNN_DEPRECATED_ENUM)?\s*=\s*(\d+)", header.read_text())}
    used = {m[1]: int(m[2]) for m in re.finditer(r"\b(CUDNN_\w+) = (\d+)", (ROOT / "runtime/cuda/Cudnn.h").read_text())}
    wrong = {name: value for name, value in used.items() if there.get(name) != value}
    assert len(used) > 50 and not wrong, f"{header}: other values of {wrong}"
    print(f"ok      {len(used)} values of {header.name}")


def main() -> int:
    nvidia = find()
    if nvidia is None:
        print("skipped: no cuDNN (CAAT_TEST_CUDNN=FOLDER)")
        return 77
    check_values(nvidia / "cudnn" / "include" / "cudnn_graph.h")
    with tempfile.TemporaryDirectory() as folder:
        for name in ["libcuda.so.1", "libcublasLt.so.12", "libcublasLt.so.13"]:
            os.symlink(BIN.parent / "lib" / "libcaat-cudnn-stub.so", Path(folder) / name)
        paths = ":".join(filter(None, [folder, os.environ.get("LD_LIBRARY_PATH")]))
        environment = {**os.environ, "LD_LIBRARY_PATH": paths,
                       "CAAT_CUDNN": str(nvidia / "cudnn" / "lib" / "libcudnn.so.9")}
        return subprocess.run([BIN / "caat-test-cudnn"], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
