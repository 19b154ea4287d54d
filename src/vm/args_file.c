/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/args_file.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

struct parser {
    const char *name;
    const char *p;
    int line;
    struct strbuf word;
    bool in_word; /* an empty one is one, too */
};

static bool refuse(const struct parser *parser, const char *what, struct error *err)
{
    return error_set(err, STATUS_CONFIG, "%s:%d: %s", parser->name, parser->line, what);
}

static void take(struct parser *parser)
{
    strbuf_add(&parser->word, parser->p, 1);
    parser->line += *parser->p == '\n';
    parser->p++;
    parser->in_word = true;
}

/* Behind the opening quote, to behind the closing one. */
static bool take_quoted(struct parser *parser, char quote, struct error *err)
{
    int begin = parser->line;
    parser->in_word = true;
    for (parser->p++; *parser->p != quote; take(parser)) {
        const char *p = parser->p;
        if (!*p) {
            parser->line = begin;
            return refuse(parser, "a quote that is not closed", err);
        }
        if (quote == '"' && (*p == '$' || *p == '`'))
            return refuse(parser, "'$' and '`' are not replaced here: write them in '...'", err);
        if (quote == '"' && *p == '\\' && p[1] && strchr("\"\\$`", p[1]))
            parser->p++;
    }
    parser->p++;
    return true;
}

static bool end_word(struct parser *parser, struct strlist *argv, struct error *err)
{
    if (!parser->in_word)
        return true;
    strbuf_puts(&parser->word, ""); /* of an empty one */
    parser->in_word = false;
    return strlist_push_owned(argv, strbuf_steal(&parser->word)) || error_no_memory(err);
}

static bool take_one(struct parser *parser, struct strlist *argv, struct error *err)
{
    char c = *parser->p;
    if (c == '\'' || c == '"')
        return take_quoted(parser, c, err);
    if (c == '\\' && parser->p[1] == '\n') {
        parser->p += 2;
        parser->line++;
        return true;
    }
    if (c == '\\' && !parser->p[1])
        return refuse(parser, "nothing stands behind the last '\\'", err);
    if (c == '\\') {
        parser->p++;
        take(parser);
        return true;
    }
    if (strchr(" \t\r\n", c)) {
        parser->line += c == '\n';
        parser->p++;
        return end_word(parser, argv, err);
    }
    if (c == '#' && !parser->in_word) {
        parser->p += strcspn(parser->p, "\n");
        return true;
    }
    if (strchr("$`|&;<>()*?[", c) || (c == '~' && !parser->in_word)) {
        char text[64];
        snprintf(text, sizeof(text), "'%c' means something to a shell: write it in '...'", c);
        return refuse(parser, text, err);
    }
    take(parser);
    return true;
}

bool args_parse(const char *name, const char *text, struct strlist *argv, struct error *err)
{
    autostrlist struct strlist words = {0};
    struct parser parser = {.name = name, .p = text, .line = 1};
    bool good = true;
    while (good && *parser.p)
        good = take_one(&parser, &words, err);
    good = good && end_word(&parser, &words, err);
    strbuf_free(&parser.word);
    if (!good)
        return false;
    *argv = words;
    words = (struct strlist){0};
    return true;
}

char *args_file_path(const struct paths *paths, const char *vm)
{
    return string_format("%s/vms/%s.args", paths->config, vm);
}

bool args_file_load(const struct paths *paths, const char *vm, char **out, struct strlist *argv,
                    struct error *err)
{
    autofree char *path = args_file_path(paths, vm);
    autofree char *text = NULL;
    size_t length;
    if (!path)
        return error_no_memory(err);
    if (!file_read_trusted(path, ARGS_FILE_SIZE_MAX, true, &text, &length, err))
        return false;
    if (!text) {
        free(STEAL(path));
        path = string_format("%s/vms/%s.args", paths->state, vm);
        if (!path)
            return error_no_memory(err);
        if (!file_read_trusted(path, ARGS_FILE_SIZE_MAX, true, &text, &length, err))
            return false;
    }
    if (!text)
        return true;
    if (strlen(text) != length)
        return error_set(err, STATUS_CONFIG, "%s: not a text file", path);
    autostrlist struct strlist words = {0};
    if (!args_parse(path, text, &words, err))
        return false;
    if (words.count == 0)
        return error_set(err, STATUS_CONFIG, "%s: there is no command in it", path);
    *argv = words;
    words = (struct strlist){0};
    *out = STEAL(path);
    return true;
}
