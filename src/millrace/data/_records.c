/* Kernels that find the records of delimited text. millrace/data/native.py tells more. */

#include "_text.h"

typedef struct {
    int64_t used, records, longest;
    int sound;
    int64_t *ends; /* where records and empty lines end, or NULL */
    int64_t capacity, count;
} Scan;

static int note_end(Scan *scan, int64_t end) {
    if (scan->ends == NULL) return 1;
    if (scan->count == scan->capacity) {
        int64_t *grown = realloc(scan->ends, sizeof(int64_t) * (size_t)scan->capacity * 2);
        if (grown == NULL) return 0;
        scan->ends = grown;
        scan->capacity *= 2;
    }
    scan->ends[scan->count++] = end;
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
    Scan scan = {0};
    Text text = {data.buf, (const uint8_t *)data.buf + data.len, delimiter, quote, 0};
    Py_BEGIN_ALLOW_THREADS
    scan_records(&text, final, &scan);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    if (!scan.sound) Py_RETURN_NONE;
    return Py_BuildValue("LLLi", scan.used, scan.records, scan.longest, text.flags);
}

static PyObject *py_ends(PyObject *self, PyObject *args) {
    Py_buffer data;
    int delimiter, quote;
    if (!PyArg_ParseTuple(args, "y*ii", &data, &delimiter, &quote)) return NULL;
    Scan scan = {.capacity = 1 << 16};
    Text text = {data.buf, (const uint8_t *)data.buf + data.len, delimiter, quote, 0};
    Py_BEGIN_ALLOW_THREADS
    scan.ends = malloc(sizeof(int64_t) * (size_t)scan.capacity);
    if (scan.ends != NULL) scan_records(&text, 1, &scan);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    PyObject *found = NULL;
    if (scan.ends == NULL)
        PyErr_NoMemory();
    else if (!scan.sound)
        found = Py_NewRef(Py_None);
    else
        found = PyBytes_FromStringAndSize((char *)scan.ends, (Py_ssize_t)(sizeof(int64_t) * (size_t)scan.count));
    free(scan.ends);
    return found;
}

static PyMethodDef methods[] = {
    {"scan", py_scan, METH_VARARGS, NULL},
    {"ends", py_ends, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_records", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__records(void) { return PyModule_Create(&module); }
