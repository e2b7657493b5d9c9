#include "rules.h"

static const sv_rule *const rules[] = {
    &sv_lru_rule, &sv_fifo_rule, &sv_sieve_rule, &sv_s3fifo_rule, &sv_tinylfu_rule, &sv_adaptive_rule, &sv_gdsf_rule,
};

const sv_rule *sv_rule_at(size_t number)
{
    return number < sizeof(rules) / sizeof(rules[0]) ? rules[number] : NULL;
}

const sv_rule *sv_rule_named(const char *name)
{
    for (size_t number = 0; number < sizeof(rules) / sizeof(rules[0]); number++)
        if (strcmp(rules[number]->name, name) == 0)
            return rules[number];
    return NULL;
}
