/* The inner loops of codecs 3 and 4; what each does is said in kernel.py, function by function.
 *
 * Every function takes arrays whose sizes its caller has checked, keeps no state and touches nothing
 * else. kernel_words.h holds them once; they are made for words of 16, 32 and 64 bits. Words are
 * little-endian, and so is the machine.
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

/* What AVX-512 adds is asked for when a function runs, whatever the compiler was told. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(_WIN32) && !defined(DR_NARROW)
#include <immintrin.h>
#define HAS_WIDE 1
#define TARGET \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi2,popcnt")))
#else
#define HAS_WIDE 0
#endif

#define PASTE_NOW(a, b, c) a##b##c
#define PASTE(a, b, c) PASTE_NOW(a, b, c)

enum { MAX_CLASSES = 24, BLOCK = 4096, STRIDE = 16 };

/* Of the calls below; native_kernel.py refuses a library that was built from another file. */
EXPORT int dr_version(void)
{
    return 1;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Joins bytes of less than 2^width; what follows the last one in its word is zero. */
WIDE static void join(const uint8_t *small, size_t size, int width, uint8_t *out)
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

/* Undoes join; writes up to three bytes more than `size`, never more than BLOCK. */
WIDE static void part(const uint8_t *packed, size_t size, int width, uint8_t *small)
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

#if HAS_WIDE
static int is_wide(void)
{
    return __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("bmi2");
}

/* A table of 256 bytes in four registers. */
struct table {
    __m512i part[4];
};

TARGET static inline struct table open_table(const uint8_t *bytes)
{
    struct table table;
    for (int p = 0; p < 4; p++)
        table.part[p] = _mm512_loadu_si512(bytes + 64 * p);
    return table;
}

TARGET static inline __m512i look_up(const struct table *table, __m512i keys)
{
    const __m512i low = _mm512_permutex2var_epi8(table->part[0], keys, table->part[1]);
    const __m512i high = _mm512_permutex2var_epi8(table->part[2], keys, table->part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(keys), low, high);
}

enum { SAMPLE = 2048, COMMON = 32 };

/* Counts a byte in a block of them. */
TARGET static inline size_t count_equal(const __m512i *block, uint8_t byte)
{
    const __m512i wanted = _mm512_set1_epi8((char)byte);
    size_t found[4] = {0};
    for (int v = 0; v < BLOCK / 64; v += 4)
        for (int lane = 0; lane < 4; lane++)
            found[lane] += (size_t)__builtin_popcountll(
                _mm512_cmpeq_epi8_mask(block[v + lane], wanted));
    return found[0] + found[1] + found[2] + found[3];
}
#endif

#define W uint16_t
#define SIGNED int16_t
#define BITS 16
#define NAME(name) dr_##name##_16
#include "kernel_words.h"

#define W uint32_t
#define SIGNED int32_t
#define BITS 32
#define NAME(name) dr_##name##_32
#include "kernel_words.h"

#define W uint64_t
#define SIGNED int64_t
#define BITS 64
#define NAME(name) dr_##name##_64
#include "kernel_words.h"
