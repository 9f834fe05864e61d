// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans: which sync point sends what. Version 1 of the format, which docs/plan.schema.json describes. One reader for
// the compiler and the runtime; it knows no program, see CheckPlan.cpp of the compiler for what needs one.
#ifndef CAAT_RUNTIME_PLAN_H
#define CAAT_RUNTIME_PLAN_H

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caat::runtime {

/// What a plan says about one site. The default is a full synchronisation.
struct PlanEntry {
  enum class Scale { One, Sqrt, Number };

  /// The place in the file, for messages: `default`, or `sites."layers.0.attn"`.
  std::string path;
  bool isFull = true;
  /// Share of the channels that is reduced, in [0, 1]; int(share * channels) of them, by truncation.
  double shared = 1.0;
  bool isPrivate = false;
  Scale scale = Scale::One;
  /// The factor where `scale` is a number.
  double scaleValue = 1.0;
  /// The channels, most important first; empty for 0, 1, 2, ….
  std::vector<int64_t> order;
  /// A safetensors file with the site's estimate, below the plan's folder; empty for none.
  std::string estimate;
  /// Bits of a reduced element on the wire: 8, 4 or 3; 0 where elements travel as they are.
  int64_t bits = 0;
  /// Elements that share a scale on the wire.
  int64_t block = 32;
  /// Reduced channels that travel unrounded.
  std::vector<int64_t> exact;
  /// Whether what rounding leaves out stays pending; nothing where the plan does not say: where the site can defer.
  std::optional<bool> feedback;

  /// The factor of private channels with `ranks` ranks.
  double getScale(int64_t ranks) const;
  /// How many of `channels` channels are reduced.
  int64_t getShared(int64_t channels) const;
  /// The channel at a place of the order.
  int64_t channelAt(int64_t place) const { return order.empty() ? place : order[static_cast<size_t>(place)]; }
  bool isRounded() const { return bits != 0; }
};

struct Plan {
  /// The file's name, for messages.
  std::string file;
  /// Number of ranks that the plan is for; nothing where it is for any.
  std::optional<int64_t> tp;
  PlanEntry defaults;
  std::map<std::string, PlanEntry> sites;
  /// By attention site: the KV heads, each with its query heads, in the order in which they are dealt out to the ranks.
  std::map<std::string, std::vector<int64_t>> heads;

  /// The entry of a site: its own, or the default.
  const PlanEntry &lookup(std::string_view site) const;
};

/// What readers behind a site see beside base: a * pending + b + U (V f), with this rank's row of each.
struct SiteEstimate {
  /// What f is: what is pending, the module's normalised input, or the one behind the other.
  enum class Feature { Pending, Input, Both };

  /// [ranks, channels]; zeros where the file has u and v but not them.
  std::vector<float> a, b;
  /// The rank of U V; 0 where the estimate has none.
  int64_t inner = 0;
  Feature feature = Feature::Pending;
  /// [ranks, channels, inner] and [ranks, inner, features].
  std::vector<float> u, v;

  /// Length of f.
  int64_t getFeatures(int64_t channels) const { return feature == Feature::Both ? 2 * channels : channels; }
  bool readsInput() const { return inner > 0 && feature != Feature::Pending; }
};

// These throw Error (Artifact), whose text names the plan and the place in it. The forms with `try` are for callers
// without exceptions: they return nothing, and `error` says why.

/// Reads and validates a plan as far as that is possible without a program.
Plan readPlan(const std::string &file);
/// The same from text; `file` is used in messages and to find the files that the plan names.
Plan parsePlan(std::string_view text, const std::string &file);
std::optional<Plan> tryParsePlan(std::string_view text, const std::string &file, std::string &error);
/// The text of a plan's file.
std::string readPlanText(const std::string &file);
std::optional<std::string> tryReadPlanText(const std::string &file, std::string &error);

/// Reads the estimate of a site whose entry names one.
SiteEstimate readEstimate(const Plan &plan, const PlanEntry &entry, const std::string &site, int64_t ranks,
                          int64_t channels);
std::optional<SiteEstimate> tryReadEstimate(const Plan &plan, const PlanEntry &entry, const std::string &site,
                                            int64_t ranks, int64_t channels, std::string &error);

/// Checks what needs the number of a site's channels: the order's length, and that exact channels are reduced.
void checkChannels(const Plan &plan, const PlanEntry &entry, const std::string &site, int64_t channels);
/// An empty text where that is right, else what is wrong.
std::string tryCheckChannels(const Plan &plan, const PlanEntry &entry, const std::string &site, int64_t channels);

} // namespace caat::runtime

#endif
