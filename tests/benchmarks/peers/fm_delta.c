/* FM-Delta's coder, written anew from its paper (Ning et al., NeurIPS 2024).
 *
 * Words are floats. Mapped to integers that keep their order, the difference to the base has a sign
 * and a length in bits; both together are a symbol, coded by a range coder under a quasi-static
 * model; the bits below the leading one follow as they are. The coder has 64 bits of state and
 * writes 32 at a time; a carry is added to what was written.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SYMBOLS = 65, BITS = 16, PERIOD = 1024, LOOKUP = 7 };

typedef struct {
    uint32_t count[SYMBOLS], begin[SYMBOLS + 1], symbols, total, left, period;
    uint8_t first[(1 << LOOKUP) + 1];
} model;

static void settle(model *m) {
    uint32_t room = (1u << BITS) - m->symbols, at = 0;
    if (m->total > 1u << 15) {
        m->total = 0;
        for (uint32_t s = 0; s < m->symbols; s++)
            m->total += m->count[s] >>= 1;
    }
    for (uint32_t s = 0; s < m->symbols; s++) {
        m->begin[s] = at;
        at += 1 + (m->total ? (uint32_t)((uint64_t)m->count[s] * room / m->total)
                            : room / m->symbols);
    }
    m->begin[m->symbols] = 1u << BITS; /* the last symbol gets what rounding left */
    for (uint32_t i = 0, s = 0; i <= 1u << LOOKUP; i++) {
        while (s + 1 < m->symbols && m->begin[s + 1] <= i << (BITS - LOOKUP))
            s++;
        m->first[i] = (uint8_t)s;
    }
    if (m->period < PERIOD)
        m->period *= 2;
    m->left = m->period;
}

static void open_model(model *m, int width) {
    memset(m, 0, sizeof *m);
    m->symbols = 2 * (uint32_t)width + 1;
    m->period = 4;
    settle(m);
}

static inline void count_one(model *m, uint32_t s) {
    m->count[s]++;
    m->total++;
    if (--m->left == 0)
        settle(m);
}

typedef struct {
    uint64_t low, range;
    uint32_t *out, *at;
} encoder;

static inline void put(encoder *e, uint64_t begin, uint64_t size, int bits) {
    uint64_t unit = e->range >> bits, low = e->low + unit * begin;
    if (low < e->low)
        for (uint32_t *p = e->at; p > e->out && ++p[-1] == 0; p--)
            ;
    e->low = low;
    e->range = unit * size;
    if (e->range >> 32 == 0) {
        *e->at++ = (uint32_t)(low >> 32);
        e->low <<= 32;
        e->range <<= 32;
    }
}

typedef struct {
    uint64_t offset, range;
    const uint32_t *at, *end;
} decoder;

static inline uint32_t next(decoder *d) { return d->at < d->end ? *d->at++ : 0; }

static inline void take(decoder *d, uint64_t unit, uint64_t begin, uint64_t size) {
    d->offset -= unit * begin;
    d->range = unit * size;
    if (d->range >> 32 == 0) {
        d->offset = d->offset << 32 | next(d);
        d->range <<= 32;
    }
}

static inline uint32_t take_bits(decoder *d, int bits) {
    uint64_t unit = d->range >> bits, value = d->offset / unit;
    take(d, unit, value, 1);
    return (uint32_t)value;
}

static inline uint32_t take_symbol(decoder *d, model *m) {
    uint64_t unit = d->range >> BITS, place = d->offset / unit;
    if (place >> BITS)
        place = (1u << BITS) - 1; /* only in a damaged stream */
    uint32_t s = m->first[place >> (BITS - LOOKUP)];
    while (m->begin[s + 1] <= place)
        s++;
    take(d, unit, m->begin[s], m->begin[s + 1] - m->begin[s]);
    count_one(m, s);
    return s;
}

/* Floats as integers of the same order: negative ones are turned over. */
#define MAPS(W)                                                                                    \
    static inline uint##W##_t to_order_##W(uint##W##_t x) {                                        \
        return x >> (W - 1) ? (uint##W##_t)~x : (uint##W##_t)(x | (uint##W##_t)1 << (W - 1));      \
    }                                                                                              \
    static inline uint##W##_t from_order_##W(uint##W##_t x) {                                      \
        return x >> (W - 1) ? (uint##W##_t)(x ^ (uint##W##_t)1 << (W - 1)) : (uint##W##_t)~x;      \
    }

#define CODER(W)                                                                                   \
    MAPS(W)                                                                                        \
    size_t fm_encode_##W(const uint##W##_t *x, const uint##W##_t *base, size_t n, uint32_t *out) { \
        model m;                                                                                   \
        encoder e = {0, ~(uint64_t)0, out, out};                                                   \
        open_model(&m, W);                                                                         \
        for (size_t i = 0; i < n; i++) {                                                           \
            uint32_t a = to_order_##W(x[i]), b = to_order_##W(base[i]), s = W;                     \
            uint32_t d = a > b ? a - b : b - a;                                                    \
            int k = d ? 31 - __builtin_clz(d) : 0;                                                 \
            if (d)                                                                                 \
                s = a > b ? W + 1 + (uint32_t)k : W - 1 - (uint32_t)k;                             \
            put(&e, m.begin[s], m.begin[s + 1] - m.begin[s], BITS);                                \
            count_one(&m, s);                                                                      \
            d -= d ? 1u << k : 0;                                                                  \
            if (k > 16) {                                                                          \
                put(&e, d & 0xffff, 1, 16);                                                        \
                d >>= 16, k -= 16;                                                                 \
            }                                                                                      \
            if (k)                                                                                 \
                put(&e, d, 1, k);                                                                  \
        }                                                                                          \
        *e.at++ = (uint32_t)(e.low >> 32);                                                         \
        *e.at++ = (uint32_t)e.low;                                                                 \
        return (size_t)(e.at - out) * 4;                                                           \
    }                                                                                              \
    void fm_decode_##W(const uint32_t *in, size_t words, const uint##W##_t *base, size_t n,        \
                       uint##W##_t *x) {                                                           \
        model m;                                                                                   \
        decoder d = {0, ~(uint64_t)0, in, in + words};                                             \
        open_model(&m, W);                                                                         \
        d.offset = (uint64_t)next(&d) << 32;                                                       \
        d.offset |= next(&d);                                                                      \
        for (size_t i = 0; i < n; i++) {                                                           \
            uint32_t s = take_symbol(&d, &m), b = to_order_##W(base[i]), low = 0;                  \
            if (s == W) {                                                                          \
                x[i] = base[i];                                                                    \
                continue;                                                                          \
            }                                                                                      \
            int k = (int)(s > W ? s - W - 1 : W - 1 - s), rest = k;                                \
            if (rest > 16) {                                                                       \
                low = take_bits(&d, 16);                                                           \
                rest -= 16;                                                                        \
            }                                                                                      \
            if (rest)                                                                              \
                low |= take_bits(&d, rest) << (k - rest);                                          \
            low += 1u << k;                                                                        \
            x[i] = from_order_##W((uint##W##_t)(s > W ? b + low : b - low));                       \
        }                                                                                          \
    }

CODER(16)
CODER(32)
