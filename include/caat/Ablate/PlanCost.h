// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a plan sends and how long a step takes with it.
#ifndef CAAT_ABLATE_PLANCOST_H
#define CAAT_ABLATE_PLANCOST_H

#include "caat/Ablate/Choice.h"
#include "caat/Cost/Link.h"
#include <algorithm>
#include <optional>

namespace caat::ablate {

/// What is sent in a step, beside what all plans have in common.
struct PlanCost {
  int64_t syncs = 0;        // sites that exchange anything
  double bytesPerToken = 0; // that each rank gives to the sums of sites
  double seconds = 0;       // of a step: products and kernels as measured, then the sums over the link
  // Of a step in two halves that take turns, whose sums go on beside the other one's work; nothing of single sites, and
  // where a step cannot be divided.
  std::optional<double> halvedSeconds = {};

  /// Of a step, whole or in halves.
  double fastest() const { return std::min(seconds, halvedSeconds.value_or(seconds)); }
};

/// A step of the workload.
struct Workload {
  int64_t tokens = 512;
  double computeSeconds = 0; // of a rank, without any waiting
  double flopSeconds = 0;    // of one operation of an estimate's products
  // Of a site, beside its messages: what it sums in full, of which some channels wait, and which it rounds.
  double sumSeconds = 0, deferredSeconds = 0, roundedSeconds = 0;
  double headSeconds = 0; // of the compute: what is behind the last site's sum
  double firstHalf = 0;   // share of the tokens that the first of two halves has; 0: the step cannot be divided
};

class CostModel {
public:
  /// `elementBytes`: of a channel that travels unrounded, 2 for bf16. `rings`: sums always go round a ring, as over the
  /// runtime's delayed links, instead of the fastest way for their size.
  CostModel(const runtime::Manifest &manifest, cost::Link link, Workload workload, double elementBytes = 2,
            bool rings = false)
      : manifest(manifest), link(link), workload(workload), elementBytes(elementBytes), rings(rings) {}

  double bytesPerToken(size_t site, const Choice &choice) const;
  /// Of one site: its sum over the link, and what its estimate computes.
  PlanCost of(size_t site, const Choice &choice) const { return of(site, choice, link); }
  /// Of a whole step.
  PlanCost of(const Choices &choices) const { return of(choices, link); }
  /// The same over another link.
  PlanCost of(const Choices &choices, const cost::Link &other) const;
  /// Of a sum of `bytes`.
  double seconds(double bytes, bool isRounded, const cost::Link &over) const;

private:
  PlanCost of(size_t site, const Choice &choice, const cost::Link &over) const;
  /// Of a site beside its messages.
  double workSeconds(size_t site, const Choice &choice) const;
  double inHalves(const Choices &choices, const cost::Link &over) const;

  const runtime::Manifest &manifest;
  cost::Link link;
  Workload workload;
  double elementBytes;
  bool rings;
};

} // namespace caat::ablate

#endif
