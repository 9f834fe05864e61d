// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Switchable programs: sync points whose policies are given at run time, and runs that begin or stop at a site.
#ifndef CAAT_RUNTIME_SITES_H
#define CAAT_RUNTIME_SITES_H

#include "caat/runtime/Manifest.h"
#include "caat/runtime/Plan.h"
#include "caat/runtime/Wire.h"

namespace caat::runtime {

/// What one site sends and what it keeps; docs/plan.schema.json says what the parts mean.
struct SitePolicy {
  bool full = true;
  std::vector<int64_t> shared; // the channels that are reduced, in the order of the wire; all of them where it is full
                               // and rounded, unused where it is full and not
  bool isPrivate = false;      // the others are added to this rank's stream, times scale; else they stay pending
  float scale = 1;
  std::optional<WireFormat> rounding;   // of the shared channels, by their places; without: as they are
  bool feedback = true;                 // what rounding leaves out stays pending
  std::optional<SiteEstimate> estimate; // what readers see beside base; without: what is pending
};

/// A policy for each site, in the manifest's order. Policies are compared by address: equal ones should be one.
using Policies = std::vector<std::shared_ptr<const SitePolicy>>;

/// What a plan says about the sites of a switchable program; estimates are read. Throws Error that names the plan and
/// the place in it where the plan does not fit.
Policies readPolicies(const Plan &plan, const Manifest &manifest);

/// A run at the entry of a site, on one rank: with it the run can be taken up again, with other policies from there on.
struct RankSnapshot {
  std::vector<float> base, pending, partial, input; // [rows, channels]; empty where there is none, or only zeros
  std::vector<std::vector<std::byte>> live;         // what else is read behind the site
};

struct Snapshot {
  size_t site = 0;
  int64_t rows = 0, channels = 0, inputs = 0; // inputs: columns of the module's input
  std::vector<RankSnapshot> ranks;
  size_t bytes() const;
};

/// The part of a run: from where to where. By default all of it.
struct SiteRange {
  const Snapshot *from = nullptr;    // begins at its site, with what it holds
  std::optional<size_t> stopAt = {}; // ends at the entry of this site; outputs then mean nothing
  Snapshot *into = nullptr;          // taken where the run stops
};

} // namespace caat::runtime

#endif
