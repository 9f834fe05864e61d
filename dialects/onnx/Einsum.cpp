// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/onnx/Einsum.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace caat::onnx;
using llvm::SmallVector;
using llvm::StringRef;

/// Letters as they are, dimensions of an ellipsis from here on, the last one first.
static constexpr unsigned kEllipsis = 256;

/// The keys of one term; nothing where it is not well-formed. `ellipsis`: the number of dimensions of "...".
static std::optional<SmallVector<unsigned>> keysOf(StringRef term, int64_t ellipsis) {
  SmallVector<unsigned> keys;
  while (!term.empty()) {
    if (term.consume_front("...")) {
      for (int64_t i = ellipsis; i-- > 0;)
        keys.push_back(kEllipsis + i);
      continue;
    }
    if (!llvm::isAlpha(term.front()))
      return std::nullopt;
    keys.push_back(term.front());
    term = term.drop_front();
  }
  return keys;
}

std::optional<EinsumTerms> caat::onnx::parseEinsum(StringRef text, llvm::ArrayRef<int64_t> ranks) {
  std::string equation = text.str();
  llvm::erase(equation, ' ');
  auto [left, right] = StringRef(equation).split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != ranks.size())
    return std::nullopt;
  SmallVector<SmallVector<unsigned>> inputs;
  int64_t widest = 0; // ellipsis
  for (auto [term, rank] : llvm::zip_equal(terms, ranks)) {
    int64_t ellipsis = 0;
    if (size_t count = term.count("...")) {
      ellipsis = rank - static_cast<int64_t>(term.size() - 3);
      if (count > 1 || ellipsis < 0)
        return std::nullopt;
      widest = std::max(widest, ellipsis);
    }
    auto keys = keysOf(term, ellipsis);
    if (!keys || static_cast<int64_t>(keys->size()) != rank)
      return std::nullopt;
    inputs.push_back(std::move(*keys));
  }
  std::string output = right.str();
  if (!StringRef(equation).contains("->")) { // the ellipsis, and the letters that occur once, in alphabetical order
    output = "...";
    for (char letter = 'A'; letter <= 'z'; ++letter)
      if (llvm::isAlpha(letter) && left.count(letter) == 1)
        output += letter;
  }
  auto outputs = keysOf(output, widest);
  if (!outputs)
    return std::nullopt;

  llvm::DenseMap<unsigned, unsigned> labels;
  for (unsigned key : *outputs)
    if (!labels.try_emplace(key, labels.size()).second)
      return std::nullopt;
  EinsumTerms result{{}, static_cast<unsigned>(outputs->size()), 0};
  for (const auto &keys : inputs) {
    result.inputs.emplace_back();
    for (unsigned key : keys)
      result.inputs.back().push_back(labels.try_emplace(key, labels.size()).first->second);
  }
  // A letter of the output that no input has is none.
  for (unsigned label = 0; label < result.outputs; ++label)
    if (llvm::none_of(result.inputs, [&](const auto &input) { return llvm::is_contained(input, label); }))
      return std::nullopt;
  result.labels = labels.size();
  return result;
}
