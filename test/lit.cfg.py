# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How lit finds and runs caat's tests. Run through ctest, or `build/venv/bin/lit -sv build/test/Sync`."""
import os

import lit.formats

config.name = "caat"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "CMakeLists.txt"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.caat_build, "test")

config.substitutions.append(("%python", config.python))
config.substitutions.append(("%models", os.path.join(config.test_source_root, "models")))
config.substitutions.append(("%examples", os.path.join(os.path.dirname(config.test_source_root), "examples")))
config.substitutions.append(("%reference", os.path.join(config.test_source_root, "reference")))

# The stand-in for the CUDA driver and its libraries.
double = os.path.join(config.caat_build, "lib", "libcaat-cuda-double.so")
config.substitutions.append(("%cuda-double", f"env CAAT_CUDA_DRIVER={double} CAAT_CUBLASLT={double} CAAT_NCCL={double}"))
config.substitutions.append(("%double", double))
if not os.path.exists(double):
    config.excludes.append("Cuda")

recorder = os.path.join(config.caat_build, "lib", "libcaat-nvtx-recorder.so")
config.substitutions.append(("%nvtx-recorder", f"env NVTX_INJECTION64_PATH={recorder}"))

path = [os.path.join(config.caat_build, "bin"), config.llvm_tools, config.environment.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(path)
config.environment["FILECHECK_OPTS"] = "-enable-var-scope --dump-input-filter=error"
for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

if config.has_cuda:
    config.available_features.add("cuda")
if config.sanitize:
    config.available_features.add("sanitized")
