// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the two forms of attention share. Dimensions: B batch, S query tokens, T keys, H query heads in KV groups of G.
#ifndef CAAT_LIB_LOWER_ATTENTION_H
#define CAAT_LIB_LOWER_ATTENTION_H

#include "lib/Lower/OnnxLowering.h"
#include "lib/Lower/SoftmaxRows.h"

namespace caat::lower {

struct AttentionProblem {
  mlir::Value query;          // [B, S, H, D]
  mlir::Value keys, values;   // [B, KV, >= T, D] and [B, KV, >= T, Dv]: the whole buffers
  mlir::Value mask;           // broadcast to [B, H, S, T]; may be null
  mlir::Value lengths;        // valid keys of each batch row [B]; may be null
  mlir::OpFoldResult batch, tokens, total, past;
  int64_t heads, kvHeads, size, valueSize; // H, KV, D, Dv
  bool causal;
  int64_t left, right; // window; -1 = unlimited
  double scale, softcap;

  int64_t group() const { return heads / kvHeads; }
};

/// The keys [begin, end) that query token `token` of batch row `batch` sees, by length, cause and window.
std::pair<mlir::Value, mlir::Value> visibleKeys(ScalarBuilder &s, const AttentionProblem &p, mlir::Value batch,
                                                mlir::Value token);

/// Soft-cap and mask of one score (scaled already) at [batch, head, token, key].
mlir::Value finishScore(ScalarBuilder &s, const AttentionProblem &p, mlir::Value score, mlir::ValueRange at);

/// Query tokens for which decode is the better form: this many times G rows share a key as it is read.
int64_t decodeTokens(const AttentionProblem &p);

/// Scratch memory and destination are made by the caller, outside of any branch or loop.
struct DecodeBuffers {
  mlir::Value out, scores; // [B, S, H, Dv], [B * KV * decodeTokens * G, T]
};
struct PrefillBuffers {
  mlir::Value out, query, scores, result; // [B, S, H, Dv], [rows, D], [rows, T], [rows, Dv]
};
/// Rows that one step of prefill works on at most.
int64_t prefillRows(const AttentionProblem &p);

/// One generated kernel with a row per (batch row, token, KV head).
mlir::Value attentionDecode(ScalarBuilder s, const AttentionProblem &p, DecodeBuffers buffers);
/// Blocks of query rows: library product, softmax by rows, library product.
mlir::Value attentionPrefill(ScalarBuilder s, const AttentionProblem &p, PrefillBuffers buffers);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_ATTENTION_H
