// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LIB_ABLATE_WRITEJSON_H
#define CAAT_LIB_ABLATE_WRITEJSON_H

#include "caat/runtime/Error.h"
#include <fstream>
#include <nlohmann/json.hpp>

namespace caat::ablate {

/// Throws where the file cannot be written whole.
inline void writeJson(const nlohmann::ordered_json &json, const std::string &path) {
  std::ofstream file(path);
  file << json.dump(1) << '\n';
  file.close();
  if (!file)
    runtime::failRun(path, ": cannot be written");
}

} // namespace caat::ablate

#endif // CAAT_LIB_ABLATE_WRITEJSON_H
