// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What was measured, the chosen plan beside the exact program, and links.
#include "Parts.h"
#include <algorithm>
#include <cmath>

namespace caat::ablate::report {

std::string lossName(const Data &data) { return data.lossName.empty() ? "added loss" : data.lossName; }

std::string kindName(const std::string &kind) {
  return kind == "attn" ? "Attention" : kind == "mlp" ? "MLP" : kind.empty() ? "Sites" : kind;
}

void openTable(Html &html, const std::string &style, const std::string &caption,
               const std::vector<std::string> &names) {
  html.open("div", {{"class", "scroll"}}).open("table", {{"class", style}});
  html.leaf("caption", caption).open("thead").open("tr");
  for (const std::string &name : names)
    if (name[0] == '#')
      html.leaf("th", name.substr(1), {{"scope", "col"}, {"class", "number"}});
    else
      html.leaf("th", name, {{"scope", "col"}});
  html.close("tr").close("thead").open("tbody");
}

void closeTable(Html &html) { html.close("tbody").close("table").close("div"); }

void numberCell(Html &html, const std::string &text) { html.leaf("td", text, {{"class", "number"}}); }

static void fact(Html &html, const std::string &name, const std::string &value) {
  if (!value.empty())
    html.open("div").leaf("dt", name).leaf("dd", value).close("div");
}

void writeHeader(Html &html, const Data &data) {
  html.leaf("p", "Ablation of synchronisation", {{"class", "eyebrow"}});
  html.open("h1").text(data.model.empty() ? "A model" : data.model);
  if (data.ranks)
    html.text(" ").leaf("span", "on " + counted(*data.ranks, "rank"), {{"class", "quiet"}});
  html.close("h1").open("dl", {{"class", "facts"}});
  std::string model;
  auto add = [](std::string &list, const std::string &part) { list += (list.empty() ? "" : ", ") + part; };
  if (!data.sites.empty())
    add(model, counted(static_cast<double>(data.sites.size()), "site"));
  if (data.layers)
    add(model, counted(*data.layers, "layer"));
  if (data.channels)
    add(model, counted(*data.channels, "channel"));
  fact(html, "Model", model);
  if (!data.compiledWith.empty())
    fact(html, "Program",
         "compiled with " + data.compiledWith + "; its exact plan is what all others are compared with");
  std::string text = data.text;
  auto windows = [&](Number number, const std::string &what) {
    if (number)
      add(text, count(number) + " " + what);
  };
  if (data.length)
    add(text, "windows of " + counted(*data.length, "token"));
  if (data.fitSamples || data.testSamples) {
    windows(data.fitSamples, "to fit and search");
    windows(data.testSamples, "held out, on which plans are judged");
  } else {
    windows(data.samples, "measured");
  }
  fact(html, "Text", text);
  fact(html, "Link", data.link);
  fact(html, "Workload", data.workload);
  html.close("dl");
}

void writeWarnings(Html &html, const Data &data) {
  for (const std::string &warning : data.warnings)
    html.open("p", {{"class", "warning"}, {"role", "note"}}).leaf("strong", "Warning:").text(" " + warning).close("p");
}

/// Two standard errors: below that a difference may be chance.
static bool isNoise(const Plan &plan) {
  return plan.added && plan.addedError && std::fabs(*plan.added) < 2 * *plan.addedError;
}

/// The error of a ratio that is exp(added).
static Number ratioError(const Plan &plan) {
  if (!plan.ratio || !plan.addedError)
    return {};
  return *plan.ratio * *plan.addedError;
}

static Number difference(Number value, Number from) { return value && from ? Number(*value - *from) : Number(); }
static Number quotient(Number value, Number by) { return value && by && *by > 0 ? Number(*value / *by) : Number(); }
static Number perplexityError(const Plan &plan, const Plan &errorOf) {
  return plan.perplexity && errorOf.nllError ? Number(*plan.perplexity * *errorOf.nllError) : Number();
}

static std::string change(Number value, Number from) {
  Number ratio = quotient(value, from);
  return ratio ? withSign((*ratio - 1) * 100, 3) + " %" : significant({});
}

/// The plan's price in one sentence.
static std::string priceOf(const Plan &plan, const Data &data) {
  std::string text = "Beside the exact program it ";
  std::string gains;
  auto gain = [&](const std::string &part) { gains += (gains.empty() ? "" : ", ") + part; };
  if (plan.bytesShare)
    gain("sends " + share(plan.bytesShare) + " of the bytes");
  if (plan.syncs && data.exact.syncs)
    gain("waits at " + count(plan.syncs) + " sync points instead of " + count(data.exact.syncs));
  if (plan.fastest && data.exact.fastest) {
    std::string how = data.workload;
    if (plan.halvedSeconds || data.exact.halvedSeconds)
      how += (how.empty() ? "" : ", ") + std::string("whole or in halves, whichever is faster");
    gain("takes " + seconds(plan.fastest) + " instead of " + seconds(data.exact.fastest) + " by the cost model" +
         (how.empty() ? "" : " (" + how + ")"));
  }
  std::string loss;
  if (plan.ratio)
    loss = isNoise(plan)
               ? "its perplexity cannot be told from the exact one on this text (" + addedShare(plan.ratio) + ")"
           : *plan.ratio >= 3 ? "its perplexity is " + significant(plan.ratio) + " times as high"
                              : "its perplexity is " + significant(std::fabs(*plan.ratio - 1) * 100, 2) + " %" +
                                    (*plan.ratio < 1 ? " lower" : " higher");
  else if (plan.added)
    loss = lossName(data) + " is " + withSign(plan.added);
  if (gains.empty())
    return loss.empty() ? "" : text + "differs in this: " + loss + ".";
  return text + gains + (loss.empty() ? "" : "; " + loss) + ".";
}

static void tile(Html &html, const std::string &name, const std::string &value, const std::string &note) {
  html.open("div", {{"class", "tile"}}).leaf("span", name, {{"class", "tile-name"}});
  html.leaf("strong", value).leaf("span", note, {{"class", "tile-note"}}).close("div");
}

static void writeTiles(Html &html, const Data &data, const Plan &plan) {
  const Plan &exact = data.exact;
  html.open("div", {{"class", "tiles"}});
  if (plan.ratio) {
    Number error = ratioError(plan);
    tile(html, "Perplexity", addedShare(plan.ratio),
         perplexity(exact.perplexity) + " → " + perplexity(plan.perplexity) +
             (error ? ", ± " + significant(*error * 100, 2) + " %" : ""));
  } else if (plan.added) {
    tile(html, lossName(data), withSign(plan.added), plan.addedError ? "± " + significant(plan.addedError, 2) : "");
  }
  if (plan.bytesShare)
    tile(html, "Bytes", share(plan.bytesShare),
         exact.bytes && plan.bytes ? bytes(exact.bytes) + " → " + bytes(plan.bytes) + " a token" : "");
  if (plan.syncs)
    tile(html, "Sync points", count(plan.syncs), exact.syncs ? "of " + count(exact.syncs) : "");
  if (plan.fastest)
    tile(html, "Time, predicted", seconds(plan.fastest),
         exact.fastest ? "from " + seconds(exact.fastest) + ", " + change(plan.fastest, exact.fastest) : "");
  if (plan.measuredSeconds)
    tile(html, "Time, measured", seconds(plan.measuredSeconds),
         exact.measuredSeconds
             ? "from " + seconds(exact.measuredSeconds) + ", " + change(plan.measuredSeconds, exact.measuredSeconds)
             : "");
  html.close("div");
}

static void bar(Html &html, const std::string &name, Number value, Number exact, std::string (*format)(Number)) {
  Number part = quotient(value, exact);
  if (!part)
    return;
  auto one = [&](const std::string &who, double width, Number number, const std::string &style) {
    char size[32];
    std::snprintf(size, sizeof size, "width:%.1f%%", std::clamp(width, 0.0, 1.0) * 100);
    html.open("div", {{"class", "bar-row"}}).leaf("span", who, {{"class", "bar-who"}});
    html.open("span", {{"class", "bar-space"}}).leaf("span", "", {{"class", "bar " + style}, {"style", size}}).close();
    html.leaf("span", format(number), {{"class", "bar-value"}}).close("div");
  };
  double longest = std::max(1.0, *part);
  html.open("div", {{"class", "bars"}}).leaf("h3", name);
  one("before", 1 / longest, exact, "before");
  one("after", *part / longest, value, "after");
  html.close("div");
}

static void row(Html &html, const std::string &name, const std::string &exact, const std::string &plan,
                const std::string &change, bool present) {
  if (!present)
    return;
  html.open("tr").leaf("th", name, {{"scope", "row"}});
  numberCell(html, exact);
  numberCell(html, plan);
  numberCell(html, change);
  html.close("tr");
}

bool writeChosen(Html &html, const Data &data) {
  const Plan *chosen = data.chosen();
  if (!chosen && !data.hasExact)
    return false;
  static const Plan none;
  const Plan &exact = data.exact, &plan = chosen ? *chosen : none;
  html.open("section", {{"id", "plan"}}).leaf("h2", chosen ? "The chosen plan" : "The exact program");
  if (chosen) {
    html.open("p", {{"class", "lead"}}).leaf("strong", shortened(plan.label, 200)).text(". ");
    html.text(priceOf(plan, data)).close("p");
    writeTiles(html, data, plan);
    if (plan.words.size() > 800) {
      html.open("details").leaf("summary", "What it does at each site").leaf("p", plan.words, {{"class", "words"}});
      html.close("details");
    } else if (!plan.words.empty()) {
      html.open("p", {{"class", "words"}}).leaf("strong", "What it does: ").text(plan.words).close("p");
    }
    html.open("div", {{"class", "before-after"}});
    bar(html, "Bytes a token", plan.bytes, exact.bytes, bytes);
    bar(html, "Sync points", plan.syncs, exact.syncs, count);
    bar(html, "Predicted time", plan.fastest, exact.fastest, seconds);
    bar(html, "Measured time", plan.measuredSeconds, exact.measuredSeconds, seconds);
    html.close("div");
  }
  std::string text = data.tokens ? ", over " + counted(*data.tokens, "predicted token") : "";
  openTable(html, "figures", "All figures" + text + "; ± is one standard error.",
            {"Figure", "#Exact", "#Chosen plan", "#Change"});
  Number exactError = perplexityError(exact, exact), planError = perplexityError(plan, plan);
  row(html, "Perplexity", withError(perplexity(exact.perplexity), significant(exactError, 2), exactError.has_value()),
      withError(perplexity(plan.perplexity), significant(planError, 2), planError.has_value()), addedShare(plan.ratio),
      exact.perplexity || plan.perplexity);
  row(html, data.lossName.empty() ? "Loss (nats a token)" : data.lossName,
      withError(significant(exact.nll, 4), significant(exact.nllError, 2), exact.nllError.has_value()),
      withError(significant(plan.nll, 4), significant(plan.nllError, 2), plan.nllError.has_value()),
      withError(withSign(plan.added), significant(plan.addedError, 2), plan.addedError.has_value()),
      exact.nll || plan.added);
  row(html, "KL divergence, mean", "0", significant(plan.kl), "", plan.kl.has_value());
  row(html, "KL divergence, 99th percentile", "0", significant(plan.kl99), "", plan.kl99.has_value());
  row(html, "Top-1 agreement", share(1), share(plan.agree), "", plan.agree.has_value());
  row(html, "Bytes a token", bytes(exact.bytes), bytes(plan.bytes), change(plan.bytes, exact.bytes),
      exact.bytes || plan.bytes);
  row(html, "Sync points", count(exact.syncs), count(plan.syncs), withSign(difference(plan.syncs, exact.syncs), 3),
      exact.syncs || plan.syncs);
  row(html, "Time, predicted", seconds(exact.seconds), seconds(plan.seconds), change(plan.seconds, exact.seconds),
      exact.seconds || plan.seconds);
  row(html, "Time in halves, predicted", seconds(exact.halvedSeconds), seconds(plan.halvedSeconds),
      change(plan.halvedSeconds, exact.halvedSeconds), exact.halvedSeconds || plan.halvedSeconds);
  row(html, "Time, measured", seconds(exact.measuredSeconds), seconds(plan.measuredSeconds),
      change(plan.measuredSeconds, exact.measuredSeconds), exact.measuredSeconds || plan.measuredSeconds);
  closeTable(html);
  if (isNoise(plan))
    html.leaf(
        "p",
        "The added loss is smaller than two of its standard errors: a longer text would tell whether there is any.",
        {{"class", "note"}});
  html.close("section");
  return true;
}

/// The largest share by which a prediction missed what was measured.
static Number missOf(const std::vector<Link> &links) {
  Number most;
  for (const Link &link : links)
    for (Number ratio :
         {quotient(link.exactSeconds, link.measuredExact), quotient(link.chosenSeconds, link.measuredChosen)})
      if (ratio)
        most = std::max(most.value_or(0), std::fabs(*ratio - 1));
  return most;
}

/// What the saving means for somebody with that link.
static std::string verdict(Number saving) {
  if (!saving)
    return "";
  return *saving < -0.02  ? "slower than exact"
         : *saving < 0.02 ? "no faster"
         : *saving < 0.1  ? "a little faster"
                          : "faster";
}

bool writeLinks(Html &html, const Data &data) {
  if (data.links.empty())
    return false;
  bool measured = std::any_of(data.links.begin(), data.links.end(),
                              [](const Link &link) { return link.measuredExact || link.measuredChosen; });
  bool halved = std::any_of(data.links.begin(), data.links.end(),
                            [](const Link &link) { return link.exactHalved || link.chosenHalved; });
  html.open("section", {{"id", "links"}}).leaf("h2", "Time at several links");
  html.open("p").text("The same two programs where ranks are joined otherwise");
  html.text(data.workload.empty() ? ". " : " (" + data.workload + "). ");
  html.text(
      "Predicted is the cost model's; measured is a run whose messages were delayed as that link would delay them. "
      "What is saved shrinks as the link gets faster: then the plan only costs quality.");
  if (halved)
    html.text(" In halves, a run is made as two that take turns, and the sums of one travel while the other computes. "
              "The better time of the one program is compared with the better time of the other: sums that are hidden "
              "cost nothing, so dropping them gains nothing.");
  html.close("p");
  std::vector<std::string> names = {"Link", "#Bandwidth", "#Latency"};
  for (std::string program : {"#Exact, ", "#Plan, "}) {
    names.push_back(program + "predicted");
    if (halved)
      names.push_back(program + "in halves");
  }
  names.push_back("#Saved");
  if (measured)
    names.insert(names.end(), {"#Exact, measured", "#Plan, measured", "#Saved, measured"});
  names.push_back("So the plan is");
  openTable(html, "figures", "Time of both programs by link", names);
  for (const Link &link : data.links) {
    auto saved = [](Number exact, Number plan) {
      return exact && plan && *exact > 0 ? Number(1 - *plan / *exact) : Number();
    };
    auto savedBest = [&](Number exact, Number plan) {
      return saved(lesser(exact, link.exactHalved), plan ? lesser(plan, link.chosenHalved) : plan);
    };
    Number predicted = savedBest(link.exactSeconds, link.chosenSeconds);
    Number really = saved(link.measuredExact, link.measuredChosen);
    Number best = really ? savedBest(link.measuredExact, link.measuredChosen) : predicted;
    html.open("tr").leaf("th", link.name, {{"scope", "row"}});
    numberCell(html, rate(link.bandwidth));
    numberCell(html, seconds(link.latency));
    numberCell(html, seconds(link.exactSeconds));
    if (halved)
      numberCell(html, seconds(link.exactHalved));
    numberCell(html, seconds(link.chosenSeconds));
    if (halved)
      numberCell(html, seconds(link.chosenHalved));
    numberCell(html, share(predicted));
    if (measured) {
      numberCell(html, seconds(link.measuredExact));
      numberCell(html, seconds(link.measuredChosen));
      numberCell(html, share(really));
    }
    html.leaf("td", verdict(best)).close("tr");
  }
  closeTable(html);
  if (Number miss = missOf(data.links))
    html.leaf("p", "The predictions here are within " + share(miss) + " of what was measured.", {{"class", "note"}});
  html.close("section");
  return true;
}

} // namespace caat::ablate::report
