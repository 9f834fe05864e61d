// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads plans from JSON.
#include "Json.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Npy.h"
#include "caat/runtime/Plan.h"
#include <algorithm>
#include <cmath>
#include <filesystem>

namespace caat::runtime {

namespace {

using Json = nlohmann::json;

constexpr int64_t maxBlock = 1024;

/// Reads one file; every error names the file and the place in it.
class PlanReader {
public:
  explicit PlanReader(const std::string &file) : file(file) {}

  Plan read(std::string_view text);

private:
  template <typename... Parts> [[noreturn]] void error(const std::string &path, const Parts &...parts) const {
    failArtifact(file, ": ", path, ": ", parts...);
  }
  void checkKeys(const Json &object, const std::string &path, const std::vector<std::string> &known,
                 const std::string &where) const;
  void readEntry(const Json &value, PlanEntry &entry);
  void readPartial(const Json &object, PlanEntry &entry);
  void readScale(const Json &value, PlanEntry &entry);
  void readOrder(const Json &value, PlanEntry &entry);
  void checkPermutation(const std::string &path, const std::vector<int64_t> &order, const char *what) const;
  std::vector<int64_t> readOrderFile(const std::string &path, const std::string &name);
  std::vector<int64_t> readChannels(const std::string &path, const Json &list, const char *what = "channel") const;
  void readRounding(const Json &object, PlanEntry &entry);

  std::string file;
};

std::string inQuotes(const std::string &text) { return "'" + text + "'"; }

std::string join(const std::vector<std::string> &words) {
  std::string text;
  for (const std::string &word : words)
    text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// The value of a number without a fraction, nothing for anything else.
std::optional<int64_t> asInteger(const Json &value) {
  if (value.is_number_unsigned())
    return value.get<uint64_t>() <= INT64_MAX ? std::optional(value.get<int64_t>()) : std::nullopt;
  if (value.is_number_integer())
    return value.get<int64_t>();
  if (value.is_number_float())
    if (double number = value.get<double>(); number == std::trunc(number) && std::abs(number) < 0x1p53)
      return static_cast<int64_t>(number);
  return std::nullopt;
}

std::optional<std::string> asString(const Json &value) {
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

/// The member of an object, or null.
const Json *find(const Json &object, const char *key) {
  auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::vector<int64_t> readNumpyOrder(const Tensor &array, const std::string &name) {
  if ((array.dtype != DType::I64 && array.dtype != DType::I32) || array.shape.size() != 1)
    failArtifact(name, ": an order has one dimension of i32 or i64, not ", nameOf(array.dtype), toString(array.shape));
  std::vector<int64_t> channels;
  for (int64_t i = 0; i < array.count(); ++i)
    channels.push_back(array.dtype == DType::I64 ? array.as<int64_t>()[i] : array.as<int32_t>()[i]);
  return channels;
}

void PlanReader::checkKeys(const Json &object, const std::string &path, const std::vector<std::string> &known,
                           const std::string &where) const {
  for (const auto &[key, value] : object.items()) // in the order of their names
    if (std::find(known.begin(), known.end(), key) == known.end())
      error(path, "unknown key ", inQuotes(key), where, "; known are ", join(known));
}

void PlanReader::readScale(const Json &value, PlanEntry &entry) {
  if (value.is_number()) {
    entry.scale = PlanEntry::Scale::Number;
    entry.scaleValue = value.get<double>();
    if (!std::isfinite(entry.scaleValue))
      error(entry.path + ".scale", "must be finite");
    return;
  }
  std::optional<std::string> word = asString(value);
  if (word == "one")
    entry.scale = PlanEntry::Scale::One;
  else if (word == "sqrt")
    entry.scale = PlanEntry::Scale::Sqrt;
  else
    error(entry.path + ".scale", value.dump(), " is not \"one\", \"sqrt\" or a number");
}

std::vector<int64_t> PlanReader::readChannels(const std::string &path, const Json &list, const char *what) const {
  std::vector<int64_t> channels;
  for (const Json &item : list) {
    std::optional<int64_t> channel = asInteger(item);
    if (!channel)
      error(path + "[" + std::to_string(channels.size()) + "]", item.dump(), " is no ", what);
    channels.push_back(*channel);
  }
  return channels;
}

std::vector<int64_t> PlanReader::readOrderFile(const std::string &path, const std::string &name) {
  Json list;
  try {
    MappedFile content = MappedFile::openInside(std::filesystem::path(file).parent_path(), name);
    if (name.ends_with(".npy"))
      return readNumpyOrder(parseNpy(content.bytes(), inQuotes(name)), inQuotes(name));
    list = parseJson({reinterpret_cast<const char *>(content.data()), content.size()});
  } catch (const Error &e) {
    error(path, e.what());
  }
  if (!list.is_array())
    error(path, inQuotes(name), " holds no list of channels");
  return readChannels(path, list);
}

void PlanReader::readOrder(const Json &value, PlanEntry &entry) {
  std::string path = entry.path + ".order";
  if (std::optional<std::string> name = asString(value))
    entry.order = readOrderFile(path, *name);
  else if (value.is_array())
    entry.order = readChannels(path, value);
  else
    error(path, "must be a list of channels, or a file (.json, .npy) that holds one");
  checkPermutation(path, entry.order, "channel");
}

void PlanReader::checkPermutation(const std::string &path, const std::vector<int64_t> &order, const char *what) const {
  if (order.empty())
    error(path, "is empty");
  std::vector<bool> seen(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    std::string place = path + "[" + std::to_string(i) + "]";
    if (order[i] < 0 || order[i] >= static_cast<int64_t>(order.size()))
      error(place, what, " ", order[i], " is outside [0, ", order.size(), "): the order must be a permutation of all ",
            what, "s");
    if (seen[static_cast<size_t>(order[i])])
      error(place, what, " ", order[i], " occurs twice");
    seen[static_cast<size_t>(order[i])] = true;
  }
}

/// What travels in few bits.
void PlanReader::readRounding(const Json &object, PlanEntry &entry) {
  const Json *bits = find(object, "bits");
  if (!bits) {
    for (const char *key : {"block", "exact", "feedback"})
      if (object.contains(key))
        error(entry.path + "." + key, "needs bits: without them elements travel as they are");
    return;
  }
  std::optional<int64_t> number = asInteger(*bits);
  if (number != 8 && number != 4 && number != 3)
    error(entry.path + ".bits", bits->dump(), " is not 8, 4 or 3");
  entry.bits = *number;
  if (const Json *block = find(object, "block")) {
    entry.block = asInteger(*block).value_or(0);
    if (entry.block < 8 || entry.block > maxBlock || entry.block % 8 != 0)
      error(entry.path + ".block", block->dump(), " is no multiple of 8 in [8, ", maxBlock, "]");
  }
  if (const Json *exact = find(object, "exact")) {
    std::string path = entry.path + ".exact";
    if (!exact->is_array())
      error(path, "must be a list of channels");
    entry.exact = readChannels(path, *exact);
    std::vector<int64_t> sorted = entry.exact;
    std::sort(sorted.begin(), sorted.end());
    if (!sorted.empty() && sorted.front() < 0)
      error(path, "channel ", sorted.front(), " is negative");
    if (auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
      error(path, "channel ", *twice, " occurs twice");
  }
  if (const Json *feedback = find(object, "feedback")) {
    if (!feedback->is_boolean())
      error(entry.path + ".feedback", feedback->dump(), " is not true or false");
    entry.feedback = feedback->get<bool>();
  }
}

void PlanReader::readPartial(const Json &object, PlanEntry &entry) {
  const Json *shared = find(object, "shared");
  if (!shared)
    error(entry.path + ".shared", "must be given with sync 'partial'");
  entry.shared = shared->is_number() ? shared->get<double>() : -1;
  if (!(entry.shared >= 0.0 && entry.shared <= 1.0))
    error(entry.path + ".shared", shared->dump(), " is no share of the channels in [0, 1]");
  if (const Json *rest = find(object, "rest")) {
    std::optional<std::string> word = asString(*rest);
    if (word != "deferred" && word != "private")
      error(entry.path + ".rest", rest->dump(), " is not \"deferred\" or \"private\"");
    entry.isPrivate = word == "private";
  }
  if (const Json *scale = find(object, "scale"))
    readScale(*scale, entry);
  if (!entry.isPrivate && entry.scale != PlanEntry::Scale::One)
    error(entry.path + ".scale", "needs private channels: deferred ones are summed as they are");
}

void PlanReader::readEntry(const Json &value, PlanEntry &entry) {
  if (!value.is_object())
    error(entry.path, "must be an object");
  const Json *word = find(value, "sync");
  std::optional<std::string> sync = word ? asString(*word) : std::nullopt;
  if (!sync)
    error(entry.path + ".sync", "must be given: \"full\", \"drop\" or \"partial\"");
  std::vector<std::string> known = {"sync"}, rounding = {"bits", "block", "exact", "feedback"};
  if (*sync == "drop")
    known.insert(known.end(), {"order", "estimate"});
  else if (*sync == "partial")
    known.insert(known.end(), {"shared", "rest", "scale", "order", "estimate"});
  else if (*sync == "full")
    known.push_back("order");
  else
    error(entry.path + ".sync", inQuotes(*sync), " is not \"full\", \"drop\" or \"partial\"");
  if (*sync != "drop")
    known.insert(known.end(), rounding.begin(), rounding.end());
  checkKeys(value, entry.path, known, " with sync " + inQuotes(*sync));

  entry.isFull = *sync == "full";
  entry.shared = entry.isFull ? 1.0 : 0.0;
  if (*sync == "partial")
    readPartial(value, entry);
  readRounding(value, entry);
  if (entry.isFull && value.contains("order") && !entry.isRounded())
    error(entry.path + ".order",
          "needs bits with sync 'full': where all channels travel whole, their order means nothing");
  if (const Json *order = find(value, "order"))
    readOrder(*order, entry);
  if (const Json *estimate = find(value, "estimate")) {
    std::optional<std::string> name = asString(*estimate);
    if (!name || name->empty())
      error(entry.path + ".estimate", "must name a safetensors file");
    if (entry.isPrivate)
      error(entry.path + ".estimate", "needs deferred channels: private ones are never summed");
    entry.estimate = *name;
  }
}

Plan PlanReader::read(std::string_view text) {
  Json object;
  try {
    object = parseJson(text);
  } catch (const Error &e) {
    failArtifact(file, ": ", e.what());
  }
  if (!object.is_object())
    failArtifact(file, ": a plan must be an object");
  const Json *number = find(object, "version");
  std::optional<int64_t> version = number ? asInteger(*number) : std::nullopt;
  if (!version)
    error("version", "must be given, as an integer");
  if (*version != 1)
    error("version", *version, " is not supported; this program reads version 1");
  checkKeys(object, "plan", {"version", "tp", "default", "sites", "heads"}, "");

  Plan plan;
  plan.file = file;
  if (const Json *tp = find(object, "tp")) {
    plan.tp = asInteger(*tp);
    if (!plan.tp || *plan.tp < 1)
      error("tp", tp->dump(), " is no number of ranks, at least 1");
  }
  plan.defaults.path = "default";
  if (const Json *defaults = find(object, "default"))
    readEntry(*defaults, plan.defaults);
  if (const Json *sites = find(object, "sites")) {
    if (!sites->is_object())
      error("sites", "must be an object");
    for (const auto &[name, value] : sites->items()) {
      PlanEntry &entry = plan.sites[name];
      entry.path = "sites.\"" + name + "\"";
      readEntry(value, entry);
    }
  }
  if (const Json *heads = find(object, "heads")) {
    if (!heads->is_object())
      error("heads", "must be an object");
    for (const auto &[name, value] : heads->items()) {
      std::string path = "heads.\"" + name + "\"";
      if (!value.is_array())
        error(path, "must be a list of heads");
      std::vector<int64_t> order = readChannels(path, value, "head");
      checkPermutation(path, order, "head");
      if (!std::is_sorted(order.begin(), order.end())) // as they are
        plan.heads[name] = std::move(order);
    }
  }
  return plan;
}

} // namespace

Plan parsePlan(std::string_view text, const std::string &file) { return PlanReader(file).read(text); }

} // namespace caat::runtime
