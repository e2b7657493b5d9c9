/* The eviction rules by name. Each is a file of its own that opens with its source. */
#ifndef SV_RULES_H
#define SV_RULES_H

#include "policy.h"

extern const sv_rule sv_lru_rule, sv_fifo_rule, sv_sieve_rule, sv_s3fifo_rule, sv_tinylfu_rule, sv_adaptive_rule,
    sv_gdsf_rule;

/* The rule of this name, or NULL. */
const sv_rule *sv_rule_named(const char *name);

/* All rules one by one, NULL after the last. */
const sv_rule *sv_rule_at(size_t number);

#endif
