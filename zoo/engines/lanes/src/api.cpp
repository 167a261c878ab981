// The C interface that Python loads. This file is the whole library: it is compiled once per instruction set.
#include <chrono>
#include <string>
#include <utility>

#include "engine.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace lanes;

thread_local std::string error;

enum class LayerKind : int32_t { convolution = 0, max_pool, activation, dropout, linear };

// As Python describes a layer; what the numbers mean depends on the kind.
struct LayerSpec {
  int32_t kind;
  int32_t outputs;  // channels or features
  int32_t height, width;
  int32_t bias;
  int32_t activation;
  float slope;
};

// Layers that the kernels do in one are joined here: a convolution and its 2x2 pool, an activation and its dropout.
Network build(const LayerSpec* specs, int count, Shape image) {
  std::vector<std::unique_ptr<Layer>> layers;
  Shape shape = image;
  int dropouts = 0;
  Elementwise* open_for_dropout = nullptr;
  for (int k = 0; k < count; k++) {
    const LayerSpec& s = specs[k];
    Elementwise* last_activation = std::exchange(open_for_dropout, nullptr);
    switch (static_cast<LayerKind>(s.kind)) {
      case LayerKind::convolution: {
        const ConvShape conv{shape.c, shape.h, shape.w, s.outputs, s.height, s.width};
        const bool pooled = k + 1 < count && static_cast<LayerKind>(specs[k + 1].kind) == LayerKind::max_pool &&
                            specs[k + 1].height == 2 && specs[k + 1].width == 2;
        layers.push_back(std::make_unique<Convolution>(conv, s.bias != 0, pooled));
        if (pooled) k++;
        break;
      }
      case LayerKind::max_pool: layers.push_back(std::make_unique<MaxPool>(shape, s.height, s.width)); break;
      case LayerKind::activation:
        layers.push_back(std::make_unique<Elementwise>(shape, static_cast<Activation>(s.activation), s.slope));
        open_for_dropout = static_cast<Elementwise*>(layers.back().get());
        break;
      case LayerKind::dropout:
        if (!last_activation) {
          layers.push_back(std::make_unique<Elementwise>(shape, Activation::none, 0.f));
          last_activation = static_cast<Elementwise*>(layers.back().get());
        }
        last_activation->add_dropout(dropouts++);
        break;
      case LayerKind::linear: layers.push_back(std::make_unique<Linear>(shape.size(), s.outputs, s.bias != 0)); break;
      default: throw std::invalid_argument("unknown layer kind " + std::to_string(s.kind));
    }
    shape = layers.back()->out;
  }
  return Network(std::move(layers), image);
}

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

// The best variant that this processor can run: 2 AVX-512, 1 AVX2 with FMA, 0 the portable one.
EXPORT int lanes_cpu_level() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return 2;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
  return 0;
}

EXPORT int lanes_width() { return kLanes; }

EXPORT const char* lanes_error() { return error.c_str(); }

EXPORT Engine* lanes_create(const LayerSpec* specs, int count, const int32_t* image_shape, int models, int optimizer,
                            const OptimizerScalars* scalars) {
  return guarded<Engine*>(nullptr, [&] {
    const Shape image{image_shape[0], image_shape[1], image_shape[2]};
    return new Engine(build(specs, count, image), models, static_cast<Optimizer>(optimizer), *scalars);
  });
}

EXPORT void lanes_destroy(Engine* engine) { delete engine; }

EXPORT int lanes_parameters(const Engine* engine) { return engine->parameters(); }

EXPORT void lanes_set_hyperparameters(Engine* engine, const double* lr, const double* weight_decay, const double* momentum,
                                      const double* rates) {
  engine->set_hyperparameters(lr, weight_decay, momentum, rates);
}

EXPORT uint64_t lanes_steps(const Engine* engine) { return engine->steps; }
EXPORT void lanes_set_steps(Engine* engine, uint64_t steps) { engine->steps = steps; }

EXPORT void lanes_get(const Engine* engine, int which, float* out) { engine->get(static_cast<State>(which), out); }
EXPORT void lanes_set(Engine* engine, int which, const float* in) { engine->set(static_cast<State>(which), in); }

EXPORT void lanes_train(Engine* engine, const float* images, const int64_t* labels, int n, const int32_t* orders,
                        int batch_size, const uint64_t* keys, double* mean_loss) {
  engine->train(images, labels, n, orders, batch_size, keys, mean_loss);
}

EXPORT void lanes_gradients(Engine* engine, const float* images, const int64_t* labels, int n, const int32_t* indices,
                            const uint64_t* keys, float* out, double* mean_loss) {
  engine->gradients(images, labels, n, indices, keys, out, mean_loss);
}

EXPORT void lanes_evaluate(Engine* engine, const float* images, const int64_t* labels, int n, float tolerance, int most,
                           double* mean_loss, int64_t* correct, int64_t* tie_count, int32_t* near_ties) {
  engine->evaluate(images, labels, n, tolerance, most, mean_loss, correct, tie_count, near_ties);
}

// For tests: an elementary function over n numbers. Returns 0 if there is none of that number.
EXPORT int lanes_function(int which, const float* in, float* out, int64_t n) {
  switch (which) {
    case 0: over_lanes(in, out, n, [](Vec x) { return lanes::exp(x); }); return 1;
    case 1: over_lanes(in, out, n, [](Vec x) { return lanes::log(x); }); return 1;
    case 2: over_lanes(in, out, n, [](Vec x) { return lanes::tanh(x); }); return 1;
    case 3: over_lanes(in, out, n, [](Vec x) { return lanes::sigmoid(x); }); return 1;
    case 4: over_lanes(in, out, n, [](Vec x) { return lanes::erf(x); }); return 1;
  }
  return 0;
}

// For tests: the dropout factors [n, kLanes] that the kernels apply, for one key and rate a lane.
EXPORT void lanes_dropout_factors(const uint64_t* keys, const float* rates, uint64_t step, int layer, int sample, int n,
                                  float* out) {
  Elementwise dropout({n, 1, 1}, Activation::none, 0.f);
  dropout.add_dropout(layer);
  dropout.set_rates(rates);
  PhiloxKeys schedule;
  schedule.set(keys);
  Vectors y(n);
  dropout.factors(y.data(), {&schedule, step, static_cast<uint32_t>(sample)});
  std::memcpy(out, y.data(), n * sizeof(Vec));
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
