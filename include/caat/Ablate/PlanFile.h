// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans as files: JSON of docs/plan.schema.json, with orders in it and estimates beside it.
#ifndef CAAT_ABLATE_PLANFILE_H
#define CAAT_ABLATE_PLANFILE_H

#include "caat/runtime/Sites.h"
#include <string>

namespace caat::ablate {

/// Writes FOLDER/NAME.json, and FOLDER/NAME.safetensors where a site has an estimate. Throws Error (Run).
void writePlan(const runtime::Policies &policies, const runtime::Manifest &manifest, const std::string &folder,
               const std::string &name);

} // namespace caat::ablate

#endif
