/* The kernel that turns the cells of delimited text into columns. millrace/data/native.py tells more.

   It reads what every reader reads alike, and leaves the rest, with None or False, to Python and Arrow. */

#include "_text.h"

/* White space that Arrow trims and that is more than one byte long, at the beginning of a text. */
static int wide_space_at(const uint8_t *p, const uint8_t *end) {
    if (end - p >= 2 && p[0] == 0xC2) return p[1] == 0x85 || p[1] == 0xA0;
    if (end - p < 3) return 0;
    if (p[0] == 0xE1) return p[1] == 0x9A && p[2] == 0x80;
    if (p[0] == 0xE3) return p[1] == 0x80 && p[2] == 0x80;
    if (p[0] != 0xE2) return 0;
    if (p[1] == 0x80) return p[2] <= 0x8A || p[2] == 0xA8 || p[2] == 0xA9 || p[2] == 0xAF;
    return p[1] == 0x81 && p[2] == 0x9F;
}

static inline int narrow_space(uint8_t c) { return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31); }

static inline int is_padded(const uint8_t *p, const uint8_t *end) {
    if (p == end) return 0;
    if (narrow_space(*p) || narrow_space(end[-1])) return 1;
    if (*p >= 0x80 && wide_space_at(p, end)) return 1;
    if (end[-1] < 0x80) return 0;
    return (end - p >= 2 && end[-2] == 0xC2 && wide_space_at(end - 2, end)) ||
           (end - p >= 3 && wide_space_at(end - 3, end));
}

/* The readers below take what is read alike by all; whatever else Arrow or Polars may read is left to them (0). */

static int read_integer(const uint8_t *p, const uint8_t *end, int64_t *value) {
    int negative = p < end && *p == '-';
    p += negative;
    if (p == end || end - p > 18) return 0;
    int64_t number = 0;
    for (; p < end; p++) {
        uint8_t digit = (uint8_t)(*p - '0');
        if (digit > 9) return 0;
        number = number * 10 + digit;
    }
    *value = negative ? -number : number;
    return 1;
}

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Exact, as the digits make an integer below 2^53 and the power of ten is a double (Clinger, DOI 10.1145/93542.93557);
   longer numbers are left to Arrow. */
static int read_float(const uint8_t *p, const uint8_t *end, double *value) {
    int negative = p < end && *p == '-', exponent = 0, digits = 0;
    p += negative;
    uint64_t number = 0;
    const uint8_t *first = p;
    for (; p < end && (uint8_t)(*p - '0') <= 9; p++) {
        number = number * 10 + (uint8_t)(*p - '0');
        digits += number > 0;
    }
    if (p == first) return 0;
    if (p < end && *p == '.') {
        first = ++p;
        for (; p < end && (uint8_t)(*p - '0') <= 9; p++) {
            number = number * 10 + (uint8_t)(*p - '0');
            digits += number > 0;
        }
        if (p == first) return 0;
        exponent = -(int)(p - first);
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        int down = p < end && *p == '-', power = 0;
        p += p < end && (*p == '-' || *p == '+');
        first = p;
        for (; p < end && p - first < 3 && (uint8_t)(*p - '0') <= 9; p++) power = power * 10 + (*p - '0');
        if (p == first) return 0;
        exponent += down ? -power : power;
    }
    if (p != end || digits > 18 || number >= 1ULL << 53 || exponent < -22 || exponent > 22) return 0;
    double result = exponent < 0 ? (double)number / POWERS[-exponent] : (double)number * POWERS[exponent];
    *value = negative ? -result : result;
    return 1;
}

static int two_digits(const uint8_t *p) {
    uint8_t a = (uint8_t)(p[0] - '0'), b = (uint8_t)(p[1] - '0');
    return a > 9 || b > 9 ? -1 : a * 10 + b;
}

/* 2018-04-01, or that with 10:00:00 or 10:00:00.000001 behind a space or a T, as microseconds since 1970. */
static int read_time(const uint8_t *p, const uint8_t *end, int64_t *value) {
    static const int8_t LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (end - p < 10 || p[4] != '-' || p[7] != '-') return 0;
    int century = two_digits(p), rest = two_digits(p + 2), month = two_digits(p + 5), day = two_digits(p + 8);
    if (century < 0 || rest < 0 || month < 1 || month > 12 || day < 1) return 0;
    int year = century * 100 + rest;
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1 || day > LENGTHS[month - 1] + (month == 2 && leap)) return 0;
    int64_t seconds = 0, fraction = 0;
    if (end - p > 10) {
        if (end - p < 19 || (p[10] != ' ' && p[10] != 'T') || p[13] != ':' || p[16] != ':') return 0;
        int hour = two_digits(p + 11), minute = two_digits(p + 14), second = two_digits(p + 17);
        if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return 0;
        seconds = hour * 3600 + minute * 60 + second;
        if (end - p > 19) {
            int64_t places = end - p - 20;
            if (p[19] != '.' || places < 1 || places > 6) return 0;
            for (int i = 0; i < 6; i++) {
                uint8_t digit = i < places ? (uint8_t)(p[20 + i] - '0') : 0;
                if (digit > 9) return 0;
                fraction = fraction * 10 + digit;
            }
        }
    }
    /* days of the civil calendar, years beginning in March */
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    *value = (days * 86400 + seconds) * 1000000 + fraction;
    return 1;
}

enum { SKIP, INT8, INT16, INT32, INT64, FLOAT64, TIME, TEXT }; /* as in native.py */

static const int WIDTHS[] = {0, 1, 2, 4, 8, 8, 8, 0}; /* bytes of a number */

typedef struct {
    int type, failed;
    uint8_t *values;   /* numbers, or the bytes of texts */
    int32_t *offsets;  /* of texts */
    int32_t filled;    /* bytes of texts */
    uint8_t *valid;
    int64_t nulls;
    int padded;        /* some text has white space at an end */
    PyObject *values_object, *offsets_object, *valid_object;
} Column;

typedef struct {
    const uint8_t *text;
    Py_ssize_t size;
} Word;

typedef struct {
    Py_ssize_t count;
    Word *words;
    uint64_t sizes;       /* bit n: some word has n bytes, or bit 63: so many or more */
    uint8_t firsts[256];  /* whether some word begins so */
} Words;

static inline int is_null(const Words *nulls, const uint8_t *p, const uint8_t *end) {
    int64_t size = end - p;
    if (!(nulls->sizes >> (size < 63 ? size : 63) & 1) || (size > 0 && !nulls->firsts[*p])) return 0;
    for (Py_ssize_t i = 0; i < nulls->count; i++)
        if (nulls->words[i].size == size && memcmp(nulls->words[i].text, p, (size_t)size) == 0) return 1;
    return 0;
}

static inline void put(Column *column, int64_t row, const uint8_t *p, const uint8_t *end) {
    int64_t number;
    switch (column->type) {
    case INT8:
        if (!read_integer(p, end, &number) || number < INT8_MIN || number > INT8_MAX) break;
        ((int8_t *)column->values)[row] = (int8_t)number;
        return;
    case INT16:
        if (!read_integer(p, end, &number) || number < INT16_MIN || number > INT16_MAX) break;
        ((int16_t *)column->values)[row] = (int16_t)number;
        return;
    case INT32:
        if (!read_integer(p, end, &number) || number < INT32_MIN || number > INT32_MAX) break;
        ((int32_t *)column->values)[row] = (int32_t)number;
        return;
    case INT64:
        if (!read_integer(p, end, (int64_t *)column->values + row)) break;
        return;
    case FLOAT64:
        if (!read_float(p, end, (double *)column->values + row)) break;
        return;
    case TIME:
        if (!read_time(p, end, (int64_t *)column->values + row)) break;
        return;
    }
    column->failed = 1;
}

static inline void put_null(Column *column, int64_t row) {
    column->valid[row >> 3] &= (uint8_t)~(1 << (row & 7));
    column->nulls++;
    if (column->type == TEXT)
        column->offsets[row + 1] = column->filled;
    else
        memset(column->values + row * WIDTHS[column->type], 0, (size_t)WIDTHS[column->type]);
}

static inline void put_text(Column *column, int64_t row, const Cell *cell, int quote) {
    uint8_t *to = column->values + column->filled;
    if (!cell->doubled) {
        memcpy(to, cell->begin, (size_t)(cell->end - cell->begin));
        to += cell->end - cell->begin;
    } else {
        for (const uint8_t *p = cell->begin; p < cell->end; p++) {
            *to++ = *p;
            if (*p == quote) p++;
        }
    }
    column->filled = (int32_t)(to - column->values);
    column->offsets[row + 1] = column->filled;
}

typedef struct {
    Py_ssize_t columns;
    Column *column;
    Words nulls;
    int64_t *ragged; /* of each record with another number of cells: number, cells, where it begins and ends */
    int64_t ragged_count, ragged_capacity;
} Parse;

static int note_ragged(Parse *parse, int64_t record, int64_t cells, int64_t begin, int64_t end) {
    if (parse->ragged_count == parse->ragged_capacity) {
        int64_t capacity = parse->ragged_capacity ? parse->ragged_capacity * 2 : 64;
        int64_t *grown = realloc(parse->ragged, sizeof(int64_t) * 4 * (size_t)capacity);
        if (grown == NULL) return 0;
        parse->ragged = grown;
        parse->ragged_capacity = capacity;
    }
    int64_t *entry = parse->ragged + 4 * parse->ragged_count++;
    entry[0] = record;
    entry[1] = cells;
    entry[2] = begin;
    entry[3] = end;
    return 1;
}

/* The records of sound text as columns; the number of rows, or -1 where the text isn't sound or memory is short. */
static int64_t parse_records(Text *t, Parse *parse, int64_t records) {
    const uint8_t *p = t->data;
    int64_t row = 0;
    for (int64_t record = 0; p < t->end;) {
        if (*p == LF || *p == CR) { /* an empty line */
            p = behind_line_end(t, p);
            continue;
        }
        if (record++ == records) return -1;
        const uint8_t *begin = p;
        int64_t cells = 0;
        for (;;) {
            Cell cell;
            if (read_cell(t, p, &cell) != WHOLE) return -1;
            if (cells < parse->columns && parse->column[cells].type != SKIP && !parse->column[cells].failed) {
                Column *column = parse->column + cells;
                if (is_null(&parse->nulls, cell.begin, cell.end)) {
                    put_null(column, row);
                } else if (column->type == TEXT) {
                    put_text(column, row, &cell, t->quote);
                    column->padded |= is_padded(cell.begin, cell.end);
                } else {
                    put(column, row, cell.begin, cell.end);
                }
            }
            cells++;
            p = cell.behind;
            if (p == t->end || *p != t->delimiter) break;
            p++;
        }
        const uint8_t *end = p;
        if (p < t->end) p = behind_line_end(t, p);
        if (cells == parse->columns) {
            row++;
            continue;
        }
        if (!note_ragged(parse, record, cells, begin - t->data, end - t->data)) return -1;
        for (Py_ssize_t i = 0; i < parse->columns && i < cells; i++) { /* as if it had never been */
            Column *column = parse->column + i;
            if (column->type == SKIP || column->failed) continue;
            if (column->type == TEXT) column->filled = column->offsets[row];
            uint8_t bit = (uint8_t)(1 << (row & 7));
            if (!(column->valid[row >> 3] & bit)) column->nulls--;
            column->valid[row >> 3] |= bit;
        }
    }
    return row;
}

static int open_column(Column *column, int64_t records, Py_ssize_t size) {
    if (column->type == SKIP) return 1;
    column->values_object =
        PyBytes_FromStringAndSize(NULL, column->type == TEXT ? size : records * WIDTHS[column->type]);
    column->valid_object = PyBytes_FromStringAndSize(NULL, (records + 7) / 8 + 1);
    if (column->values_object == NULL || column->valid_object == NULL) return 0;
    column->values = (uint8_t *)PyBytes_AS_STRING(column->values_object);
    column->valid = (uint8_t *)PyBytes_AS_STRING(column->valid_object);
    memset(column->valid, 0xFF, (size_t)((records + 7) / 8 + 1));
    if (column->type != TEXT) return 1;
    column->offsets_object = PyBytes_FromStringAndSize(NULL, (records + 1) * 4);
    if (column->offsets_object == NULL) return 0;
    column->offsets = (int32_t *)PyBytes_AS_STRING(column->offsets_object);
    column->offsets[0] = 0;
    return 1;
}

static PyObject *close_column(Column *column) {
    if (column->type == SKIP) Py_RETURN_NONE;
    if (column->failed) Py_RETURN_FALSE;
    if (column->type == TEXT && _PyBytes_Resize(&column->values_object, column->filled) < 0) return NULL;
    PyObject *offsets = column->offsets_object ? column->offsets_object : Py_None;
    PyObject *valid = column->nulls ? column->valid_object : Py_None;
    return Py_BuildValue("OOOLi", column->values_object, offsets, valid, column->nulls, column->padded);
}

/* parse(data, delimiter, quote, records, types of the columns, null words, none of which holds a quote)
   → (rows, columns, ragged records) or None; a column: None where it is skipped, False where a cell of it can't be read
   as its type, else (values or text, offsets or None, validity or None, nulls, whether a text has white space at an
   end) */
static PyObject *py_parse(PyObject *self, PyObject *args) {
    Py_buffer data, types;
    PyObject *nulls, *found = NULL, *list = NULL;
    int delimiter, quote;
    long long records;
    if (!PyArg_ParseTuple(args, "y*iiLy*O!", &data, &delimiter, &quote, &records, &types, &PyTuple_Type, &nulls))
        return NULL;
    Parse parse = {.columns = types.len, .nulls = {.count = PyTuple_GET_SIZE(nulls)}};
    Text text = {data.buf, (const uint8_t *)data.buf + data.len, delimiter, quote, 0};
    int64_t rows = -1;
    if (data.len > INT32_MAX) { /* offsets of texts reach no further */
        found = Py_NewRef(Py_None);
        goto end;
    }
    parse.column = calloc((size_t)types.len + 1, sizeof(Column));
    parse.nulls.words = calloc((size_t)parse.nulls.count + 1, sizeof(Word));
    if (parse.column == NULL || parse.nulls.words == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t i = 0; i < parse.nulls.count; i++) {
        char *word;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(nulls, i), &word, &size) < 0) goto end;
        parse.nulls.words[i] = (Word){(const uint8_t *)word, size};
        parse.nulls.sizes |= 1ULL << (size < 63 ? size : 63);
        if (size > 0) parse.nulls.firsts[(uint8_t)word[0]] = 1;
    }
    for (Py_ssize_t i = 0; i < parse.columns; i++) {
        parse.column[i].type = ((const uint8_t *)types.buf)[i];
        if (!open_column(parse.column + i, records, data.len)) goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    rows = parse_records(&text, &parse, records);
    Py_END_ALLOW_THREADS
    if (rows < 0) {
        found = Py_NewRef(Py_None);
        goto end;
    }
    list = PyList_New(parse.columns);
    for (Py_ssize_t i = 0; list != NULL && i < parse.columns; i++) {
        PyObject *column = close_column(parse.column + i);
        if (column == NULL) goto end;
        PyList_SET_ITEM(list, i, column);
    }
    if (list != NULL)
        found = Py_BuildValue("LOy#", rows, list, (char *)parse.ragged,
                              (Py_ssize_t)(sizeof(int64_t) * 4 * (size_t)parse.ragged_count));
end:
    for (Py_ssize_t i = 0; parse.column != NULL && i < parse.columns; i++) {
        Py_XDECREF(parse.column[i].values_object);
        Py_XDECREF(parse.column[i].offsets_object);
        Py_XDECREF(parse.column[i].valid_object);
    }
    Py_XDECREF(list);
    free(parse.column);
    free(parse.nulls.words);
    free(parse.ragged);
    PyBuffer_Release(&data);
    PyBuffer_Release(&types);
    return found;
}

static PyMethodDef methods[] = {
    {"parse", py_parse, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cells", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__cells(void) { return PyModule_Create(&module); }
