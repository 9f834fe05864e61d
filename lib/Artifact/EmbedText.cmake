# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Makes a C++ header, HEADER, of a file, TEXT: its contents as the constant NAME.
file(READ ${TEXT} text)
file(WRITE ${HEADER} "static constexpr llvm::StringLiteral ${NAME} = R\"text(${text})text\";\n")
