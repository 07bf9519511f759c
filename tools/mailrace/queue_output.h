// How `mailrace queue` prints what the engine, or an offline queue, says of messages.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "nlohmann/json.hpp"

namespace mailrace::tools {

// mailq(1) exactly as Postfix prints it with long queue ids (postqueue -p).
class MailqPrinter {
 public:
  void Print(const nlohmann::json& message);
  // The last line: totals, or that the queue is empty.
  void Finish();

 private:
  uint64_t octets_ = 0;
  uint64_t messages_ = 0;
};

// `show` for people.
void PrintShown(const nlohmann::json& message);

// A line to standard error, as all complaints go.
void Complain(const std::string& text);

// The text of a member, "" if it is missing or no text.
std::string TextOf(const nlohmann::json& json, const char* name);
int64_t NumberOf(const nlohmann::json& json, const char* name);

}  // namespace mailrace::tools
