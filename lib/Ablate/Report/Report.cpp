// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The page: the template's parts, filled in.
#include "caat/Ablate/Report.h"
#include "Parts.h"
#include "Template.h"
#include <functional>

namespace caat::ablate {

namespace report {

/// Where two texts part, between characters.
static size_t commonPrefix(const std::string &a, const std::string &b) {
  size_t length = 0;
  while (length < a.size() && length < b.size() && a[length] == b[length])
    ++length;
  auto isInside = [](const std::string &text, size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  while (length > 0 && (isInside(a, length) || isInside(b, length)))
    --length;
  return length;
}

bool writeSamples(Html &html, const Data &data) {
  if (data.continuations.empty())
    return false;
  html.open("section", {{"id", "samples"}}).leaf("h2", "Continuations under both programs");
  html.leaf("p", "The most likely token each time. What is underlined differs from where the two part; they may part "
                 "at a tie, so this "
                 "shows what a plan does rather than proves it.");
  for (const Sample &sample : data.continuations) {
    size_t common = commonPrefix(sample.exact, sample.chosen);
    html.open("div", {{"class", "sample"}});
    html.open("p", {{"class", "prompt"}, {"dir", "auto"}}).leaf("strong", "Prompt: ").text(sample.prompt).close("p");
    auto side = [&](const std::string &name, const std::string &text) {
      html.open("div", {{"class", "side"}}).leaf("h3", name).open("p", {{"dir", "auto"}}).text(text.substr(0, common));
      if (common < text.size())
        html.leaf("mark", text.substr(common));
      html.close("p").close("div");
    };
    side("Exact", sample.exact);
    side(sample.exact == sample.chosen ? "Chosen plan: the same" : "Chosen plan", sample.chosen);
    html.close("div");
  }
  html.close("section");
  return true;
}

bool writeCommands(Html &html, const Data &data) {
  if (data.commands.empty())
    return false;
  html.open("section", {{"id", "commands"}}).leaf("h2", "To do it again");
  for (const std::string &command : data.commands)
    html.open("div", {{"class", "command"}}).open("pre").leaf("code", command).close("pre").close("div");
  html.close("section");
  return true;
}

static std::string titleOf(const Data &data) {
  std::string title = "Ablation of " + (data.model.empty() ? "a model" : shortened(data.model, 120));
  return data.ranks ? title + " on " + counted(*data.ranks, "rank") : title;
}

static std::string bodyOf(const Data &data) {
  struct Part {
    const char *id, *name;
    bool (*write)(Html &, const Data &);
  };
  static const Part parts[] = {{"plan", "Chosen plan", writeChosen},
                               {"frontier", "Frontier", writeFrontier},
                               {"links", "Links", writeLinks},
                               {"sites", "Sites", writeHeatMap},
                               {"sensitivity", "Layers", writeSensitivity},
                               {"orders", "Orders", writeOrders},
                               {"samples", "Continuations", writeSamples},
                               {"commands", "Commands", writeCommands}};
  Html head, body, contents;
  head.open("header");
  writeHeader(head, data);
  head.close("header");
  writeWarnings(head, data);
  contents.open("nav", {{"aria-label", "Contents"}});
  for (const Part &part : parts)
    if (part.write(body, data))
      contents.leaf("a", part.name, {{"href", std::string("#") + part.id}});
  contents.leaf("a", "Terms", {{"href", "#terms"}}).close("nav");
  return head.take() + contents.take() + body.take();
}

/// JSON that cannot end the element it stands in. '<' is found in strings alone.
static std::string insideScript(std::string_view json) {
  std::string result;
  for (char c : json)
    if (c == '<')
      result += "\\u003c";
    else
      result += c;
  return result;
}

/// Replaces each {{name}} of the template; what is filled in is not searched again.
static std::string fill(std::string_view page, const std::function<std::string(std::string_view)> &value) {
  std::string result;
  for (size_t open; (open = page.find("{{")) != std::string_view::npos;) {
    size_t close = page.find("}}", open);
    result += page.substr(0, open);
    result += value(page.substr(open + 2, close - open - 2));
    page.remove_prefix(close + 2);
  }
  return result.append(page);
}

} // namespace report

std::string renderReport(std::string_view json) {
  report::Data data = report::readData(json);
  return report::fill(report::pageTemplate, [&](std::string_view name) -> std::string {
    return name == "title"    ? report::escape(report::titleOf(data))
           : name == "style"  ? std::string(report::pageStyle)
           : name == "script" ? std::string(report::pageScript)
           : name == "body"   ? report::bodyOf(data)
                              : report::insideScript(json);
  });
}

} // namespace caat::ablate
