// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes HTML and inline SVG. All text and all values of attributes are escaped: markup comes from tags alone.
#ifndef CAAT_LIB_ABLATE_REPORT_HTML_H
#define CAAT_LIB_ABLATE_REPORT_HTML_H

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caat::ablate::report {

/// Characters that mean something in HTML become entities, control characters U+FFFD.
std::string escape(std::string_view text);

class Html {
public:
  using Attributes = std::vector<std::pair<std::string_view, std::string>>;

  Html &open(std::string_view tag, const Attributes &attributes = {});
  /// Closes the element that was opened last.
  Html &close();
  /// Closes the element `tag`, opened last: says so where code is far apart.
  Html &close(std::string_view tag);
  Html &text(std::string_view text);
  /// An element that holds text alone.
  Html &leaf(std::string_view tag, std::string_view text, const Attributes &attributes = {});
  /// An element that holds nothing and has no end tag.
  Html &empty(std::string_view tag, const Attributes &attributes = {});

  std::string take();

private:
  void start(std::string_view tag, const Attributes &attributes);

  std::string out;
  std::vector<std::string> opened;
};

} // namespace caat::ablate::report

#endif
