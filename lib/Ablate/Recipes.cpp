// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Recipes.h"
#include "caat/runtime/Error.h"
#include <fstream>
#include <nlohmann/json.hpp>

namespace caat::ablate {

using Json = nlohmann::ordered_json;

/// Whether `name` is of the form `pattern`, in which `*` stands for any text.
static bool matches(std::string_view pattern, std::string_view name) {
  size_t at = 0, in = 0, star = std::string_view::npos, tried = 0;
  while (in < name.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      tried = in;
    } else if (at < pattern.size() && pattern[at] == name[in]) {
      ++at, ++in;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      in = ++tried;
    } else {
      return false;
    }
  }
  while (at < pattern.size() && pattern[at] == '*')
    ++at;
  return at == pattern.size();
}

static Recipe readRecipe(const Json &plan, const std::string &file, const runtime::Manifest &manifest) {
  Recipe recipe{plan.at("label").get<std::string>(), Choices(manifest.sites.size())};
  for (const auto &[pattern, text] : plan.at("sites").items()) {
    Choice choice = Choice::parse(text.get<std::string>());
    bool isUsed = false;
    for (size_t i = 0; i < manifest.sites.size(); ++i)
      if (matches(pattern, manifest.sites[i].name)) {
        recipe.choices[i] = choice;
        isUsed = true;
      }
    if (!isUsed)
      runtime::failInput(file, ": plan '", recipe.label, "': no site is called '", pattern, "'; the program has ",
                         manifest.sites.size(), " from ", manifest.sites.front().name, " to ",
                         manifest.sites.back().name);
  }
  for (size_t i = 0; i < manifest.sites.size(); ++i) {
    std::string reason = whyNot(recipe.choices[i], manifest.sites[i]);
    if (!reason.empty())
      runtime::failInput(file, ": plan '", recipe.label, "': ", manifest.sites[i].name, " cannot do '",
                         recipe.choices[i].text(), "': ", reason);
  }
  return recipe;
}

std::vector<Recipe> readRecipes(const std::string &file, const runtime::Manifest &manifest) {
  std::ifstream stream(file);
  if (!stream)
    runtime::failInput(file, ": cannot be read");
  std::vector<Recipe> recipes;
  try {
    Json all = Json::parse(stream);
    for (const Json &plan : all.at("plans"))
      recipes.push_back(readRecipe(plan, file, manifest));
  } catch (const Json::exception &e) {
    runtime::failInput(file,
                       ": expected {\"plans\": [{\"label\": \"SPD\", \"sites\": {\"layers.*.attn\": \"drop\"}}]} (",
                       e.what(), ")");
  }
  return recipes;
}

} // namespace caat::ablate
