// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The report's data, read from JSON. Everything may be absent; what has the wrong type counts as absent.
#ifndef CAAT_LIB_ABLATE_REPORT_DATA_H
#define CAAT_LIB_ABLATE_REPORT_DATA_H

#include "Format.h"
#include <map>
#include <string_view>
#include <vector>

namespace caat::ablate::report {

struct Site {
  std::string name, kind, reason, sensitivityClass, chosen;
  Number layer;
  bool deferrable = true;
};

struct Sensitivity {
  size_t site; // into Data::sites
  std::string choice, reason;
  Number added, addedError, kl, kl99, agree;
};

/// Figures of a plan; the exact program's too.
struct Plan {
  std::string id, family, label, words;
  Number perplexity, nll, nllError, ratio, added, addedError, kl, kl99, agree;
  Number bytes, bytesShare, syncs, seconds, halvedSeconds, measuredSeconds;
  Number fastest; // predicted: whole or in halves
  bool chosen = false, frontier = false;
};

struct Ranked {
  size_t site;
  Number value, perplexity;
};

struct Link {
  std::string name;
  Number bandwidth, latency, exactSeconds, chosenSeconds, measuredExact, measuredChosen, exactHalved, chosenHalved;
};

struct Sample {
  std::string prompt, exact, chosen;
};

struct Data {
  std::string model, compiledWith, text, link, workload, lossName, why;
  Number ranks, layers, channels, length, fitSamples, testSamples, samples, tokens, tau1, tau2;
  bool hasExact = false;
  Plan exact;
  std::vector<Site> sites;
  std::vector<std::string> choices;                  // of the sensitivities, in their order
  std::vector<Sensitivity> sensitivity;              // by site and choice, one of each
  std::map<std::string, std::vector<Ranked>> orders; // by procedure, in its order
  std::vector<Plan> plans;
  std::vector<Link> links;
  std::vector<Sample> continuations;
  std::vector<std::string> warnings, commands;

  const Plan *chosen() const;
  /// Null where it was not measured.
  const Sensitivity *find(size_t site, const std::string &choice) const;
};

/// The lesser one of those that are there.
Number lesser(Number a, Number b);

/// Throws std::invalid_argument where `json` is no object of version 1.
Data readData(std::string_view json);

} // namespace caat::ablate::report

#endif
