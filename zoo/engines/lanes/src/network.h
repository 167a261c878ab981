// A stack of layers for one lane group: forward, loss and backward over a batch, and evaluation.
#pragma once

#include "layers.h"
#include "loss.h"

namespace lanes {

using Vectors = std::vector<Vec>;

// Copies one image a lane into vectors: to[k][l] = from[l][k].
inline void gather(const float* const (&from)[kLanes], int n, Vec* to) {
  int k = 0;
#if LANES == 16
  for (; k + 16 <= n; k += 16) {  // transpose 16 x 16: pairs, quadruples, then quarters of registers
    __m512 r[16], t[16];
    UNROLL for (int l = 0; l < 16; l++) r[l] = _mm512_loadu_ps(from[l] + k);
    UNROLL for (int l = 0; l < 16; l += 2) {
      t[l] = _mm512_unpacklo_ps(r[l], r[l + 1]);
      t[l + 1] = _mm512_unpackhi_ps(r[l], r[l + 1]);
    }
    UNROLL for (int l = 0; l < 16; l += 4) {
      UNROLL for (int h = 0; h < 2; h++) {
        r[l + 2 * h] = _mm512_shuffle_ps(t[l + h], t[l + 2 + h], 0x44);
        r[l + 2 * h + 1] = _mm512_shuffle_ps(t[l + h], t[l + 2 + h], 0xee);
      }
    }
    UNROLL for (int q = 0; q < 4; q++) {
      const __m512 a = _mm512_shuffle_f32x4(r[q], r[4 + q], 0x88), b = _mm512_shuffle_f32x4(r[8 + q], r[12 + q], 0x88);
      const __m512 c = _mm512_shuffle_f32x4(r[q], r[4 + q], 0xdd), d = _mm512_shuffle_f32x4(r[8 + q], r[12 + q], 0xdd);
      to[k + q] = _mm512_shuffle_f32x4(a, b, 0x88);
      to[k + 4 + q] = _mm512_shuffle_f32x4(c, d, 0x88);
      to[k + 8 + q] = _mm512_shuffle_f32x4(a, b, 0xdd);
      to[k + 12 + q] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
  }
#elif LANES == 8
  for (; k + 8 <= n; k += 8) {
    __m256 r[8], t[8];
    UNROLL for (int l = 0; l < 4; l++) {  // rows l and l + 4 side by side, by halves
      const __m256 a = _mm256_loadu_ps(from[l] + k), b = _mm256_loadu_ps(from[l + 4] + k);
      r[l] = _mm256_permute2f128_ps(a, b, 0x20);
      r[l + 4] = _mm256_permute2f128_ps(a, b, 0x31);
    }
    UNROLL for (int h = 0; h < 8; h += 4) {
      t[h] = _mm256_unpacklo_ps(r[h], r[h + 1]);
      t[h + 1] = _mm256_unpackhi_ps(r[h], r[h + 1]);
      t[h + 2] = _mm256_unpacklo_ps(r[h + 2], r[h + 3]);
      t[h + 3] = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
      to[k + h] = _mm256_shuffle_ps(t[h], t[h + 2], 0x44);
      to[k + h + 1] = _mm256_shuffle_ps(t[h], t[h + 2], 0xee);
      to[k + h + 2] = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0x44);
      to[k + h + 3] = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0xee);
    }
  }
#endif
  for (; k < n; k++)
    for (int l = 0; l < kLanes; l++) to[k][l] = from[l][k];
}

// A batch: for each lane the images' positions in the data.
struct Batch {
  const float* images;
  const int64_t* labels;
  const int32_t* order[kLanes];
  int size;
  const int32_t* next[kLanes];  // the first images of the batch that follows, to be fetched early (null: none follows)
};

class Network {
 public:
  Network(std::vector<std::unique_ptr<Layer>> layers, Shape image) : layers_(std::move(layers)), image_(image) {
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
  const std::vector<std::unique_ptr<Layer>>& layers() const { return layers_; }

  // Adds the gradients of the mean loss over the batch, and to `loss` (one a lane) the sum of the samples' losses.
  void gradients(const Vec* params, const Batch& batch, const PhiloxKeys* keys, uint64_t step, Vec* gradients, double* loss) {
    prepare(params, true);
    const Vec weight = splat(1.f / static_cast<float>(batch.size));
    for (int b = 0; b < batch.size; b++) {
      const Int label = gather_sample(batch, b);
      prefetch(batch, b + 1);
      const DropoutPosition position{keys, step, static_cast<uint32_t>(b)};
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
      const Vec losses = cross_entropy(x, classes(), label, weight, gy);
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
  const Vec* evaluate(const float* image) {
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
    return x;
  }

 private:
  Vec* output(size_t k, Vec* x) { return layers_[k]->in_place() ? x : outputs_[k].data(); }

  Int gather_sample(const Batch& batch, int b) {
    const float* from[kLanes];
    Int label;
    for (int l = 0; l < kLanes; l++) {
      from[l] = batch.images + static_cast<int64_t>(batch.order[l][b]) * image_.size();
      label[l] = static_cast<int32_t>(batch.labels[batch.order[l][b]]);
    }
    gather(from, image_.size(), input_.data());
    return label;
  }

  // The images come in random order: ask for the next ones while this sample is worked on.
  void prefetch(const Batch& batch, int b) const {
    for (int l = 0; l < kLanes; l++) {
      const int32_t* at = b < batch.size ? batch.order[l] + b : batch.next[l];
      if (!at) return;
      const char* from = reinterpret_cast<const char*>(batch.images + static_cast<int64_t>(*at) * image_.size());
      for (size_t k = 0; k < image_.size() * sizeof(float); k += 64) __builtin_prefetch(from + k, 0, 2);
    }
  }

  std::vector<std::unique_ptr<Layer>> layers_;
  Shape image_;
  int parameters_ = 0;
  size_t first_trained_ = 0;
  std::vector<int> offsets_;
  Vectors input_, gradient_, other_gradient_;
  std::vector<Vectors> outputs_;
  std::vector<Vec*> inputs_;
};

}  // namespace lanes
