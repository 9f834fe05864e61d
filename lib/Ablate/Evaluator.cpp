// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Evaluator.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Tasks.h"
#include <algorithm>
#include <map>
#include <numeric>

namespace caat::ablate {

using runtime::Judgement;
using runtime::Policies;
using runtime::Snapshot;
using runtime::Tensor;

Tensor Text::at(int64_t number) const {
  int64_t first = number * batch;
  Tensor part = tokens;
  part.data = std::shared_ptr<std::byte>(tokens.data, tokens.data.get() + first * length() * 8);
  part.shape = {std::min(batch, windows() - first), length()};
  return part;
}

Text Text::cut(const Tensor &tokens, int64_t first, int64_t count, int64_t length, int64_t batch) {
  if (tokens.dtype != runtime::DType::I64 || tokens.shape.size() != 1)
    runtime::failInput("tokens must be an i64 array [n], not ", nameOf(tokens.dtype), runtime::toString(tokens.shape));
  if (count < 1 || length < 2 || batch < 1 || first < 0)
    runtime::failInput(count, " windows of ", length, " tokens from token ", first, " on, ", batch, " together");
  int64_t total = tokens.shape[0];
  if (first > total || count > (total - first) / length)
    runtime::failInput("too few tokens: ", count, " windows of ", length, " from token ", first, " on need ",
                       first + count * length, ", there are ", total);
  Text text;
  text.batch = std::min(batch, count);
  text.tokens = tokens;
  text.tokens.data = std::shared_ptr<std::byte>(tokens.data, tokens.data.get() + first * 8);
  text.tokens.shape = {count, length};
  return text;
}

namespace {

using Members = std::vector<size_t>;

/// The first site from `site` on at which the members differ; nothing where they do not.
std::optional<size_t> firstDifference(const std::vector<Policies> &plans, const Members &members, size_t site) {
  const Policies &first = plans[members.front()];
  for (size_t at = site; at < first.size(); ++at)
    for (size_t member : members)
      if (plans[member][at] != first[at])
        return at;
  return std::nullopt;
}

/// The members by their policy at a site, the largest group last.
std::vector<Members> groupsAt(const std::vector<Policies> &plans, const Members &members, size_t site) {
  std::vector<Members> groups;
  std::map<const runtime::SitePolicy *, size_t> numbers; // in the order of the members
  for (size_t member : members) {
    auto [entry, isNew] = numbers.emplace(plans[member][site].get(), groups.size());
    if (isNew)
      groups.emplace_back();
    groups[entry->second].push_back(member);
  }
  auto largest = std::max_element(groups.begin(), groups.end(),
                                  [](const Members &a, const Members &b) { return a.size() < b.size(); });
  std::iter_swap(largest, std::prev(groups.end()));
  return groups;
}

Members allOf(const std::vector<Policies> &plans) {
  Members members(plans.size());
  std::iota(members.begin(), members.end(), size_t{0});
  return members;
}

int64_t countFrom(const std::vector<Policies> &plans, Members members, size_t site) {
  int64_t total = 0;
  while (true) {
    std::optional<size_t> next = firstDifference(plans, members, site);
    auto end = next.value_or(plans[members.front()].size());
    total += static_cast<int64_t>(end - site);
    if (!next)
      return total;
    std::vector<Members> groups = groupsAt(plans, members, *next);
    for (size_t i = 0; i + 1 < groups.size(); ++i)
      total += countFrom(plans, groups[i], *next);
    members = groups.back();
    site = *next;
  }
}

} // namespace

int64_t countSites(const std::vector<Policies> &plans) { return plans.empty() ? 0 : countFrom(plans, allOf(plans), 0); }

/// The runs over some windows, with the exact program's distribution to compare with.
class Evaluator::Batch {
public:
  Batch(runtime::Engine &engine, Tensor tokens) : engine(engine), tokens(std::move(tokens)), judge(engine) {}

  /// The exact program.
  Judgement setReference() {
    engine.setPolicies({});
    run({});
    return judge.setReference(tokens);
  }

  /// What happens on the way: sites that were passed, and the judgement of a plan.
  struct Report {
    std::function<void(size_t from, size_t to)> passed;
    std::function<void(size_t plan, const Judgement &)> judged;
  };
  void run(const std::vector<Policies> &plans, const Report &report) {
    if (!plans.empty())
      descend(plans, allOf(plans), nullptr, report);
  }

private:
  void run(const runtime::SiteRange &range) {
    engine.start(tokens.shape[1]);
    engine.step(tokens, {}, range);
  }

  /// The members agree up to the site of `from`, where the run is taken up; the start where there is none.
  void descend(const std::vector<Policies> &plans, Members members, std::shared_ptr<Snapshot> from,
               const Report &report) {
    while (true) {
      const Policies &common = plans[members.front()];
      size_t site = from ? from->site : 0;
      std::optional<size_t> next = firstDifference(plans, members, site);
      engine.setPolicies(common);
      if (!next) {
        run({from.get(), {}, nullptr});
        Judgement judged = judge.compare(tokens);
        report.passed(site, common.size());
        for (size_t member : members)
          report.judged(member, judged);
        return;
      }
      if (!from || *next > site) {
        auto there = std::make_shared<Snapshot>();
        run({from.get(), *next, there.get()});
        report.passed(site, *next);
        from = std::move(there);
      }
      std::vector<Members> groups = groupsAt(plans, members, *next);
      for (size_t i = 0; i + 1 < groups.size(); ++i)
        descend(plans, groups[i], from, report);
      members = groups.back();
    }
  }

  runtime::Engine &engine;
  Tensor tokens;
  runtime::Judge judge;
};

Evaluator::Evaluator(runtime::Engine &engine, Text text, size_t hold, Store &store, std::string prefix)
    : engine(engine), text_(std::move(text)), hold(hold), store(store), prefix(std::move(prefix)),
      held(static_cast<size_t>(text_.batches())) {}

Evaluator::~Evaluator() = default;

int64_t Evaluator::numSites() const { return static_cast<int64_t>(engine.manifest().sites.size()); }

/// Bytes of the exact program's distribution over all tokens of a text.
static size_t referenceBytes(const runtime::Manifest &manifest, const Text &text) {
  const runtime::ArraySpec &logits = manifest.outputs[runtime::logitsOutput(manifest)];
  constexpr int64_t unknown = 1 << 17;
  int64_t width = logits.shape.back().asConstant().value_or(unknown) * manifest.tp;
  return static_cast<size_t>(text.windows() * text.length() * width) * sizeof(float);
}

std::vector<Losses> Evaluator::run(const std::vector<Plan> &plans, const std::function<void(const Work &)> &progress) {
  // What each batch has still to run, and the whole of it.
  auto batches = static_cast<size_t>(text_.batches());
  std::vector<std::vector<size_t>> open(batches);
  std::vector<std::vector<Policies>> policies(batches);
  auto keyOf = [&](size_t plan) { return prefix + plans[plan].key; };
  std::string exactKey = prefix + "exact";
  Work work;
  for (size_t batch = 0; batch < batches; ++batch) {
    auto number = static_cast<int64_t>(batch);
    for (size_t i = 0; i < plans.size(); ++i)
      if (!store.find(keyOf(i), number)) {
        open[batch].push_back(i);
        policies[batch].push_back(plans[i].policies);
      }
    bool needsExact = !store.find(exactKey, number) || !open[batch].empty();
    work.total += countSites(policies[batch]) + (needsExact && !held[batch] ? numSites() : 0);
  }
  auto pass = [&](size_t from, size_t to) {
    work.done += static_cast<int64_t>(to - from);
    passed += static_cast<int64_t>(to - from);
    if (progress)
      progress(work);
  };
  bool keeps = referenceBytes(engine.manifest(), text_) <= hold;
  for (size_t batch = 0; batch < batches; ++batch) {
    auto number = static_cast<int64_t>(batch);
    if (open[batch].empty() && store.find(exactKey, number))
      continue;
    std::unique_ptr<Batch> &slot = held[batch];
    if (!slot) {
      slot = std::make_unique<Batch>(engine, text_.at(number));
      Judgement exact = slot->setReference();
      if (!store.find(exactKey, number))
        store.add(exactKey, number, std::move(exact));
      pass(0, static_cast<size_t>(numSites()));
    }
    slot->run(policies[batch], {pass, [&](size_t plan, const Judgement &judged) {
                                  size_t which = open[batch][plan];
                                  if (!store.find(keyOf(which), number))
                                    store.add(keyOf(which), number, judged);
                                }});
    if (!keeps)
      slot.reset();
  }
  std::vector<Losses> losses(plans.size());
  for (size_t i = 0; i < plans.size(); ++i)
    for (int64_t number = 0; number < text_.batches(); ++number)
      losses[i].append(*store.find(exactKey, number), *store.find(keyOf(i), number));
  return losses;
}

} // namespace caat::ablate
