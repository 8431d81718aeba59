#pragma once

#include <vector>

#include "plan/plan.h"

namespace frazil {

// How rows cross from a node to one of its consumers.
enum class EdgeKind {
  kFused,    // a call within the stage
  kForward,  // a channel to the same worker's next stage
  kHash,     // channels to every worker, by key
};

struct Edge {
  int id = 0;
  int from = 0;        // node
  int to = 0;          // node
  int port = 0;        // which input of `to`
  bool aside = false;  // what `from` set aside
  EdgeKind kind = EdgeKind::kFused;
};

// The plan cut into stages. Every worker runs one replica of each stage. A stage's number is the largest
// number of exchanges between it and a source, so stages are acyclic, and an edge that skips stages is a
// channel too.
struct StagePlan {
  int stages = 0;
  std::vector<int> stage_of;  // by node
  std::vector<Edge> edges;
};

StagePlan CutStages(const Plan& plan);

}  // namespace frazil
