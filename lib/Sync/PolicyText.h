// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_SYNC_POLICYTEXT_H
#define CAAT_LIB_SYNC_POLICYTEXT_H

#include "dialects/tp/TP.h"

namespace caat {

/// A policy as reports and manifests name it: "full", "drop", "partial 144/576 deferred, estimate", "full 4 bits,
/// 8 exact", ….
std::string describePolicy(tp::PolicyAttr policy, int64_t channels);

/// Bytes of one row of `channels` reduced channels that travel rounded: scales, integers and exact channels.
int64_t getRoundedBytes(tp::RoundingAttr rounding, int64_t channels);

} // namespace caat

#endif // CAAT_LIB_SYNC_POLICYTEXT_H
