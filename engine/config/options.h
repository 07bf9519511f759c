// The whole configuration as typed values: what a shard reads. Made by LoadConfig,
// immutable afterwards, shared by all shards.
#pragma once

#include "engine/config/class_options.h"
#include "engine/config/general_options.h"
#include "engine/config/queue_options.h"
#include "engine/config/routing_options.h"
#include "engine/config/smtp_options.h"
#include "engine/config/submission_options.h"
#include "engine/config/tls_options.h"

namespace mailrace::engine::config {

struct Options {
  GeneralOptions general;
  LogOptions log;
  EntropyOptions entropy;
  SmtpOptions smtp;
  RoutingOptions routing;
  SaslOptions sasl;
  TlsOptions tls;
  QueueOptions queue;
  SubmissionOptions submission;
  ClassOptions classes;
};

}  // namespace mailrace::engine::config
