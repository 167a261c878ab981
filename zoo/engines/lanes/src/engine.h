// A population of models of one architecture: lane groups, their optimizer, training, evaluation.
#pragma once

#include <stdexcept>

#include "network.h"
#include "optimizer.h"

namespace lanes {

// One lane group. Lanes without a model repeat the last model, so that they take no path of their own.
struct Group {
  Vectors params, first, second;
  GroupHyperparameters hyper;
  std::vector<float> rates;  // [dropout layer, lane]
};

enum class State : int32_t { parameters = 0, first, second };

class Engine {
 public:
  Engine(Network network, int models, Optimizer optimizer, const OptimizerScalars& scalars)
      : network_(std::move(network)), models_(models), optimizer_(optimizer), scalars_(scalars),
        groups_((models + kLanes - 1) / kLanes), gradients_(network_.parameters()) {
    for (Group& g : groups_) {
      g.params.assign(network_.parameters(), zero());
      g.first = g.second = g.params;
    }
    for (const auto& layer : network_.layers())
      if (auto* e = dynamic_cast<Elementwise*>(layer.get()); e && e->has_dropout()) dropouts_.push_back(e);
  }

  int models() const { return models_; }
  int parameters() const { return network_.parameters(); }
  int classes() const { return network_.classes(); }
  uint64_t steps = 0;

  // rates is [models, dropout layers].
  void set_hyperparameters(const double* lr, const double* weight_decay, const double* momentum, const double* rates) {
    for (size_t g = 0; g < groups_.size(); g++) {
      groups_[g].rates.resize(dropouts_.size() * kLanes);
      for (int l = 0; l < kLanes; l++) {
        const int m = model(g, l);
        groups_[g].hyper.lr[l] = lr[m];
        groups_[g].hyper.weight_decay[l] = static_cast<float>(weight_decay[m]);
        groups_[g].hyper.momentum[l] = static_cast<float>(momentum[m]);
        for (size_t d = 0; d < dropouts_.size(); d++)
          groups_[g].rates[d * kLanes + l] = static_cast<float>(rates[m * dropouts_.size() + d]);
      }
    }
  }

  void get(State which, float* out) const {  // [models, parameters]
    for (int m = 0; m < models_; m++)
      for (int k = 0; k < parameters(); k++)
        out[static_cast<int64_t>(m) * parameters() + k] = values(groups_[m / kLanes], which)[k][m % kLanes];
  }
  void set(State which, const float* in) {
    for (size_t g = 0; g < groups_.size(); g++)
      for (int l = 0; l < kLanes; l++)
        for (int k = 0; k < parameters(); k++)
          values(groups_[g], which)[k][l] = in[static_cast<int64_t>(model(g, l)) * parameters() + k];
  }

  // One pass over the data in each model's own order [models, n]; keys (one a model) may be null: no dropout.
  void train(const float* images, const int64_t* labels, int n, const int32_t* orders, int batch_size, const uint64_t* keys,
             double* mean_loss) {
    const FlushDenormals flush;
    const int batches = (n + batch_size - 1) / batch_size;
    for (size_t g = 0; g < groups_.size(); g++) {
      Group& group = groups_[g];
      load_rates(group);
      set_keys(g, keys);
      double loss[kLanes] = {};
      for (int b = 0; b < batches; b++) {
        const int start = b * batch_size;
        const Batch batch = make_batch(g, images, labels, orders, n, start, std::min(batch_size, n - start));
        std::fill(gradients_.begin(), gradients_.end(), zero());
        network_.gradients(group.params.data(), batch, keys ? &keys_ : nullptr, steps + b, gradients_.data(), loss);
        optimizer_step(optimizer_, scalars_, group.hyper, steps + b + 1, parameters(), gradients_.data(),
                       group.params.data(), group.first.data(), group.second.data());
      }
      each_model(g, [&](int m, int l) { mean_loss[m] = loss[l] / n; });
    }
    steps += batches;
  }

  // The gradients [models, parameters] of one batch, indices [models, n]; nothing changes.
  void gradients(const float* images, const int64_t* labels, int n, const int32_t* indices, const uint64_t* keys, float* out,
                 double* mean_loss) {
    const FlushDenormals flush;
    for (size_t g = 0; g < groups_.size(); g++) {
      load_rates(groups_[g]);
      set_keys(g, keys);
      double loss[kLanes] = {};
      std::fill(gradients_.begin(), gradients_.end(), zero());
      network_.gradients(groups_[g].params.data(), make_batch(g, images, labels, indices, n, 0, n), keys ? &keys_ : nullptr,
                         steps, gradients_.data(), loss);
      each_model(g, [&](int m, int l) {
        mean_loss[m] = loss[l] / n;
        for (int k = 0; k < parameters(); k++) out[static_cast<int64_t>(m) * parameters() + k] = gradients_[k][l];
      });
    }
  }

  // near_ties [models, most] gets the first `most` images a model with nearly equal top logits, tie_count how many there are;
  // correct counts the right predictions among all other images.
  void evaluate(const float* images, const int64_t* labels, int n, float tolerance, int most, double* mean_loss,
                int64_t* correct, int64_t* tie_count, int32_t* near_ties) {
    const FlushDenormals flush;
    const int64_t size = network_.image().size();
    for (size_t g = 0; g < groups_.size(); g++) {
      network_.prepare(groups_[g].params.data(), false);
      double loss[kLanes] = {};
      Int right = splat(0);
      each_model(g, [&](int m, int) { tie_count[m] = 0; });
      for (int i = 0; i < n; i++) {
        const Vec* logits = network_.evaluate(images + i * size);
        const Int label = splat(static_cast<int32_t>(labels[i]));
        const Vec losses = cross_entropy(logits, classes(), label, zero(), nullptr);
        for (int l = 0; l < kLanes; l++) loss[l] += static_cast<double>(losses[l]);
        const Ranking ranking = rank(logits, classes(), tolerance);
        right += select(both(equal(ranking.best, label), negate(ranking.near_tie)), splat(1), splat(0));
        if (const uint32_t ties = bits(ranking.near_tie))
          each_model(g, [&](int m, int l) {
            if (!(ties >> l & 1)) return;
            if (tie_count[m] < most) near_ties[static_cast<int64_t>(m) * most + tie_count[m]] = i;
            tie_count[m]++;
          });
      }
      each_model(g, [&](int m, int l) {
        mean_loss[m] = loss[l] / n;
        correct[m] = right[l];
      });
    }
  }

 private:
  int model(size_t g, int l) const { return std::min(static_cast<int>(g) * kLanes + l, models_ - 1); }
  template <class F>
  void each_model(size_t g, F&& f) const {
    for (int l = 0; l < kLanes && static_cast<int>(g) * kLanes + l < models_; l++) f(model(g, l), l);
  }
  static const Vectors& values(const Group& g, State which) {
    return which == State::parameters ? g.params : which == State::first ? g.first : g.second;
  }
  static Vectors& values(Group& g, State which) {
    return which == State::parameters ? g.params : which == State::first ? g.first : g.second;
  }
  void load_rates(const Group& group) {
    for (size_t d = 0; d < dropouts_.size(); d++) dropouts_[d]->set_rates(group.rates.data() + d * kLanes);
  }
  void set_keys(size_t g, const uint64_t* keys) {
    if (!keys) return;
    uint64_t own[kLanes];
    for (int l = 0; l < kLanes; l++) own[l] = keys[model(g, l)];
    keys_.set(own);
  }
  Batch make_batch(size_t g, const float* images, const int64_t* labels, const int32_t* orders, int n, int start,
                   int size) const {
    Batch batch{images, labels, {}, size, {}};
    for (int l = 0; l < kLanes; l++) {
      batch.order[l] = orders + static_cast<int64_t>(model(g, l)) * n + start;
      batch.next[l] = start + size < n ? batch.order[l] + size : nullptr;
    }
    return batch;
  }

  Network network_;
  int models_;
  Optimizer optimizer_;
  OptimizerScalars scalars_;
  std::vector<Group> groups_;
  std::vector<Elementwise*> dropouts_;
  Vectors gradients_;
  PhiloxKeys keys_;
};

}  // namespace lanes
