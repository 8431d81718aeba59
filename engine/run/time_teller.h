#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "plan/plan.h"
#include "run/worker.h"

namespace frazil {

// Tells each worker what it has to know of event time in the others, some times a second, as control
// messages: nodes that wait for others (concat) are told how far these have come in all workers. What it
// tells is older than what is so, and so never more than may be promised.
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
  void note_floors(std::map<std::string, Timestamp>* floors) const;
  void run();

  const std::vector<Worker*> workers_;
  std::map<std::string, std::set<std::string>> after_;          // event_time nodes that wait, and for whom
  std::map<std::string, std::vector<const EventTime*>> times_;  // of all workers, by node
  std::map<std::string, Timestamp> told_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
};

}  // namespace frazil
