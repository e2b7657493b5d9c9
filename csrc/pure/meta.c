#include "meta.h"

#define DIGITS 10u

/* Where the first line ends; SIZE_MAX where it does not, yet. */
static size_t line_end(const unsigned char *bytes, size_t length)
{
    size_t window = length < SV_META_LINE + 2u ? length : SV_META_LINE + 2u, at = 0;
    while (at + 1 < window) {
        const unsigned char *found = memchr(bytes + at, '\r', window - 1 - at);
        if (found == NULL)
            break;
        at = (size_t)(found - bytes);
        if (bytes[at + 1] == '\n')
            return at;
        at++;
    }
    return SIZE_MAX;
}

static size_t word_end(const unsigned char *bytes, size_t at, size_t line)
{
    const unsigned char *found = at < line ? memchr(bytes + at, ' ', line - at) : NULL;
    return found == NULL ? line : (size_t)(found - bytes);
}

/* The number that a word is; UINT64_MAX for what is none, or a longer one. */
static uint64_t number_of(const unsigned char *bytes, size_t length)
{
    uint64_t number = 0;
    if (length == 0 || length > DIGITS)
        return UINT64_MAX;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] < '0' || bytes[i] > '9')
            return UINT64_MAX;
        number = number * 10 + (uint64_t)(bytes[i] - '0');
    }
    return number;
}

int sv_meta_look(const unsigned char *bytes, size_t length, sv_meta *reply)
{
    size_t line = line_end(bytes, length);
    if (line == SIZE_MAX)
        return length > SV_META_LINE + 1u ? SV_META_LONG : SV_META_NOT_YET; /* the end may be cut in two */
    size_t code = word_end(bytes, 0, line), words = code;
    uint64_t size = 0;
    int kind = SV_META_BARE;
    if (code == 2 && bytes[0] == 'V' && bytes[1] == 'A') {
        size_t begin = code < line ? code + 1 : line;
        words = word_end(bytes, begin, line);
        size = number_of(bytes + begin, words - begin);
        if (size > SV_META_BODY)
            return SV_META_SIZELESS;
        kind = SV_META_VALUE;
    }
    *reply = (sv_meta){.code = code, .words = words, .line = line, .body = line + 2, .size = size};
    return kind;
}
