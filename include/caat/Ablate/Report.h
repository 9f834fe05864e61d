// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What an ablation found, as one page for people. docs/ablation.md describes the data and how to read the page.
#ifndef CAAT_ABLATE_REPORT_H
#define CAAT_ABLATE_REPORT_H

#include <string>
#include <string_view>

namespace caat::ablate {

/// An HTML document that needs nothing else, neither files nor a network, from the report's data (JSON, version 1).
/// Parts that the data does not have are left out; text of the data is shown as text, whatever it holds. The data
/// itself is inside too, in the element `data`. Throws std::invalid_argument where `json` is no object of version 1.
std::string renderReport(std::string_view json);

} // namespace caat::ablate

#endif
