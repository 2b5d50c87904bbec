/* The loops for words of type W with BITS bits, named by NAME; kernel.c includes it for each width. */

#define MAGNITUDE(word) ((word) >> (BITS - 9) & 255)
#define ZIGZAG(d) ((W)((W)((d) << 1) ^ (W)((SIGNED)(d) >> (BITS - 1))))
#define BACK(z) ((W)((z) >> 1 ^ (W)(0 - ((z) & 1))))

#if HAS_WIDE && BITS < 64
#include "kernel_wide.h"
#endif

/* Four histograms side by side: equal magnitudes in a row would wait for each other's store. */
EXPORT WIDE void NAME(histogram)(const W *against, size_t count, uint32_t *out)
{
    uint32_t held[4][256];
    size_t i = 0;
    memset(out, 0, 256 * sizeof *out);
    memset(held, 0, sizeof held);
#if HAS_WIDE && BITS < 64
    if (is_wide())
        i = NAME(wide_histogram)(against, count, out);
#endif
    for (; i + 4 <= count; i += 4)
        for (int lane = 0; lane < 4; lane++)
            held[lane][MAGNITUDE(against[i + lane])]++;
    for (; i < count; i++)
        held[0][MAGNITUDE(against[i])]++;
    for (int key = 0; key < 256; key++)
        out[key] += held[0][key] + held[1][key] + held[2][key] + held[3][key];
}

/* `begins` holds where each class starts. The places of a class wait for one another, so a chunk of
 * one class goes without them. */
EXPORT WIDE void NAME(divide)(const W *words, const W *against, size_t count, const uint8_t *of_key,
                              const uint32_t *begins, int classes, W *out)
{
    W *at[MAX_CLASSES];
    if (classes == 1) {
        for (size_t i = 0; i < count; i++) {
            W d = (W)(words[i] - against[i]);
            out[i] = ZIGZAG(d);
        }
        return;
    }
    size_t i = 0;
    for (int c = 0; c < classes; c++)
        at[c] = out + begins[c];
#if HAS_WIDE && BITS < 64
    if (is_wide())
        i = NAME(wide_divide)(words, against, count, of_key, classes, at, out + count);
#endif
    for (; i < count; i++) {
        W d = (W)(words[i] - against[i]);
        *at[of_key[MAGNITUDE(against[i])]]++ = ZIGZAG(d);
    }
}

EXPORT WIDE void NAME(restore)(const W *zigzag, const W *against, size_t count,
                               const uint8_t *of_key, const uint32_t *begins, int classes, W *out)
{
    const W *at[MAX_CLASSES];
    if (classes == 1) {
        for (size_t i = 0; i < count; i++)
            out[i] = (W)(against[i] + BACK(zigzag[i]));
        return;
    }
    size_t i = 0;
    for (int c = 0; c < classes; c++)
        at[c] = zigzag + begins[c];
#if HAS_WIDE && BITS < 64
    if (is_wide())
        i = NAME(wide_restore)(against, count, of_key, classes, at, zigzag + count, out);
#endif
    for (; i < count; i++) {
        W z = *at[of_key[MAGNITUDE(against[i])]]++;
        out[i] = (W)(against[i] + BACK(z));
    }
}

/* Counts within a block fit a word, so that the inner loop is vector instructions alone. */
EXPORT WIDE void NAME(tally)(const W *zigzag, size_t count, uint64_t *out)
{
    uint64_t up_to_2 = 0, up_to_14 = 0, up_to_254 = 0;
    W largest = 0;
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        const size_t end = begin + least(count - begin, BLOCK);
        W few = 0, some = 0, many = 0;
        for (size_t i = begin; i < end; i++) {
            few = (W)(few + (zigzag[i] <= 2));
            some = (W)(some + (zigzag[i] <= 14));
            many = (W)(many + (zigzag[i] <= 254));
            largest = zigzag[i] > largest ? zigzag[i] : largest;
        }
        up_to_2 += few, up_to_14 += some, up_to_254 += many;
    }
    out[0] = largest, out[1] = up_to_2, out[2] = up_to_14, out[3] = up_to_254;
}

/* Numbers go through a block of bytes, and bytes through words of several: both are loops that
 * compilers turn into vector instructions. */
EXPORT WIDE size_t NAME(pack)(const W *zigzag, size_t count, int width, uint8_t *out, W *escapes)
{
    const W code = (W)((1 << width) - 1);
    uint8_t small[BLOCK];
    size_t found = 0;
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        const W *own = zigzag + begin;
        const size_t size = least(count - begin, BLOCK);
        memset(small, 0, sizeof small);
        for (size_t i = 0; i < size; i++)
            small[i] = (uint8_t)(own[i] < code ? own[i] : code);
        join(small, size, width, out);
        out += size * (size_t)width / 8;
        size_t i = 0;
#if HAS_WIDE && BITS < 64
        if (is_wide())
            i = NAME(wide_escapes)(own, size, code, escapes, &found);
#endif
        for (; i < size; i++) {
            escapes[found] = own[i];
            found += own[i] >= code;
        }
    }
    return found;
}

EXPORT WIDE size_t NAME(unpack)(const uint8_t *packed, size_t count, int width, W *out)
{
    const uint8_t code = (uint8_t)((1 << width) - 1);
    uint8_t small[BLOCK];
    size_t found = 0;
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        const size_t size = least(count - begin, BLOCK);
        uint16_t some = 0;
        part(packed, size, width, small);
        packed += size * (size_t)width / 8;
        for (size_t i = 0; i < size; i++) {
            out[begin + i] = small[i];
            some = (uint16_t)(some + (small[i] == code));
        }
        found += some;
    }
    return found;
}

/* Few strides hold an escape at all. Bounded by the number of escapes, whatever `out` holds. */
EXPORT WIDE void NAME(fill)(W *out, size_t count, int code, const W *escapes, size_t given)
{
    size_t used = 0, begin = 0;
#if HAS_WIDE && BITS < 64
    if (is_wide())
        begin = NAME(wide_fill)(out, count, (W)code, escapes, given, &used);
#endif
    for (; begin < count && used < given; begin += STRIDE) {
        const size_t end = begin + least(count - begin, STRIDE);
        W any = 0;
        for (size_t i = begin; i < end; i++)
            any |= (W)(out[i] == (W)code);
        if (!any)
            continue;
        for (size_t i = begin; i < end && used < given; i++)
            if (out[i] == (W)code)
                out[i] = escapes[used++];
    }
}

#undef MAGNITUDE
#undef ZIGZAG
#undef BACK
#undef W
#undef SIGNED
#undef BITS
#undef NAME
