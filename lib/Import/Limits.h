// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_IMPORT_LIMITS_H
#define CAAT_LIB_IMPORT_LIMITS_H

#include "llvm/Support/Error.h"

#include "onnx.pb.h"

namespace caat::importer {

// Far above what any exporter writes; a file beyond them is forged, and would only take time and memory.
constexpr int64_t maxNodes = 4'000'000;        ///< in all graphs and functions together
constexpr int64_t maxInitializers = 1'000'000; ///< the same
constexpr int maxOperands = 8192;              ///< inputs, outputs or attributes of one node
constexpr int maxListLength = 1 << 20;         ///< elements of an attribute that is a list
constexpr int maxNameLength = 4096;            ///< of a node, value, operator, domain, attribute, dimension or file

/// Refuses a model beyond these limits, or with a name that is not UTF-8, as ONNX has it; the error names the limit and
/// the place.
llvm::Error checkLimits(const ::onnx::ModelProto &model);

} // namespace caat::importer

#endif // CAAT_LIB_IMPORT_LIMITS_H
