#include "engine/config/validate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/address.h"
#include "base/text.h"
#include "engine/config/parameter.h"
#include "engine/config/relayhost.h"

namespace mailrace::engine::config {
namespace {

class Validator {
 public:
  Validator(const Config& config, bool check_files, Diagnostics* diagnostics)
      : config_(config), o_(config.options), check_files_(check_files), diagnostics_(diagnostics) {}

  void Run() {
    Sasl();
    Levels();
    MatchNames();
    Queue();
    Submission();
    Classes();
    if (check_files_) Files();
  }

 private:
  Place At(std::string_view parameter) const {
    const auto it = config_.settings.find(parameter);
    return it == config_.settings.end() ? Place{} : it->second.place;
  }
  void Error(std::string_view parameter, std::string message) {
    diagnostics_->Error(At(parameter), parameter, std::move(message));
  }
  void Warning(std::string_view parameter, std::string message) {
    diagnostics_->Warning(At(parameter), parameter, std::move(message));
  }

  void Sasl() {
    const SaslOptions& sasl = o_.sasl;
    if (sasl.smtp_sasl_auth_enable && sasl.smtp_sasl_password_maps.empty()) {
      Error("smtp_sasl_auth_enable",
            "specify a password table via the `smtp_sasl_password_maps' configuration parameter");
    }
    if (!sasl.smtp_sasl_auth_enable && !sasl.smtp_sasl_password_maps.empty()) {
      Warning("smtp_sasl_password_maps", "has no effect without smtp_sasl_auth_enable = yes");
    }
    if (sasl.smtp_sasl_password_result_delimiter.empty()) {
      Error("smtp_sasl_password_result_delimiter", "is empty");
    }
    for (const std::string& pattern : sasl.smtp_sasl_mechanism_filter) {
      const bool table = pattern.find(':') != std::string::npos || pattern.starts_with('/');
      if (table && !pattern.starts_with("static:")) {
        Error("smtp_sasl_mechanism_filter",
              fmt::format("\"{}\": files and tables are not supported here; list the mechanisms",
                          pattern));
      }
    }
  }

  void Levels() {
    const TlsOptions& tls = o_.tls;
    if (tls.smtp_tls_security_level.empty()) {
      for (const char* old : {"smtp_use_tls", "smtp_enforce_tls", "smtp_tls_enforce_peername"}) {
        if (At(old).file.empty()) continue;
        diagnostics_->Note(At(old), old, "works; today's word is smtp_tls_security_level");
      }
    } else {
      for (const char* old : {"smtp_use_tls", "smtp_enforce_tls"}) {
        if (At(old).file.empty()) continue;
        diagnostics_->Note(At(old), old, "has no effect: smtp_tls_security_level is set");
      }
    }
    if (!tls.smtp_tls_policy_maps.empty() && !tls.smtp_tls_per_site.empty()) {
      Warning("smtp_tls_per_site",
              "smtp_tls_per_site ignored when smtp_tls_policy_maps is not empty.");
    }
    const bool by_table = !tls.smtp_tls_policy_maps.empty() || !tls.smtp_tls_per_site.empty();
    const TlsLevel level = tls.GlobalLevel();
    if (tls.smtp_tls_wrappermode && level < TlsLevel::kEncrypt && !by_table) {
      Error("smtp_tls_wrappermode",
            "TLS wrappermode requires \"smtp_tls_security_level = encrypt\" (or stronger)");
    }
    if (level == TlsLevel::kFingerprint && tls.smtp_tls_fingerprint_cert_match.empty() &&
        !by_table) {
      Error("smtp_tls_security_level",
            "fingerprint needs digests in smtp_tls_fingerprint_cert_match");
    }
    const bool no_authorities = tls.smtp_tls_CAfile.empty() && tls.smtp_tls_CApath.empty();
    if (level >= TlsLevel::kVerify && no_authorities && tls.smtp_tls_trust_anchor_file.empty()) {
      Warning(std::string(tls.GlobalLevelParameter()),
              fmt::format("level {} needs certification authorities: set smtp_tls_CAfile, or "
                          "every delivery is deferred (Server certificate not verified)",
                          TlsLevelName(level)));
    }
    if (tls.tls_append_default_CA && no_authorities) {
      Warning("tls_append_default_CA",
              "has no effect while smtp_tls_CAfile and smtp_tls_CApath are empty");
    }
  }

  void MatchNames() {
    const TlsOptions& tls = o_.tls;
    if (tls.smtp_tls_verify_cert_match.empty()) {
      Error("smtp_tls_verify_cert_match", "is empty: no certificate could match");
    }
    if (tls.smtp_tls_secure_cert_match.empty()) {
      Error("smtp_tls_secure_cert_match", "is empty: no certificate could match");
    }
    HostName("myhostname", o_.general.myhostname);
    const std::string& helo = o_.smtp.smtp_helo_name;
    if (helo == o_.general.myhostname) return;
    // RFC 5321 4.1.3: whoever has no name says his address.
    const bool literal = helo.starts_with('[') && helo.ends_with(']');
    if (!literal) HostName("smtp_helo_name", helo);
  }

  // What every greeting, EHLO, Message-ID and notice says (RFC 5321 2.3.5).
  void HostName(std::string_view parameter, const std::string& name) {
    if (!CheckHostName(name).ok() || !IsAscii(name) || name.ends_with('.')) {
      Error(parameter, fmt::format("\"{}\": must be one host name", Printable(name, 255)));
    } else if (name.find('.') == std::string::npos) {
      Warning(parameter, fmt::format("\"{}\" is not a full name, such as host.example.com: relays "
                                     "may refuse it",
                                     name));
    }
  }

  void Queue() {
    const QueueOptions& queue = o_.queue;
    if (queue.minimal_backoff_time > queue.maximal_backoff_time) {
      Error("minimal_backoff_time", "is greater than maximal_backoff_time");
    }
    for (const std::string& transport : queue.defer_transports) {
      if (transport == "smtp") continue;
      Warning("defer_transports",
              fmt::format("\"{}\": the only transport here is smtp", transport));
    }
    for (const char* name : {"queue_directory", "data_directory"}) {
      const auto it = config_.settings.find(name);
      if (!it->second.value.starts_with('/')) Error(name, "must be an absolute path");
    }
    if (o_.general.queue_directory == o_.general.data_directory) {
      Error("data_directory", "must differ from queue_directory");
    }
    if (o_.log.log_output == "file" && o_.log.maillog_file.empty()) {
      Error("log_output", "file needs maillog_file");
    }
    if (!o_.log.maillog_file.empty() && !o_.log.maillog_file.starts_with('/')) {
      Error("maillog_file", "must be an absolute path");
    }
  }

  void Submission() {
    const SubmissionOptions& submission = o_.submission;
    if (!submission.submission_tls_listen.empty() && submission.smtpd_tls_cert_file.empty()) {
      Error("submission_tls_listen", "needs a certificate: set smtpd_tls_cert_file");
    }
    const bool auth = submission.smtpd_sasl_auth_enable;
    if (auth && submission.smtpd_sasl_password_maps.empty()) {
      Error("smtpd_sasl_auth_enable", "needs smtpd_sasl_password_maps");
    }
    if (!auth && !submission.smtpd_sasl_password_maps.empty()) {
      Warning("smtpd_sasl_password_maps", "has no effect without smtpd_sasl_auth_enable = yes");
    }
    if (auth && submission.smtpd_tls_auth_only && submission.smtpd_tls_cert_file.empty()) {
      Error("smtpd_sasl_auth_enable",
            "needs TLS: set smtpd_tls_cert_file (or smtpd_tls_auth_only = no)");
    }
    if (submission.mynetworks.empty() && !auth) {
      Warning("mynetworks", "is empty: nobody may submit over SMTP");
    }
    for (const SocketAddress& address : submission.submission_listen) {
      if (address.ip.loopback() || auth || !At("mynetworks").file.empty()) continue;
      Warning("submission_listen", fmt::format("listens on {}, but mynetworks admits loopback only",
                                               address.ToString()));
    }
  }

  void Classes() {
    const ClassOptions& classes = o_.classes;
    if (!classes.message_class_header.empty() &&
        EqualsIgnoreCase(classes.message_class_header, classes.message_tenant_header)) {
      Error("message_tenant_header", "is the same as message_class_header");
    }
  }

  void Readable(std::string_view parameter, const std::string& path, bool directory) {
    if (path.empty()) return;
    struct stat st;
    if (stat(path.c_str(), &st) != 0 || access(path.c_str(), R_OK) != 0) {
      Error(parameter, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
      return;
    }
    if (S_ISDIR(st.st_mode) != directory) {
      Error(parameter, fmt::format("{} is {}a directory", path, directory ? "not " : ""));
    }
  }

  void Key(std::string_view parameter, const std::string& path) {
    Readable(parameter, path, false);
    struct stat st;
    if (path.empty() || stat(path.c_str(), &st) != 0) return;
    if ((st.st_mode & S_IRWXO) != 0) {
      Warning(parameter,
              fmt::format("private key {} is open to all users; run: chmod 600 {}", path, path));
    }
  }

  void Files() {
    const TlsOptions& tls = o_.tls;
    if (tls.smtp_tls_chain_files.empty()) {
      Readable("smtp_tls_cert_file", tls.smtp_tls_cert_file, false);
      if (!tls.smtp_tls_cert_file.empty()) Key("smtp_tls_key_file", tls.smtp_tls_key_file);
      Readable("smtp_tls_eccert_file", tls.smtp_tls_eccert_file, false);
      if (!tls.smtp_tls_eccert_file.empty()) Key("smtp_tls_eckey_file", tls.smtp_tls_eckey_file);
    }
    for (const std::string& file : tls.smtp_tls_chain_files) Key("smtp_tls_chain_files", file);
    Readable("smtp_tls_CAfile", tls.smtp_tls_CAfile, false);
    Readable("smtp_tls_CApath", tls.smtp_tls_CApath, true);
    for (const std::string& file : tls.smtp_tls_trust_anchor_file) {
      Readable("smtp_tls_trust_anchor_file", file, false);
    }
    Readable("smtpd_tls_cert_file", o_.submission.smtpd_tls_cert_file, false);
    if (!o_.submission.smtpd_tls_cert_file.empty()) {
      Key("smtpd_tls_key_file", o_.submission.smtpd_tls_key_file);
    }
  }

  const Config& config_;
  const Options& o_;
  bool check_files_;
  Diagnostics* diagnostics_;
};

}  // namespace

void ValidateOptions(const Config& config, bool check_files, Diagnostics* diagnostics) {
  Validator(config, check_files, diagnostics).Run();
}

}  // namespace mailrace::engine::config
