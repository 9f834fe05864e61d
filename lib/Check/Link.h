// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The time of collectives by the usual model: a message of n bytes takes latency + n / bandwidth. In a ring of r ranks
// an all-reduce of n bytes is 2 (r - 1) steps of n / r bytes, an all-gather whose result has n bytes r - 1 of them.
#ifndef CAAT_LIB_CHECK_LINK_H
#define CAAT_LIB_CHECK_LINK_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace caat::check {

struct Link {
  double bytesPerSecond = 0, latency = 0; // one direction between two ranks; seconds
};

/// "10GB/s,5us": bandwidth in B/s, KB/s, MB/s, GB/s, TB/s or Mb/s, Gb/s, Tb/s (bits), latency in s, ms, us or ns
/// (default 0).
llvm::Expected<Link> parseLink(llvm::StringRef text);

/// Steps of a ring for a collective of this kind (its mnemonic).
int64_t ringSteps(llvm::StringRef kind, int64_t ranks);
/// Bytes that a rank sends where the whole has `bytes`.
double ringBytes(llvm::StringRef kind, int64_t ranks, int64_t bytes);

} // namespace caat::check

#endif // CAAT_LIB_CHECK_LINK_H
