/* Kernels that find the records of delimited text. millrace/data/native.py tells more. */

#include "_text.h"

typedef struct {
    int64_t used, records, longest;
    int sound;
    int32_t *ends; /* where records and empty lines end */
    int64_t capacity, count;
} Scan;

static int note_end(Scan *scan, int64_t end) {
    if (scan->count == scan->capacity) {
        int32_t *grown = realloc(scan->ends, sizeof(int32_t) * (size_t)scan->capacity * 2);
        if (grown == NULL) return 0;
        scan->ends = grown;
        scan->capacity *= 2;
    }
    scan->ends[scan->count++] = (int32_t)end;
    return 1;
}

/* Reads text as RFC 4180 does. `sound` stays 0 where a quote stands where none may. */
static void scan_records(Text *t, int final, Scan *scan) {
    const uint8_t *p = t->data, *record = t->data;
    while (p < t->end) {
        Cell cell;
        int state = read_cell(t, p, &cell);
        if (state == WRONG || (state == OPEN && final)) return;
        if (state == OPEN || cell.behind == t->end) break;
        p = cell.behind;
        if (*p == t->delimiter) {
            if (++p == t->end) break;
            continue;
        }
        if (*p == CR && p + 1 == t->end && !final) break; /* its LF may be still to come */
        if (p > record) scan->records++; /* a line without a character is no record */
        p = behind_line_end(t, p);
        if (p - record > scan->longest) scan->longest = p - record;
        if (!note_end(scan, p - t->data)) return;
        record = p;
    }
    scan->used = record - t->data;
    if (final && t->end > record) {
        scan->used = t->end - t->data;
        scan->records++;
        if (t->end - record > scan->longest) scan->longest = t->end - record;
        if (!note_end(scan, scan->used)) return;
    }
    scan->sound = 1;
}

static PyObject *py_scan(PyObject *self, PyObject *args) {
    Py_buffer data;
    int delimiter, quote, final;
    if (!PyArg_ParseTuple(args, "y*iip", &data, &delimiter, &quote, &final)) return NULL;
    if (data.len > INT32_MAX) {
        PyBuffer_Release(&data);
        Py_RETURN_NONE;
    }
    Scan scan = {.capacity = 1 << 14};
    Text text = {data.buf, (const uint8_t *)data.buf + data.len, delimiter, quote, 0};
    Py_BEGIN_ALLOW_THREADS
    scan.ends = malloc(sizeof(int32_t) * (size_t)scan.capacity);
    if (scan.ends != NULL) scan_records(&text, final, &scan);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    PyObject *found = NULL;
    if (scan.ends == NULL)
        PyErr_NoMemory();
    else if (!scan.sound)
        found = Py_NewRef(Py_None);
    else
        found = Py_BuildValue("LLLiy#", scan.used, scan.records, scan.longest, text.flags, (char *)scan.ends,
                              (Py_ssize_t)(sizeof(int32_t) * (size_t)scan.count));
    free(scan.ends);
    return found;
}

static PyMethodDef methods[] = {
    {"scan", py_scan, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_records", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__records(void) { return PyModule_Create(&module); }
