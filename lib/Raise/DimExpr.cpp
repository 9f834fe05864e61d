// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Raise/DimExpr.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include <map>

using namespace mlir;

namespace {

/// A total order that does not depend on addresses, so that printed IR is the same in every run.
int compareExprs(AffineExpr a, AffineExpr b) {
  if (a == b)
    return 0;
  if (a.getKind() != b.getKind())
    return a.getKind() > b.getKind() ? -1 : 1; // leaves have the largest kinds: put them first
  switch (a.getKind()) {
  case AffineExprKind::Constant:
    return cast<AffineConstantExpr>(a).getValue() < cast<AffineConstantExpr>(b).getValue() ? -1 : 1;
  case AffineExprKind::SymbolId:
    return cast<AffineSymbolExpr>(a).getPosition() < cast<AffineSymbolExpr>(b).getPosition() ? -1 : 1;
  case AffineExprKind::DimId:
    return cast<AffineDimExpr>(a).getPosition() < cast<AffineDimExpr>(b).getPosition() ? -1 : 1;
  default: {
    auto x = cast<AffineBinaryOpExpr>(a), y = cast<AffineBinaryOpExpr>(b);
    if (int order = compareExprs(x.getLHS(), y.getLHS()))
      return order;
    return compareExprs(x.getRHS(), y.getRHS());
  }
  }
}

using Monomial = SmallVector<AffineExpr, 2>; // atoms in order, with repetition

struct MonomialLess {
  bool operator()(const Monomial &a, const Monomial &b) const {
    if (a.size() != b.size())
      return a.size() > b.size(); // highest degree first, the constant last
    for (auto [x, y] : llvm::zip(a, b))
      if (int order = compareExprs(x, y))
        return order < 0;
    return false;
  }
};

// Sizes of models stay far below these. A graph that squares a size again and again would reach any others.
constexpr size_t maxTerms = 64, maxDegree = 8, maxNodes = 1024, maxTextLength = 1024;
constexpr int maxDepth = 64;

/// Sum of coefficient * product of atoms; an atom is a symbol, a dim, or a division that could not be carried out.
struct Polynomial : std::map<Monomial, int64_t, MonomialLess> {
  using map::map;
  bool tooLarge = false; ///< not known: a limit was passed or a coefficient overflowed

  static Polynomial unknown() {
    Polynomial result;
    result.tooLarge = true;
    return result;
  }
  void add(const Monomial &monomial, int64_t a, int64_t b) {
    int64_t product;
    tooLarge |= monomial.size() > maxDegree || llvm::MulOverflow(a, b, product);
    if (tooLarge)
      return;
    int64_t &coefficient = (*this)[monomial];
    tooLarge |= llvm::AddOverflow(coefficient, product, coefficient) || size() > maxTerms;
    if (coefficient == 0)
      erase(monomial);
  }
};

Polynomial multiply(const Polynomial &a, const Polynomial &b) {
  Polynomial result;
  result.tooLarge = a.tooLarge || b.tooLarge;
  for (const auto &[x, c] : a)
    for (const auto &[y, d] : b) {
      if (result.tooLarge)
        return result;
      Monomial product(x);
      product.append(y.begin(), y.end());
      llvm::sort(product, [](AffineExpr p, AffineExpr q) { return compareExprs(p, q) < 0; });
      result.add(product, c, d);
    }
  return result;
}

void addScaled(Polynomial &a, const Polynomial &b, int64_t factor) {
  a.tooLarge |= b.tooLarge;
  for (const auto &[monomial, c] : b)
    a.add(monomial, c, factor);
}

/// Counts the nodes of `expr` down from `left`; false where there are more.
bool isSmall(AffineExpr expr, size_t &left) {
  if (left-- == 0)
    return false;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  return !binary || (isSmall(binary.getLHS(), left) && isSmall(binary.getRHS(), left));
}

/// Null where the polynomial is too large.
AffineExpr toExpr(const Polynomial &polynomial, MLIRContext *context) {
  if (polynomial.tooLarge)
    return {};
  AffineExpr sum;
  for (const auto &[monomial, coefficient] : polynomial) {
    AffineExpr term;
    for (AffineExpr atom : monomial)
      term = term ? term * atom : atom;
    term = term ? term * coefficient : getAffineConstantExpr(coefficient, context);
    sum = sum ? sum + term : term;
  }
  return sum ? sum : getAffineConstantExpr(0, context);
}

/// a / b if every term of `a` can be divided by the single term `b`.
std::optional<Polynomial> divideByTerm(const Polynomial &a, const Monomial &divisor, int64_t coefficient) {
  Polynomial result;
  for (const auto &[monomial, c] : a) {
    if ((coefficient == -1 && c == INT64_MIN) || c % coefficient != 0)
      return std::nullopt;
    Monomial rest(monomial);
    for (AffineExpr atom : divisor) {
      auto *it = llvm::find(rest, atom);
      if (it == rest.end())
        return std::nullopt;
      rest.erase(it);
    }
    result[rest] = c / coefficient;
  }
  return result;
}

/// a / b by long division, if nothing remains.
std::optional<Polynomial> divideExactly(Polynomial a, const Polynomial &b) {
  Polynomial quotient;
  const auto &lead = *b.begin();
  for (unsigned step = 0; !a.empty() && !a.tooLarge && step < 16; ++step) {
    Polynomial first{{a.begin()->first, a.begin()->second}};
    auto part = divideByTerm(first, lead.first, lead.second);
    if (!part)
      return std::nullopt;
    addScaled(quotient, *part, 1);
    addScaled(a, multiply(*part, b), -1);
  }
  if (!a.empty() || a.tooLarge || quotient.tooLarge)
    return std::nullopt;
  return quotient;
}

struct Normalizer {
  MLIRContext *context;
  llvm::function_ref<AffineExpr(unsigned)> replace;

  Polynomial run(AffineExpr expr) {
    switch (expr.getKind()) {
    case AffineExprKind::Constant: {
      int64_t value = cast<AffineConstantExpr>(expr).getValue();
      return value ? Polynomial{{{}, value}} : Polynomial{};
    }
    case AffineExprKind::SymbolId:
      if (replace)
        if (AffineExpr known = replace(cast<AffineSymbolExpr>(expr).getPosition()))
          return run(known);
      return {{{expr}, 1}};
    case AffineExprKind::DimId:
      return {{{expr}, 1}};
    case AffineExprKind::Add: {
      auto binary = cast<AffineBinaryOpExpr>(expr);
      Polynomial sum = run(binary.getLHS());
      addScaled(sum, run(binary.getRHS()), 1);
      return sum;
    }
    case AffineExprKind::Mul: {
      auto binary = cast<AffineBinaryOpExpr>(expr);
      return multiply(run(binary.getLHS()), run(binary.getRHS()));
    }
    default: {
      auto binary = cast<AffineBinaryOpExpr>(expr);
      return divide(expr.getKind(), run(binary.getLHS()), run(binary.getRHS()));
    }
    }
  }

  Polynomial divide(AffineExprKind kind, const Polynomial &a, const Polynomial &b) {
    if (a.tooLarge || b.tooLarge)
      return Polynomial::unknown();
    if (kind == AffineExprKind::FloorDiv && !b.empty())
      if (auto exact = divideExactly(a, b))
        return *exact;
    AffineExpr quotient = getAffineBinaryOpExpr(kind, toExpr(a, context), toExpr(b, context));
    size_t left = maxNodes;
    if (!isSmall(quotient, left))
      return Polynomial::unknown();
    switch (quotient.getKind()) {
    case AffineExprKind::FloorDiv:
    case AffineExprKind::CeilDiv:
    case AffineExprKind::Mod:
      return {{{quotient}, 1}};
    default:
      return run(quotient); // MLIR's own simplification removed the division
    }
  }
};

Polynomial polynomialOf(AffineExpr expr) { return Normalizer{expr.getContext(), {}}.run(expr); }

/// Smallest value of the polynomial, if it is known to be one: all symbols are at least zero.
std::optional<int64_t> lowerBound(const Polynomial &polynomial) {
  if (polynomial.tooLarge)
    return std::nullopt;
  int64_t bound = 0;
  for (const auto &[monomial, c] : polynomial) {
    if (monomial.empty())
      bound = c;
    else if (c < 0)
      return std::nullopt;
  }
  return bound;
}

/// Recursive descent over dimension texts.
struct DimParser {
  StringRef rest;
  MLIRContext *context;
  llvm::function_ref<AffineExpr(StringRef)> symbolOf;
  int depth = 0;

  AffineExpr sum() {
    bool negative = eat("-");
    AffineExpr result = product();
    if (result && negative)
      result = -result;
    while (result) {
      if (eat("+")) {
        AffineExpr right = product();
        result = right ? result + right : AffineExpr();
      } else if (eat("-")) {
        AffineExpr right = product();
        result = right ? result - right : AffineExpr();
      } else {
        break;
      }
    }
    return result;
  }

  AffineExpr product() {
    AffineExpr result = factor();
    while (result) {
      if (eat("*")) {
        AffineExpr right = factor();
        result = right ? result * right : AffineExpr();
      } else if (eat("//") || eat("/") || eat("floordiv ")) {
        AffineExpr right = factor();
        result = right && constantNonZero(right) ? result.floorDiv(right) : AffineExpr();
      } else {
        break;
      }
    }
    return result;
  }

  static bool constantNonZero(AffineExpr e) {
    auto c = dyn_cast<AffineConstantExpr>(e);
    return !c || c.getValue() != 0;
  }

  AffineExpr factor() {
    if (eat("-")) { // as in past * -1
      AffineExpr inner = ++depth <= maxDepth ? factor() : AffineExpr();
      --depth;
      return inner ? -inner : AffineExpr();
    }
    if (eat("(")) {
      AffineExpr inner = ++depth <= maxDepth ? sum() : AffineExpr();
      --depth;
      return inner && eat(")") ? inner : AffineExpr();
    }
    rest = rest.ltrim();
    StringRef word = rest.take_until([](char c) { return StringRef("+-*/() \t").contains(c); });
    if (word.empty())
      return {};
    rest = rest.drop_front(word.size());
    int64_t value;
    if (!word.getAsInteger(10, value))
      return getAffineConstantExpr(value, context);
    return symbolOf(word);
  }

  bool eat(StringRef token) {
    rest = rest.ltrim();
    return rest.consume_front(token);
  }
};

} // namespace

namespace caat {

AffineExpr normalizeDim(AffineExpr expr, llvm::function_ref<AffineExpr(unsigned)> replace) {
  // Nearly all dimensions are one number or one symbol, which is their normal form.
  while (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    AffineExpr known = replace ? replace(symbol.getPosition()) : AffineExpr();
    if (!known)
      return expr;
    expr = known;
  }
  if (isa<AffineConstantExpr>(expr))
    return expr;
  AffineExpr normal = toExpr(Normalizer{expr.getContext(), replace}.run(expr), expr.getContext());
  return normal ? normal : expr;
}

bool isEarlierDim(AffineExpr a, AffineExpr b) { return compareExprs(a, b) < 0; }

static AffineExpr addScaledDims(AffineExpr a, AffineExpr b, int64_t factor) {
  if (!a || !b)
    return {};
  Polynomial sum = polynomialOf(a);
  addScaled(sum, polynomialOf(b), factor);
  return toExpr(sum, a.getContext());
}

AffineExpr addDims(AffineExpr a, AffineExpr b) { return addScaledDims(a, b, 1); }
AffineExpr subDims(AffineExpr a, AffineExpr b) { return addScaledDims(a, b, -1); }
AffineExpr mulDims(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  if (isa<AffineConstantExpr>(a) && isa<AffineConstantExpr>(b))
    return a * b;
  return toExpr(multiply(polynomialOf(a), polynomialOf(b)), a.getContext());
}

AffineExpr divDims(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  Polynomial divisor = polynomialOf(b);
  if (divisor.empty() || divisor.tooLarge)
    return {};
  return toExpr(Normalizer{a.getContext(), {}}.divide(AffineExprKind::FloorDiv, polynomialOf(a), divisor),
                a.getContext());
}

std::optional<int64_t> constantDim(AffineExpr a) {
  if (a)
    if (auto constant = dyn_cast<AffineConstantExpr>(a))
      return constant.getValue();
  return std::nullopt;
}

bool provablyGreater(AffineExpr a, AffineExpr b) {
  auto bound = lowerBound(polynomialOf(a - b));
  return bound && *bound > 0;
}

bool provablyGreaterEqual(AffineExpr a, AffineExpr b) {
  auto bound = lowerBound(polynomialOf(a - b));
  return bound && *bound >= 0;
}

std::optional<bool> compareDims(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return std::nullopt;
  if (Polynomial difference = polynomialOf(a - b); difference.empty() && !difference.tooLarge)
    return true;
  if (provablyGreater(a, b) || provablyGreater(b, a))
    return false;
  return std::nullopt;
}

std::string printDim(AffineExpr expr, llvm::function_ref<std::string(unsigned)> nameOf) {
  auto atom = [&](AffineExpr e) -> std::string {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(e))
      return nameOf(symbol.getPosition());
    if (auto dim = dyn_cast<AffineDimExpr>(e))
      return "d" + std::to_string(dim.getPosition());
    auto binary = cast<AffineBinaryOpExpr>(e);
    StringRef op = e.getKind() == AffineExprKind::FloorDiv  ? " floordiv "
                   : e.getKind() == AffineExprKind::CeilDiv ? " ceildiv "
                                                            : " mod ";
    return "((" + printDim(binary.getLHS(), nameOf) + ")" + op.str() + "(" + printDim(binary.getRHS(), nameOf) + "))";
  };
  std::string text;
  for (const auto &[monomial, c] : polynomialOf(expr)) {
    uint64_t size = c < 0 ? -static_cast<uint64_t>(c) : c;
    SmallVector<std::string> factors;
    if (size != 1 || monomial.empty())
      factors.push_back(std::to_string(size));
    for (AffineExpr e : monomial)
      factors.push_back(atom(e));
    if (text.empty())
      text = c < 0 ? "-" : "";
    else
      text += c < 0 ? " - " : " + ";
    text += llvm::join(factors, " * ");
  }
  return text.empty() ? "0" : text;
}

AffineExpr parseDim(StringRef text, MLIRContext *context, llvm::function_ref<AffineExpr(StringRef)> symbolOf) {
  if (text.size() > maxTextLength)
    return {};
  DimParser parser{text, context, symbolOf};
  AffineExpr result = parser.sum();
  if (!result || !parser.rest.trim().empty())
    return {};
  return normalizeDim(result);
}

} // namespace caat
