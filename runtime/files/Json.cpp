// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Json.h"
#include "caat/runtime/Error.h"

namespace caat::runtime {

nlohmann::json parseJson(std::string_view text) {
  static constexpr int maxDepth = 100;
  using Json = nlohmann::json;
  auto checkDepth = [](int depth, Json::parse_event_t event, Json &) {
    bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= maxDepth)
      failArtifact("values nested more than ", maxDepth, " deep");
    return true;
  };
  try {
    return Json::parse(text, checkDepth);
  } catch (const Json::exception &e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 3: …"
    std::string_view reason = e.what();
    reason.remove_prefix(std::min(reason.find("] ") + 2, reason.size()));
    failArtifact("no JSON: ", reason);
  }
}

} // namespace caat::runtime
