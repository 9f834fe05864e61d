// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads plans from JSON. What needs a program to be checked is in CheckPlan.cpp.
#include "caat/Sync/Plan.h"
#include "NumpyFile.h"
#include "caat/Support/ContainedFile.h"
#include "caat/Support/Json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include <cmath>

using namespace caat;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

double PlanEntry::getScale(int64_t ranks) const {
  switch (scale) {
  case Scale::One:
    return 1.0;
  case Scale::Sqrt:
    return std::sqrt(double(ranks));
  case Scale::Number:
    return scaleValue;
  }
  llvm_unreachable("a scale is one, sqrt or a number");
}

int64_t PlanEntry::getShared(int64_t channels) const { return isFull ? channels : int64_t(shared * double(channels)); }

const PlanEntry &Plan::lookup(StringRef site) const {
  auto found = sites.find(site.str());
  return found == sites.end() ? defaults : found->second;
}

namespace {

/// Reads one file; every error names the file and the place in it.
class PlanReader {
public:
  explicit PlanReader(StringRef file) : file(file) {}

  Expected<Plan> read(StringRef text);

private:
  Error error(const Twine &path, const Twine &message) const {
    return llvm::createStringError(file + ": " + path + ": " + message);
  }
  Error readEntry(const llvm::json::Value &value, PlanEntry &entry);
  Error checkKeys(const llvm::json::Object &object, StringRef path, llvm::ArrayRef<StringRef> known,
                  StringRef where) const;
  Error readShared(const llvm::json::Value &value, PlanEntry &entry);
  Error readScale(const llvm::json::Value &value, PlanEntry &entry);
  Error readOrder(const llvm::json::Value &value, PlanEntry &entry);

  std::string file;
};

std::string quoted(StringRef text) { return ("'" + text + "'").str(); }

Error PlanReader::checkKeys(const llvm::json::Object &object, StringRef path, llvm::ArrayRef<StringRef> known,
                            StringRef where) const {
  // Sorted, so that the first error does not depend on hashing.
  std::vector<StringRef> keys;
  for (const auto &[key, value] : object)
    keys.push_back(key);
  llvm::sort(keys);
  for (StringRef key : keys)
    if (!llvm::is_contained(known, key))
      return error(path, "unknown key " + quoted(key) + where + "; known are " + llvm::join(known, ", "));
  return Error::success();
}

Error PlanReader::readShared(const llvm::json::Value &value, PlanEntry &entry) {
  std::optional<double> shared = value.getAsNumber();
  if (!shared || !(*shared >= 0.0 && *shared <= 1.0))
    return error(entry.path + ".shared", llvm::formatv("{0} is no share of the channels in [0, 1]", value).str());
  entry.shared = *shared;
  return Error::success();
}

Error PlanReader::readScale(const llvm::json::Value &value, PlanEntry &entry) {
  if (std::optional<double> number = value.getAsNumber()) {
    entry.scale = PlanEntry::Scale::Number;
    entry.scaleValue = *number;
    if (!std::isfinite(*number))
      return error(entry.path + ".scale", "must be finite");
    return Error::success();
  }
  std::optional<StringRef> word = value.getAsString();
  if (word == "one")
    entry.scale = PlanEntry::Scale::One;
  else if (word == "sqrt")
    entry.scale = PlanEntry::Scale::Sqrt;
  else
    return error(entry.path + ".scale", llvm::formatv("{0} is not \"one\", \"sqrt\" or a number", value).str());
  return Error::success();
}

Error PlanReader::readOrder(const llvm::json::Value &value, PlanEntry &entry) {
  std::string path = entry.path + ".order";
  const llvm::json::Array *list = value.getAsArray();
  std::optional<llvm::json::Value> content;
  if (std::optional<StringRef> name = value.getAsString()) {
    Expected<ContainedFile> orderFile = ContainedFile::open(llvm::sys::path::parent_path(file), *name);
    if (!orderFile)
      return error(path, llvm::toString(orderFile.takeError()));
    if (name->ends_with(".npy")) {
      Expected<llvm::SmallVector<int64_t>> order = parseNumpyInts(orderFile->text());
      if (!order)
        return error(path, quoted(*name) + ": " + llvm::toString(order.takeError()));
      entry.order = std::move(*order);
    } else {
      Expected<llvm::json::Value> parsed = parseJson(orderFile->text());
      if (!parsed)
        return error(path, quoted(*name) + ": " + llvm::toString(parsed.takeError()));
      content = std::move(*parsed);
      list = content->getAsArray();
    }
  }
  if (entry.order.empty()) {
    if (!list)
      return error(path, "must be a list of channels, or a file (.json, .npy) that holds one");
    for (auto [i, item] : llvm::enumerate(*list)) {
      std::optional<int64_t> channel = item.getAsInteger();
      if (!channel)
        return error(path + "[" + Twine(i) + "]", llvm::formatv("{0} is no channel", item).str());
      entry.order.push_back(*channel);
    }
  }
  int64_t channels = entry.order.size();
  if (channels == 0)
    return error(path, "is empty");
  llvm::SmallVector<bool> seen(channels);
  for (auto [i, channel] : llvm::enumerate(entry.order)) {
    if (channel < 0 || channel >= channels)
      return error(path + "[" + Twine(i) + "]", "channel " + Twine(channel) + " is outside [0, " + Twine(channels) +
                                                    "): the order must be a permutation of all channels");
    if (seen[channel])
      return error(path + "[" + Twine(i) + "]", "channel " + Twine(channel) + " occurs twice");
    seen[channel] = true;
  }
  return Error::success();
}

Error PlanReader::readEntry(const llvm::json::Value &value, PlanEntry &entry) {
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return error(entry.path, "must be an object");
  for (StringRef key : {"bits", "block", "exact", "feedback"})
    if (object->get(key))
      return error(entry.path + "." + key, "rounding on the wire is not supported by this version");
  std::optional<StringRef> sync = object->getString("sync");
  if (!sync)
    return error(entry.path + ".sync", "must be given: \"full\", \"drop\" or \"partial\"");
  llvm::SmallVector<StringRef> known = {"sync"};
  if (*sync == "drop")
    known.append({"order", "estimate"});
  else if (*sync == "partial")
    known.append({"shared", "rest", "scale", "order", "estimate"});
  else if (*sync != "full")
    return error(entry.path + ".sync", quoted(*sync) + " is not \"full\", \"drop\" or \"partial\"");
  if (Error failed = checkKeys(*object, entry.path, known, " with sync " + quoted(*sync)))
    return failed;
  if (*sync == "full")
    return Error::success();

  entry.isFull = false;
  entry.shared = 0.0;
  if (*sync == "partial") {
    const llvm::json::Value *shared = object->get("shared");
    if (!shared)
      return error(entry.path + ".shared", "must be given with sync 'partial'");
    if (Error failed = readShared(*shared, entry))
      return failed;
    if (const llvm::json::Value *rest = object->get("rest")) {
      std::optional<StringRef> word = rest->getAsString();
      if (word != "deferred" && word != "private")
        return error(entry.path + ".rest", llvm::formatv("{0} is not \"deferred\" or \"private\"", *rest).str());
      entry.isPrivate = word == "private";
    }
    if (const llvm::json::Value *scale = object->get("scale"))
      if (Error failed = readScale(*scale, entry))
        return failed;
    if (!entry.isPrivate && entry.scale != PlanEntry::Scale::One)
      return error(entry.path + ".scale", "needs private channels: deferred ones are summed as they are");
  }
  if (const llvm::json::Value *order = object->get("order"))
    if (Error failed = readOrder(*order, entry))
      return failed;
  if (const llvm::json::Value *estimate = object->get("estimate")) {
    std::optional<StringRef> name = estimate->getAsString();
    if (!name || name->empty())
      return error(entry.path + ".estimate", "must name a safetensors file");
    if (entry.isPrivate)
      return error(entry.path + ".estimate", "needs deferred channels: private ones are never summed");
    entry.estimate = name->str();
  }
  return Error::success();
}

Expected<Plan> PlanReader::read(StringRef text) {
  Expected<llvm::json::Value> parsed = parseJson(text);
  if (!parsed)
    return llvm::createStringError(file + ": " + llvm::toString(parsed.takeError()));
  const llvm::json::Object *object = parsed->getAsObject();
  if (!object)
    return llvm::createStringError(file + ": a plan must be an object");
  std::optional<int64_t> version = object->getInteger("version");
  if (!version)
    return error("version", "must be given, as an integer");
  if (*version != 1)
    return error("version", Twine(*version) + " is not supported; this program reads version 1");
  if (Error failed = checkKeys(*object, "plan", {"version", "tp", "default", "sites"}, ""))
    return failed;

  Plan plan;
  plan.file = file;
  if (const llvm::json::Value *tp = object->get("tp")) {
    plan.tp = tp->getAsInteger();
    if (!plan.tp || *plan.tp < 1)
      return error("tp", llvm::formatv("{0} is no number of ranks, at least 1", *tp).str());
  }
  plan.defaults.path = "default";
  if (const llvm::json::Value *defaults = object->get("default"))
    if (Error failed = readEntry(*defaults, plan.defaults))
      return failed;
  if (const llvm::json::Value *sites = object->get("sites")) {
    if (!sites->getAsObject())
      return error("sites", "must be an object");
    std::vector<StringRef> names;
    for (const auto &[name, value] : *sites->getAsObject())
      names.push_back(name);
    llvm::sort(names);
    for (StringRef name : names) {
      PlanEntry &entry = plan.sites[name.str()];
      entry.path = ("sites.\"" + name + "\"").str();
      if (Error failed = readEntry(*sites->getAsObject()->get(name), entry))
        return failed;
    }
  }
  return plan;
}

} // namespace

Expected<Plan> caat::parsePlan(StringRef text, StringRef file) {
  Expected<Plan> plan = PlanReader(file).read(text);
  if (plan)
    plan->digest = llvm::toHex(llvm::SHA256::hash(llvm::arrayRefFromStringRef(text)), /*LowerCase=*/true);
  return plan;
}

Expected<Plan> caat::readPlan(StringRef file) {
  auto buffer = llvm::MemoryBuffer::getFile(file);
  if (!buffer)
    return llvm::createStringError(file + ": cannot read the plan: " + buffer.getError().message());
  return parsePlan((*buffer)->getBuffer(), file);
}
