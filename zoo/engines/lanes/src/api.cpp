// The C interface that Python loads. This file is the whole library: it is compiled once per instruction set.
#include <chrono>
#include <string>

#include "description.h"
#include "engine.h"
#include "processor.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace lanes;

thread_local std::string error;

// Runs f, and turns an exception into the given value and a message.
template <class T, class F>
T guarded(T failure, F&& f) {
  try {
    return f();
  } catch (const std::exception& e) {
    error = e.what();
    return failure;
  }
}

template <class F>
void over_lanes(const float* in, float* out, int64_t n, F&& f) {
  const FlushDenormals flush;
  for (int64_t k = 0; k < n; k += kLanes) {
    Vec v = {};
    const size_t size = std::min<int64_t>(kLanes, n - k) * sizeof(float);
    std::memcpy(&v, in + k, size);
    v = f(v);
    std::memcpy(out + k, &v, size);
  }
}

}  // namespace

// The name of the best variant that this processor can run.
EXPORT const char* lanes_best_variant() { return best_variant(); }

// See description.h.
EXPORT const char* lanes_description() {
  static const std::string description = describe();
  return description.c_str();
}

EXPORT const char* lanes_error() { return error.c_str(); }

EXPORT Engine* lanes_create(const NetworkSpec* network, const OptimizerSpec* optimizer, int models) {
  return guarded<Engine*>(nullptr, [&] { return new Engine(Builder(*network).build(), *optimizer, models); });
}

EXPORT void lanes_destroy(Engine* engine) { delete engine; }

EXPORT int lanes_parameters(const Engine* engine) { return engine->parameters(); }

EXPORT void lanes_set_hyperparameters(Engine* engine, const Hyperparameters* h) { engine->set_hyperparameters(*h); }

EXPORT uint64_t lanes_steps(const Engine* engine) { return engine->steps; }
EXPORT void lanes_set_steps(Engine* engine, uint64_t steps) { engine->steps = steps; }

EXPORT void lanes_get(const Engine* engine, int which, float* out) { engine->get(static_cast<State>(which), out); }
EXPORT void lanes_set(Engine* engine, int which, const float* in) { engine->set(static_cast<State>(which), in); }

EXPORT void lanes_train(Engine* engine, const Samples* samples, const Visits* visits, double* mean_loss,
                        int64_t* correct) {
  engine->train(*samples, *visits, mean_loss, correct);
}

EXPORT void lanes_gradients(Engine* engine, const Samples* samples, const Visits* visits, float* out, double* mean_loss) {
  engine->gradients(*samples, *visits, out, mean_loss);
}

EXPORT void lanes_evaluate(Engine* engine, const Samples* samples, const Evaluation* to) { engine->evaluate(*samples, *to); }

EXPORT void lanes_outputs(Engine* engine, const Samples* samples, float* out) { engine->outputs(*samples, out); }

// For tests: an elementary function over n numbers.
EXPORT void lanes_function(int which, const float* in, float* out, int64_t n) {
  switch (static_cast<Function>(which)) {
#define CASE(name) \
  case Function::name: return over_lanes(in, out, n, [](Vec x) { return lanes::name(x); });
    FUNCTIONS(CASE)
#undef CASE
  }
}

// For tests: the factors [n, lanes] that the kernels apply to a sample, for one key and rate a lane.
EXPORT void lanes_dropout_factors(const uint64_t* keys, const float* rates, uint64_t step, int layer, int sample, int n,
                                  float* out) {
  PhiloxKeys schedule;
  schedule.set(keys);
  DropoutRates each;
  each.set(rates);
  Vectors factors(n, splat(1.f)), unused(n, zero());
  drop(each, layer, DropoutPosition({&schedule, step}, [=](int) { return sample; }), n, factors.data(), unused.data());
  std::memcpy(out, factors.data(), n * sizeof(Vec));
}

// Multiply-adds on registers alone for about the given time: this core's peak in floating-point operations a second.
EXPORT double lanes_peak(double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int kChains = 12;
  Vec acc[kChains];
  for (int j = 0; j < kChains; j++) acc[j] = splat(1.f + static_cast<float>(j));
  Vec factor = splat(0.999f);
  asm volatile("" : "+m"(factor));
  const Vec f = factor;
  double count = 0, elapsed = 0;
  const auto start = Clock::now();
  do {
    for (int i = 0; i < 10000; i++) UNROLL for (int j = 0; j < kChains; j++) acc[j] = acc[j] * f + f;
    count += 10000.0 * kChains;
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < seconds);
  volatile float sink = 0;
  for (int j = 0; j < kChains; j++) sink = sink + acc[j][0];
  return count * kLanes * 2 / elapsed;
}
