// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writes the tiny model's artifact, for tests that are no C++ programs. Usage: caat-test-artifact DIR TP
#include "TinyModel.h"
#include <cstdlib>
#include <iostream>

int main(int argc, char **argv) {
  if (argc != 3) {
    std::cerr << "usage: caat-test-artifact DIR TP\n";
    return 2;
  }
  std::string tp = argv[2];
  caat::test::writeTinyArtifact(argv[1], std::string(CAAT_TINY_CODE) + "-" + tp + ".so", std::atoi(argv[2]));
  return 0;
}
