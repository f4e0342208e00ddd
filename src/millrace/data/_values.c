/* Kernels over Arrow buffers: distinct values, hashes, HyperLogLog registers. millrace/data/native.py tells more. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN 0x9E3779B97F4A7C15ULL

static inline uint64_t fmix64(uint64_t h) {
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDULL;
    h ^= h >> 33;
    h *= 0xC4CEB9FE1A85EC53ULL;
    return h ^ (h >> 33);
}

#define P1 0x9E3779B185EBCA87ULL
#define P2 0xC2B2AE3D27D4EB4FULL
#define P3 0x165667B19E3779F9ULL
#define P4 0x85EBCA77C2B2AE63ULL
#define P5 0x27D4EB2F165667C5ULL

static inline uint64_t rotate(uint64_t x, int r) { return (x << r) | (x >> (64 - r)); }
static inline uint64_t lane8(const uint8_t *p) { uint64_t x; memcpy(&x, p, 8); return x; }
static inline uint64_t lane4(const uint8_t *p) { uint32_t x; memcpy(&x, p, 4); return x; }
static inline uint64_t xx_round(uint64_t acc, uint64_t lane) { return rotate(acc + lane * P2, 31) * P1; }
static inline uint64_t xx_merge(uint64_t acc, uint64_t value) { return (acc ^ xx_round(0, value)) * P1 + P4; }

/* xxh64 with seed 0, on a little-endian machine. */
static uint64_t xxh64(const uint8_t *p, int64_t size) {
    const uint8_t *end = p + size;
    uint64_t h;
    if (size >= 32) {
        uint64_t a = P1 + P2, b = P2, c = 0, d = 0 - P1;
        for (; end - p >= 32; p += 32) {
            a = xx_round(a, lane8(p));
            b = xx_round(b, lane8(p + 8));
            c = xx_round(c, lane8(p + 16));
            d = xx_round(d, lane8(p + 24));
        }
        h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        h = xx_merge(xx_merge(xx_merge(xx_merge(h, a), b), c), d);
    } else {
        h = P5;
    }
    h += (uint64_t)size;
    for (; end - p >= 8; p += 8) h = rotate(h ^ xx_round(0, lane8(p)), 27) * P1 + P4;
    if (end - p >= 4) {
        h = rotate(h ^ (lane4(p) * P1), 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) h = rotate(h ^ (*p * P5), 11) * P1;
    h ^= h >> 33;
    h *= P2;
    h ^= h >> 29;
    h *= P3;
    return h ^ (h >> 32);
}

static PyObject *py_xxh64(PyObject *self, PyObject *args) {
    Py_buffer offsets, data;
    if (!PyArg_ParseTuple(args, "y*y*", &offsets, &data)) return NULL;
    int64_t count = offsets.len / 4 - 1;
    PyObject *found = PyBytes_FromStringAndSize(NULL, count > 0 ? count * 8 : 0);
    if (found != NULL && count > 0) {
        uint64_t *hashes = (uint64_t *)PyBytes_AS_STRING(found);
        const int32_t *at = offsets.buf;
        const uint8_t *text = data.buf;
        Py_BEGIN_ALLOW_THREADS
        for (int64_t i = 0; i < count; i++) hashes[i] = xxh64(text + at[i], at[i + 1] - at[i]);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&data);
    return found;
}

/* ---- distinct values ---- */

/* A slot of the hash table: where the value is among the distinct ones, -1: empty, and a part of its hash, so that most
   that differ are told apart without another look into memory. */
typedef struct {
    uint32_t tag;
    int32_t place;
} Slot;

typedef struct {
    Slot *slots; /* open addressing, linear probing */
    uint64_t mask;
    int32_t count;
    int32_t *first; /* the row of the first occurrence of each distinct value */
    uint64_t *hashes;
    int32_t capacity;
} Distinct;

static int distinct_init(Distinct *d) {
    d->mask = (1 << 12) - 1;
    d->capacity = 1 << 11;
    d->count = 0;
    d->slots = malloc(sizeof(Slot) * (d->mask + 1));
    d->first = malloc(sizeof(int32_t) * (size_t)d->capacity);
    d->hashes = malloc(sizeof(uint64_t) * (size_t)d->capacity);
    if (d->slots == NULL || d->first == NULL || d->hashes == NULL) return 0;
    memset(d->slots, 0xFF, sizeof(Slot) * (d->mask + 1));
    return 1;
}

static void distinct_free(Distinct *d) {
    free(d->slots);
    free(d->first);
    free(d->hashes);
}

static int distinct_grow(Distinct *d) {
    uint64_t size = (d->mask + 1) * 4;
    Slot *slots = malloc(sizeof(Slot) * size);
    int32_t capacity = (int32_t)(size / 2);
    int32_t *first = realloc(d->first, sizeof(int32_t) * (size_t)capacity);
    if (first != NULL) d->first = first;
    uint64_t *hashes = realloc(d->hashes, sizeof(uint64_t) * (size_t)capacity);
    if (hashes != NULL) d->hashes = hashes;
    if (slots == NULL || first == NULL || hashes == NULL) {
        free(slots);
        return 0;
    }
    memset(slots, 0xFF, sizeof(Slot) * size);
    for (int32_t place = 0; place < d->count; place++) {
        uint64_t at = d->hashes[place] & (size - 1);
        while (slots[at].place >= 0) at = (at + 1) & (size - 1);
        slots[at] = (Slot){(uint32_t)(d->hashes[place] >> 32), place};
    }
    free(d->slots);
    d->slots = slots;
    d->mask = size - 1;
    d->capacity = capacity;
    return 1;
}

static inline int valid_at(const uint8_t *valid, int64_t i) { return valid == NULL || (valid[i >> 3] >> (i & 7)) & 1; }

typedef struct {
    const uint64_t *numbers; /* or NULL: texts */
    int floats;
    const int32_t *offsets;
    const uint8_t *data, *valid;
    int64_t offset, rows; /* `offset` is that of the validity: the others begin at the first row */
} Values;

/* The hash of numbers is a bijection: equal hashes are equal numbers. */
static inline uint64_t hash_of(const Values *v, int64_t i) {
    if (v->numbers == NULL) return xxh64(v->data + v->offsets[i], v->offsets[i + 1] - v->offsets[i]);
    uint64_t bits = v->floats && v->numbers[i] == 1ULL << 63 ? 0 : v->numbers[i]; /* -0.0 is 0.0 */
    return fmix64(bits + GOLDEN);
}

static inline int same_text(const Values *v, int64_t i, int64_t j) {
    int32_t size = v->offsets[i + 1] - v->offsets[i];
    return v->offsets[j + 1] - v->offsets[j] == size &&
           memcmp(v->data + v->offsets[i], v->data + v->offsets[j], (size_t)size) == 0;
}

#define AHEAD 32 /* rows whose slots are fetched before they are looked at */

/* The place of every row's value among the distinct ones, in order of first occurrence, -1 where it is null. */
static int encode_values(const Values *v, int32_t *places, Distinct *d) {
    uint64_t hashes[AHEAD];
    for (int64_t start = 0; start < v->rows; start += AHEAD) {
        int64_t end = start + AHEAD < v->rows ? start + AHEAD : v->rows;
        if (d->count + AHEAD > d->capacity && !distinct_grow(d)) return 0;
        for (int64_t i = start; i < end; i++) {
            if (!valid_at(v->valid, v->offset + i)) continue;
            hashes[i - start] = hash_of(v, i);
            __builtin_prefetch(d->slots + (hashes[i - start] & d->mask));
        }
        for (int64_t i = start; i < end; i++) {
            if (!valid_at(v->valid, v->offset + i)) {
                places[i] = -1;
                continue;
            }
            uint64_t hash = hashes[i - start], at = hash & d->mask;
            uint32_t tag = (uint32_t)(hash >> 32);
            int32_t place;
            for (;; at = (at + 1) & d->mask) {
                place = d->slots[at].place;
                if (place < 0) break;
                if (d->slots[at].tag == tag && d->hashes[place] == hash &&
                    (v->numbers != NULL || same_text(v, i, d->first[place])))
                    break;
            }
            if (place < 0) {
                place = d->count++;
                d->slots[at] = (Slot){tag, place};
                d->hashes[place] = hash;
                d->first[place] = (int32_t)i;
            }
            places[i] = place;
        }
    }
    return 1;
}

/* encode(values or offsets, data of texts or None, validity or None, offset, rows, whether they are floats)
   → (places, rows of first occurrence, hashes) */
static PyObject *py_encode(PyObject *self, PyObject *args) {
    Py_buffer values, data = {0}, valid = {0};
    PyObject *data_object, *valid_object;
    Py_ssize_t offset, rows;
    int floats;
    if (!PyArg_ParseTuple(args, "y*OOnnp", &values, &data_object, &valid_object, &offset, &rows, &floats)) return NULL;
    PyObject *found = NULL, *places = NULL;
    Distinct d = {0};
    int text = data_object != Py_None, done = 0;
    if (text && PyObject_GetBuffer(data_object, &data, PyBUF_SIMPLE) < 0) goto end;
    if (valid_object != Py_None && PyObject_GetBuffer(valid_object, &valid, PyBUF_SIMPLE) < 0) goto end;
    places = PyBytes_FromStringAndSize(NULL, rows * 4);
    if (places == NULL) goto end;
    int32_t *out = (int32_t *)PyBytes_AS_STRING(places);
    Values v = {.floats = floats, .data = data.buf, .valid = valid.buf, .offset = offset, .rows = rows};
    if (text)
        v.offsets = (const int32_t *)values.buf + offset;
    else
        v.numbers = (const uint64_t *)values.buf + offset;
    Py_BEGIN_ALLOW_THREADS
    if (distinct_init(&d))
        done = encode_values(&v, out, &d);
    Py_END_ALLOW_THREADS
    if (done)
        found = Py_BuildValue("Oy#y#", places, (char *)d.first, (Py_ssize_t)(sizeof(int32_t) * (size_t)d.count),
                              (char *)d.hashes, (Py_ssize_t)(sizeof(uint64_t) * (size_t)d.count));
    else
        PyErr_NoMemory();
end:
    distinct_free(&d);
    Py_XDECREF(places);
    PyBuffer_Release(&values);
    if (data.obj) PyBuffer_Release(&data);
    if (valid.obj) PyBuffer_Release(&valid);
    return found;
}

/* registers(hashes) → HyperLogLog registers: the low 15 bits choose one, which keeps the most leading zeros + 1. */
static PyObject *py_registers(PyObject *self, PyObject *args) {
    Py_buffer hashes;
    if (!PyArg_ParseTuple(args, "y*", &hashes)) return NULL;
    PyObject *found = PyBytes_FromStringAndSize(NULL, 1 << 15);
    if (found != NULL) {
        uint8_t *registers = (uint8_t *)PyBytes_AS_STRING(found);
        const uint64_t *hash = hashes.buf;
        int64_t count = hashes.len / 8;
        memset(registers, 0, 1 << 15);
        Py_BEGIN_ALLOW_THREADS
        for (int64_t i = 0; i < count; i++) {
            uint64_t rest = hash[i] >> 11; /* 53 bits, as a float holds them */
            uint8_t zeros = rest ? (uint8_t)(__builtin_clzll(rest) - 11 + 1) : 54;
            uint8_t *slot = registers + (hash[i] & ((1 << 15) - 1));
            if (zeros > *slot) *slot = zeros;
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&hashes);
    return found;
}

/* ---- rows ---- */

#define NULL_HASH 0xA0761D6478BD642FULL

enum { HASHES, INTEGERS, FLOATS };

static inline uint64_t float_bits(uint64_t bits) {
    double number;
    memcpy(&number, &bits, 8);
    if (number != number) return 0x7FF8000000000000ULL; /* one NaN */
    return number == 0 ? 0 : bits;                      /* -0.0 is 0.0 */
}

/* fold(hashes of rows, to be changed; numbers or hashes of one more field, of 8 bytes each; its validity or None, and
   where that begins; which of the three) */
static PyObject *py_fold(PyObject *self, PyObject *args) {
    Py_buffer rows, values, valid = {0};
    PyObject *valid_object;
    Py_ssize_t offset;
    int kind;
    if (!PyArg_ParseTuple(args, "w*y*Oni", &rows, &values, &valid_object, &offset, &kind)) return NULL;
    PyObject *found = NULL;
    uint64_t *row = rows.buf;
    const uint64_t *value = values.buf;
    int64_t count = rows.len / 8;
    if (values.len < rows.len) {
        PyErr_SetString(PyExc_ValueError, "fewer values than rows");
        goto end;
    }
    if (valid_object != Py_None && PyObject_GetBuffer(valid_object, &valid, PyBUF_SIMPLE) < 0) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < count; i++) {
        uint64_t field = value[i];
        if (kind == FLOATS) field = float_bits(field);
        if (kind != HASHES) field = fmix64(field + GOLDEN);
        if (!valid_at(valid.buf, offset + i)) field = NULL_HASH;
        row[i] = fmix64(row[i] ^ field);
    }
    Py_END_ALLOW_THREADS
    found = Py_NewRef(Py_None);
end:
    PyBuffer_Release(&rows);
    PyBuffer_Release(&values);
    if (valid.obj) PyBuffer_Release(&valid);
    return found;
}

static PyMethodDef methods[] = {
    {"xxh64", py_xxh64, METH_VARARGS, NULL},
    {"encode", py_encode, METH_VARARGS, NULL},
    {"registers", py_registers, METH_VARARGS, NULL},
    {"fold", py_fold, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_values", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__values(void) { return PyModule_Create(&module); }
