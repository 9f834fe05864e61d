// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The time of collectives by the usual model: a message of n bytes takes latency + n / bandwidth, and every rank can
// send one and receive one at the same time. What all stages and the runtime reckon with; needs the standard library
// only.
#ifndef CAAT_COST_LINK_H
#define CAAT_COST_LINK_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace caat::cost {

/// From one rank to the others.
struct Link {
  double latency = 0;   // seconds of each message
  double bandwidth = 0; // bytes a second; 0: as fast as it goes

  bool isSlow() const { return bandwidth > 0 || latency > 0; }

  /// "10GB/s", "10GB/s,5us", "100Gb/s,0.1ms": bandwidth in B/s, KB/s, MB/s, GB/s, TB/s or, in bits, Kb/s to Tb/s;
  /// latency in s, ms, us or ns, 0 where it is left out. Nothing, with the reason in `error`, where it is not that.
  static std::optional<Link> parse(std::string_view text, std::string &error);
};

/// What the rank that sends most sends.
struct Traffic {
  double messages = 0; // one after the other
  double bytes = 0;    // of all of them together

  double seconds(const Link &link) const {
    return messages * link.latency + (link.bandwidth > 0 ? bytes / link.bandwidth : 0);
  }
  Traffic &operator+=(const Traffic &other) {
    messages += other.messages;
    bytes += other.bytes;
    return *this;
  }
};

/// Ways to sum a value of n bytes over r ranks.
enum class AllReduce {
  Ring,    // each rank sums a piece and passes it on: 2 (r - 1) messages, 2 n (r - 1) / r bytes, the fewest
  Tree,    // up and down two binary trees in small pieces, as NCCL: 2 ceil(log2 r) messages, 2 n bytes
  OneShot, // everything to everybody: one latency, n (r - 1) bytes
};
Traffic allReduce(AllReduce way, int64_t ranks, double bytes);
/// The way that takes the least time, the first of those above where several do.
AllReduce fastestAllReduce(int64_t ranks, double bytes, const Link &link);
std::string_view nameOf(AllReduce way); // ring, tree, one-shot

/// In a ring; `bytes` is the size of the whole value that is gathered, or scattered, or held by one rank.
Traffic allGather(int64_t ranks, double bytes);
Traffic reduceScatter(int64_t ranks, double bytes);
Traffic allToAll(int64_t ranks, double bytes);
/// In pieces from rank to rank.
Traffic broadcast(int64_t ranks, double bytes);
/// Every rank sends `bytes` to one other.
Traffic permute(int64_t ranks, double bytes);

/// The collective with this mnemonic (all_reduce: in a ring); nothing for a name that is none.
std::optional<Traffic> trafficOf(std::string_view mnemonic, int64_t ranks, double bytes);

} // namespace caat::cost

#endif // CAAT_COST_LINK_H
