// A stack of layers for one lane group: forward, loss and backward over a batch, and evaluation.
#pragma once

#include <memory>
#include <utility>

#include "kernels/cross_entropy.h"
#include "kernels/gather.h"
#include "layers/elementwise.h"
#include "layers/layer.h"

namespace lanes {

using Vectors = std::vector<Vec>;

// A batch: for each lane the images' positions in the data.
struct Batch {
  Samples samples;
  const int32_t* order[kLanes];
  int size;
  const int32_t* next[kLanes];  // the first images of the batch that follows, to be fetched early (null: none follows)
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

  // Adds the gradients of the mean loss over the batch, and to `loss` (one a lane) the sum of the samples' losses.
  void gradients(const Vec* params, const Batch& batch, const DropoutStep& step, Vec* gradients, double* loss) {
    prepare(params, true);
    const Vec weight = splat(1.f / static_cast<float>(batch.size));
    for (int b = 0; b < batch.size; b++) {
      const Int label = gather_sample(batch, b);
      prefetch(batch, b + 1);
      const DropoutPosition position{step, static_cast<uint32_t>(b)};
      Vec* x = input_.data();
      std::vector<Vec*>& inputs = inputs_;
      inputs.clear();
      for (size_t k = 0; k < layers_.size(); k++) {
        inputs.push_back(x);
        Vec* y = output(k, x);
        layers_[k]->train(x, y, position);
        x = y;
      }
      Vec* gy = gradient_.data();
      Vec* gx = other_gradient_.data();
      const Vec losses = cross_entropy({x, classes()}, label, weight, gy);
      for (int l = 0; l < kLanes; l++) loss[l] += static_cast<double>(losses[l]);
      for (size_t k = layers_.size(); k-- > first_trained_;) {
        Layer& layer = *layers_[k];
        Vec* wanted = k == first_trained_ ? nullptr : layer.in_place() ? gy : gx;
        layer.backward(inputs[k], gy, wanted, gradients + offsets_[k]);
        if (!layer.in_place()) std::swap(gy, gx);
      }
    }
  }

  void prepare(const Vec* params, bool training) {
    for (size_t k = 0; k < layers_.size(); k++) layers_[k]->prepare(params + offsets_[k], training);
  }

  // Logits of one image for all lanes; prepare() comes first.
  Logits evaluate(const float* image) {
    Vec* x = input_.data();
    for (size_t k = 0; k < layers_.size(); k++) {
      Vec* y = output(k, x);
      if (k == 0 && layers_[0]->shares_images()) {
        layers_[0]->evaluate_shared(image, y);
      } else {
        if (k == 0)
          for (int i = 0; i < image_.size(); i++) x[i] = splat(image[i]);
        layers_[k]->evaluate(x, y);
      }
      x = y;
    }
    return {x, classes()};
  }

 private:
  Vec* output(size_t k, Vec* x) { return layers_[k]->in_place() ? x : outputs_[k].data(); }

  Int gather_sample(const Batch& batch, int b) {
    const float* from[kLanes];
    Int label;
    for (int l = 0; l < kLanes; l++) {
      from[l] = batch.samples.images + static_cast<int64_t>(batch.order[l][b]) * image_.size();
      label[l] = static_cast<int32_t>(batch.samples.labels[batch.order[l][b]]);
    }
    gather(from, image_.size(), input_.data());
    return label;
  }

  // The images come in random order: ask for the next ones while this sample is worked on.
  void prefetch(const Batch& batch, int b) const {
    for (int l = 0; l < kLanes; l++) {
      const int32_t* at = b < batch.size ? batch.order[l] + b : batch.next[l];
      if (!at) return;
      const char* from = reinterpret_cast<const char*>(batch.samples.images + static_cast<int64_t>(*at) * image_.size());
      for (size_t k = 0; k < image_.size() * sizeof(float); k += 64) __builtin_prefetch(from + k, 0, 2);
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
