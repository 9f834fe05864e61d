// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/DimSpace.h"
#include <numeric>

using namespace llvm;

namespace caat::shard {

DimLayout DimSpace::fresh(int64_t size) {
  if (size <= 1)
    return {};
  State state;
  state.info.units = size;
  atoms.push_back(std::move(state));
  return {Term{unsigned(atoms.size() - 1)}};
}

/// `inner` is part of what stands for outer's atom. A group survives only next to its units; elsewhere it becomes part
/// of the scale, and then no rank may hold a part of it.
Term DimSpace::compose(Term outer, Term inner) {
  if (outer.group == 1)
    return {inner.atom, inner.group, inner.scale * outer.scale};
  if (inner.width() == 1)
    return {inner.atom, outer.group, outer.scale};
  atoms[inner.atom].info.repeatable = false;
  return {inner.atom, 1, inner.width() * outer.width()};
}

/// Shortens the way to what `atom` is bound to, so that later calls find it at once. A chain of bindings can be as long
/// as the program: it is followed in a loop.
const DimLayout &DimSpace::resolveBinding(Atom atom) {
  SmallVector<Atom> path;
  for (; atoms[atom].binding.size() == 1 && atoms[atoms[atom].binding.front().atom].bound;
       atom = atoms[atom].binding.front().atom)
    path.push_back(atom);
  if (atoms[atom].binding.size() != 1)
    atoms[atom].binding = resolve(DimLayout(atoms[atom].binding));
  for (Atom shorter : reverse(path)) {
    Term outer = atoms[shorter].binding.front();
    DimLayout whole;
    for (const Term &inner : atoms[atom].binding)
      whole.push_back(compose(outer, inner));
    atoms[shorter].binding = std::move(whole);
    atom = shorter;
  }
  return atoms[atom].binding;
}

DimLayout DimSpace::resolve(ArrayRef<Term> layout) {
  DimLayout result;
  for (const Term &term : layout) {
    if (!atoms[term.atom].bound) {
      result.push_back(term);
      continue;
    }
    DimLayout inner = resolveBinding(term.atom);
    for (const Term &part : inner)
      result.push_back(compose(term, part));
  }
  return result;
}

int64_t DimSpace::getSize(ArrayRef<Term> layout) {
  int64_t size = 0;
  for (const Term &term : layout)
    size += atoms[term.atom].info.units * term.width();
  return size;
}

DimLayout DimSpace::scaled(ArrayRef<Term> layout, int64_t factor) {
  DimLayout result(layout);
  for (Term &term : result)
    term.scale *= factor;
  return result;
}

DimLayout DimSpace::repeated(ArrayRef<Term> layout, int64_t count) {
  DimLayout result;
  for (int64_t i = 0; i < count; ++i)
    result.append(layout.begin(), layout.end());
  return result;
}

DimLayout DimSpace::grouped(ArrayRef<Term> layout, int64_t group) {
  DimLayout result = resolve(layout);
  for (Term &term : result) {
    if (term.width() == 1) {
      term.group = group;
    } else {
      atoms[term.atom].info.repeatable = false;
      term.scale *= group;
    }
  }
  return result;
}

void DimSpace::bind(Atom atom, ArrayRef<Term> to) {
  Info info = atoms[atom].info;
  atoms[atom].bound = true;
  atoms[atom].binding = DimLayout(to);
  for (const Term &term : to) {
    Info &other = atoms[term.atom].info;
    if (other.refused.empty()) {
      other.refused = info.refused;
      other.refusedBy = info.refusedBy;
    }
    if (other.unpaddable.empty())
      other.unpaddable = info.unpaddable;
    other.heads |= info.heads;
    other.leads |= info.leads;
    if (info.heads && (term.width() != 1 || to.size() != 1))
      other.repeatable = false;
    other.repeatable &= info.repeatable;
    if (info.group != 1) {
      other.repeatable &= other.group == 1 || other.group == info.group;
      other.group = info.group;
    }
  }
}

/// Replaces an atom by two: its first `units` and the rest.
void DimSpace::cut(Atom atom, int64_t units) {
  int64_t rest = atoms[atom].info.units - units;
  // Not fresh(): a part of one unit is a segment like any other.
  auto make = [&](int64_t count) {
    State state;
    state.info.units = count;
    atoms.push_back(std::move(state));
    return Term{unsigned(atoms.size() - 1)};
  };
  Term first = make(units), second = make(rest);
  bind(atom, {first, second});
}

/// Two terms of the same size: finds units that both are multiples of.
bool DimSpace::unifyHeads(Term a, Term b) {
  auto &left = atoms[a.atom].info, &right = atoms[b.atom].info;
  if (a.atom == b.atom) {
    if (a.group != b.group)
      left.repeatable = false;
    return a.width() == b.width();
  }
  if (left.units == right.units) {
    if (a.group != b.group)
      left.repeatable = false;
    // The older one stands for both, as it does for the stream through all layers.
    bind(std::max(a.atom, b.atom), {Term{std::min(a.atom, b.atom)}});
    return true;
  }
  if (left.units < right.units)
    std::swap(a, b);
  // Now a has more, smaller units than b.
  if (b.width() % a.width() == 0) {
    bool keepsGroup = a.group == 1 && b.scale % a.scale == 0;
    if (!keepsGroup && b.group != 1)
      atoms[b.atom].info.repeatable = false;
    bind(a.atom, {keepsGroup ? Term{b.atom, b.group, b.scale / a.scale} : Term{b.atom, 1, b.width() / a.width()}});
    return true;
  }
  int64_t width = std::lcm(a.width(), b.width()), size = atoms[a.atom].info.units * a.width();
  State common;
  common.info.units = size / width;
  common.info.repeatable = false;
  atoms.push_back(std::move(common));
  Atom atom = atoms.size() - 1;
  bind(a.atom, {Term{atom, 1, width / a.width()}});
  bind(b.atom, {Term{atom, 1, width / b.width()}});
  return true;
}

bool DimSpace::unify(ArrayRef<Term> a, ArrayRef<Term> b) {
  DimLayout left = resolve(a), right = resolve(b);
  auto fail = [&] {
    refuse(a, "is cut in two ways that do not fit");
    refuse(b, "is cut in two ways that do not fit");
    return false;
  };
  if (left.empty() || right.empty() || getSize(left) != getSize(right))
    return fail();
  while (!left.empty()) {
    Term x = left.front(), y = right.front();
    int64_t sizeX = getSize(x), sizeY = getSize(y);
    if (sizeX == sizeY) {
      if (!unifyHeads(x, y))
        return fail();
      left.erase(left.begin());
      right.erase(right.begin());
    } else {
      const Term &longer = sizeX < sizeY ? y : x;
      int64_t size = std::min(sizeX, sizeY);
      if (size % longer.width() != 0)
        return fail();
      cut(longer.atom, size / longer.width());
    }
    left = resolve(left);
    right = resolve(right);
  }
  return true;
}

void DimSpace::refuse(ArrayRef<Term> layout, StringRef reason) {
  for (const Term &term : resolve(layout))
    if (Info &info = atoms[term.atom].info; info.refused.empty()) {
      info.refused = reason.str();
      info.refusedBy = speaker;
    }
}

void DimSpace::forbidPadding(ArrayRef<Term> layout, StringRef reason) {
  for (const Term &term : resolve(layout))
    atoms[term.atom].info.unpaddable = reason.str();
}

void DimSpace::forbidRepeats(ArrayRef<Term> layout) {
  for (const Term &term : resolve(layout))
    atoms[term.atom].info.repeatable = false;
}

void DimSpace::markHeads(ArrayRef<Term> layout, int64_t group) {
  for (const Term &term : resolve(layout)) {
    Info &info = atoms[term.atom].info;
    info.heads = true;
    info.repeatable &= term.width() == 1 && (info.group == 1 || info.group == group);
    info.group = group;
  }
}

void DimSpace::markLeading(ArrayRef<Term> layout) {
  for (const Term &term : resolve(layout))
    atoms[term.atom].info.leads = true;
}

bool DimSpace::isRefused(ArrayRef<Term> layout) {
  for (const Term &term : resolve(layout))
    if (!atoms[term.atom].info.refused.empty())
      return true;
  return false;
}

bool DimSpace::isHeads(ArrayRef<Term> layout) {
  for (const Term &term : resolve(layout))
    if (atoms[term.atom].info.heads)
      return true;
  return false;
}

bool DimSpace::isLeading(ArrayRef<Term> layout) {
  for (const Term &term : resolve(layout))
    if (atoms[term.atom].info.leads)
      return true;
  return false;
}

} // namespace caat::shard
