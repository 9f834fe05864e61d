// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans that people write down: a choice for each site, by patterns of names.
#ifndef CAAT_ABLATE_RECIPES_H
#define CAAT_ABLATE_RECIPES_H

#include "caat/Ablate/Choice.h"

namespace caat::ablate {

struct Recipe {
  std::string label;
  Choices choices;
};

/// Reads {"plans": [{"label": "SPD", "sites": {"layers.*.attn": "drop", "layers.0.*": "full"}}]}. `*` stands for any
/// text; of the patterns that match a site the last one counts, and a site that none matches is full. Throws Error
/// (Input) that names the plan where a pattern matches no site, or a site cannot do what it is to do.
std::vector<Recipe> readRecipes(const std::string &file, const runtime::Manifest &manifest);

} // namespace caat::ablate

#endif
