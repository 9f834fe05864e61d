// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// NumPy's .npy and .npz files, read without trust in their contents.
#ifndef CAAT_RUNTIME_NPY_H
#define CAAT_RUNTIME_NPY_H

#include "caat/runtime/Tensor.h"

namespace caat::runtime {

/// Versions 1 to 3, little-endian, either order of dimensions. `origin` is for messages. Throws Error (Artifact).
Tensor parseNpy(std::span<const std::byte> bytes, const std::string &origin);
Tensor readNpy(const std::string &path);
/// bf16 has no NumPy type and is refused.
std::string npyHeader(const Tensor &tensor);
void writeNpy(const std::string &path, const Tensor &tensor);

/// Stored and deflated entries; no encryption, no zip64 sizes above 4 GiB in an entry.
TensorMap parseNpz(std::span<const std::byte> bytes, const std::string &origin);
TensorMap readNpz(const std::string &path);
/// Entries are stored, as numpy.savez does.
void writeNpz(const std::string &path, const TensorMap &tensors);

/// By the name's ending: .npz, .npy (one array, named as the file) or .safetensors.
TensorMap readTensors(const std::string &path);
void writeTensors(const std::string &path, const TensorMap &tensors);
/// Throws Error (Input) where the ending is none of these: to be called before a long run.
void checkTensorsPath(const std::string &path);

} // namespace caat::runtime

#endif
