#include "engine/config/macros.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace mailrace::engine::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::optional<std::string> Lookup(std::string_view name, bool) {
  static const std::map<std::string, std::string, std::less<>> values = {
      {"zset", "yes"},
      {"zempty", ""},
      {"chain", "<$zset>"},
      {"loop", "a$loop"},
      {"ping", "$pong"},
      {"pong", "${ping}"},
      {"bomb", "$b1$b1"},
      {"b1", "$b2$b2$b2$b2$b2$b2$b2$b2"},
      {"b2", "$b3$b3$b3$b3$b3$b3$b3$b3$b3$b3"},
      {"b3", "$b4$b4$b4$b4$b4$b4$b4$b4$b4$b4"},
      {"b4", "$b5$b5$b5$b5$b5$b5$b5$b5$b5$b5"},
      {"b5", ""}};
  const auto it = values.find(name);
  if (it == values.end()) return std::nullopt;
  return it->second;
}

struct Case {
  const char* text;
  const char* expected;
};

class Expansion : public ::testing::TestWithParam<Case> {};

TEST_P(Expansion, IsPostfixes) {
  const absl::StatusOr<std::string> got = ExpandMacros(GetParam().text, Lookup);
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_EQ(*got, GetParam().expected);
}

// The right column is what postconf -x of Postfix 3.7.11 prints.
INSTANTIATE_TEST_SUITE_P(
    Postconf, Expansion,
    ::testing::Values(
        Case{"plain", "plain"}, Case{"$zset-$zset.x$zset_x", "yes-yes.x"},
        Case{"${zset}x$(zset)", "yesxyes"}, Case{"$$x$$$zset", "$x$yes"}, Case{"${undefd}x", "x"},
        Case{"$chain", "<yes>"},
        Case{"${zset?yes}|${zset:no}|${zempty?yes}|${zempty:no}", "yes|||no"},
        Case{"${zset?{x}:{y}}|${zempty?{x}:{y}}|${zempty?{x}:y z }.", "x|y|y z ."},
        Case{"${zset ? x}", "x"}, Case{"${zset? x }.", "x ."}, Case{"${zset?{ x } }.", " x ."},
        Case{"${zset?{x} : {y}}", "x"}, Case{"${zset?${zempty:in}}", "in"}, Case{"$(zset?y)", "y"},
        Case{"$(zset?$(zset))", "yes"}, Case{"x ${ zset }", "x yes"}, Case{"${ zset ?x}.", "x."},
        Case{"${zset?x{a}b}", "x{a}b"}, Case{"${zset?{a}:b}c", "ac"}, Case{"${zempty?a:b}", ""},
        Case{"${zset?a:b}", "a:b"}, Case{"${zset?  x}.", "x."}, Case{"${zset?x  }.", "x  ."},
        Case{"${zset?  }.", "."}, Case{"${undefd?a}|${undefd:b}", "|b"},
        Case{"\xc3\x9c$zset\xc3\xbc", "\xc3\x9cyes\xc3\xbc"},
        Case{"${{a} == {b} ? {x} : {y}}", "y"}, Case{"${{a}=={a}}", "true"},
        Case{"${{a}== {a} ? {b} }.", "b."}, Case{"${{$zset}=={yes}?{eq}}", "eq"},
        Case{"${{}=={}?{t}}", "t"}, Case{"${{ a } == {a}?{eq}:{ne}}", "ne"},
        Case{"${{5}<{10}?{num}:{str}}", "num"}, Case{"${{05}=={5}?{num}:{str}}", "num"},
        Case{"${{5a}<{10}?{lt}:{ge}}", "ge"}, Case{"${{+5}=={5}?{n}:{s}}", "s"},
        Case{"${{}<{5}?{n}:{s}}", "n"},
        Case{"${{a}<={b}}|${{a}>{b}}|${{a}>={b}}|${{a}!={b}}|${{a}<{b}}", "true|||true|true"},
        Case{"${{3.9}<level{3.10}?{lt}:{ge}}|${{3.9}<{3.10}?{lt}:{ge}}", "lt|ge"},
        Case{"${{1}==level{1.0}?{t}:{f}}", "t"}));

class BadExpansion : public ::testing::TestWithParam<Case> {};

TEST_P(BadExpansion, IsAnErrorThatSaysWhere) {
  const absl::StatusOr<std::string> got = ExpandMacros(GetParam().text, Lookup);
  ASSERT_FALSE(got.ok()) << *got;
  EXPECT_THAT(std::string(got.status().message()), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    Postconf, BadExpansion,
    ::testing::Values(
        Case{"a$ b", "empty macro name"}, Case{"a$.b", "empty macro name"},
        Case{"$", "empty macro name"}, Case{"${}", "empty macro name"},
        Case{"$()", "empty macro name"}, Case{"a${", "truncated macro reference"},
        Case{"a${zset", "truncated macro reference"},
        Case{"${$zset}", "attribute name syntax error"},
        Case{"${zset x}", "attribute name syntax error"}, Case{"${{a}=~{b}}", "expected at"},
        Case{"${{a}==b?{x}}", "bad operator suffix"},
        Case{"${{5}<10?{num}:{str}}", "bad operator suffix"},
        Case{"${{a}==level{b}?{x}}", "bad level"}, Case{"${{a}==}", "expected after"},
        Case{"${{1}==level{1.0.0.0}?{t}:{f}}", "bad level"}, Case{"${zset?{a}x}", "\":\" expected"},
        Case{"${zset:{a}x}", "unexpected input"}, Case{"${{a}=={a}x}", "\"?\" or \":\" expected"},
        Case{"$(zset?{)", "unbalanced {}"},
        Case{"${{99999999999999999999}<{5}?{t}:{f}}", "too large"},
        Case{"$loop", "unreasonable macro call nesting"},
        Case{"$ping", "unreasonable macro call nesting"},
        Case{"$bomb", "unreasonable macro call nesting"}));

TEST(Macros, ResultIsBounded) {
  const std::string big(40000, 'x');
  const MacroLookup lookup = [&](std::string_view, bool) { return std::optional(big); };
  EXPECT_TRUE(ExpandMacros("$a", lookup).ok());
  EXPECT_THAT(std::string(ExpandMacros("$a$a", lookup).status().message()),
              HasSubstr("more than 65536 octets"));
}

TEST(Macros, EveryTruncationEndsWithoutHarm) {
  const std::string_view text = "a$$${zset?{$(chain)}:{y}}${{5} <level {10} ? {a$zset} : {b}}z";
  ASSERT_TRUE(ExpandMacros(text, Lookup).ok());
  for (size_t n = 0; n <= text.size(); ++n) {
    const absl::StatusOr<std::string> got = ExpandMacros(text.substr(0, n), Lookup);
    if (!got.ok()) {
      EXPECT_FALSE(got.status().message().empty());
    }
  }
}

TEST(Macros, NamesInAllBranchesAreSeen) {
  std::vector<std::string> names;
  VisitMacroNames("$a ${b?$c:{$(d)}} $$e ${{$f} == {x} ? {$g} : {h}}",
                  [&](std::string_view name) { names.emplace_back(name); });
  EXPECT_THAT(names, ElementsAre("a", "b", "c", "d", "f", "g"));
}

}  // namespace
}  // namespace mailrace::engine::config
