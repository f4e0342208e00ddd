/* How the kernels over delimited text read it, cell by cell, as RFC 4180 says. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define LF 10
#define CR 13

enum { NUL = 1, WIDE = 2 };

typedef struct {
    const uint8_t *data, *end;
    int delimiter, quote; /* -1: none */
    int flags;
} Text;

static inline int is_special(const Text *t, uint8_t c) {
    return c == t->delimiter || c == t->quote || c == LF || c == CR || c == 0;
}

/* The next delimiter, quote, line end or NUL byte, or the end; notes bytes above 127 on the way. */
static inline const uint8_t *next_special(Text *t, const uint8_t *p) {
#ifdef __SSE2__
    const __m128i delimiter = _mm_set1_epi8((char)t->delimiter);
    const __m128i quote = _mm_set1_epi8((char)(t->quote < 0 ? t->delimiter : t->quote));
    const __m128i lf = _mm_set1_epi8(LF), cr = _mm_set1_epi8(CR), zero = _mm_setzero_si128();
    while (t->end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, delimiter), _mm_cmpeq_epi8(v, quote)),
                                   _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(v, cr)),
                                                _mm_cmpeq_epi8(v, zero)));
        unsigned found = (unsigned)_mm_movemask_epi8(hit), high = (unsigned)_mm_movemask_epi8(v);
        if (found) {
            int at = __builtin_ctz(found);
            if (high & ((1u << at) - 1)) t->flags |= WIDE;
            return p + at;
        }
        if (high) t->flags |= WIDE;
        p += 16;
    }
#endif
    while (p < t->end && !is_special(t, *p))
        if (*p++ & 0x80) t->flags |= WIDE;
    return p;
}

/* The next quote, or the end; notes NUL bytes and bytes above 127 on the way. */
static inline const uint8_t *next_quote(Text *t, const uint8_t *p) {
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8((char)t->quote), zero = _mm_setzero_si128();
    while (t->end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, quote));
        unsigned seen = found ? (1u << __builtin_ctz(found)) - 1 : 0xFFFF; /* the bytes before it */
        if ((unsigned)_mm_movemask_epi8(v) & seen) t->flags |= WIDE;
        if ((unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, zero)) & seen) t->flags |= NUL;
        if (found) return p + __builtin_ctz(found);
        p += 16;
    }
#endif
    for (; p < t->end && *p != t->quote; p++) {
        if (*p & 0x80) t->flags |= WIDE;
        if (*p == 0) t->flags |= NUL;
    }
    return p;
}

typedef struct {
    const uint8_t *begin, *end; /* of its text, without its quotes */
    const uint8_t *behind;      /* the delimiter or line end behind it, or the end of all */
    int quoted, doubled;        /* doubled: it holds doubled quotes */
} Cell;

enum { WHOLE, OPEN, WRONG };

/* The cell that begins at `p`. OPEN: its closing quote is missing; WRONG: a quote stands where none may. */
static inline int read_cell(Text *t, const uint8_t *p, Cell *cell) {
    if (p < t->end && *p == t->quote) {
        cell->begin = ++p;
        cell->quoted = 1;
        cell->doubled = 0;
        for (;;) {
            p = next_quote(t, p);
            if (p == t->end) return OPEN;
            if (p + 1 == t->end || p[1] != t->quote) break;
            cell->doubled = 1;
            p += 2;
        }
        cell->end = p++;
        cell->behind = p;
        return p == t->end || *p == t->delimiter || *p == LF || *p == CR ? WHOLE : WRONG;
    }
    cell->begin = p;
    cell->quoted = cell->doubled = 0;
    for (;;) {
        p = next_special(t, p);
        if (p == t->end || *p != 0) break;
        t->flags |= NUL;
        p++;
    }
    cell->end = cell->behind = p;
    return p < t->end && *p == t->quote ? WRONG : WHOLE;
}

static inline const uint8_t *behind_line_end(const Text *t, const uint8_t *p) {
    return p + (*p == CR && p + 1 < t->end && p[1] == LF ? 2 : 1);
}
