#include "dialogue_script.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/text.h"

namespace mailrace::transport::smtp {

namespace {

[[noreturn]] void Die(std::string_view line) {
  std::fprintf(stderr, "dialogue: cannot read line: %.*s\n", static_cast<int>(line.size()),
               line.data());
  std::abort();
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      const char escape = text[++i];
      if (escape == 'x') {
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
      } else {
        out += escape == '0' ? '\0' : escape == 'e' ? '\x1b' : '\t';
      }
    } else if (text[i] == '{' && !out.empty()) {
      const size_t end = text.find('}', i);
      out.append(std::stoul(std::string(text.substr(i + 1, end - i - 1))) - 1, out.back());
      i = end;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::optional<std::string> ValueOf(std::string_view word, std::string_view name) {
  if (!StartsWithIgnoreCase(word, name) || word.size() <= name.size() || word[name.size()] != '=') {
    return std::nullopt;
  }
  return std::string(word.substr(name.size() + 1));
}

ScriptMessage ParseMessage(std::string_view line) {
  const std::vector<std::string> words = Split(line, ' ');
  if (words.empty()) Die(line);
  ScriptMessage message;
  message.name = words[0];
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "8bit") {
      message.eight_bit = true;
    } else if (word == "utf8") {
      message.smtputf8 = true;
    } else if (const auto from = ValueOf(word, "from")) {
      message.reverse_path = Unescape(*from);
    } else if (const auto to = ValueOf(word, "to")) {
      for (const std::string& path : Split(*to, ',')) {
        message.forward_paths.push_back(Unescape(path));
      }
    } else if (const auto octets = ValueOf(word, "octets")) {
      message.octets = std::stoull(*octets);
    } else if (const auto ret = ValueOf(word, "ret")) {
      message.ret = *ret;
    } else if (const auto envid = ValueOf(word, "envid")) {
      message.envid = *envid;
    } else if (const auto notify = ValueOf(word, "notify")) {
      message.notify = *notify;
    } else if (const auto orcpt = ValueOf(word, "orcpt")) {
      message.orcpt = *orcpt;
    } else if (const auto content = ValueOf(word, "content")) {
      message.content = Unescape(*content);
    } else {
      Die(line);
    }
  }
  if (message.forward_paths.empty()) Die(line);
  return message;
}

void AddOctets(ScriptEvent::Kind kind, std::string octets, Script* script) {
  std::vector<ScriptEvent>& events = script->events;
  if (events.empty() || events.back().kind != kind) events.push_back({kind, ""});
  events.back().octets += octets;
  if (kind == ScriptEvent::Kind::kServerOctets) {
    script->server_octets_max = std::max(script->server_octets_max, events.back().octets.size());
  }
}

void ParseOptions(std::string_view words, Script* script) {
  for (const std::string& word : Split(words, ' ')) {
    if (word == "no-pipelining") {
      script->pipelining_allowed = false;
    } else if (word == "no-cross-message") {
      script->cross_message_allowed = false;
    } else if (word == "no-bdat") {
      script->bdat_allowed = false;
    } else if (const auto trusted = ValueOf(word, "trusted")) {
      script->trusted = std::stoul(*trusted);
    } else if (word == "lone") {
      script->lone = true;
    } else if (word == "whole") {
      script->every_split = false;
    } else {
      Die(words);
    }
  }
}

void ParseLine(std::string_view line, Script* script) {
  const auto rest = [line](std::string_view prefix) { return line.substr(prefix.size()); };
  const auto is = [line](std::string_view prefix) {
    return line.substr(0, prefix.size()) == prefix;
  };
  if (line.empty() || line[0] == '#') return;
  if (is("do ")) {
    script->steps = Split(rest("do "), ' ');
  } else if (is("options ")) {
    ParseOptions(rest("options "), script);
  } else if (is("message ")) {
    script->messages.push_back(ParseMessage(rest("message ")));
  } else if (is("S: ")) {
    AddOctets(ScriptEvent::Kind::kServerOctets, Unescape(rest("S: ")) + "\r\n", script);
  } else if (is("S~ ")) {
    AddOctets(ScriptEvent::Kind::kServerOctets, Unescape(rest("S~ ")), script);
  } else if (is("C: ")) {
    AddOctets(ScriptEvent::Kind::kClientOctets, Unescape(rest("C: ")) + "\r\n", script);
  } else if (line == "S:" || line == "C:") {
    const bool server = line == "S:";
    AddOctets(server ? ScriptEvent::Kind::kServerOctets : ScriptEvent::Kind::kClientOctets, "\r\n",
              script);
  } else if (line == "S! close") {
    script->events.push_back({ScriptEvent::Kind::kClose, ""});
  } else if (line == "S! reset") {
    script->events.push_back({ScriptEvent::Kind::kReset, ""});
  } else if (line == "S! stall") {
    script->events.push_back({ScriptEvent::Kind::kStall, ""});
  } else if (is("S! dribble ")) {
    script->events.push_back({ScriptEvent::Kind::kDribble, Unescape(rest("S! dribble "))});
  } else if (line == "S! tls") {
    script->events.push_back({ScriptEvent::Kind::kTls, ""});
  } else if (line == "S! next") {
    script->events.push_back({ScriptEvent::Kind::kNext, ""});
  } else if (is("policy ")) {
    script->policy = rest("policy ");
  } else if (is("wait ")) {
    script->seconds = std::stoi(std::string(rest("wait ")));
  } else if (is("login ")) {
    const std::vector<std::string> words = Split(rest("login "), ' ');
    if (words.size() != 2) Die(line);
    script->user = words[0];
    script->password = words[1];
  } else if (is("=> ")) {
    script->results.push_back(Unescape(rest("=> ")));
  } else {
    Die(line);
  }
}

}  // namespace

Script ParseScript(std::string_view text) {
  Script script;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    ParseLine(text.substr(0, end), &script);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return script;
}

}  // namespace mailrace::transport::smtp
