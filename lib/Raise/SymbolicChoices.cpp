// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes that are one of two, which of them is known when the program runs: the result of broadcasting dims that may be
// 1, the larger of two sizes. Each choice is a symbol; it is found again by its two sizes.
#include "caat/Raise/SymbolicShapes.h"

using namespace mlir;

namespace caat {

/// Sizes of models are chosen from two or three; others count as not known.
static constexpr size_t maxParts = 6;
static constexpr unsigned maxDepth = 8;
/// Choices that a proof goes into, each of which doubles its length.
static constexpr int maxCases = 3;

const SymbolicShapes::Symbol *SymbolicShapes::asChoice(AffineExpr expr) const {
  auto symbol = dyn_cast<AffineSymbolExpr>(expr);
  if (!symbol)
    return nullptr;
  const Symbol &entry = symbols[symbol.getPosition()];
  return entry.choice != Choice::None ? &entry : nullptr;
}

AffineExpr SymbolicShapes::choose(Choice choice, AffineExpr a, AffineExpr b) {
  unsigned depth = 0;
  for (AffineExpr expr : {a, b})
    expr.walk([&](AffineExpr e) {
      if (const Symbol *inner = asChoice(e))
        depth = std::max(depth, inner->depth);
    });
  if (depth >= maxDepth)
    return {};
  auto [it, isNew] = choices[static_cast<int>(choice)].try_emplace({a, b}, 0);
  if (isNew) {
    it->second = addSymbol("");
    chosen.push_back(it->second);
    Symbol &entry = symbols[it->second];
    entry.choice = choice;
    entry.first = a;
    entry.second = b;
    entry.depth = depth + 1;
  }
  return resolve(getAffineSymbolExpr(it->second, context));
}

void SymbolicShapes::collectParts(AffineExpr expr, llvm::SmallSetVector<AffineExpr, 4> &parts) const {
  const Symbol *entry = asChoice(expr);
  if (!entry || entry->choice != Choice::Broadcast) {
    parts.insert(expr);
    return;
  }
  collectParts(resolve(entry->first), parts);
  collectParts(resolve(entry->second), parts);
}

AffineExpr SymbolicShapes::findChoice(ArrayRef<AffineExpr> exprs) const {
  AffineExpr found;
  for (AffineExpr expr : exprs)
    expr.walk([&](AffineExpr e) {
      if (!found && asChoice(e))
        found = e;
    });
  return found;
}

AffineExpr SymbolicShapes::replaced(AffineExpr expr, AffineExpr symbol, AffineExpr by) const {
  return resolve(expr.replace(symbol, by));
}

/// The result where it is the same whichever size each choice in the operands has.
AffineExpr SymbolicShapes::broadcastByCases(AffineExpr a, AffineExpr b, int depth) {
  auto x = constantDim(a), y = constantDim(b);
  if (a == b || x == 1)
    return b;
  if (x || y == 1)
    return a;
  if (y)
    return b;
  AffineExpr choice = findChoice({a, b});
  if (!choice || depth == 0)
    return {};
  AffineExpr first = asChoice(choice)->first, second = asChoice(choice)->second;
  AffineExpr result = broadcastByCases(replaced(a, choice, first), replaced(b, choice, first), depth - 1);
  bool same = result && broadcastByCases(replaced(a, choice, second), replaced(b, choice, second), depth - 1) == result;
  return same ? result : AffineExpr();
}

AffineExpr SymbolicShapes::broadcast(AffineExpr a, AffineExpr b) {
  if (isExplicit && a && b)
    fits({a}, {b});
  return chooseBroadcast(a, b);
}

void SymbolicShapes::fits(ArrayRef<AffineExpr> dims, ArrayRef<AffineExpr> whole) {
  if (!isExplicit || dims.size() > whole.size())
    return;
  for (auto [dim, size] : llvm::zip_equal(dims, whole.take_back(dims.size()))) {
    if (!dim || !size)
      continue;
    AffineExpr a = resolve(dim), b = resolve(size);
    if (a != b && constantDim(a) != 1 && constantDim(b) != 1)
      makeEqual(a, b);
  }
}

AffineExpr SymbolicShapes::chooseBroadcast(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  a = resolve(a);
  b = resolve(b);
  // A constant above one wins: the other side is it or one.
  if (AffineExpr known = broadcastByCases(a, b, maxCases))
    return known;
  // What has been chosen from already does not change a choice.
  llvm::SmallSetVector<AffineExpr, 4> parts, others;
  collectParts(a, parts);
  collectParts(b, others);
  auto holds = [](const auto &all, const auto &some) {
    return llvm::all_of(some, [&](AffineExpr e) { return all.contains(e); });
  };
  if (holds(parts, others))
    return a;
  if (holds(others, parts))
    return b;
  parts.insert(others.begin(), others.end());
  if (parts.size() > maxParts)
    return {};
  SmallVector<AffineExpr> sorted = parts.takeVector();
  llvm::sort(sorted, isEarlierDim);
  AffineExpr result = sorted.front();
  for (AffineExpr part : ArrayRef(sorted).drop_front())
    if (result)
      result = choose(Choice::Broadcast, result, part);
  return result;
}

SymbolicShapes::Dims SymbolicShapes::broadcastShapes(ArrayRef<AffineExpr> a, ArrayRef<AffineExpr> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Dims result(a);
  size_t offset = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i)
    result[offset + i] = broadcast(a[offset + i], b[i]);
  return result;
}

bool SymbolicShapes::isGreaterEqual(AffineExpr a, AffineExpr b, int depth) const {
  if (provablyGreaterEqual(a, b))
    return true;
  AffineExpr choice = depth ? findChoice({a, b}) : AffineExpr();
  if (!choice)
    return false;
  return llvm::all_of(ArrayRef{asChoice(choice)->first, asChoice(choice)->second}, [&](AffineExpr value) {
    return isGreaterEqual(replaced(a, choice, value), replaced(b, choice, value), depth - 1);
  });
}

bool SymbolicShapes::isGreaterEqual(AffineExpr a, AffineExpr b) const {
  return a && b && isGreaterEqual(resolve(a), resolve(b), maxCases);
}

void SymbolicShapes::needNonNegative(AffineExpr expr) {
  if (expr && !isGreaterEqual(expr, constant(0)))
    nonNegative.insert(resolve(expr));
}

bool SymbolicShapes::isNonNegative(AffineExpr expr) {
  bool holds = isGreaterEqual(expr, constant(0)) ||
               llvm::any_of(nonNegative, [&](AffineExpr needed) { return isGreaterEqual(expr, needed); });
  undecided |= !holds;
  return holds;
}

AffineExpr SymbolicShapes::larger(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return {};
  a = resolve(a);
  b = resolve(b);
  if (isGreaterEqual(a, b))
    return a;
  if (isGreaterEqual(b, a))
    return b;
  // A symbol counts as no less than zero.
  if (AffineExpr zero = constant(0); !isGreaterEqual(a, zero) && !isGreaterEqual(b, zero))
    return {};
  return isEarlierDim(a, b) ? choose(Choice::Larger, a, b) : choose(Choice::Larger, b, a);
}

AffineExpr SymbolicShapes::smaller(AffineExpr a, AffineExpr b) { return subDims(addDims(a, b), larger(a, b)); }

bool SymbolicShapes::mentions(AffineExpr expr, AffineExpr symbol) const {
  bool found = false;
  expr.walk([&](AffineExpr e) {
    found = found || e == symbol;
    if (const Symbol *choice = found ? nullptr : asChoice(e))
      found = mentions(resolve(choice->first), symbol) || mentions(resolve(choice->second), symbol);
  });
  return found;
}

/// Where equal sizes say what a choice is: broadcast(past + seq, n) = past + seq.
bool SymbolicShapes::decideChoice(AffineExpr a, AffineExpr b) {
  AffineExpr difference = subDims(a, b);
  if (!difference)
    return false;
  SmallVector<AffineSymbolExpr> symbolsOf;
  difference.walk([&](AffineExpr e) {
    if (asChoice(e))
      symbolsOf.push_back(cast<AffineSymbolExpr>(e));
  });
  llvm::sort(symbolsOf, [](auto x, auto y) { return x.getPosition() > y.getPosition(); });
  for (AffineSymbolExpr choice : symbolsOf) {
    // difference = value + k * choice, with k = 1 or -1.
    auto at = [&](int64_t number) { return replaced(difference, choice, constant(number)); };
    AffineExpr value = at(0), one = at(1);
    auto k = constantDim(subDims(one, value));
    if ((k != 1 && k != -1) || constantDim(subDims(at(2), one)) != k)
      continue;
    value = k == 1 ? subDims(constant(0), value) : value;
    if (!value || mentions(value, choice))
      continue;
    symbols[choice.getPosition()].equals = value;
    return true;
  }
  return false;
}

void SymbolicShapes::updateChoices() {
  for (size_t i = 0; i < chosen.size(); ++i) { // which grows
    Symbol entry = symbols[chosen[i]];
    AffineExpr a = resolve(entry.first), b = resolve(entry.second);
    if (entry.equals || (a == entry.first && b == entry.second))
      continue;
    AffineExpr now = entry.choice == Choice::Broadcast ? chooseBroadcast(a, b) : larger(a, b);
    if (!now || mentions(now, getAffineSymbolExpr(chosen[i], context)))
      continue;
    symbols[chosen[i]].equals = now;
    resolved.clear();
  }
}

} // namespace caat
