// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PtxWrites.h"
#include <map>
#include <sstream>
#include <vector>

namespace caat::test {

namespace {

using Parameters = std::set<size_t>;

/// The names in an instruction's operands: registers, parameters.
std::vector<std::string> namesIn(const std::string &text) {
  std::vector<std::string> names;
  auto isPart = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '%' || c == '$'; };
  for (size_t i = 0; i < text.size(); ++i) {
    size_t end = i;
    while (end < text.size() && isPart(text[end]))
      ++end;
    if (end > i && !std::isdigit(static_cast<unsigned char>(text[i])))
      names.push_back(text.substr(i, end - i));
    i = std::max(i, end);
  }
  return names;
}

/// The comma behind the first operand, which may be a list in braces.
size_t endOfFirst(const std::string &operands) {
  size_t from = operands.find_first_not_of(" \t");
  return operands.find(',', from != std::string::npos && operands[from] == '{' ? operands.find('}') : 0);
}

} // namespace

std::set<size_t> writtenParameters(const std::string &name, const std::string &body) {
  std::map<std::string, Parameters> from; // what an address in a register comes from
  Parameters written;
  bool changed = true;
  auto join = [&](Parameters &to, const Parameters &more) {
    size_t before = to.size();
    to.insert(more.begin(), more.end());
    changed = changed || to.size() != before;
  };
  const std::string prefix = name + "_param_";
  while (changed) {
    changed = false;
    std::istringstream lines(body);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string operation, operands;
      words >> operation;
      if (operation.starts_with("@"))
        words >> operation;
      std::getline(words, operands);
      size_t comma = endOfFirst(operands);
      if (comma == std::string::npos)
        continue;
      std::string first = operands.substr(0, comma), rest = operands.substr(comma + 1);
      bool isElsewhere =
          operation.starts_with("st.shared") || operation.starts_with("st.local") || operation.starts_with("st.param");
      bool isStore = (operation.starts_with("st.") && !isElsewhere) || operation.starts_with("red.");
      if (isStore || operation.starts_with("atom.")) {
        for (const std::string &address : namesIn(isStore ? first : rest.substr(0, rest.find(']'))))
          join(written, from[address]);
        continue;
      }
      bool isParameter = operation.starts_with("ld.param");
      if (operation.starts_with("st.") || (operation.starts_with("ld.") && !isParameter))
        continue; // a value from memory is no address here
      Parameters sources;
      for (const std::string &source : namesIn(rest))
        if (source.starts_with(prefix))
          sources.insert(std::stoul(source.substr(prefix.size())));
        else
          sources.insert(from[source].begin(), from[source].end());
      for (const std::string &target : namesIn(first))
        join(from[target], sources);
    }
  }
  return written;
}

} // namespace caat::test
