/* The loops over classes for words of 16 or 32 bits, 64 of them at a time, for processors with
 * AVX-512 VBMI2. A word's class is looked up in a table of bytes, and the words of one class are
 * pressed together, or spread out again, by one instruction.
 *
 * Each function does the beginning of its arrays and says how much of it; the plain loop of the
 * same name in kernel_words.h does the rest. `at` holds where each class goes on. */

#define VECTOR(operation) PASTE(_mm512_, operation, BITS)
#if BITS == 16
#define LANES 32
#define LANE_MASK __mmask32
#define LANE_BYTES __m256i
#define PART(vector, p) _mm512_extracti64x4_epi64(vector, p)
#define EQUAL(bytes, c) _mm256_cmpeq_epi8_mask(bytes, _mm256_set1_epi8((char)(c)))
#define AT_LEAST(words, code) _mm512_cmpge_epu16_mask(words, code)
#define SAME(words, code) _mm512_cmpeq_epi16_mask(words, code)
#else
#define LANES 16
#define LANE_MASK __mmask16
#define LANE_BYTES __m128i
#define PART(vector, p) _mm512_extracti32x4_epi32(vector, p)
#define EQUAL(bytes, c) _mm_cmpeq_epi8_mask(bytes, _mm_set1_epi8((char)(c)))
#define AT_LEAST(words, code) _mm512_cmpge_epu32_mask(words, code)
#define SAME(words, code) _mm512_cmpeq_epi32_mask(words, code)
#endif
#define PARTS (64 / LANES)
#define FIRST(count) ((LANE_MASK)_bzhi_u64(~0ULL, (unsigned)(count)))

/* Gives the magnitudes of 64 words, in their order. */
TARGET static inline __m512i NAME(magnitudes)(const W *against)
{
#if BITS == 16
    const __m512i low = _mm512_srli_epi16(_mm512_loadu_si512(against), 7);
    const __m512i high = _mm512_srli_epi16(_mm512_loadu_si512(against + 32), 7);
    const __m512i narrow = _mm512_castsi256_si512(_mm512_cvtepi16_epi8(low));
    return _mm512_inserti64x4(narrow, _mm512_cvtepi16_epi8(high), 1);
#else
    __m128i part[4];
    for (int p = 0; p < 4; p++) {
        const __m512i own = _mm512_loadu_si512(against + 16 * p);
        part[p] = _mm512_cvtepi32_epi8(_mm512_srli_epi32(own, 23));
    }
    __m512i all = _mm512_castsi128_si512(part[0]);
    all = _mm512_inserti32x4(all, part[1], 1);
    all = _mm512_inserti32x4(all, part[2], 2);
    return _mm512_inserti32x4(all, part[3], 3);
#endif
}

/* Gives the classes of 64 words, as many to a part as there are words in a vector. */
TARGET static inline void NAME(classes)(const struct table *table, const W *against,
                                        LANE_BYTES *parts)
{
    const __m512i own = look_up(table, NAME(magnitudes)(against));
    parts[0] = PART(own, 0), parts[1] = PART(own, 1);
#if BITS == 32
    parts[2] = PART(own, 2), parts[3] = PART(own, 3);
#endif
}

TARGET static size_t NAME(wide_divide)(const W *words, const W *against, size_t count,
                                       const uint8_t *of_key, int classes, W **at, const W *end)
{
    const struct table table = open_table(of_key);
    const W *ends[MAX_CLASSES];
    size_t i = 0;
    for (int c = 0; c < classes; c++)
        ends[c] = c + 1 < classes ? at[c + 1] : end;
    for (; i + 64 <= count; i += 64) {
        LANE_BYTES own[PARTS];
        __m512i zigzag[PARTS];
        NAME(classes)(&table, against + i, own);
        for (int p = 0; p < PARTS; p++) {
            const __m512i word = _mm512_loadu_si512(words + i + LANES * p);
            const __m512i d = VECTOR(sub_epi)(word, _mm512_loadu_si512(against + i + LANES * p));
            zigzag[p] = _mm512_xor_si512(VECTOR(slli_epi)(d, 1), VECTOR(srai_epi)(d, BITS - 1));
        }
        for (int c = 0; c < classes; c++)
            for (int p = 0; p < PARTS; p++) {
                const LANE_MASK here = EQUAL(own[p], c);
                const __m512i pressed = VECTOR(maskz_compress_epi)(here, zigzag[p]);
                const int found = __builtin_popcount(here);
                if (ends[c] - at[c] >= LANES) /* what is too much is written over later */
                    _mm512_storeu_si512(at[c], pressed);
                else
                    VECTOR(mask_storeu_epi)(at[c], FIRST(found), pressed);
                at[c] += found;
            }
    }
    return i;
}

TARGET static size_t NAME(wide_restore)(const W *against, size_t count, const uint8_t *of_key,
                                        int classes, const W **at, const W *end, W *out)
{
    const struct table table = open_table(of_key);
    const __m512i one = VECTOR(set1_epi)(1), zero = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        LANE_BYTES own[PARTS];
        __m512i zigzag[PARTS];
        NAME(classes)(&table, against + i, own);
        for (int p = 0; p < PARTS; p++)
            zigzag[p] = zero;
        for (int c = 0; c < classes; c++)
            for (int p = 0; p < PARTS; p++) {
                const LANE_MASK here = EQUAL(own[p], c);
                const int found = __builtin_popcount(here);
                __m512i next;
                if (end - at[c] >= LANES)
                    next = _mm512_loadu_si512(at[c]);
                else
                    next = VECTOR(maskz_loadu_epi)(FIRST(found), at[c]);
                zigzag[p] = VECTOR(mask_expand_epi)(zigzag[p], here, next);
                at[c] += found;
            }
        for (int p = 0; p < PARTS; p++) {
            const __m512i sign = VECTOR(sub_epi)(zero, _mm512_and_si512(zigzag[p], one));
            const __m512i d = _mm512_xor_si512(VECTOR(srli_epi)(zigzag[p], 1), sign);
            const __m512i word = _mm512_loadu_si512(against + i + LANES * p);
            _mm512_storeu_si512(out + i + LANES * p, VECTOR(add_epi)(word, d));
        }
    }
    return i;
}

/* Counts, block by block, the magnitudes that are common among the first words, by comparing all
 * with each of them; words of others are then found one by one. */
TARGET static size_t NAME(wide_histogram)(const W *against, size_t count, uint32_t *out)
{
    uint8_t keys[COMMON] = {0}, rare[256];
    size_t i = 0, covered = 0;
    int common = 0;
    if (count < 4 * SAMPLE)
        return 0;
    memset(rare, 255, sizeof rare);
    for (; i < SAMPLE; i++)
        out[MAGNITUDE(against[i])]++;
    for (int key = 0; key < 256 && common < COMMON; key++)
        if (out[key] >= SAMPLE / 256) {
            keys[common++] = (uint8_t)key;
            rare[key] = 0;
            covered += out[key];
        }
    if (covered < SAMPLE - SAMPLE / 16)
        return i;
    const struct table table = open_table(rare);
    for (; i + BLOCK <= count; i += BLOCK) {
        __m512i own[BLOCK / 64];
        for (int v = 0; v < BLOCK / 64; v++) {
            own[v] = NAME(magnitudes)(against + i + 64 * v);
            uint64_t left = _mm512_movepi8_mask(look_up(&table, own[v]));
            for (; left; left &= left - 1)
                out[MAGNITUDE(against[i + 64 * (size_t)v + (size_t)__builtin_ctzll(left)])]++;
        }
        for (int k = 0; k < common; k++)
            out[keys[k]] += (uint32_t)count_equal(own, keys[k]);
    }
    return i;
}

/* Copies the numbers from `code` on behind the `found` ones that are there already. */
TARGET static size_t NAME(wide_escapes)(const W *own, size_t size, W code, W *escapes,
                                        size_t *found)
{
    const __m512i least_one = VECTOR(set1_epi)((SIGNED)code);
    size_t i = 0;
    for (; i + LANES <= size; i += LANES) {
        const __m512i numbers = _mm512_loadu_si512(own + i);
        const LANE_MASK here = AT_LEAST(numbers, least_one);
        if (!here)
            continue;
        const __m512i pressed = VECTOR(maskz_compress_epi)(here, numbers);
        const int more = __builtin_popcount(here);
        VECTOR(mask_storeu_epi)(escapes + *found, FIRST(more), pressed);
        *found += (size_t)more;
    }
    return i;
}

/* Puts escapes where the code is, as long as there are enough for any vector. */
TARGET static size_t NAME(wide_fill)(W *out, size_t count, W code, const W *escapes, size_t given,
                                     size_t *used)
{
    const __m512i wanted = VECTOR(set1_epi)((SIGNED)code);
    size_t i = 0;
    for (; i + LANES <= count && given - *used >= LANES; i += LANES) {
        const __m512i own = _mm512_loadu_si512(out + i);
        const LANE_MASK here = SAME(own, wanted);
        const __m512i next = _mm512_loadu_si512(escapes + *used);
        _mm512_storeu_si512(out + i, VECTOR(mask_expand_epi)(own, here, next));
        *used += (size_t)__builtin_popcount(here);
    }
    return i;
}

#undef VECTOR
#undef LANES
#undef LANE_MASK
#undef LANE_BYTES
#undef PART
#undef PARTS
#undef EQUAL
#undef AT_LEAST
#undef SAME
#undef FIRST
