#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>

#include "engine/tables/lookup_table.h"
#include "engine/tables/postmap.h"
#include "engine/tables/text_table.h"
#include "tests/engine/config/temp_directory.h"

namespace mailrace::engine::tables {
namespace {

using config::Diagnostics;
using ::testing::HasSubstr;
using ::testing::Not;

class TablesTest : public ::testing::Test {
 protected:
  // "(none)", "(broken)" or the value.
  std::string Ask(std::string_view specs, std::string_view key) {
    diagnostics_ = {};
    const auto tables = TableList::Load(specs, options_, &diagnostics_);
    if (tables == nullptr) return "(broken)";
    const auto hit = tables->Lookup(key);
    if (!hit.ok() || !hit->has_value()) return "(none)";
    origin_ = (*hit)->origin;
    return (*hit)->value;
  }
  std::string Messages() { return diagnostics_.ToString(); }

  TempDirectory directory_;
  TableLoadOptions options_{.parameter = "some_maps", .place = {"main.cf", 7}};
  Diagnostics diagnostics_;
  std::string origin_;
};

TEST_F(TablesTest, FileTablesReadTheirText) {
  const std::string file = directory_.Write(
      "map", "# comment\nKey  val ue  \n cont \n#c\n\nkey2\tv\r\n\"a b\" c\nK\"x y\"  z\n");
  for (const char* type : {"hash", "btree", "lmdb", "cdb", "dbm", "texthash", "proxy:hash"}) {
    const std::string spec = std::string(type) + ":" + file;
    EXPECT_EQ(Ask(spec, "key"), "val ue   cont") << type;
    EXPECT_EQ(origin_, file + ":2");
    EXPECT_EQ(Ask(spec, "KEY"), "val ue   cont") << "keys are folded";
    EXPECT_EQ(Ask(spec, "key2"), "v");
    EXPECT_EQ(Ask(spec, "\"a b\""), "c");
    EXPECT_EQ(Ask(spec, "k\"x y\""), "z");
    EXPECT_EQ(Ask(spec, "\"a"), "(none)");
    EXPECT_EQ(Messages(), "");
  }
}

TEST_F(TablesTest, BadLinesAreErrorsWithFileAndLineAndLeaveNoPartialTable) {
  const std::string file = directory_.Write("map", "good x\nbad\nkey: v\nk\xff v\nlonely\n  \n");
  EXPECT_EQ(Ask("hash:" + file, "good"), "(broken)");
  EXPECT_EQ(diagnostics_.errors(), 3U);
  EXPECT_THAT(Messages(),
              HasSubstr(file + ":2: error: some_maps: expected format: key whitespace value\n"));
  EXPECT_THAT(Messages(), HasSubstr(file + ":3: warning: some_maps: record is in \"key: value\""));
  EXPECT_THAT(Messages(), HasSubstr(file + ":4: error: some_maps: text is not UTF-8"));
  EXPECT_THAT(Messages(), HasSubstr(file + ":5: error: some_maps: expected format"));
}

TEST_F(TablesTest, ALineWhoseKeyHasAQuoteWithoutPartnerIsIgnoredUntold) {
  // As postmap(1) of Postfix 3.7 does, which shows the line.
  const std::string file = directory_.Write("map", "a\"b secret\nx\\\" y\nk \"v w\n");
  EXPECT_EQ(Ask("hash:" + file, "a\"b"), "(none)");
  EXPECT_THAT(Messages(), HasSubstr(file + ":1: warning: some_maps: unbalanced '\"' in the key"));
  EXPECT_THAT(Messages(), Not(HasSubstr("secret")));
  EXPECT_EQ(Ask("hash:" + file, "x\\\""), "y") << "a backslash takes its meaning away";
  EXPECT_EQ(Ask("hash:" + file, "k"), "\"v w") << "in a value it has none";
}

TEST_F(TablesTest, OfDuplicatesTheFirstCounts) {
  const std::string file = directory_.Write("map", "a 1\nb 2\nA 3\n");
  EXPECT_EQ(Ask("hash:" + file, "a"), "1");
  EXPECT_THAT(Messages(), HasSubstr(file + ":3: warning: some_maps: duplicate entry: \"A\""));
}

TEST_F(TablesTest, NulAndEndlessLinesAreRefused) {
  const std::string nul = directory_.Write("nul", std::string_view("a b\0c\n", 6));
  EXPECT_EQ(Ask("hash:" + nul, "a"), "(broken)");
  EXPECT_THAT(Messages(), HasSubstr(nul + ":1: error: some_maps: NUL octet"));
  const std::string line = directory_.Write("line", "a " + std::string(1 << 20, 'x') + "\n");
  EXPECT_EQ(Ask("hash:" + line, "a"), "(broken)");
  EXPECT_THAT(Messages(), HasSubstr(line + ":1: error: some_maps: line longer"));
}

TEST_F(TablesTest, AMissingFileIsReportedWhereItIsNamed) {
  EXPECT_EQ(Ask("hash:/nonexistent/map", "a"), "(broken)");
  EXPECT_EQ(
      Messages(),
      "main.cf:7: error: some_maps: cannot open /nonexistent/map: No such file or directory\n");
  directory_.Write("only.db", "");
  EXPECT_EQ(Ask("hash:" + directory_.path() + "/only", "a"), "(broken)");
  EXPECT_THAT(Messages(), HasSubstr("only.db is there, but the text it was made from"));
}

TEST_F(TablesTest, InlineTables) {
  EXPECT_EQ(Ask("inline:{foo=bar, {x y = z w}, {q = a, b}}", "FOO"), "bar");
  EXPECT_EQ(origin_, "inline:{...} at main.cf:7");
  EXPECT_EQ(Ask("inline:{foo=bar, {x y = z w}}", "x y"), "z w");
  EXPECT_EQ(Ask("inline:{foo=bar, {x y = z w}, {q = a, b}}", "q"), "a, b");
  EXPECT_EQ(Ask("inline:{ foo = bar }", "foo"), "(broken)") << "as in Postfix: three words";
  EXPECT_EQ(Ask("inline:{ { foo = bar } }", "foo"), "bar");
  for (const char* bad : {"inline:{}", "inline:foo=bar", "inline:{foo}", "inline:{=x}",
                          "inline:{a=b, a=c}", "inline:{a=b"}) {
    EXPECT_EQ(Ask(bad, "foo"), "(broken)") << bad;
    EXPECT_THAT(Messages(), HasSubstr("main.cf:7: error: some_maps:")) << bad;
  }
}

TEST_F(TablesTest, StaticTablesAnswerEverything) {
  EXPECT_EQ(Ask("static:user:pw", "anything"), "user:pw");
  EXPECT_EQ(Ask("static:{ a b }", "anything"), "a b");
  EXPECT_EQ(Ask("static:", "anything"), "");
}

TEST_F(TablesTest, ListsAreSearchedInOrder) {
  const std::string file = directory_.Write("map", "a file\nb file\n");
  const std::string list = "inline:{a=inline, {c = c c}}, hash:" + file + " static:{the rest}";
  EXPECT_EQ(Ask(list, "a"), "inline");
  EXPECT_EQ(Ask(list, "b"), "file");
  EXPECT_EQ(Ask(list, "z"), "the rest");
  EXPECT_EQ(Ask("", "a"), "(none)");
}

TEST_F(TablesTest, OtherTypesAreNamedAsUnsupported) {
  for (const char* type : {"pcre", "regexp", "ldap", "mysql", "cidr", "nosuch", "HASH"}) {
    EXPECT_EQ(Ask(std::string(type) + ":/x", "a"), "(broken)");
    EXPECT_THAT(Messages(), HasSubstr(std::string("main.cf:7: error: some_maps: unsupported table "
                                                  "type \"") +
                                      type + "\""));
  }
  EXPECT_EQ(Ask("/etc/map", "a"), "(broken)");
  EXPECT_THAT(Messages(), HasSubstr("expecting \"type:name\" form instead of \"/etc/map\""));
}

TEST_F(TablesTest, RelativeNamesStartAtTheConfigurationDirectory) {
  directory_.Write("map", "a 1\n");
  options_.directory = directory_.path();
  EXPECT_EQ(Ask("hash:map", "a"), "1");
}

TEST_F(TablesTest, EveryTruncationOfAFileLoadsOrSaysWhy) {
  const std::string_view text = "# c\nkey  val\n cont\n\n\"a b\" c\r\nlast x";
  for (size_t n = 0; n <= text.size(); ++n) {
    Diagnostics diagnostics;
    const auto table = ParseTextTable("t", "t", text.substr(0, n), options_, &diagnostics);
    EXPECT_EQ(table == nullptr, diagnostics.has_errors()) << n;
  }
}

class PasswordTablesTest : public TablesTest {
 protected:
  PasswordTablesTest() { options_.credentials = true; }
};

TEST_F(PasswordTablesTest, AClosedFileIsRead) {
  const std::string file = directory_.Write("saslpw", "smtp.myisp.com myid:my:pw\n");
  EXPECT_EQ(Ask("hash:" + file, "smtp.myisp.com"), "myid:my:pw");
  EXPECT_EQ(Messages(), "");
}

TEST_F(PasswordTablesTest, AnOpenFileIsRefusedWithTheCommandThatMendsIt) {
  for (const mode_t mode : {0640U, 0604U, 0620U, 0602U, 0644U, 0666U, 0610U}) {
    const std::string file = directory_.Write("saslpw", "h u:secretpw\n", mode);
    EXPECT_EQ(Ask("hash:" + file, "h"), "(broken)") << std::oct << mode;
    EXPECT_THAT(Messages(), HasSubstr("run: chmod 600 " + file));
    EXPECT_THAT(Messages(), Not(HasSubstr("secretpw")));
    options_.check_file_safety = false;
    EXPECT_EQ(Ask("hash:" + file, "h"), "u:secretpw") << "the named override";
    options_.check_file_safety = true;
  }
}

TEST_F(PasswordTablesTest, ADirectoryThatOthersCanWriteToIsRefused) {
  const std::string inner = directory_.path() + "/inner";
  mkdir(inner.c_str(), 0700);
  const std::string file = directory_.Write("inner/saslpw", "h u:p\n");
  EXPECT_EQ(Ask("hash:" + file, "h"), "u:p");
  for (const mode_t mode : {0777U, 0770U}) {
    chmod(inner.c_str(), mode);
    EXPECT_EQ(Ask("hash:" + file, "h"), "(broken)");
    EXPECT_THAT(Messages(), HasSubstr("chmod go-w " + inner));
  }
  chmod(inner.c_str(), 01777);
  EXPECT_EQ(Ask("hash:" + file, "h"), "u:p") << "sticky: others cannot replace it";
}

TEST_F(PasswordTablesTest, ALinkIntoAnUnsafeDirectoryIsRefused) {
  const std::string open = directory_.path() + "/open";
  mkdir(open.c_str(), 0700);
  const std::string file = directory_.Write("open/saslpw", "h u:p\n");
  const std::string link = directory_.path() + "/link";
  ASSERT_EQ(symlink(file.c_str(), link.c_str()), 0);
  EXPECT_EQ(Ask("hash:" + link, "h"), "u:p");
  chmod(open.c_str(), 0777);
  EXPECT_EQ(Ask("hash:" + link, "h"), "(broken)");
}

TEST_F(PasswordTablesTest, AnotherUsersFileIsRefused) {
  const std::string file = directory_.Write("saslpw", "h u:p\n");
  // Only root can give files away; as anybody else the rule shows on a file of nobody's.
  if (geteuid() == 0) {
    ASSERT_EQ(chown(file.c_str(), 12345, 12345), 0);
    EXPECT_EQ(Ask("hash:" + file, "h"), "(broken)");
    EXPECT_THAT(Messages(), HasSubstr("belongs to user id 12345"));
  } else {
    EXPECT_EQ(Ask("hash:" + file, "h"), "u:p");
  }
}

TEST_F(PasswordTablesTest, CredentialsThatCannotBeSentAreRefusedWithoutShowingThem) {
  const std::string cr = directory_.Write("cr", "h u:secret\rpw\n");
  EXPECT_EQ(Ask("hash:" + cr, "h"), "(broken)");
  EXPECT_THAT(Messages(), HasSubstr(cr + ":1: error: some_maps: credential for \"h\": line break"));
  EXPECT_THAT(Messages(), Not(HasSubstr("secret")));
  const std::string nobody = directory_.Write("nobody", "h :secretpw\n");
  EXPECT_EQ(Ask("hash:" + nobody, "h"), "(broken)");
  EXPECT_THAT(Messages(), HasSubstr("the user name is empty"));
  EXPECT_EQ(CheckCredential(std::string_view("u:a\0b", 5), ":"), "NUL octet in user or password");
  EXPECT_EQ(CheckCredential("u", ":"), "") << "no delimiter: the password is empty";
}

TEST_F(PasswordTablesTest, NoMessageOrNameShowsWhatIsInMainCf) {
  for (const char* spec : {"inline:{h=u:secretpw", "inline:{secretpw}", "inline:h=secretpw",
                           "secretpw", "inline:{h=:secretpw}", "static::secretpw"}) {
    EXPECT_EQ(Ask(spec, "h"), "(broken)") << spec;
    EXPECT_THAT(Messages(), Not(HasSubstr("secretpw"))) << spec;
  }
  Ask("inline:{h=u:secretpw}", "h");
  EXPECT_THAT(origin_, Not(HasSubstr("secretpw")));
  Ask("static:u:secretpw", "h");
  EXPECT_THAT(origin_, Not(HasSubstr("secretpw")));
}

class PostmapTest : public TablesTest {
 protected:
  int Run(const std::vector<std::string>& arguments, const std::string& input = "") {
    std::istringstream in(input);
    out_.str("");
    err_.str("");
    return Postmap(arguments, in, out_, err_);
  }
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(PostmapTest, ValidatesATable) {
  const std::string file = directory_.Write("map", "a 1\n", 0644);
  EXPECT_EQ(Run({"hash:" + file}), 0);
  EXPECT_EQ(Run({file}), 0) << "hash is the default";
  EXPECT_EQ(out_.str() + err_.str(), "");
  const std::string bad = directory_.Write("bad", "a\n");
  EXPECT_EQ(Run({file, bad}), 1);
  EXPECT_EQ(err_.str(), bad + ":1: error: expected format: key whitespace value\n");
}

TEST_F(PostmapTest, AnswersAQuery) {
  const std::string file = directory_.Write("map", "a 1\nb 2\n");
  EXPECT_EQ(Run({"-q", "B", file}), 0);
  EXPECT_EQ(out_.str(), "2\n");
  EXPECT_EQ(Run({"-q", "c", file}), 1);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(Run({"-q", "c", file, "static:x"}), 0);
  EXPECT_EQ(out_.str(), "x\n");
}

TEST_F(PostmapTest, AnswersQueriesOfItsInput) {
  const std::string file = directory_.Write("map", "a 1\nb 2\n");
  EXPECT_EQ(Run({"-q", "-", file}, "b\nc\na\n"), 0);
  EXPECT_EQ(out_.str(), "b\t2\na\t1\n");
  EXPECT_EQ(Run({"-q", "-", file}, "c\n"), 1);
}

TEST_F(PostmapTest, ListsInTheFilesOrder) {
  const std::string file = directory_.Write("map", "b 2\nA 1\n");
  EXPECT_EQ(Run({"-s", file}), 0);
  EXPECT_EQ(out_.str(), "b\t2\na\t1\n");
}

TEST_F(PostmapTest, SaysHowItIsUsed) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {"-q"}, {"-q", "x"}, {"-z", "f"}, {"-s", "-q", "x", "f"}}) {
    EXPECT_EQ(Run(arguments), 64);
    EXPECT_THAT(err_.str(), HasSubstr("usage: postmap"));
  }
}

}  // namespace
}  // namespace mailrace::engine::tables
