# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""fake_bundle.py FOLDER: a bundle for scripts/gpu-check whose tools are scripts. A list of checks has one line, what is done for it in a shell."""
import os
import sys
import tarfile
from pathlib import Path

folder = Path(sys.argv[1])
lists = {"a": "sleep 0.4; echo ok a1; sleep 0.4; echo ok a2", "b": "sleep 0.6; echo ok b1; sleep 1; echo ok b2"}
bundles = {"good": lists, "bad": lists | {"c": "echo FAILED c; exit 1"}, "broken": lists | {"c": "exit 7"},
           "endless": {name: "sleep 987 & sleep 987" for name in "abcde"}}
for name, checks in bundles.items():
    bundle = folder / name / "bundle"
    for part in ("bin", "lib", "programs", "checks"):
        (bundle / part).mkdir(parents=True)
    tool = bundle / "bin" / "caat-test-programs"
    tool.write_text('#!/bin/bash\nread -r command\ntouch "$STARTED.$$"\neval "$command"\n')
    os.chmod(tool, 0o755)
    for check, command in checks.items():
        (bundle / "checks" / f"{check}.txt").write_text(command + "\n")
    with tarfile.open(folder / name / "bundle.tar.xz", "w:xz") as archive:
        archive.add(bundle, ".")
    (folder / name / "gpu-check").write_text(Path(__file__).parents[3].joinpath("scripts", "gpu-check").read_text())
    os.chmod(folder / name / "gpu-check", 0o755)
