// The lookup tables of classes, tenants and weights: all their values are checked when
// they are loaded, so that intake and scheduler find none that they do not understand.
#pragma once

#include "engine/config/diagnostics.h"
#include "engine/config/submission_options.h"
#include "engine/tables/lookup_table.h"

namespace mailrace::engine::config {

// Values: a class, a tenant's name, a weight. Each bad one is an error at its line.
void CheckClassTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                     Diagnostics* diagnostics);
void CheckTenantTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                      Diagnostics* diagnostics);
void CheckWeightTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                      Diagnostics* diagnostics);

// Warns of keys that are an address and port where nobody listens: they never match.
void CheckListenerKeys(const tables::TableList& tables, const tables::TableLoadOptions& options,
                       const SubmissionOptions& submission, Diagnostics* diagnostics);

}  // namespace mailrace::engine::config
