# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Makes a C++ header of PTX: its text and the names of its kernels.
file(READ ${PTX} text)
string(REGEX MATCHALL "\\.entry [a-z0-9_]+" entries "${text}")
list(TRANSFORM entries REPLACE "\\.entry ([a-z0-9_]+)" "\"\\1\"")
list(JOIN entries ", " names)
file(WRITE ${HEADER} "inline constexpr const char *kernelNames[] = {${names}};\ninline constexpr char kernelsPtx[] = R\"ptx(${text})ptx\";\n")
