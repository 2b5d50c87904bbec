/* The inner loops of codecs 3 and 4; what each does is said in kernel.py, function by function.
 *
 * Every function takes arrays whose sizes its caller has checked, keeps no state and touches nothing
 * else. Words come in three widths, so each function is written once and made three times.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* One binary for every machine: the loader picks the widest instructions that it has. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(DR_PLAIN)
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDE
#endif

#define MAX_CLASSES 24

/* Four histograms side by side: equal magnitudes in a row would wait for each other's store. */
#define HISTOGRAM(W, BITS)                                                                        \
    EXPORT WIDE void dr_histogram_##BITS(const W *against, size_t count, uint32_t *out)                 \
    {                                                                                              \
        uint32_t held[4][256];                                                                     \
        size_t i = 0;                                                                              \
        memset(held, 0, sizeof held);                                                              \
        for (; i + 4 <= count; i += 4)                                                             \
            for (int lane = 0; lane < 4; lane++)                                                   \
                held[lane][(against[i + lane] >> (BITS - 9)) & 255]++;                             \
        for (; i < count; i++)                                                                     \
            held[0][(against[i] >> (BITS - 9)) & 255]++;                                           \
        for (int key = 0; key < 256; key++)                                                        \
            out[key] = held[0][key] + held[1][key] + held[2][key] + held[3][key];                  \
    }

/* `begins` holds where each class starts; it is used up. */
#define DIVIDE(W, S, BITS)                                                                        \
    EXPORT WIDE void dr_divide_##BITS(const W *words, const W *against, size_t count,                   \
                                 const uint8_t *of_key, const uint32_t *begins, W *out)            \
    {                                                                                              \
        W *at[MAX_CLASSES];                                                                        \
        for (int c = 0; c < MAX_CLASSES; c++)                                                      \
            at[c] = out + begins[c];                                                               \
        for (size_t i = 0; i < count; i++) {                                                       \
            W d = (W)(words[i] - against[i]);                                                      \
            *at[of_key[(against[i] >> (BITS - 9)) & 255]]++ =                                      \
                (W)((W)(d << 1) ^ (W)((S)d >> (BITS - 1)));                                        \
        }                                                                                          \
    }

#define RESTORE(W, S, BITS)                                                                       \
    EXPORT WIDE void dr_restore_##BITS(const W *zigzag, const W *against, size_t count,                 \
                                  const uint8_t *of_key, const uint32_t *begins, W *out)           \
    {                                                                                              \
        const W *at[MAX_CLASSES];                                                                  \
        for (int c = 0; c < MAX_CLASSES; c++)                                                      \
            at[c] = zigzag + begins[c];                                                            \
        for (size_t i = 0; i < count; i++) {                                                       \
            W z = *at[of_key[(against[i] >> (BITS - 9)) & 255]]++;                                 \
            out[i] = (W)(against[i] + (W)((z >> 1) ^ (W)(0 - (z & 1))));                           \
        }                                                                                          \
    }

#define TALLY(W, BITS)                                                                            \
    EXPORT WIDE void dr_tally_##BITS(const W *zigzag, size_t count, uint64_t *out)                      \
    {                                                                                              \
        uint64_t up_to_2 = 0, up_to_14 = 0, up_to_254 = 0;                                         \
        W largest = 0;                                                                             \
        for (size_t i = 0; i < count;) {                                                           \
            size_t end = count - i > 4096 ? i + 4096 : count;                                      \
            W few = 0, some = 0, many = 0;                                                         \
            for (; i < end; i++) {                                                                 \
                few = (W)(few + (zigzag[i] <= 2));                                                 \
                some = (W)(some + (zigzag[i] <= 14));                                              \
                many = (W)(many + (zigzag[i] <= 254));                                             \
                largest = zigzag[i] > largest ? zigzag[i] : largest;                               \
            }                                                                                      \
            up_to_2 += few, up_to_14 += some, up_to_254 += many;                                   \
        }                                                                                          \
        out[0] = largest, out[1] = up_to_2, out[2] = up_to_14, out[3] = up_to_254;                 \
    }

#define PACK(W, BITS)                                                                             \
    EXPORT WIDE size_t dr_pack_##BITS(const W *zigzag, size_t count, int width, uint8_t *out,           \
                                 W *escapes)                                                       \
    {                                                                                              \
        const W code = (W)((1 << width) - 1);                                                      \
        const int each = 8 / width;                                                                \
        size_t found = 0, i = 0;                                                                   \
        if (width == 8) {                                                                          \
            for (; i < count; i++)                                                                 \
                out[i] = (uint8_t)(zigzag[i] < code ? zigzag[i] : code);                           \
        } else if (width == 4) {                                                                   \
            for (; i + 2 <= count; i += 2) {                                                       \
                W a = zigzag[i], b = zigzag[i + 1];                                                \
                out[i / 2] = (uint8_t)((a < 15 ? a : 15) | (b < 15 ? b : 15) << 4);                \
            }                                                                                      \
        } else {                                                                                   \
            for (; i + 4 <= count; i += 4) {                                                       \
                W a = zigzag[i], b = zigzag[i + 1], c = zigzag[i + 2], d = zigzag[i + 3];          \
                out[i / 4] = (uint8_t)((a < 3 ? a : 3) | (b < 3 ? b : 3) << 2 |                    \
                                       (c < 3 ? c : 3) << 4 | (d < 3 ? d : 3) << 6);               \
            }                                                                                      \
        }                                                                                          \
        if (i < count) {                                                                           \
            uint8_t last = 0;                                                                      \
            for (size_t j = i; j < count; j++)                                                     \
                last |= (uint8_t)((zigzag[j] < code ? zigzag[j] : code) << (width * (j - i)));     \
            out[i / each] = last;                                                                  \
        }                                                                                          \
        for (i = 0; i < count; i++) {                                                              \
            escapes[found] = zigzag[i];                                                            \
            found += zigzag[i] >= code;                                                            \
        }                                                                                          \
        return found;                                                                              \
    }

#define UNPACK(W, BITS)                                                                           \
    EXPORT WIDE size_t dr_unpack_##BITS(const uint8_t *packed, size_t count, int width, W *out)         \
    {                                                                                              \
        const W code = (W)((1 << width) - 1);                                                      \
        size_t found = 0, i = 0;                                                                   \
        if (width == 8) {                                                                          \
            for (; i < count; i++)                                                                 \
                out[i] = packed[i];                                                                \
        } else if (width == 4) {                                                                   \
            for (; i + 2 <= count; i += 2) {                                                       \
                uint8_t held = packed[i / 2];                                                      \
                out[i] = held & 15, out[i + 1] = held >> 4;                                        \
            }                                                                                      \
        } else {                                                                                   \
            for (; i + 4 <= count; i += 4) {                                                       \
                uint8_t held = packed[i / 4];                                                      \
                out[i] = held & 3, out[i + 1] = held >> 2 & 3;                                     \
                out[i + 2] = held >> 4 & 3, out[i + 3] = held >> 6;                                \
            }                                                                                      \
        }                                                                                          \
        for (size_t j = i; j < count; j++)                                                         \
            out[j] = (W)(packed[i / (8 / width)] >> (width * (j - i)) & code);                     \
        for (i = 0; i < count;) {                                                                  \
            size_t end = count - i > 4096 ? i + 4096 : count;                                      \
            W some = 0;                                                                            \
            for (; i < end; i++)                                                                   \
                some = (W)(some + (out[i] == code));                                               \
            found += some;                                                                         \
        }                                                                                          \
        return found;                                                                              \
    }

/* Bounded by the number of escapes, whatever `out` holds. */
#define FILL(W, BITS)                                                                             \
    EXPORT WIDE void dr_fill_##BITS(W *out, size_t count, int code, const W *escapes, size_t given)     \
    {                                                                                              \
        size_t used = 0;                                                                           \
        for (size_t i = 0; i < count && used < given; i++)                                         \
            if (out[i] == (W)code)                                                                 \
                out[i] = escapes[used++];                                                          \
    }

#define ALL(W, S, BITS)                                                                           \
    HISTOGRAM(W, BITS)                                                                             \
    DIVIDE(W, S, BITS) RESTORE(W, S, BITS) TALLY(W, BITS) PACK(W, BITS) UNPACK(W, BITS) FILL(W, BITS)

/* Of the calls above; native_kernel.py refuses a library that was built from another file. */
EXPORT int dr_version(void)
{
    return 1;
}

ALL(uint16_t, int16_t, 16)
ALL(uint32_t, int32_t, 32)
ALL(uint64_t, int64_t, 64)
