// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RUNTIME_FILES_JSON_H
#define CAAT_RUNTIME_FILES_JSON_H

#include <nlohmann/json.hpp>
#include <string_view>

namespace caat::runtime {

/// The value of untrusted text. Throws Error (Artifact) that says where the text is wrong; values nested more than 100
/// deep are refused, because writing them into a message recurses.
nlohmann::json parseJson(std::string_view text);

} // namespace caat::runtime

#endif
