# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -DFOLDER=… -DOUTPUT=Template.cpp -P Embed.cmake: the page's files as C++ strings.
set(source "// Made from page.html, page.css and page.js.\n#include \"Template.h\"\n\nnamespace caat::ablate::report {\n")
foreach(part "pageTemplate|page.html" "pageStyle|page.css" "pageScript|page.js")
  string(REGEX MATCH "^(.*)\\|(.*)$" part "${part}")
  set(name "${CMAKE_MATCH_1}")
  file(READ "${FOLDER}/${CMAKE_MATCH_2}" text)
  string(APPEND source "\nconst std::string_view ${name} = R\"caat-embed(${text})caat-embed\";\n")
endforeach()
string(APPEND source "\n} // namespace caat::ablate::report\n")
file(WRITE "${OUTPUT}" "${source}")
