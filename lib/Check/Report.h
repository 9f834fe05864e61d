// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a check finds out, for the printers.
#ifndef CAAT_LIB_CHECK_REPORT_H
#define CAAT_LIB_CHECK_REPORT_H

#include "caat/Cost/Link.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <array>
#include <optional>
#include <string>
#include <vector>

namespace caat::check {

/// What bytes are counted for: one token of one sequence, a prompt, a step that decodes one token per sequence.
enum Scenario { Token, Prefill, Decode };
inline constexpr unsigned numScenarios = 3;

/// Whether a number of ranks can be used.
struct Verdict {
  enum Kind { Even, Padded, Partly, Refused };
  int64_t ranks = 1;
  Kind kind = Even;
  std::vector<std::string> reasons; // what is padded, repeated or kept whole, or why it is refused
};

llvm::StringRef nameOf(Verdict::Kind kind);

/// One collective.
struct Message {
  std::string kind, site, node;
  std::array<int64_t, numScenarios> bytes = {};
};

/// One rank of `ranks`.
struct RankReport {
  int64_t ranks = 1;
  Verdict verdict;
  int64_t weightBytes = 0; // as stored in the model
  int64_t wholeBytes = 0;  // of these, weights that every rank has whole
  int64_t extraBytes = 0;  // zeros and repeats, over all ranks
  int64_t cacheBytes = 0;  // per position of one sequence
  std::vector<Message> messages;

  int64_t payload(Scenario scenario) const;
  /// What the rank sends in rings.
  cost::Traffic sent(Scenario scenario) const;
};

/// Names of the dimensions that sizes depend on; empty where they are fixed.
struct NamedDims {
  std::string batch, query, past;
};

struct Report {
  std::string model;
  int64_t nodes = 0, raisedOps = 0, attentions = 0;
  int64_t weightBytes = 0; // the whole model
  int64_t largestSize = 1;
  NamedDims dims;
  int64_t batch = 1, prefill = 1, context = 0;
  bool hasCache = false;
  std::optional<cost::Link> link;
  std::vector<Verdict> verdicts; // of 1, 2, …
  std::vector<RankReport> sizes;
};

void printText(const Report &report, llvm::raw_ostream &os);
void printJson(const Report &report, llvm::raw_ostream &os);

} // namespace caat::check

#endif // CAAT_LIB_CHECK_REPORT_H
