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
