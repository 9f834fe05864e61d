// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_SYNC_POLICYTEXT_H
#define CAAT_LIB_SYNC_POLICYTEXT_H

#include "dialects/tp/TP.h"

namespace caat {

/// A policy as reports and manifests name it: "full", "drop", "partial 144/576 deferred, estimate", ….
std::string describePolicy(tp::PolicyAttr policy, int64_t channels);

} // namespace caat

#endif // CAAT_LIB_SYNC_POLICYTEXT_H
