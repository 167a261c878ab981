// A group of models that are trained in the lanes of the same vectors: their parameters and their optimizers' state.
#pragma once

#include <vector>

#include "kernels/gather.h"
#include "layout.h"
#include "optimizers/step.h"

namespace lanes {

using Vectors = std::vector<Vec>;

// With one lane a model, state is [parameters] of lanes, as the network reads it. With several, each model's state is a
// part of its own, [parameters] side by side and filled up to whole vectors: its optimizer steps without repetition.
class Group {
 public:
  Group(int first_model, Layout layout, int parameters)
      : first_model(first_model), layout(layout), parameters_(parameters),
        part_size_(layout.spread() ? (parameters + kLanes - 1) / kLanes : parameters) {
    params.assign(parts() * part_size_, zero());
    first_ = second_ = gradients = params;
    hyper.resize(parts());
  }

  const int first_model;
  const Layout layout;
  Vectors params, gradients;
  std::vector<GroupHyperparameters> hyper;  // [parts]
  std::vector<float> rates;                 // [dropout layer, lane]

  int model(int lane) const { return first_model + layout.model(lane); }
  int parts() const { return layout.spread() ? layout.models : 1; }
  int padded_parameters() const { return layout.spread() ? part_size_ * kLanes : parameters_; }

  void set_hyperparameters(const Hyperparameters& h, size_t dropouts) {
    rates.resize(dropouts * kLanes);
    for (int l = 0; l < kLanes; l++) {
      for (int p = 0; p < parts(); p++) hyper[p].set(h, layout.spread() ? first_model + p : model(l), l);
      for (size_t d = 0; d < dropouts; d++)
        rates[d * kLanes + l] = static_cast<float>(h.dropout[model(l) * dropouts + d]);
    }
  }

  void get(State which, float* out) const {  // [all models, parameters]
    for (int m = 0; m < layout.models; m++)
      for (int k = 0; k < parameters_; k++) out[at(m, k)] = element(values(which), m, k);
  }
  void get_gradients(float* out) const {
    for (int m = 0; m < layout.models; m++)
      for (int k = 0; k < parameters_; k++) out[at(m, k)] = element(gradients, m, k);
  }
  void set(State which, const float* in) {
    Vectors& to = which == State::parameters ? params : which == State::first ? first_ : second_;
    if (layout.spread()) {
      for (int m = 0; m < layout.models; m++)
        for (int k = 0; k < parameters_; k++) to[m * part_size_ + k / kLanes][k % kLanes] = in[at(m, k)];
    } else {
      for (int l = 0; l < kLanes; l++)
        for (int k = 0; k < parameters_; k++) to[k][l] = in[at(layout.model(l), k)];
    }
  }

  // The parameters as the network reads them; `room` is used where they aren't kept so.
  const Vec* lane_params(Vectors& room) const {
    if (!layout.spread()) return params.data();
    const float* from[kLanes];
    for (int l = 0; l < kLanes; l++)
      from[l] = reinterpret_cast<const float*>(params.data() + layout.model(l) * part_size_);
    room.resize(padded_parameters());
    gather(from, padded_parameters(), room.data());
    return room.data();
  }

  // Adds what a round's samples gave, each in its lane (padded_parameters of lanes), in the order of the batch.
  void add_in_order(const Vec* lane_gradients, int round, int samples) {
    for (int k = 0; k < part_size_; k++) {
      const float* from[kLanes];
      for (int l = 0; l < kLanes; l++) from[l] = reinterpret_cast<const float*>(lane_gradients + k * kLanes + l);
      Vec lanes[kLanes];
      gather(from, kLanes, lanes);
      layout.each_sample(round, samples, [&](int m, int, int lane) { gradients[m * part_size_ + k] += lanes[lane]; });
    }
  }

  // `number` counts from 1.
  void step(const OptimizerSpec& optimizer, uint64_t number) {
    for (int p = 0; p < parts(); p++) {
      const int start = p * part_size_;
      optimizer_step(optimizer, hyper[p], number,
                     OptimizerArrays{part_size_, gradients.data() + start, params.data() + start, first_.data() + start,
                                     second_.data() + start});
    }
  }

 private:
  int64_t at(int m, int k) const { return static_cast<int64_t>(first_model + m) * parameters_ + k; }
  float element(const Vectors& v, int m, int k) const {
    return layout.spread() ? v[m * part_size_ + k / kLanes][k % kLanes] : v[k][m];
  }
  const Vectors& values(State which) const {
    return which == State::parameters ? params : which == State::first ? first_ : second_;
  }

  int parameters_, part_size_;
  Vectors first_, second_;
};

// Cuts models into groups: full ones, and the rest as one, or as two where that takes fewer lanes' time.
inline std::vector<Group> groups_of(int models, int parameters) {
  std::vector<Group> groups;
  for (int first = 0; first < models;) {
    const int left = models - first;
    const bool two = left > kLanes / 2 && left <= kLanes * 3 / 4;
    const int size = two ? kLanes / 2 : std::min(left, kLanes);
    groups.emplace_back(first, Layout(size), parameters);
    first += size;
  }
  return groups;
}

}  // namespace lanes
