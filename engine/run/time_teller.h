#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "plan/plan.h"
#include "run/worker.h"

namespace frazil {

// Tells each worker what it has to know of event time in the others, some times a second, as control
// messages. Nodes that wait for others (concat) are told how far these have come in all workers: what it
// tells is older than what is so, and so never more than may be promised. And sources of which several
// workers read partitions with rows left are told the least frontier of the other workers, so that they are
// read in step: it is never above what is so for long, and the worker with the least of all is not held.
class TimeTeller {
 public:
  // The workers are open, and outlive it.
  TimeTeller(const Plan& plan, std::vector<Worker*> workers);
  ~TimeTeller() { stop(); }

  // Tells what has changed since it last did. One thread at a time: that of start(), or a simulator.
  void tell();
  // Does so from now on, in a thread of its own, if the plan has anything to tell.
  void start();
  void stop();  // idempotent

 private:
  using Floors = std::map<std::string, Timestamp>;  // by event_time node that waits
  using Least = std::map<int, Timestamp>;           // by group of sources that are read in step

  bool needed() const { return !after_.empty() || workers_.size() > 1; }
  Floors floors() const;
  Least elsewhere(size_t worker) const;
  void run();

  const std::vector<Worker*> workers_;
  std::map<std::string, std::set<std::string>> after_;          // event_time nodes that wait, and for whom
  std::map<std::string, std::vector<const EventTime*>> times_;  // of all workers, by node
  std::vector<std::vector<std::pair<int, const EventTime*>>> groups_;  // by worker: nodes with their group
  std::vector<std::pair<Floors, Least>> told_;                         // by worker
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
};

}  // namespace frazil
