// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes that depend on the program's named dimensions: "batch", 64, "past + seq", "(seq + 15) floordiv 16 * 16".
#ifndef CAAT_RUNTIME_SHAPEEXPR_H
#define CAAT_RUNTIME_SHAPEEXPR_H

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace caat::runtime {

/// An integer expression over dimensions, kept as postfix code.
///
///   expression := term (('+' | '-') term)*
///   term       := factor (('*' | 'floordiv' | 'ceildiv' | 'mod') factor)*
///   factor     := integer | name | '(' expression ')' | '-' factor | ('min' | 'max') '(' expression ',' expression ')'
class ShapeExpr {
public:
  ShapeExpr() : ShapeExpr(0) {}
  explicit ShapeExpr(int64_t value) : text_(std::to_string(value)), code_{{Op::Constant, value}} {}
  /// Parses `text`; names are looked up in `dims` and a text that is exactly one of them stands for it. Throws Error
  /// (Artifact) with the place where the text is wrong.
  static ShapeExpr parse(std::string_view text, std::span<const std::string> dims);

  /// The value for these dimensions; throws Error where it overflows or divides by a number below 1.
  int64_t evaluate(std::span<const int64_t> dims) const;
  /// The dimension that the expression is, where it is nothing more.
  std::optional<int64_t> asSymbol() const;
  std::optional<int64_t> asConstant() const;
  const std::string &text() const { return text_; }
  /// The dimensions in it.
  std::vector<int64_t> symbols() const;

private:
  enum class Op : uint8_t { Constant, Dim, Add, Sub, Mul, FloorDiv, CeilDiv, Mod, Min, Max };
  struct Instruction {
    Op op;
    int64_t value;
  };
  friend class ShapeExprParser;
  std::string text_;
  std::vector<Instruction> code_;
};

} // namespace caat::runtime

#endif
