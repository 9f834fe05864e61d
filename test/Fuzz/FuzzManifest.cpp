// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Fuzz.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Manifest.h"

using namespace caat::runtime;

/// Evaluates an expression as the engine does: a number or an Error.
static void use(const ShapeExpr &expression, const std::vector<int64_t> &dims) {
  try {
    expression.evaluate(dims);
  } catch (const Error &) {
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try {
    Manifest manifest = Manifest::parse({reinterpret_cast<const char *>(data), size}, "fuzz");
    std::vector<int64_t> dims(manifest.dims.size());
    for (int64_t value : {int64_t(0), int64_t(1), int64_t(7), INT64_MAX}) {
      std::fill(dims.begin(), dims.end(), value);
      for (const auto *arrays : {&manifest.inputs, &manifest.outputs})
        for (const ArraySpec &array : *arrays)
          for (const ShapeExpr &dim : array.shape)
            use(dim, dims);
      for (const CacheSpec &cache : manifest.caches)
        use(cache.presentLength, dims);
      for (const CollectiveSpec &collective : manifest.collectives)
        use(collective.count, dims);
    }
  } catch (const Error &) {
  }
  return 0;
}
