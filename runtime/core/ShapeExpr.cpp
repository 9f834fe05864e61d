// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/ShapeExpr.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cctype>
#include <charconv>

namespace caat::runtime {

namespace {
constexpr int maxDepth = 64;       // of parentheses and minus signs
constexpr size_t maxLength = 4096; // of the text
bool isNameChar(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.'; }
} // namespace

class ShapeExprParser {
public:
  ShapeExprParser(std::string_view text, std::span<const std::string> dims) : text(text), dims(dims) {}

  ShapeExpr run() {
    result.text_ = text;
    result.code_.clear();
    if (text.size() > maxLength)
      failArtifact("size expression of ", text.size(), " characters, the limit is ", maxLength);
    auto exact = std::find(dims.begin(), dims.end(), text);
    if (exact != dims.end()) {
      emit(ShapeExpr::Op::Dim, exact - dims.begin());
      return std::move(result);
    }
    expression(0);
    skipSpace();
    if (at != text.size())
      error("unexpected text");
    return std::move(result);
  }

private:
  using Op = ShapeExpr::Op;

  [[noreturn]] void error(std::string_view what) {
    failArtifact("size expression '", text, "': ", what, " at character ", at);
  }
  void emit(Op op, int64_t value = 0) { result.code_.push_back({op, value}); }
  void skipSpace() {
    while (at < text.size() && text[at] == ' ')
      ++at;
  }
  bool take(std::string_view token) {
    skipSpace();
    if (text.substr(at, token.size()) != token)
      return false;
    size_t end = at + token.size();
    if (isNameChar(token[0]) && end < text.size() && isNameChar(text[end]))
      return false;
    at = end;
    return true;
  }
  void expression(int depth) {
    term(depth);
    while (true) {
      if (take("+"))
        term(depth), emit(Op::Add);
      else if (take("-"))
        term(depth), emit(Op::Sub);
      else
        return;
    }
  }
  void term(int depth) {
    factor(depth);
    while (true) {
      if (take("*"))
        factor(depth), emit(Op::Mul);
      else if (take("floordiv"))
        factor(depth), emit(Op::FloorDiv);
      else if (take("ceildiv"))
        factor(depth), emit(Op::CeilDiv);
      else if (take("mod"))
        factor(depth), emit(Op::Mod);
      else
        return;
    }
  }
  void factor(int depth) {
    if (depth > maxDepth)
      error("nested too deep");
    if (take("(")) {
      expression(depth + 1);
      if (!take(")"))
        error("expected ')'");
      return;
    }
    if (take("-")) {
      emit(Op::Constant, 0);
      factor(depth + 1);
      emit(Op::Sub);
      return;
    }
    skipSpace();
    size_t begin = at;
    while (at < text.size() && isNameChar(text[at]))
      ++at;
    std::string_view word = text.substr(begin, at - begin);
    if ((word == "min" || word == "max") && take("(")) {
      expression(depth + 1);
      if (!take(","))
        error("expected ','");
      expression(depth + 1);
      if (!take(")"))
        error("expected ')'");
      emit(word == "min" ? Op::Min : Op::Max);
      return;
    }
    if (word.empty())
      error("expected a number or a dimension");
    if (std::isdigit(static_cast<unsigned char>(word[0]))) {
      int64_t value = 0;
      auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (code != std::errc() || end != word.data() + word.size())
        error("bad number '" + std::string(word) + "'");
      emit(Op::Constant, value);
      return;
    }
    auto dim = std::find(dims.begin(), dims.end(), word);
    if (dim == dims.end())
      error("unknown dimension '" + std::string(word) + "'");
    emit(Op::Dim, dim - dims.begin());
  }

  std::string_view text;
  std::span<const std::string> dims;
  size_t at = 0;
  ShapeExpr result;
};

ShapeExpr ShapeExpr::parse(std::string_view text, std::span<const std::string> dims) {
  return ShapeExprParser(text, dims).run();
}

int64_t ShapeExpr::evaluate(std::span<const int64_t> dims) const {
  std::vector<int64_t> stack;
  for (const Instruction &i : code_) {
    if (i.op == Op::Constant || i.op == Op::Dim) {
      stack.push_back(i.op == Op::Constant ? i.value : dims[i.value]);
      continue;
    }
    int64_t b = stack.back(), a = (stack.pop_back(), stack.back()), r = 0;
    bool overflow = false;
    switch (i.op) {
    case Op::Add:
      overflow = __builtin_add_overflow(a, b, &r);
      break;
    case Op::Sub:
      overflow = __builtin_sub_overflow(a, b, &r);
      break;
    case Op::Mul:
      overflow = __builtin_mul_overflow(a, b, &r);
      break;
    case Op::Min:
      r = std::min(a, b);
      break;
    case Op::Max:
      r = std::max(a, b);
      break;
    default: {
      if (b < 1)
        failInput("size expression '", text_, "' divides by ", b);
      int64_t floor = a / b - (a % b < 0);
      r = i.op == Op::FloorDiv ? floor : i.op == Op::CeilDiv ? floor + (a % b != 0) : a - floor * b;
    }
    }
    if (overflow)
      failInput("size expression '", text_, "' overflows for these inputs");
    stack.back() = r;
  }
  return stack.back();
}

std::vector<int64_t> ShapeExpr::symbols() const {
  std::vector<int64_t> result;
  for (const Instruction &i : code_)
    if (i.op == Op::Dim && std::find(result.begin(), result.end(), i.value) == result.end())
      result.push_back(i.value);
  return result;
}

std::optional<int64_t> ShapeExpr::asSymbol() const {
  return code_.size() == 1 && code_[0].op == Op::Dim ? std::optional(code_[0].value) : std::nullopt;
}

std::optional<int64_t> ShapeExpr::asConstant() const {
  return code_.size() == 1 && code_[0].op == Op::Constant ? std::optional(code_[0].value) : std::nullopt;
}

} // namespace caat::runtime
