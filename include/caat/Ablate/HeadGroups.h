// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which heads a rank has: SPD's head grouping, for sites that will not be summed. The program is the same function for
// every grouping; what differs is what a rank lacks where a sum is left out.
#ifndef CAAT_ABLATE_HEADGROUPS_H
#define CAAT_ABLATE_HEADGROUPS_H

#include "caat/Ablate/Text.h"
#include <map>

namespace caat::ablate {

/// By attention site: its KV heads in the order in which they are dealt out, as many to each rank.
using HeadOrders = std::map<std::string, std::vector<int64_t>>;

/// Divides heads into `sets` sets of one size such that the members of a set lie far apart: of all exchanges of two
/// heads the one that adds most to the distances within sets, until none adds any. `distances[a][b]` of two heads.
std::vector<int64_t> scatter(const std::vector<std::vector<double>> &distances, size_t sets);

/// For each column the row that it gets, each once, such that the sum of `weights[row][column]` is largest.
std::vector<size_t> assign(const std::vector<std::vector<double>> &weights);

/// SPD's scattering. `perHead` is a program of the model with one KV head on each rank, over which it runs the text;
/// a head's signature is what it adds to the stream there.
HeadOrders scatterHeads(runtime::Engine &perHead, const Text &text, size_t ranks);

/// SPD's matching: which MLP slice each of the sets that `program` deals out goes with, such that the norms of the
/// MLP's outputs behind the dropped attention are largest.
HeadOrders matchHeads(runtime::Engine &program, const Text &text);

/// A plan that says no more than that.
void writeHeads(const HeadOrders &orders, int64_t ranks, const std::string &path);

} // namespace caat::ablate

#endif
