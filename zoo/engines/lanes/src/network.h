// A stack of layers for one lane group: forward, loss and backward of one sample a lane, and evaluation.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "kernels/gather.h"
#include "kernels/ranking.h"
#include "layers/elementwise.h"
#include "layers/layer.h"

namespace lanes {

using Vectors = std::vector<Vec>;

// One sample a lane.
struct LaneSamples {
  const float* image[kLanes];
  Int label;

  // number(lane): which of the samples it is; an image has `size` values.
  template <class F>
  static INLINE LaneSamples of(const Samples& samples, int64_t size, F&& number) {
    LaneSamples chosen;
    for (int l = 0; l < kLanes; l++) {
      const int32_t n = number(l);
      chosen.image[l] = samples.images + n * size;
      chosen.label[l] = static_cast<int32_t>(samples.labels[n]);
    }
    return chosen;
  }
};

// What a training step finds of its samples.
struct Outcome {
  Vec losses;
  Int predicted;  // classes
};

// What an evaluation finds of its samples.
struct Evaluated {
  Logits logits;
  Vec deviation;  // the standard deviation of a logit's rounding error
};

class Network {
 public:
  // dropouts: those of the layers that have dropout, in order.
  Network(std::vector<std::unique_ptr<Layer>> layers, std::vector<Elementwise*> dropouts, Shape image)
      : layers_(std::move(layers)), dropouts_(std::move(dropouts)), image_(image) {
    int widest = image.size();
    outputs_.reserve(layers_.size());
    for (const auto& layer : layers_) {
      offsets_.push_back(parameters_);
      parameters_ += layer->parameters;
      widest = std::max({widest, layer->in.size(), layer->out.size()});
      outputs_.emplace_back(layer->in_place() ? 0 : layer->out.size());
    }
    input_.resize(image.size());
    gradient_.resize(widest);
    other_gradient_.resize(widest);
    for (first_trained_ = 0; layers_[first_trained_]->parameters == 0;) first_trained_++;
  }

  int parameters() const { return parameters_; }
  int classes() const { return layers_.back()->out.size(); }
  Shape image() const { return image_; }
  const std::vector<Elementwise*>& dropouts() const { return dropouts_; }

  // Adds `weight` times the gradients of one sample's loss a lane: to each parameter's, once. prepare() comes first.
  Outcome train(const LaneSamples& samples, const DropoutPosition& position, Vec weight, Vec* gradients) {
    const Logits logits = forward(samples, position);
    Vec* gy = gradient_.data();
    const Outcome outcome{cross_entropy(logits, samples.label, weight, gy), rank(logits, zero()).best};
    backward(gy, other_gradient_.data(), gradients);
    return outcome;
  }

  void prepare(const Vec* params, bool training) {
    for (size_t k = 0; k < layers_.size(); k++) layers_[k]->prepare(params + offsets_[k], training);
  }

  // One image a lane, or one for all lanes; prepare(), not for training, comes first.
  Evaluated evaluate(const LaneSamples& samples) {
    gather(samples.image, image_.size(), input_.data());
    return evaluate_gathered();
  }
  Evaluated evaluate_shared(const float* image) {
    if (layers_[0]->shares_images()) {
      Vec* y = output(0, nullptr);
      layers_[0]->evaluate_shared(image, y);
      return evaluate_from(1, y, layers_[0]->rounding(exact(splat(largest_magnitude(image, image_.size()))), y));
    }
    for (int i = 0; i < image_.size(); i++) input_[i] = splat(image[i]);
    return evaluate_gathered();
  }

 private:
  Vec* output(size_t k, Vec* x) { return layers_[k]->in_place() ? x : outputs_[k].data(); }

  static Rounding exact(Vec magnitude) { return {zero(), magnitude}; }

  Logits forward(const LaneSamples& samples, const DropoutPosition& position) {
    inputs_.clear();
    gather(samples.image, image_.size(), input_.data());
    Vec* x = input_.data();
    for (size_t k = 0; k < layers_.size(); k++) {
      inputs_.push_back(x);
      Vec* y = output(k, x);
      layers_[k]->train(x, y, position);
      x = y;
    }
    return {x, classes()};
  }

  Evaluated evaluate_gathered() {
    return evaluate_from(0, input_.data(), exact(largest_magnitude(input_.data(), image_.size())));
  }

  Evaluated evaluate_from(size_t first, Vec* x, Rounding rounding) {
    for (size_t k = first; k < layers_.size(); k++) {
      Vec* y = output(k, x);
      layers_[k]->evaluate(x, y);
      rounding = layers_[k]->rounding(rounding, y);
      x = y;
    }
    return {{x, classes()}, sqrt(rounding.variance) * kUnitRoundoff};
  }

  // From the loss's gradient by the logits, gy; both arrays are overwritten.
  void backward(Vec* gy, Vec* gx, Vec* gradients) {
    for (size_t k = layers_.size(); k-- > first_trained_;) {
      Layer& layer = *layers_[k];
      Vec* wanted = k == first_trained_ ? nullptr : layer.in_place() ? gy : gx;
      layer.backward(inputs_[k], gy, wanted, gradients + offsets_[k]);
      if (!layer.in_place()) std::swap(gy, gx);
    }
  }

  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<Elementwise*> dropouts_;  // among the layers
  Shape image_;
  int parameters_ = 0;
  size_t first_trained_ = 0;
  std::vector<int> offsets_;
  Vectors input_, gradient_, other_gradient_;
  std::vector<Vectors> outputs_;
  std::vector<Vec*> inputs_;
};

}  // namespace lanes
