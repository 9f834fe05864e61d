// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the two forms of attention share. Dimensions: B batch, S query tokens, T keys, H query heads in KV groups of G.
#ifndef CAAT_LIB_LOWER_ATTENTION_H
#define CAAT_LIB_LOWER_ATTENTION_H

#include "lib/Lower/OnnxLowering.h"
#include "lib/Lower/SoftmaxRows.h"

namespace caat::lower {

struct AttentionProblem {
  mlir::Value query;        // [B, S, H, D]
  mlir::Value keys, values; // [B, KV, >= T, D] and [B, KV, >= T, Dv]: the whole buffers
  mlir::Value mask;         // numbers to add, broadcast to [B, H, S, T]; may be null
  mlir::Value lengths;      // valid keys of each batch row [B]; may be null
  bool appendsByRow;        // new keys stand at the end of each row's lengths, not all at `past`
  mlir::OpFoldResult batch, tokens, total, past;
  int64_t heads, kvHeads, size, valueSize; // H, KV, D, Dv
  bool causal;
  int64_t left, right; // window; -1 = unlimited
  double scale, softcap;

  int64_t group() const { return heads / kvHeads; }
};

/// Where the new tokens of batch row `batch` begin among its keys.
mlir::OpFoldResult firstPosition(ScalarBuilder &s, const AttentionProblem &p, mlir::Value batch);

/// The keys [begin, end) that query token `token` of batch row `batch` sees, by length, cause and window.
std::pair<mlir::Value, mlir::Value> visibleKeys(ScalarBuilder &s, const AttentionProblem &p, mlir::Value batch,
                                                mlir::Value token);

/// Soft-cap and mask of one score (scaled already) at [batch, head, token, key].
mlir::Value finishScore(ScalarBuilder &s, const AttentionProblem &p, mlir::Value score, mlir::ValueRange at);

/// Query tokens for which decode is the better form: this many times G rows share a key as it is read.
int64_t decodeTokens(const AttentionProblem &p);

/// Query rows of a block. Small enough that their scores, about 1 MiB for 1024 keys, stay in a core's L2 cache, and a
/// multiple of the products' tiles; or enough to fill a GPU.
inline constexpr int64_t kBlockRows = 192, kBlockRowsOfGPU = 8192;

/// How prefill divides the work: at a time `pairs` (batch row, KV head) pairs and G * tokens query rows of each, at
/// most.
struct PrefillPlan {
  int64_t blockTokens;
  mlir::Value pairs, rows;
};
PrefillPlan planPrefill(ScalarBuilder s, const AttentionProblem &p, int64_t blockRows);

/// Made by the caller outside of any branch or loop. The products' factors have the type of `query`, their sums that of
/// `scores`.
struct PrefillBuffers {
  mlir::Value out;          // the destination [B, S, H, Dv]
  mlir::Value query;        // [pairs, rows, D]
  mlir::Value scores;       // [pairs, rows, T]
  mlir::Value result;       // [pairs, rows, Dv]
  mlir::Value exponentials; // [pairs, rows, T] of the factors' type, and
  mlir::Value inverses;     // [pairs, rows], 1 / their sums, where that is not the sums' type; else null
  mlir::Value keys, values; // [B, KV, T, D] and [B, KV, T, Dv] where the given ones are not of the factors' type
};

/// How attention of few tokens is split on a GPU where it is generated: chunks of so many keys, and what each leaves,
/// [rows, chunks, G] and [rows, chunks, G, Dv], made outside of any branch.
struct SplitPlan {
  mlir::Value keys, chunks;
  Dims rows; // (batch row, token, KV head)
  mlir::Value maxima, sums, parts;
};
SplitPlan planSplit(ScalarBuilder s, const AttentionProblem &p);
/// Two generated kernels, for at most decodeTokens tokens, into `out`.
mlir::Value attentionSplit(ScalarBuilder s, const AttentionProblem &p, const SplitPlan &plan, mlir::Value out);

/// One generated kernel with a row per (batch row, token, KV head), for at most decodeTokens tokens, into `out`.
mlir::Value attentionDecode(ScalarBuilder s, const AttentionProblem &p, mlir::Value out);
/// Blocks of query rows: library product, softmax by rows, library product.
mlir::Value attentionPrefill(ScalarBuilder s, const AttentionProblem &p, const PrefillPlan &plan,
                             PrefillBuffers buffers);

/// The largest head that the kernel takes.
inline constexpr int64_t kMostFusedHead = 256;
/// One kernel of the runtime on a GPU's tensor cores, whose products are of the 16-bit type `via`, into `out`.
mlir::Value attentionFused(ScalarBuilder s, const AttentionProblem &p, mlir::Type via, mlir::Value out);

/// Scores [B, H, S, T] as qk_matmul_output_mode says: 0 raw, 1 soft-capped, 2 masked too, 3 after softmax.
mlir::Value attentionScores(ScalarBuilder s, const AttentionProblem &p, int64_t mode, mlir::RankedTensorType type);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_ATTENTION_H
