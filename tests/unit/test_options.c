/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Our own command line.
 */
#include "unit.h"

#include "cli/options.h"

/* What was set, in order: "name=value;" or "name;". */
static bool note(struct strbuf *log, const char *name, const char *value)
{
    strbuf_puts(log, name);
    if (value)
        strbuf_printf(log, "=%s", value);
    strbuf_puts(log, ";");
    return true;
}

static bool set_vm(void *log, const char *value, struct error *err)
{
    if (strcmp(value, "bad") == 0)
        return error_set(err, STATUS_USAGE, "'bad' is refused");
    return note(log, "vm", value);
}

static bool set_listen(void *log, const char *value, struct error *err)
{
    return note(log, "listen", value);
}

static bool set_dry(void *log, const char *value, struct error *err)
{
    return note(log, "dry-run", value);
}

static bool set_quiet(void *log, const char *value, struct error *err)
{
    return note(log, "quiet", value);
}

static bool set_home(void *log, const char *value, struct error *err)
{
    return note(log, "home", value);
}

static const struct option_spec specs[] = {
    {"vm", 0, ARGUMENT_REQUIRED, set_vm},
    {"listen", 0, ARGUMENT_ADDRESS, set_listen},
    {"dry-run", 'n', ARGUMENT_NONE, set_dry},
    {NULL, 0, ARGUMENT_NONE, NULL},
};
static const struct option_spec common[] = {
    {"quiet", 'q', ARGUMENT_NONE, set_quiet},
    {"home", 'H', ARGUMENT_REQUIRED, set_home},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

static const struct {
    const char *words;  /* with blanks between them */
    const char *set;    /* command's, then '|', then common; NULL: refused */
    const char *before; /* operands; or the words of the error */
    const char *after;  /* "--"; NULL: there was none */
} rows[] = {
    {"", "|", "", NULL},
    {"--", "|", "", ""},
    {"-- --vm x -q", "|", "", "--vm x -q"},
    {"a --vm x b -- c -- d", "vm=x;|", "a b", "c -- d"},
    {"--vm x", "vm=x;|", "", NULL},
    {"--vm=x", "vm=x;|", "", NULL},
    {"--vm=", "vm=;|", "", NULL},
    {"--vm=a=b", "vm=a=b;|", "", NULL},
    {"--vm -q", "vm=-q;|", "", NULL},
    {"--vm a --vm b", "vm=a;vm=b;|", "", NULL},
    {"--vm", NULL, "--vm needs a value", NULL},
    {"--vm bad", NULL, "'bad' is refused", NULL},
    {"--listen", "listen;|", "", NULL},
    {"--listen :1", "listen=:1;|", "", NULL},
    {"--listen a:1 b:2", "listen=a:1;|", "b:2", NULL},
    {"--listen [::1]:1", "listen=[::1]:1;|", "", NULL},
    {"--listen host", "listen;|", "host", NULL},
    {"--listen 16515", "listen;|", "16515", NULL},
    {"--listen=16515", "listen=16515;|", "", NULL},
    {"--listen -- a:1", "listen;|", "", "a:1"},
    {"--listen -q", "listen;|quiet;", "", NULL},
    {"--listen -a:1", NULL, "unknown option -a:1", NULL},
    {"--listen --vm x:1", "listen;vm=x:1;|", "", NULL},
    {"--dry-run x", "dry-run;|", "x", NULL},
    {"--dry-run=yes", NULL, "--dry-run takes no value", NULL},
    {"--dry-run=", NULL, "--dry-run takes no value", NULL},
    {"-n -q -H /h", "dry-run;|quiet;home=/h;", "", NULL},
    {"-nq", NULL, "unknown option -nq", NULL},
    {"-H", NULL, "--home needs a value", NULL},
    {"-x", NULL, "unknown option -x", NULL},
    {"--nonsense", NULL, "unknown option --nonsense", NULL},
    {"--nonsense=1", NULL, "unknown option --nonsense=1", NULL},
    {"--v x", NULL, "unknown option --v", NULL}, /* no abbreviations */
    {"--vmx x", NULL, "unknown option --vmx", NULL},
    {"--VM x", NULL, "unknown option --VM", NULL},
    {"--=x", NULL, "unknown option --=x", NULL},
    {"-", "|", "-", NULL},
    {"- -- -", "|", "-", "-"},
    {"--home /h --vm x a", "vm=x;|home=/h;", "a", NULL},
};

START_TEST(reading)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrlist struct strlist words = {0};
        autostrbuf struct strbuf own = {0}, all = {0};
        struct operands operands = {.count = 4711};
        struct error err = ERROR_INIT;
        ck_assert(strlist_split(&words, rows[i].words, ' '));
        char *permuted[16]; /* the words are permuted, the list keeps them */
        for (size_t k = 0; k < words.count; k++)
            permuted[k] = words.items[k];
        bool good =
            options_parse((int)words.count, permuted, specs, &own, common, &all, &operands, &err);
        ck_assert_msg(good == (rows[i].set != NULL), "%s: %s", rows[i].words, err.message);
        if (!good) {
            check_error(&err, STATUS_USAGE, rows[i].before, rows[i].words);
            ck_assert_int_eq(operands.count, 4711);
            continue;
        }
        autofree char *set =
            string_format("%s|%s", own.data ? own.data : "", all.data ? all.data : "");
        ck_assert_msg(strcmp(set, rows[i].set) == 0, "%s: %s", rows[i].words, set);
        autostrlist struct strlist before = {0}, after = {0};
        for (int k = 0; k < operands.count; k++)
            strlist_push(&before, operands.words[k]);
        for (int k = 0; k < operands.rest_count; k++)
            strlist_push(&after, operands.rest[k]);
        autofree char *left = strlist_join(&before, " "), *right = strlist_join(&after, " ");
        ck_assert_msg(strcmp(left, rows[i].before) == 0, "%s: '%s'", rows[i].words, left);
        ck_assert_msg((operands.rest_count < 0) == !rows[i].after, "%s", rows[i].words);
        if (rows[i].after)
            ck_assert_msg(strcmp(right, rows[i].after) == 0, "%s: '%s'", rows[i].words, right);
    }
}
END_TEST

START_TEST(one_table_or_none)
{
    char vm[] = "--vm", value[] = "x", quiet[] = "-q";
    char *words[] = {vm, value, quiet};
    autostrbuf struct strbuf log = {0};
    struct operands operands;
    MUST(options_parse(2, words, specs, &log, NULL, NULL, &operands, &err));
    ck_assert_str_eq(log.data, "vm=x;");
    MUST_FAIL(STATUS_USAGE, "--vm",
              options_parse(2, words, NULL, NULL, common, &log, &operands, &err));
    MUST_FAIL(STATUS_USAGE, "--vm",
              options_parse(2, words, NULL, NULL, NULL, NULL, &operands, &err));
    MUST(options_parse(1, words + 2, NULL, NULL, common, &log, &operands, &err));
    ck_assert_str_eq(log.data, "vm=x;quiet;");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {reading, one_table_or_none};
    return unit_run("options", tests, COUNT(tests));
}
