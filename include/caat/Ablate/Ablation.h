// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which sites need to synchronise: the whole of an ablation, on one switchable program.
#ifndef CAAT_ABLATE_ABLATION_H
#define CAAT_ABLATE_ABLATION_H

#include "caat/Ablate/Fit.h"
#include "caat/Ablate/Search.h"

namespace caat::ablate {

/// What sites are tried with where the user does not say.
Choices defaultChoices();

struct Options {
  std::string program;      // directory of the switchable artifact
  std::string model;        // its file, for messages and reports
  std::string programFlags; // of caat-compile, which decide the program's numbers, as in a shell: --weights=i4
  std::string inputFlags;   // its others, that the model needs: --dim=batch=1
  std::string tokens;       // i64 .npy; or
  std::string inputs;       // .npz or .safetensors of a model without logits: rows of all its inputs
  std::string output;       // directory for results
  std::string recipes;      // file of plans that are fitted and measured instead of a search; or empty
  int64_t length = 512;
  // Windows, or rows of the inputs, that sites are measured on, that orders and estimates are fitted on, and that plans
  // are tested on: three stretches of the text, one behind the other in the order test, search, fit.
  int64_t samples = 8, fitSamples = 8, testSamples = 8;
  int64_t batch = 0;               // windows run together; 0: as many as fit 1 GB of logits
  std::vector<Budget> budgets{{}}; // the plan for the first one is written
  Choices choices;                 // what a site may do, the first is full; empty: defaultChoices()
  cost::Link link{5e-6, 10e9};
  std::string linkText = "10GB/s,5us";
  int64_t stepTokens = 512;  // of the workload that time is reckoned for
  bool measuresLink = false; // runs the exact and the chosen plan over the link, besides reckoning
  int threadsPerRank = 1;
  std::vector<double> thresholds; // tau1 and tau2, added loss; empty: proposed from the figures
  size_t starts = 24;             // plans of the Lagrangian around the exact one
  size_t rounds = 6, width = 4;   // of the search for each budget, and plans of a round
  size_t greedySteps = 20;        // sites of the greedy order
  std::string command;            // how it was called, as in a shell, for the report
  /// A line that says what is done and how long it will take.
  std::function<void(const std::string &)> progress;
};

/// One site's figure for one choice, everything else exact.
struct Sensitivity {
  size_t site;
  Choice choice;
  Measure measure;
};

/// What a site cannot do, and why.
struct Refusal {
  size_t site;
  Choice choice;
  std::string reason;
};

/// A step of an order in which sites are given up one after another.
struct OrderStep {
  size_t site;
  double value;    // loss added by this step
  Measure measure; // of all given up so far
};

/// Seconds of a step over the link with f32 on the wire, as the model of time says and as measured. The program that is
/// measured is switchable, and these have no halves.
struct StepTime {
  double predicted = 0, measured = 0;
  std::optional<double> halved = {}; // predicted in halves
};

struct NamedPlan {
  std::string family, label; // "search", "spd", "caat", "exact"
  Candidate plan;            // measured on the text that nothing was fitted to or chosen by
  runtime::Policies policies;
  bool isChosen = false, isFrontier = false;
  std::optional<StepTime> overLink = {}; // where it was measured
};

/// A beginning of the text, and what the exact program and the chosen plan make of it.
struct Continuation {
  std::string prompt, exact, chosen;
};

struct Result {
  Measure exactSearch, exactTest;
  PlanCost exactCost;
  Workload workload;
  double evaluationSeconds = 0;            // of the exact program over the search text
  double sweepSeconds = 0, sweepRatio = 0; // of all single sites: in seconds, and in sites passed a site and evaluation
  std::vector<Sensitivity> sensitivity;
  std::vector<Refusal> refusals;
  std::vector<OrderStep> algorithm1, greedy;
  double tau1 = 0, tau2 = 0;
  std::string tauReason;
  std::vector<NamedPlan> plans;
  std::vector<Continuation> samples;
  std::optional<StepTime> exactOverLink;
  bool hasLogits = true; // else losses are 1 - cosine of the embeddings
  std::vector<std::string> warnings;
  size_t measured = 0; // plans, in all
};

/// Runs the ablation and writes sensitivity.json, frontier.csv, plan.json (+ .safetensors), report.json and report.html
/// to the output; goes on where an earlier run stopped. Throws Error.
Result ablate(const Options &options);

/// Writes those files; docs/ablation.md gives the form of report.json.
void writeResults(const Options &options, const Result &result, const runtime::Manifest &manifest);

/// layers.7.attn -> 7 and attn; -1 and the name where it has another form.
std::pair<int64_t, std::string> splitName(const std::string &site);

} // namespace caat::ablate

#endif
