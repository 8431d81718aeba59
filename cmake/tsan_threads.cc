// Threads of C11 by those of POSIX. The thread sanitizer only knows the latter, and librdkafka starts its
// threads by the former: the sanitizer's allocator crashes in a thread that it did not see begin. Linked into
// tests that are built with it; the executable's functions take the place of the C library's, whose types
// they share.
#include <pthread.h>
#include <threads.h>

#include <cerrno>
#include <cstdint>
#include <memory>

#define FZ_IN_PLACE_OF_LIBC extern "C" __attribute__((visibility("default")))

namespace {

struct Start {
  thrd_start_t run;
  void* argument;
};

void* Run(void* start) {
  const Start copy = *static_cast<Start*>(start);
  delete static_cast<Start*>(start);
  return reinterpret_cast<void*>(static_cast<intptr_t>(copy.run(copy.argument)));
}

pthread_mutex_t* Mutex(mtx_t* mutex) { return reinterpret_cast<pthread_mutex_t*>(mutex); }
pthread_cond_t* Condition(cnd_t* condition) { return reinterpret_cast<pthread_cond_t*>(condition); }
int Answer(int error) { return error == 0 ? thrd_success : thrd_error; }

}  // namespace

FZ_IN_PLACE_OF_LIBC int thrd_create(thrd_t* thread, thrd_start_t run, void* argument) {
  auto start = std::make_unique<Start>(Start{run, argument});
  const int error = pthread_create(thread, nullptr, Run, start.get());
  if (error == 0) (void)start.release();
  return Answer(error);
}

FZ_IN_PLACE_OF_LIBC int thrd_join(thrd_t thread, int* result) {
  void* value = nullptr;
  const int error = pthread_join(thread, &value);
  if (result != nullptr) *result = static_cast<int>(reinterpret_cast<intptr_t>(value));
  return Answer(error);
}

FZ_IN_PLACE_OF_LIBC int mtx_init(mtx_t* mutex, int kind) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes,
                            (kind & mtx_recursive) != 0 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
  const int error = pthread_mutex_init(Mutex(mutex), &attributes);
  pthread_mutexattr_destroy(&attributes);
  return Answer(error);
}

FZ_IN_PLACE_OF_LIBC void mtx_destroy(mtx_t* mutex) { pthread_mutex_destroy(Mutex(mutex)); }

FZ_IN_PLACE_OF_LIBC int mtx_lock(mtx_t* mutex) { return Answer(pthread_mutex_lock(Mutex(mutex))); }

FZ_IN_PLACE_OF_LIBC int mtx_unlock(mtx_t* mutex) { return Answer(pthread_mutex_unlock(Mutex(mutex))); }

FZ_IN_PLACE_OF_LIBC int cnd_init(cnd_t* condition) {
  return Answer(pthread_cond_init(Condition(condition), nullptr));
}

FZ_IN_PLACE_OF_LIBC void cnd_destroy(cnd_t* condition) { pthread_cond_destroy(Condition(condition)); }

FZ_IN_PLACE_OF_LIBC int cnd_signal(cnd_t* condition) {
  return Answer(pthread_cond_signal(Condition(condition)));
}

FZ_IN_PLACE_OF_LIBC int cnd_broadcast(cnd_t* condition) {
  return Answer(pthread_cond_broadcast(Condition(condition)));
}

FZ_IN_PLACE_OF_LIBC int cnd_wait(cnd_t* condition, mtx_t* mutex) {
  return Answer(pthread_cond_wait(Condition(condition), Mutex(mutex)));
}

FZ_IN_PLACE_OF_LIBC int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* until) {
  const int error = pthread_cond_timedwait(Condition(condition), Mutex(mutex), until);
  return error == ETIMEDOUT ? thrd_timedout : Answer(error);
}
