/* Threads that share the tasks of one product or attention, and sleep when there are none.

   Tasks are handed out one at a time and the caller works too, so a thread that the system has put
   aside delays only the task it holds. A thread spins some 20 microseconds before it sleeps: longer
   than the gaps within a step, shorter than those between steps. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#define SPINS 1000
#define MOST_THREADS 256

typedef void (*Work)(void *context, int task);

static struct {
    pthread_mutex_t owner, lock;
    pthread_cond_t wake;
    _Atomic uint64_t tickets; /* a count of jobs, and in the lower half the tasks not yet taken */
    _Atomic int done, asleep;
    Work work;
    void *context;
    int total, threads;
    _Atomic pid_t process; /* that it was set up in, or is being set up in: -process */
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_tasks(void) {
    uint64_t ticket = atomic_load(&pool.tickets);
    while ((uint32_t)ticket) {
        if (!atomic_compare_exchange_weak(&pool.tickets, &ticket, ticket - 1)) continue;
        pool.work(pool.context, pool.total - (int)(uint32_t)ticket);
        atomic_fetch_add(&pool.done, 1);
        ticket = atomic_load(&pool.tickets);
    }
}

static void *serve(void *unused) {
    for (int spins = 0;; spins++) {
        if ((uint32_t)atomic_load(&pool.tickets)) {
            take_tasks();
            spins = 0;
        } else if (spins < SPINS) {
            pause_briefly();
        } else {
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.asleep, 1);
            if (!(uint32_t)atomic_load(&pool.tickets)) pthread_cond_wait(&pool.wake, &pool.lock);
            atomic_fetch_sub(&pool.asleep, 1);
            pthread_mutex_unlock(&pool.lock);
            spins = 0;
        }
    }
    return unused;
}

static void start_threads(int wanted) {
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.threads < wanted) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, NULL)) break;
        pthread_detach(thread);
        pool.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Return how many threads this call has: one where another call has the others. */
static int begin_parallel(int wanted) {
    if (wanted > MOST_THREADS) wanted = MOST_THREADS;
    if (wanted < 2) return 1;
    pid_t own = getpid(), found = atomic_load(&pool.process);
    if (found != own) { /* a fork copies no threads */
        /* Of threads that meet here one sets the pool up, and the others work alone this once. */
        if (found == -own || !atomic_compare_exchange_strong(&pool.process, &found, -own)) return 1;
        pthread_mutex_init(&pool.owner, NULL);
        pthread_mutex_init(&pool.lock, NULL);
        pthread_cond_init(&pool.wake, NULL);
        atomic_store(&pool.tickets, 0);
        atomic_store(&pool.asleep, 0);
        pool.threads = 1;
        atomic_store(&pool.process, own);
    }
    if (pthread_mutex_trylock(&pool.owner)) return 1;
    start_threads(wanted);
    return wanted;
}

static void end_parallel(int threads) {
    if (threads > 1) pthread_mutex_unlock(&pool.owner);
}

static void parallel(int threads, int total, Work work, void *context) {
    if (threads < 2 || total < 2) {
        for (int task = 0; task < total; task++) work(context, task);
        return;
    }
    uint64_t jobs = (atomic_load(&pool.tickets) >> 32) + 1;
    pool.work = work;
    pool.context = context;
    pool.total = total;
    atomic_store(&pool.done, 0);
    atomic_store(&pool.tickets, jobs << 32 | (uint32_t)total);
    if (atomic_load(&pool.asleep)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    take_tasks();
    for (int spins = 0; atomic_load(&pool.done) < total; spins++)
        if (spins < SPINS) pause_briefly();
        else sched_yield();
}
