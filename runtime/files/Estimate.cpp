// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads the estimates that a plan names.
#include "caat/runtime/Error.h"
#include "caat/runtime/Plan.h"
#include "caat/runtime/SafeTensors.h"
#include <cmath>
#include <cstring>
#include <filesystem>

namespace caat::runtime {

namespace {

class EstimateReader {
public:
  EstimateReader(const SafeTensors &file, const std::string &site, int64_t ranks, int64_t channels)
      : file(file), site(site), ranks(ranks), channels(channels) {}

  SiteEstimate read() const;

private:
  bool has(const char *name) const { return file.entries().contains(site + "." + name); }
  /// The values of a tensor; `meaning` names its dimensions in messages. Sizes below 0 may be anything.
  std::vector<float> values(const char *name, const Shape &shape, const char *meaning) const;
  SiteEstimate::Feature feature() const;

  const SafeTensors &file;
  const std::string &site;
  int64_t ranks, channels;
};

std::vector<float> EstimateReader::values(const char *name, const Shape &shape, const char *meaning) const {
  std::string full = site + "." + name;
  auto fail = [&](const auto &...parts) { failArtifact(file.path(), ": tensor '", full, "' ", parts...); };
  auto found = file.entries().find(full);
  if (found == file.entries().end())
    failArtifact(file.path(), ": has no tensor '", full, "'");
  const SafeTensors::Entry &entry = found->second;
  if (entry.dtype != DType::F32)
    fail("has type ", nameOf(entry.dtype), ", expected f32");
  bool fits = entry.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] < 0 || entry.shape[i] == shape[i];
  if (!fits) {
    std::string expected = toString(shape);
    for (size_t at; (at = expected.find("-1")) != expected.npos;)
      expected.replace(at, 2, "k");
    fail("must have the shape ", expected, ": ", meaning, "; it has ", toString(entry.shape));
  }
  std::vector<float> result(entry.bytes / sizeof(float));
  if (entry.bytes)
    std::memcpy(result.data(), file.data(entry), entry.bytes);
  for (size_t i = 0; i < result.size(); ++i)
    if (!std::isfinite(result[i]))
      fail("holds a value that is not finite, at element ", i);
  return result;
}

SiteEstimate::Feature EstimateReader::feature() const {
  std::string key = site + ".f";
  auto found = file.metadata().find(key);
  if (found == file.metadata().end())
    failArtifact(file.path(), ": the metadata has no '", key, "', which says what '", site,
                 ".v' is multiplied with: pending, input or pending+input");
  if (found->second == "pending")
    return SiteEstimate::Feature::Pending;
  if (found->second == "input")
    return SiteEstimate::Feature::Input;
  if (found->second == "pending+input")
    return SiteEstimate::Feature::Both;
  failArtifact(file.path(), ": the metadata's '", key, "' is '", found->second,
               "', not pending, input or pending+input");
}

SiteEstimate EstimateReader::read() const {
  SiteEstimate estimate;
  bool isLowRank = has("u") || has("v");
  for (auto [name, to] : {std::pair("a", &estimate.a), std::pair("b", &estimate.b)}) {
    if (has(name) || !isLowRank)
      *to = values(name, {ranks, channels}, "ranks, channels");
    else
      to->assign(static_cast<size_t>(ranks * channels), 0.0f);
  }
  if (!isLowRank)
    return estimate;
  estimate.feature = feature();
  estimate.u = values("u", {ranks, channels, -1}, "ranks, channels, rank of the estimate");
  estimate.inner = file.entry(site + ".u").shape[2];
  if (estimate.inner < 1)
    failArtifact(file.path(), ": tensor '", site, ".u' has rank 0");
  estimate.v = values("v", {ranks, estimate.inner, estimate.getFeatures(channels)},
                      "ranks, rank of the estimate, length of what it reads");
  return estimate;
}

} // namespace

SiteEstimate readEstimate(const Plan &plan, const PlanEntry &entry, const std::string &site, int64_t ranks,
                          int64_t channels) {
  try {
    MappedFile content = MappedFile::openInside(std::filesystem::path(plan.file).parent_path(), entry.estimate);
    SafeTensors file = SafeTensors::parse(std::move(content), entry.estimate);
    return EstimateReader(file, site, ranks, channels).read();
  } catch (const Error &e) {
    failArtifact(plan.file, ": ", entry.path, ".estimate: ", e.what());
  }
}

} // namespace caat::runtime
