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

/* `begins` holds where each class starts, and `classes` how many there are. The places of a class wait
 * for one another, so a chunk of one class goes without them. */
#define ZIGZAG(W, S, BITS, d) ((W)((W)((d) << 1) ^ (W)((S)(d) >> (BITS - 1))))
#define BACK(W, z) ((W)(((z) >> 1) ^ (W)(0 - ((z) & 1))))

#define DIVIDE(W, S, BITS)                                                                        \
    EXPORT WIDE void dr_divide_##BITS(const W *words, const W *against, size_t count,                   \
                                 const uint8_t *of_key, const uint32_t *begins, int classes,       \
                                 W *out)                                                           \
    {                                                                                              \
        W *at[MAX_CLASSES];                                                                        \
        if (classes == 1) {                                                                        \
            for (size_t i = 0; i < count; i++) {                                                   \
                W d = (W)(words[i] - against[i]);                                                  \
                out[i] = ZIGZAG(W, S, BITS, d);                                                    \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int c = 0; c < classes; c++)                                                          \
            at[c] = out + begins[c];                                                               \
        for (size_t i = 0; i < count; i++) {                                                       \
            W d = (W)(words[i] - against[i]);                                                      \
            *at[of_key[(against[i] >> (BITS - 9)) & 255]]++ = ZIGZAG(W, S, BITS, d);               \
        }                                                                                          \
    }

#define RESTORE(W, S, BITS)                                                                       \
    EXPORT WIDE void dr_restore_##BITS(const W *zigzag, const W *against, size_t count,                 \
                                  const uint8_t *of_key, const uint32_t *begins, int classes,      \
                                  W *out)                                                          \
    {                                                                                              \
        const W *at[MAX_CLASSES];                                                                  \
        if (classes == 1) {                                                                        \
            for (size_t i = 0; i < count; i++)                                                     \
                out[i] = (W)(against[i] + BACK(W, zigzag[i]));                                     \
            return;                                                                                \
        }                                                                                          \
        for (int c = 0; c < classes; c++)                                                          \
            at[c] = zigzag + begins[c];                                                            \
        for (size_t i = 0; i < count; i++) {                                                       \
            W z = *at[of_key[(against[i] >> (BITS - 9)) & 255]]++;                                 \
            out[i] = (W)(against[i] + BACK(W, z));                                                 \
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

#define BLOCK 4096

/* Joins bytes of less than 2^width; what follows the last one in its word is zero. */
WIDE static void dr_join(const uint8_t *small, size_t size, int width, uint8_t *out)
{
    uint32_t four;
    uint16_t two;
    if (width == 8)
        memcpy(out, small, size);
    else if (width == 4)
        for (size_t i = 0; i < (size + 1) / 2; i++) {
            memcpy(&two, small + 2 * i, sizeof two);
            out[i] = (uint8_t)(two | two >> 4);
        }
    else
        for (size_t i = 0; i < (size + 3) / 4; i++) {
            memcpy(&four, small + 4 * i, sizeof four);
            out[i] = (uint8_t)(four | four >> 6 | four >> 12 | four >> 18);
        }
}

/* Undoes dr_join; writes up to three bytes more than `size`, never more than BLOCK. */
WIDE static void dr_part(const uint8_t *packed, size_t size, int width, uint8_t *small)
{
    uint32_t four;
    uint16_t two;
    if (width == 8)
        memcpy(small, packed, size);
    else if (width == 4)
        for (size_t i = 0; i < (size + 1) / 2; i++) {
            two = (uint16_t)((packed[i] | packed[i] << 4) & 0x0F0F);
            memcpy(small + 2 * i, &two, sizeof two);
        }
    else
        for (size_t i = 0; i < (size + 3) / 4; i++) {
            four = packed[i];
            four = (four | four << 6 | four << 12 | four << 18) & 0x03030303;
            memcpy(small + 4 * i, &four, sizeof four);
        }
}

/* Numbers go through a block of bytes, and bytes through words of several: both steps are loops that
 * compilers turn into vector instructions. Bytes of a word are in memory from the lowest up. */
#define PACK(W, BITS)                                                                              \
    EXPORT size_t dr_pack_##BITS(const W *zigzag, size_t count, int width, uint8_t *out,           \
                                 W *escapes)                                                       \
    {                                                                                              \
        const W code = (W)((1 << width) - 1);                                                      \
        uint8_t small[BLOCK];                                                                      \
        size_t found = 0;                                                                          \
        for (size_t begin = 0; begin < count; begin += BLOCK) {                                    \
            const W *own = zigzag + begin;                                                         \
            const size_t size = count - begin < BLOCK ? count - begin : BLOCK;                     \
            memset(small, 0, sizeof small);                                                        \
            for (size_t i = 0; i < size; i++)                                                      \
                small[i] = (uint8_t)(own[i] < code ? own[i] : code);                               \
            dr_join(small, size, width, out);                                                      \
            out += size * (size_t)width / 8;                                                       \
            for (size_t i = 0; i < size; i++) {                                                    \
                escapes[found] = own[i];                                                           \
                found += own[i] >= code;                                                           \
            }                                                                                      \
        }                                                                                          \
        return found;                                                                              \
    }

#define UNPACK(W, BITS)                                                                            \
    EXPORT size_t dr_unpack_##BITS(const uint8_t *packed, size_t count, int width, W *out)         \
    {                                                                                              \
        const uint8_t code = (uint8_t)((1 << width) - 1);                                          \
        uint8_t small[BLOCK];                                                                      \
        size_t found = 0;                                                                          \
        for (size_t begin = 0; begin < count; begin += BLOCK) {                                    \
            const size_t size = count - begin < BLOCK ? count - begin : BLOCK;                     \
            uint16_t some = 0;                                                                     \
            dr_part(packed, size, width, small);                                                   \
            packed += size * (size_t)width / 8;                                                    \
            for (size_t i = 0; i < size; i++) {                                                    \
                out[begin + i] = small[i];                                                         \
                some = (uint16_t)(some + (small[i] == code));                                      \
            }                                                                                      \
            found += some;                                                                         \
        }                                                                                          \
        return found;                                                                              \
    }

/* Bounded by the number of escapes, whatever `out` holds. */
#define FILL(W, BITS)                                                                             \
    EXPORT WIDE void dr_fill_##BITS(W *out, size_t count, int code, const W *escapes, size_t given)     \
    {                                                                                              \
        size_t used = 0;                                                                           \
        for (size_t i = 0; i < count && used < given; i += 16) {                                   \
            size_t end = count - i > 16 ? i + 16 : count;                                          \
            W any = 0;                                                                             \
            for (size_t j = i; j < end; j++)                                                       \
                any |= (W)(out[j] == (W)code);                                                     \
            if (!any)                                                                              \
                continue;                                                                          \
            for (size_t j = i; j < end && used < given; j++)                                       \
                if (out[j] == (W)code)                                                             \
                    out[j] = escapes[used++];                                                      \
        }                                                                                          \
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
