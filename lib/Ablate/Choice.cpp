// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Choice.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <sstream>

namespace caat::ablate {

static constexpr const char *orderNames[] = {"index", "energy", "residual", "magnitude", "gain", "common", "shares"};
static constexpr const char *featureNames[] = {"pending", "input", "both"};

std::string Choice::text() const {
  if (isFull())
    return "full";
  char share[32];
  std::snprintf(share, sizeof share, " %g", shared);
  std::string text;
  if (isDropped())
    text = "drop";
  else if (shared < 1)
    text = (isPrivate ? "private" : "defer") + std::string(share);
  if (bits) {
    text += (text.empty() ? "" : " ") + std::to_string(bits) + " bits";
    if (block != 32)
      text += " in " + std::to_string(block);
    if (exact)
      text += ", " + std::to_string(exact) + " exact";
    if (!feedback)
      text += ", plain";
  }
  if (rate > 0) {
    char number[32];
    std::snprintf(number, sizeof number, "rate %g", rate);
    text = number;
  }
  if (isPrivate && scalesBySqrt)
    text += " sqrt";
  if (!isDropped() && rate == 0 && order != (bits ? Order::Magnitude : Order::Residual))
    text += std::string(" ") + orderNames[static_cast<size_t>(order)];
  bool estimates = !isPrivate && (shared < 1 || rate > 0);
  if (estimates && estimate == Estimate::SmallRank)
    text += " rank " + std::to_string(rank) + " of " + featureNames[static_cast<size_t>(feature)];
  else if (estimates && estimate != Estimate::None)
    text += estimate == Estimate::Mean ? " mean" : " affine";
  return text;
}

namespace {

/// The words of a choice, one after another; commas separate words too.
class Words {
public:
  explicit Words(const std::string &text) : whole(text) {
    std::string spaced = text;
    std::replace(spaced.begin(), spaced.end(), ',', ' ');
    std::istringstream stream(spaced);
    for (std::string word; stream >> word;)
      words.push_back(word);
  }

  bool take(const std::string &word) {
    bool there = at < words.size() && words[at] == word;
    at += there;
    return there;
  }
  template <typename T> bool takeNumber(T &number, T least, T most) {
    if (at == words.size())
      return false;
    const std::string &word = words[at];
    T value{};
    auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (failed != std::errc() || end != word.data() + word.size() || !(value >= least && value <= most))
      return false;
    number = value;
    ++at;
    return true;
  }
  template <typename T, size_t n> bool takeName(T &value, const char *const (&names)[n]) {
    for (size_t i = 0; i < n; ++i)
      if (take(names[i])) {
        value = static_cast<T>(i);
        return true;
      }
    return false;
  }
  bool isDone() const { return at == words.size(); }
  [[noreturn]] void fail() const {
    runtime::failInput("choice '", whole,
                       "': ", isDone() ? "something is missing" : "'" + words[at] + "' is unexpected",
                       at == 0 ? "" : " behind '" + words[at - 1] + "'",
                       "; expected for example full, drop, 'drop affine', 'drop rank 64 of both', 'defer 0.25 mean', "
                       "'private 0.9 sqrt', '4 bits, 8 exact', "
                       "'defer 0.5 4 bits, 8 exact affine' or 'rate 3.5 affine'");
  }
  void require(bool found) const {
    if (!found)
      fail();
  }

private:
  std::string whole;
  std::vector<std::string> words;
  size_t at = 0;
};

} // namespace

Choice Choice::parse(const std::string &text) {
  constexpr int64_t manyChannels = 1 << 20;
  Words words(text);
  if (words.take("full")) {
    words.require(words.isDone());
    return full();
  }
  Choice choice;
  choice.estimate = Estimate::None;
  if (words.take("drop")) {
    choice.shared = 0;
  } else if (words.take("defer")) {
    words.require(words.takeNumber(choice.shared, 0.0, 1.0));
  } else if (words.take("private")) {
    choice.isPrivate = true;
    words.require(words.takeNumber(choice.shared, 0.0, 1.0));
  } else if (words.take("rate")) {
    words.require(words.takeNumber(choice.rate, 0.5, 16.0));
    choice.order = Order::Magnitude;
  }
  if (!choice.isDropped() && choice.rate == 0 && words.takeNumber(choice.bits, 3, 8)) {
    words.require(choice.bits == 3 || choice.bits == 4 || choice.bits == 8);
    words.require(words.take("bits"));
    choice.order = Order::Magnitude;
    if (words.take("in"))
      words.require(words.takeNumber(choice.block, 8, 1024) && choice.block % 8 == 0);
    if (words.takeNumber(choice.exact, 1, 1 << 20))
      words.require(words.take("exact"));
    choice.feedback = !words.take("plain");
  }
  words.require(choice.shared < 1 || choice.isRounded());
  choice.scalesBySqrt = choice.isPrivate && words.take("sqrt");
  if (!choice.isDropped() && choice.rate == 0)
    words.takeName(choice.order, orderNames);
  if (!choice.isPrivate && (choice.shared < 1 || choice.rate > 0)) {
    if (words.take("rank")) {
      choice.estimate = Estimate::SmallRank;
      words.require(words.takeNumber(choice.rank, int64_t{1}, manyChannels) && words.take("of") &&
                    words.takeName(choice.feature, featureNames));
    } else if (words.take("mean")) {
      choice.estimate = Estimate::Mean;
    } else if (words.take("affine")) {
      choice.estimate = Estimate::Affine;
    }
  }
  words.require(words.isDone());
  return choice;
}

std::string whyNot(const Choice &choice, const runtime::SiteSpec &site) {
  static const char *const nothingToGain = "everything pending is summed here: there is nothing to gain";
  bool keepsSome = choice.getShared(site.channels) < site.channels || choice.rate > 0;
  if (keepsSome && choice.isPrivate)
    return site.notPrivate;
  if (keepsSome || (choice.bits && choice.feedback)) {
    if (!site.notDeferrable.empty())
      return site.notDeferrable;
    if (site.flushes)
      return nothingToGain;
  }
  if (keepsSome && choice.estimate == Estimate::SmallRank && choice.feature != Feature::Pending &&
      site.input != site.channels)
    return "what its module reads is not known here";
  return "";
}

bool isPossible(const Choice &choice, const runtime::SiteSpec &site) { return whyNot(choice, site).empty(); }

std::string describe(const Choices &choices, const runtime::Manifest &manifest) {
  std::string text;
  for (size_t i = 0; i < choices.size(); ++i)
    if (!choices[i].isFull())
      text += (text.empty() ? "" : ", ") + manifest.sites[i].name + " " + choices[i].text();
  return text.empty() ? "full" : text;
}

} // namespace caat::ablate
