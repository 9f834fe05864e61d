// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parts of the report, in the order in which they stand. Each writes a section, or nothing where its data is
// absent, and says whether it wrote one.
#ifndef CAAT_LIB_ABLATE_REPORT_PARTS_H
#define CAAT_LIB_ABLATE_REPORT_PARTS_H

#include "Data.h"
#include "Html.h"

namespace caat::ablate::report {

void writeHeader(Html &html, const Data &data);
void writeWarnings(Html &html, const Data &data);
bool writeChosen(Html &html, const Data &data);
bool writeFrontier(Html &html, const Data &data);
bool writeLinks(Html &html, const Data &data);
bool writeHeatMap(Html &html, const Data &data);
bool writeSensitivity(Html &html, const Data &data);
bool writeOrders(Html &html, const Data &data);
bool writeSamples(Html &html, const Data &data);
bool writeCommands(Html &html, const Data &data);

/// The name of what `added` counts, without its unit.
std::string lossName(const Data &data);
/// "attn" and "mlp" as words of a heading; other kinds as they are.
std::string kindName(const std::string &kind);
/// A table's head. Names that begin with '#' stand over numbers.
void openTable(Html &html, const std::string &style, const std::string &caption, const std::vector<std::string> &names);
void closeTable(Html &html);
/// A cell that holds a number.
void numberCell(Html &html, const std::string &text);

} // namespace caat::ablate::report

#endif
