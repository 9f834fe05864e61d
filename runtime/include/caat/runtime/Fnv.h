// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// FNV-1a in 64 bits: enough to tell texts and programs apart.
#ifndef CAAT_RUNTIME_FNV_H
#define CAAT_RUNTIME_FNV_H

#include <cstdint>
#include <string_view>

namespace caat::runtime {

inline constexpr uint64_t fnvBasis = 0xcbf29ce484222325;

/// `hash` with one more number.
constexpr uint64_t fnv(uint64_t number, uint64_t hash) { return (hash ^ number) * 0x100000001b3; }

/// The hash of what had `hash` so far and then these bytes.
constexpr uint64_t fnv(std::string_view bytes, uint64_t hash = fnvBasis) {
  for (char c : bytes)
    hash = fnv(static_cast<unsigned char>(c), hash);
  return hash;
}

} // namespace caat::runtime

#endif
