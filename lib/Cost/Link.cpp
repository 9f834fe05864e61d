// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Cost/Link.h"
#include <bit>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <utility>

using namespace caat::cost;

using Units = std::initializer_list<std::pair<std::string_view, double>>;

/// A number with a unit, e.g. `example`.
static std::optional<double> parseQuantity(std::string_view text, std::string_view what, std::string_view example,
                                           Units units, std::string &error) {
  auto quote = [](std::string_view part) { return "'" + std::string(part) + "'"; };
  double value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (code != std::errc() || !std::isfinite(value) || value < 0) {
    error = quote(text) + " is no " + std::string(what) + ": expected a number with a unit, e.g. ";
    error += example;
    return std::nullopt;
  }
  for (auto [name, factor] : units)
    if (unit == name)
      return value * factor;
  error = quote(text) + " has the unknown unit " + quote(unit) + ", e.g. ";
  error += example;
  return std::nullopt;
}

std::optional<Link> Link::parse(std::string_view text, std::string &error) {
  size_t comma = text.find(',');
  std::string_view rate = text.substr(0, comma);
  Link link;
  std::optional<double> bandwidth = parseQuantity(rate, "bandwidth", "10GB/s",
                                                  {{"B/s", 1},
                                                   {"KB/s", 1e3},
                                                   {"MB/s", 1e6},
                                                   {"GB/s", 1e9},
                                                   {"TB/s", 1e12},
                                                   {"Kb/s", 1e3 / 8},
                                                   {"Mb/s", 1e6 / 8},
                                                   {"Gb/s", 1e9 / 8},
                                                   {"Tb/s", 1e12 / 8}},
                                                  error);
  if (!bandwidth)
    return std::nullopt;
  if (*bandwidth < 1) {
    error = "'" + std::string(rate) + "': the bandwidth must be at least 1 B/s";
    return std::nullopt;
  }
  link.bandwidth = *bandwidth;
  if (comma == std::string_view::npos)
    return link;
  std::optional<double> latency = parseQuantity(text.substr(comma + 1), "latency", "5us",
                                                {{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}}, error);
  if (!latency)
    return std::nullopt;
  constexpr double mostLatency = 60; // seconds
  if (*latency > mostLatency) {
    error = "'" + std::string(text.substr(comma + 1)) + "': the latency must be at most 60 s";
    return std::nullopt;
  }
  link.latency = *latency;
  return link;
}

namespace caat::cost {

/// r - 1 messages of a piece of 1/r each.
static Traffic onceRound(int64_t ranks, double bytes) {
  auto others = static_cast<double>(ranks - 1);
  return {others, others * bytes / static_cast<double>(ranks)};
}

Traffic allReduce(AllReduce way, int64_t ranks, double bytes) {
  if (ranks <= 1)
    return {};
  auto others = static_cast<double>(ranks - 1);
  switch (way) {
  case AllReduce::Ring:
    return {2 * others, 2 * others * bytes / static_cast<double>(ranks)};
  case AllReduce::Tree:
    return {2.0 * static_cast<double>(std::bit_width(static_cast<uint64_t>(ranks - 1))), 2 * bytes};
  case AllReduce::OneShot:
    return {1, others * bytes};
  }
  return {};
}

AllReduce fastestAllReduce(int64_t ranks, double bytes, const Link &link) {
  AllReduce best = AllReduce::Ring;
  for (AllReduce way : {AllReduce::Tree, AllReduce::OneShot})
    if (allReduce(way, ranks, bytes).seconds(link) < allReduce(best, ranks, bytes).seconds(link))
      best = way;
  return best;
}

std::string_view nameOf(AllReduce way) {
  switch (way) {
  case AllReduce::Ring:
    return "ring";
  case AllReduce::Tree:
    return "tree";
  case AllReduce::OneShot:
    return "one-shot";
  }
  return "";
}

Traffic allGather(int64_t ranks, double bytes) { return onceRound(ranks, bytes); }

Traffic reduceScatter(int64_t ranks, double bytes) { return onceRound(ranks, bytes); }

Traffic allToAll(int64_t ranks, double bytes) { return onceRound(ranks, bytes); }

Traffic broadcast(int64_t ranks, double bytes) {
  return ranks > 1 ? Traffic{static_cast<double>(ranks - 1), bytes} : Traffic{};
}

Traffic permute(int64_t ranks, double bytes) { return ranks > 1 ? Traffic{1, bytes} : Traffic{}; }

std::optional<Traffic> trafficOf(std::string_view mnemonic, int64_t ranks, double bytes) {
  if (mnemonic == "all_reduce" || mnemonic == "quantized_all_reduce") // pieces to their owners, sums to everybody
    return allReduce(AllReduce::Ring, ranks, bytes);
  if (mnemonic == "all_gather")
    return allGather(ranks, bytes);
  if (mnemonic == "reduce_scatter")
    return reduceScatter(ranks, bytes);
  if (mnemonic == "all_to_all")
    return allToAll(ranks, bytes);
  if (mnemonic == "broadcast")
    return broadcast(ranks, bytes);
  if (mnemonic == "permute")
    return permute(ranks, bytes);
  if (mnemonic == "quantized_all_reduce") { // each rank sums some blocks and sends the sums to all
    Traffic traffic = allToAll(ranks, bytes);
    return traffic += allGather(ranks, bytes);
  }
  return std::nullopt;
}

} // namespace caat::cost
