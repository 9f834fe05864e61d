// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_RUNTIME_DIGEST_H
#define CAAT_RUNTIME_DIGEST_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace caat::runtime {

/// XXH64 (xxHash's specification 0.1.1, seed 0) of bytes that come in pieces: tells gigabytes apart at the speed of
/// memory. It protects against mistakes, not against forgery.
class Digest {
public:
  void add(std::span<const std::byte> bytes);
  uint64_t value() const;
  /// 16 hexadecimal digits.
  std::string text() const;

  static constexpr size_t textLength = 16;

private:
  static constexpr uint64_t primes[] = {0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9, 0x85ebca77c2b2ae63,
                                        0x27d4eb2f165667c5};
  static constexpr size_t stripe = 32;
  /// Takes whole stripes.
  void addStripes(const std::byte *from, size_t bytes);

  uint64_t lanes[4] = {primes[0] + primes[1], primes[1], 0, 0 - primes[0]};
  uint64_t length = 0;
  std::byte rest[stripe]; // the first length % stripe bytes: what fills no stripe yet
};

} // namespace caat::runtime

#endif
