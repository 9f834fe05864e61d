// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The runtime's kernels for products of few rows that multiply on tensor cores by warps, thread by thread on the host,
// and what they read and write.
#include "Double.h"
#include "WarpEmulator.h"
#include "cuda/BlockRows.cu"
#include "cuda/GatedRows.cu"
#include "cuda/StreamRows.cu"
#include <cstring>

namespace caat::test {

static void add(std::vector<Access> &all, const void *data, int64_t bytes, bool writes = false) {
  auto begin = reinterpret_cast<uint64_t>(data);
  all.push_back({begin, begin + static_cast<uint64_t>(bytes), writes});
}

static void addBias(std::vector<Access> &all, const EpilogueOf &epilogue, int64_t columns) {
  if (epilogue.bias)
    add(all, epilogue.bias, columns * (epilogue.isBiasWide ? 4 : 2));
}

static void accessesOf(const BlockRowsArguments &a, std::vector<Access> &all) {
  add(all, a.w.codes, a.w.bytes());
  add(all, a.x, a.m * a.parts * a.w.k * 2);
  add(all, a.y, a.m * a.w.n * (a.isWide ? 4 : 2), true);
  addBias(all, a.epilogue, a.w.n);
}

void addAccesses(const FewRowsArguments &a, std::vector<Access> &all) {
  int64_t rows = a.lastRow() + 1; // of w
  add(all, a.w, rows * a.k * 2);
  add(all, a.x, a.m * a.k * 2);
  add(all, a.y, a.m * a.n * (a.isWide ? 4 : 2), true);
  addBias(all, a.epilogue, rows);
}

bool runStreamRows(const std::string &name, void **arguments, std::vector<Access> &accesses, bool run) {
  auto attempt = [&](const char *kernelName, auto kernel) {
    if (name != kernelName)
      return false;
    const auto &a = *static_cast<const StreamRowsArguments *>(arguments[0]);
    if (run)
      runBlocks([&] { kernel(a); }, static_cast<unsigned>(a.blocks), streamRowsThreads, StreamRowsShape::bytes);
    else
      addAccesses(a.product, accesses);
    return true;
  };
  return attempt("caat_stream_rows_bf16", caat_stream_rows_bf16) ||
         attempt("caat_stream_rows_f16", caat_stream_rows_f16);
}

static void add(std::vector<Access> &all, const TensorMap &map, bool writes = false) {
  EmulatedMap matrix;
  std::memcpy(&matrix, &map, sizeof matrix);
  add(all, reinterpret_cast<const void *>(matrix.address), static_cast<int64_t>(matrix.rows * matrix.pitch), writes);
}

bool runGatedRows(const std::string &name, void **arguments, std::vector<Access> &accesses, bool run) {
  auto attempt = [&](const char *kernelName, auto kernel) {
    if (name != kernelName)
      return false;
    GatedRowsArguments a; // its maps are aligned
    std::memcpy(&a, arguments[0], sizeof a);
    if (run) {
      runClusters([&] { kernel(a); }, static_cast<unsigned>(a.clusters), gatedThreads, GatedRowsShape::bytes);
    } else {
      add(accesses, a.x);
      add(accesses, a.w);
      add(accesses, a.y, true);
      if (a.epilogue.bias)
        add(accesses, a.epilogue.bias, 2 * a.n * (a.epilogue.isBiasWide ? 4 : 2));
    }
    return true;
  };
  return attempt("caat_gated_rows_bf16", caat_gated_rows_bf16) || attempt("caat_gated_rows_f16", caat_gated_rows_f16);
}

bool runBlockRows(const std::string &name, unsigned blocks, void **arguments, std::vector<Access> &accesses, bool run) {
  auto attempt = [&](const char *kernelName, auto kernel) {
    if (name != kernelName)
      return false;
    const auto &a = *static_cast<const BlockRowsArguments *>(arguments[0]);
    if (run)
      runBlocks([&] { kernel(a); }, blocks, blockRowsThreads, blockRowsShared);
    else
      accessesOf(a, accesses);
    return true;
  };
#define CAAT_ATTEMPT(NAME) attempt("caat_block_rows_" #NAME, caat_block_rows_##NAME)
#define CAAT_ATTEMPT_FORMS(NAME) CAAT_ATTEMPT(NAME##_zeros) || CAAT_ATTEMPT(NAME##_minima)
#define CAAT_ATTEMPT_SCALES(NAME) CAAT_ATTEMPT_FORMS(NAME##_f16) || CAAT_ATTEMPT_FORMS(NAME##_f32)
#define CAAT_ATTEMPT_SPANS(NAME) CAAT_ATTEMPT_SCALES(NAME##_16) || CAAT_ATTEMPT_SCALES(NAME##_32)
  return CAAT_ATTEMPT_SPANS(4_bf16) || CAAT_ATTEMPT_SPANS(4_f16) || CAAT_ATTEMPT_SPANS(8_bf16) ||
         CAAT_ATTEMPT_SPANS(8_f16);
#undef CAAT_ATTEMPT
#undef CAAT_ATTEMPT_FORMS
#undef CAAT_ATTEMPT_SCALES
#undef CAAT_ATTEMPT_SPANS
}

} // namespace caat::test
