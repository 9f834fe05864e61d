// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs in two halves that take turns, so that the sums of one travel while the other computes: where that can be done,
// and where it pays.
#ifndef CAAT_RUNTIME_CORE_HALVES_H
#define CAAT_RUNTIME_CORE_HALVES_H

#include "Rank.h"

namespace caat::runtime {

using TwoHalves = std::array<RunInputs, 2>;

/// The first and the last rows of a batch, which is dimension `batch`; of at least two.
TwoHalves divideRows(const Manifest &manifest, const RunInputs &whole, size_t batch);

/// Whether the link is slow enough for a run to be worth dividing: messages are twice as many, and products have half
/// of the rows.
bool pays(const Manifest &manifest, const RunInputs &whole, const TwoHalves &halves, const Link &link);

/// Throws Error (Input) that says why a program can run in halves neither way.
void checkDivisible(const Manifest &manifest);

} // namespace caat::runtime

#endif
