// Everything that C++ and Python tell each other by number, and the structs that they exchange: the only place where
// either is spelled. Python reads both from the built library (description.h), and writes down neither.
//
// A new layer kind, activation or optimizer begins with its name in a list here.
#pragma once

#include <cstdint>

#define LAYER_KINDS(NAME) NAME(convolution) NAME(max_pool) NAME(activation) NAME(dropout) NAME(linear)

#define ACTIVATIONS(NAME) NAME(none) NAME(tanh) NAME(relu) NAME(sigmoid) NAME(gelu) NAME(leaky_relu) NAME(silu)

#define OPTIMIZERS(NAME) NAME(adam) NAME(sgd) NAME(rmsprop)

// What is kept for each parameter. Adam: the averages of the gradient (first) and of its square (second). SGD: the momentum
// buffer (first). RMSprop: the momentum buffer (first), the average of the gradient's square (second).
#define STATES(NAME) NAME(parameters) NAME(first) NAME(second)

// Elementary functions that tests can call one by one.
#define FUNCTIONS(NAME) NAME(exp) NAME(log) NAME(tanh) NAME(sigmoid) NAME(erf)

// A layer; what its numbers mean depends on the kind.
#define LAYER_SPEC(FIELD)                                     \
  FIELD(int32_t, kind)                                        \
  FIELD(int32_t, outputs)      /* channels or features */     \
  FIELD(int32_t, height)       /* of a kernel or a window */  \
  FIELD(int32_t, width)                                       \
  FIELD(int32_t, bias)         /* 0 or 1 */                   \
  FIELD(int32_t, activation)                                  \
  FIELD(float, slope)          /* of a leaky ReLU */

// A stack of layers on images [channels, height, width].
#define NETWORK_SPEC(FIELD)                                   \
  FIELD(const LayerSpec*, layers)                             \
  FIELD(int32_t, layer_count)                                 \
  FIELD(int32_t, channels)                                    \
  FIELD(int32_t, height)                                      \
  FIELD(int32_t, width)

// An optimizer and what all models share of it.
#define OPTIMIZER_SPEC(FIELD)                                 \
  FIELD(int32_t, kind)                                        \
  FIELD(int32_t, nesterov)     /* 0 or 1 */                   \
  FIELD(double, beta1)                                        \
  FIELD(double, beta2)                                        \
  FIELD(double, eps)                                          \
  FIELD(double, alpha)

// What models may differ in: one value a model, of dropout one a model and dropout layer.
#define HYPERPARAMETERS(FIELD)                                \
  FIELD(const double*, lr)                                    \
  FIELD(const double*, weight_decay)                          \
  FIELD(const double*, momentum)                              \
  FIELD(const double*, dropout)

// Images [count, channels, height, width] and their labels [count].
#define SAMPLES(FIELD)                                        \
  FIELD(const float*, images)                                 \
  FIELD(const int64_t*, labels)                               \
  FIELD(int32_t, count)

// In which order each model visits samples: positions [models, length], cut into batches of batch_size.
#define VISITS(FIELD)                                         \
  FIELD(const int32_t*, orders)                               \
  FIELD(int32_t, length)                                      \
  FIELD(int32_t, batch_size)                                  \
  FIELD(const uint64_t*, keys) /* one a model, for dropout; null: none */

// Where an evaluation writes. A near tie is an image whose two largest logits differ by less than `deviations` standard
// deviations of their difference's rounding error.
#define EVALUATION(FIELD)                                     \
  FIELD(double, deviations)                                   \
  FIELD(double*, mean_loss)    /* [models] */                 \
  FIELD(int64_t*, correct)     /* [models] */                 \
  FIELD(float*, tie_tolerance) /* [models, samples] */        \
  FIELD(int64_t*, near_tie_count) /* [models] */              \
  FIELD(int32_t*, near_ties)   /* [models, samples]; as many are set as are counted */ \
  FIELD(uint64_t*, near_tie_logits) /* [models, samples]: the logits' digests */

namespace lanes {

#define ENUMERATOR(name) name,
enum class LayerKind : int32_t { LAYER_KINDS(ENUMERATOR) };
enum class Activation : int32_t { ACTIVATIONS(ENUMERATOR) };
enum class Optimizer : int32_t { OPTIMIZERS(ENUMERATOR) };
enum class State : int32_t { STATES(ENUMERATOR) };
enum class Function : int32_t { FUNCTIONS(ENUMERATOR) };
#undef ENUMERATOR

#define MEMBER(type, name) type name;
struct LayerSpec { LAYER_SPEC(MEMBER) };
struct NetworkSpec { NETWORK_SPEC(MEMBER) };
struct OptimizerSpec { OPTIMIZER_SPEC(MEMBER) };
struct Hyperparameters { HYPERPARAMETERS(MEMBER) };
struct Samples { SAMPLES(MEMBER) };
struct Visits { VISITS(MEMBER) };
struct Evaluation { EVALUATION(MEMBER) };
#undef MEMBER

}  // namespace lanes
