/* One code a row: guidance, top-k, temperature, min-p and the draw, in one call.

   As limner/sampling/tokens.py has them, step by step: guided logits in fp32, chances in fp64. Stock
   torch takes some thirty calls for it, each of which gives Python's lock away and asks for it
   again, which costs more than the sums where several threads draw. */
#include <math.h>
#include <stdint.h>

typedef struct {
    int rows, codes, top_k;      /* top_k keeps all where it is 0 or no less than codes */
    const float *logits;         /* (rows, codes), with the text */
    const float *without;        /* the same without it, or none */
    const float *scales;         /* (rows,), of guidance */
    double temperature, min_p;
    const double *uniforms;      /* (rows,), in [0, 1) */
    float *guided, *sorted;      /* (codes,) each: scratch, as is the next */
    double *chances;             /* (codes,) */
    int64_t *kept;               /* (codes,): which of them may be chosen */
    int64_t *chosen;             /* (rows,), out */
} Choice;

/* Return the element of `x` that has `before` larger ones, more or less, before it; x is reordered. */
static float largest_but(float *x, int count, int before) {
    int low = 0, high = count - 1;
    while (low < high) {
        float pivot = x[low + (high - low) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i > j) break;
            float other = x[i];
            x[i++] = x[j];
            x[j--] = other;
        }
        if (before <= j) high = j;
        else if (before >= i) low = i;
        else break;
    }
    return x[before];
}

/* Fill job->kept with the codes of guided logits that top-k keeps, in their order; say how many. */
static int keep_likeliest(const Choice *job) {
    int codes = job->codes, wanted = job->top_k, count = 0, above = 0;
    if (wanted <= 0 || wanted >= codes) {
        for (int i = 0; i < codes; i++) job->kept[i] = i;
        return codes;
    }
    memcpy(job->sorted, job->guided, codes * sizeof(float));
    float edge = largest_but(job->sorted, codes, wanted - 1);
    for (int i = 0; i < codes; i++) above += job->guided[i] > edge;
    int equal = wanted - above; /* of those that tie for the last places the first ones stay */
    for (int i = 0; i < codes; i++)
        if (job->guided[i] > edge || (job->guided[i] == edge && equal-- > 0)) job->kept[count++] = i;
    return count;
}

static int64_t choose_one(const Choice *job, double uniform) {
    int count = keep_likeliest(job);
    double most = -INFINITY, total = 0, reached = 0;
    for (int i = 0; i < count; i++) {
        job->chances[i] = job->guided[job->kept[i]] / job->temperature;
        if (job->chances[i] > most) most = job->chances[i];
    }
    double least = job->min_p > 0 ? most + log(job->min_p) : -INFINITY;
    for (int i = 0; i < count; i++) {
        double logit = job->chances[i];
        job->chances[i] = logit < least ? 0 : exp2((logit - most) * 1.4426950408889634);
        total += job->chances[i];
    }
    for (int i = 0; i < count; i++) {
        reached += job->chances[i];
        if (reached > uniform * total) return job->kept[i];
    }
    return count ? job->kept[count - 1] : job->codes - 1; /* rounded up, or not a number */
}

void limner_choose(const Choice *job) {
    for (int row = 0; row < job->rows; row++) {
        const float *with = job->logits + (size_t)row * job->codes;
        if (job->without) {
            const float *without = job->without + (size_t)row * job->codes;
            /* In two loops: in one the compiler would round once where torch rounds twice. */
            for (int i = 0; i < job->codes; i++)
                job->sorted[i] = job->scales[row] * (with[i] - without[i]);
            for (int i = 0; i < job->codes; i++) job->guided[i] = with[i] + job->sorted[i];
        } else {
            memcpy(job->guided, with, job->codes * sizeof(float));
        }
        job->chosen[row] = choose_one(job, job->uniforms[row]);
    }
}
