// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The files page.html, page.css and page.js, built in.
#ifndef CAAT_LIB_ABLATE_REPORT_TEMPLATE_H
#define CAAT_LIB_ABLATE_REPORT_TEMPLATE_H

#include <string_view>

namespace caat::ablate::report {

extern const std::string_view pageTemplate, pageStyle, pageScript;

} // namespace caat::ablate::report

#endif
