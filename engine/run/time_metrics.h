#pragma once

#include <nlohmann/json.hpp>

#include "run/stage_node.h"

namespace frazil {

// What a node's entry in the metrics says of time and state (Job::metrics). Any thread.

// Adds what the node of one worker knows.
void NoteTime(const StageNode& node, nlohmann::json* entry);

// When all workers are in it: who holds the watermark of an event_time node, the partition with the least
// frontier.
void FinishTime(nlohmann::json* entry);

// What calls of Python functions take, of a node that makes some: "python".
void NoteFunctions(const FunctionTimes& times, nlohmann::json* entry);

}  // namespace frazil
