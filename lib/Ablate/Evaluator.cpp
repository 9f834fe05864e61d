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

/// The runs over a batch of the text, with what the exact program gave there to compare with.
class Evaluator::Batch {
public:
  /// `exact`: of an encoder.
  Batch(runtime::Engine &engine, const Text &text, int64_t number, Embeddings *exact)
      : engine(engine), text(text), number(number), exact(exact) {
    if (!exact)
      judge.emplace(engine);
  }

  /// The exact program.
  Judgement setReference() {
    engine.setPolicies({});
    runtime::TensorMap outputs = text.run(engine, number, {});
    if (judge)
      return judge->setReference(text.tokensAt(number));
    std::vector<std::vector<float>> rows = Embeddings::of(engine.manifest(), text.at(number), outputs);
    exact->add(rows);
    return {std::vector<double>(rows.size()), {}, {}};
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
  Judgement finish(const Snapshot *from) {
    runtime::TensorMap outputs = text.run(engine, number, {from, {}, nullptr});
    if (judge)
      return judge->compare(text.tokensAt(number));
    runtime::TensorMap inputs = text.at(number);
    auto first = static_cast<size_t>(number * text.batchSize());
    return exact->compare(first, Embeddings::of(engine.manifest(), inputs, outputs));
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
        Judgement judged = finish(from.get());
        report.passed(site, common.size());
        for (size_t member : members)
          report.judged(member, judged);
        return;
      }
      if (!from || *next > site) {
        auto there = std::make_shared<Snapshot>();
        text.run(engine, number, {from.get(), *next, there.get()});
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
  const Text &text;
  int64_t number;
  Embeddings *exact;
  std::optional<runtime::Judge> judge; // of a language model
};

Evaluator::Evaluator(runtime::Engine &engine, Text text, size_t hold, Store &store, std::string prefix)
    : engine(engine), text_(std::move(text)), hold(hold), store(store), prefix(std::move(prefix)),
      held(static_cast<size_t>(text_.batches())) {}

Evaluator::~Evaluator() = default;

int64_t Evaluator::numSites() const { return static_cast<int64_t>(engine.manifest().sites.size()); }

/// Bytes of the exact program's distribution over all tokens of a text.
static size_t referenceBytes(const runtime::Manifest &manifest, const Text &text) {
  if (!text.isTokens())
    return 0;
  const runtime::ArraySpec &logits = manifest.outputs[runtime::logitsOutput(manifest)];
  constexpr int64_t unknown = 1 << 17;
  int64_t width = logits.shape.back().asConstant().value_or(unknown) * manifest.tp;
  return static_cast<size_t>(text.size() * text.tokensAt(0).shape[1] * width) * sizeof(float);
}

/// The exact embeddings of an encoder, of all batches.
void Evaluator::prepare(const std::function<void(int64_t)> &passed) {
  for (size_t batch = 0; batch < held.size(); ++batch) {
    if (held[batch])
      continue;
    auto number = static_cast<int64_t>(batch);
    held[batch] = std::make_unique<Batch>(engine, text_, number, &exact);
    Judgement zeros = held[batch]->setReference();
    if (!store.find(prefix + "exact", number))
      store.add(prefix + "exact", number, std::move(zeros));
    passed(numSites());
  }
}

std::vector<Losses> Evaluator::run(const std::vector<Plan> &plans, const std::function<void(const Work &)> &progress) {
  // What each batch has still to run, and the whole of it.
  auto batches = static_cast<size_t>(text_.batches());
  if (!text_.isTokens()) // a sentence is looked for among all
    prepare([&](int64_t sites) { passed += sites; });
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
      slot = std::make_unique<Batch>(engine, text_, number, nullptr);
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
