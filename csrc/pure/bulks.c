#include "bulks.h"

enum { START, LENGTH, LINE, BODY, CUT };

/* The number that a whole length "$123\r\n" says: 1 and `number`, 0 for nil ("$-1"), SV_BULKS_WRONG. */
static int read_length(const unsigned char *length, uint32_t size, uint64_t *number)
{
    uint64_t sum = 0;
    uint32_t end = size - 1; /* the line end */
    if (end > 1 && length[end - 1] == '\r')
        end--;
    if (end > 1 && length[1] == '-')
        return 0;
    for (uint32_t at = 1; at < end; at++) {
        if (length[at] < '0' || length[at] > '9')
            return SV_BULKS_WRONG;
        sum = sum * 10 + (uint64_t)(length[at] - '0');
    }
    if (end < 2 || end > 17)
        return SV_BULKS_WRONG;
    *number = sum;
    return 1;
}

static size_t put(unsigned char *out, size_t filled, const unsigned char *from, size_t size)
{
    if (out != NULL && size != 0)
        memcpy(out + filled, from, size);
    return filled + size;
}

/* "$4\r\n" */
static size_t put_length(unsigned char *out, size_t filled, uint64_t number)
{
    unsigned char text[SV_BULKS_HELD];
    size_t at = sizeof text;
    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = (unsigned char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    text[--at] = '$';
    return put(out, filled, text + at, sizeof text - at);
}

static size_t least(uint64_t left, size_t size)
{
    return left < size ? (size_t)left : size;
}

/* Go through a chunk; what goes out is counted, and written where there is an `out`. `same` becomes 0 where it is not what
 * came in. SV_OK or SV_BULKS_WRONG. */
static int walk(sv_bulks *bulks, const unsigned char *chunk, size_t size, unsigned char *out, size_t *filled, int *same)
{
    size_t at = 0;
    uint64_t number;
    if (bulks->held != 0)
        *same = 0;
    while (at < size) {
        size_t step;
        if (bulks->place == BODY) {
            step = least(bulks->body, size - at);
            *filled = put(out, *filled, chunk + at, step);
            bulks->body -= step;
            at += step;
            if (bulks->body != 0)
                break;
            if (bulks->cut == 0) {
                bulks->place = START;
                continue;
            }
            *filled = put(out, *filled, (const unsigned char *)"\r\n", 2);
            *same = 0;
            bulks->place = CUT;
            continue;
        }
        if (bulks->place == CUT) {
            step = least(bulks->cut, size - at);
            *same = 0;
            bulks->cut -= step;
            at += step;
            if (bulks->cut == 0)
                bulks->place = START;
            continue;
        }
        if (bulks->place == START)
            bulks->place = chunk[at] == '$' ? LENGTH : LINE;
        const unsigned char *end = memchr(chunk + at, '\n', size - at);
        step = end == NULL ? size - at : (size_t)(end - chunk) - at + 1;
        if (bulks->place == LINE) {
            *filled = put(out, *filled, chunk + at, step);
            at += step;
            if (end != NULL)
                bulks->place = START;
            continue;
        }
        if (step > SV_BULKS_HELD - bulks->held)
            return SV_BULKS_WRONG;
        memcpy(bulks->length + bulks->held, chunk + at, step);
        bulks->held += (uint32_t)step;
        at += step;
        if (end == NULL) {
            *same = 0;
            break;
        }
        int told = read_length(bulks->length, bulks->held, &number);
        if (told < 0)
            return told;
        bulks->place = told ? BODY : START;
        if (told && number > bulks->most) {
            *same = 0;
            bulks->body = bulks->keep;
            bulks->cut = number - bulks->keep + 2;
            *filled = put_length(out, *filled, bulks->keep);
        } else {
            bulks->body = told ? number + 2 : 0;
            *filled = put(out, *filled, bulks->length, bulks->held);
        }
        bulks->held = 0;
    }
    return SV_OK;
}

int sv_bulks_pass(sv_bulks *bulks, const unsigned char *chunk, size_t size)
{
    sv_bulks after = *bulks;
    size_t filled = 0;
    int same = 1;
    int told = walk(&after, chunk, size, NULL, &filled, &same);
    if (told != SV_OK)
        return told;
    if (same)
        *bulks = after;
    return same;
}

size_t sv_bulks_sift(sv_bulks *bulks, const unsigned char *chunk, size_t size, unsigned char *out)
{
    size_t filled = 0;
    int same = 1;
    int told = walk(bulks, chunk, size, out, &filled, &same);
    SV_ASSERT(told == SV_OK && filled <= size + SV_BULKS_HELD);
    (void)told;
    return filled;
}
