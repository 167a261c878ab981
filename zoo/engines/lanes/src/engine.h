// A population of models of one architecture: lane groups, their optimizer, training, evaluation.
#pragma once

#include "build.h"
#include "kernels/ranking.h"
#include "optimizers/step.h"

namespace lanes {

// One lane group. Lanes without a model repeat the last model, so that they take no path of their own.
struct Group {
  Vectors params, first, second;
  GroupHyperparameters hyper;
  std::vector<float> rates;  // [dropout layer, lane]
};

class Engine {
 public:
  Engine(Network network, const OptimizerSpec& optimizer, int models)
      : network_(std::move(network)), optimizer_(optimizer), models_(models), groups_((models + kLanes - 1) / kLanes),
        gradients_(network_.parameters()) {
    for (Group& g : groups_) {
      g.params.assign(network_.parameters(), zero());
      g.first = g.second = g.params;
    }
  }

  int parameters() const { return network_.parameters(); }
  int classes() const { return network_.classes(); }
  uint64_t steps = 0;

  void set_hyperparameters(const Hyperparameters& h) {
    const size_t dropouts = network_.dropouts().size();
    for (size_t g = 0; g < groups_.size(); g++) {
      groups_[g].rates.resize(dropouts * kLanes);
      for (int l = 0; l < kLanes; l++) {
        const int m = model(g, l);
        groups_[g].hyper.lr[l] = h.lr[m];
        groups_[g].hyper.weight_decay[l] = static_cast<float>(h.weight_decay[m]);
        groups_[g].hyper.momentum[l] = static_cast<float>(h.momentum[m]);
        for (size_t d = 0; d < dropouts; d++)
          groups_[g].rates[d * kLanes + l] = static_cast<float>(h.dropout[m * dropouts + d]);
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

  // One pass over the data, in each model's own order.
  void train(const Samples& samples, const Visits& visits, double* mean_loss) {
    const FlushDenormals flush;
    const int batches = (visits.length + visits.batch_size - 1) / visits.batch_size;
    for (size_t g = 0; g < groups_.size(); g++) {
      Group& group = groups_[g];
      load_rates(group);
      set_keys(g, visits.keys);
      const OptimizerArrays arrays{parameters(), gradients_.data(), group.params.data(), group.first.data(),
                                   group.second.data()};
      double loss[kLanes] = {};
      for (int b = 0; b < batches; b++) {
        std::fill(gradients_.begin(), gradients_.end(), zero());
        network_.gradients(group.params.data(), make_batch(g, samples, visits, b), dropout_step(visits, steps + b),
                           gradients_.data(), loss);
        optimizer_step(optimizer_, group.hyper, steps + b + 1, arrays);
      }
      each_model(g, [&](int m, int l) { mean_loss[m] = loss[l] / visits.length; });
    }
    steps += batches;
  }

  // The gradients [models, parameters] of the first batch; nothing changes.
  void gradients(const Samples& samples, const Visits& visits, float* out, double* mean_loss) {
    const FlushDenormals flush;
    for (size_t g = 0; g < groups_.size(); g++) {
      load_rates(groups_[g]);
      set_keys(g, visits.keys);
      const Batch batch = make_batch(g, samples, visits, 0);
      double loss[kLanes] = {};
      std::fill(gradients_.begin(), gradients_.end(), zero());
      network_.gradients(groups_[g].params.data(), batch, dropout_step(visits, steps), gradients_.data(), loss);
      each_model(g, [&](int m, int l) {
        mean_loss[m] = loss[l] / batch.size;
        for (int k = 0; k < parameters(); k++) out[static_cast<int64_t>(m) * parameters() + k] = gradients_[k][l];
      });
    }
  }

  // near_ties gets the first images of each model whose top logits are nearly equal, near_tie_count how many there are;
  // correct counts the right predictions among all other images.
  void evaluate(const Samples& samples, const Evaluation& to) {
    const FlushDenormals flush;
    for (size_t g = 0; g < groups_.size(); g++) evaluate_group(g, samples, to);
  }

 private:
  void evaluate_group(size_t g, const Samples& samples, const Evaluation& to) {
    const int64_t size = network_.image().size();
    network_.prepare(groups_[g].params.data(), false);
    double loss[kLanes] = {};
    Int right = splat(0);
    each_model(g, [&](int m, int) { to.near_tie_count[m] = 0; });
    for (int i = 0; i < samples.count; i++) {
      const Logits logits = network_.evaluate(samples.images + i * size);
      const Int label = splat(static_cast<int32_t>(samples.labels[i]));
      const Vec losses = cross_entropy(logits, label, zero(), nullptr);
      for (int l = 0; l < kLanes; l++) loss[l] += static_cast<double>(losses[l]);
      const Ranking ranking = rank(logits, to.tie_tolerance);
      right += select(both(equal(ranking.best, label), negate(ranking.near_tie)), splat(1), splat(0));
      note_near_ties(g, i, bits(ranking.near_tie), to);
    }
    each_model(g, [&](int m, int l) {
      to.mean_loss[m] = loss[l] / samples.count;
      to.correct[m] = right[l];
    });
  }
  void note_near_ties(size_t g, int image, uint32_t ties, const Evaluation& to) const {
    if (!ties) return;
    each_model(g, [&](int m, int l) {
      if (!(ties >> l & 1)) return;
      const int64_t known = to.near_tie_count[m]++;
      if (known < to.most_near_ties) to.near_ties[static_cast<int64_t>(m) * to.most_near_ties + known] = image;
    });
  }

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
    const auto& dropouts = network_.dropouts();
    for (size_t d = 0; d < dropouts.size(); d++) dropouts[d]->set_rates(group.rates.data() + d * kLanes);
  }
  void set_keys(size_t g, const uint64_t* keys) {
    if (!keys) return;
    uint64_t own[kLanes];
    for (int l = 0; l < kLanes; l++) own[l] = keys[model(g, l)];
    keys_.set(own);
  }
  DropoutStep dropout_step(const Visits& visits, uint64_t step) const { return {visits.keys ? &keys_ : nullptr, step}; }
  Batch make_batch(size_t g, const Samples& samples, const Visits& visits, int number) const {
    const int start = number * visits.batch_size, size = std::min(visits.batch_size, visits.length - start);
    Batch batch{samples, {}, size, {}};
    for (int l = 0; l < kLanes; l++) {
      batch.order[l] = visits.orders + static_cast<int64_t>(model(g, l)) * visits.length + start;
      batch.next[l] = start + size < visits.length ? batch.order[l] + size : nullptr;
    }
    return batch;
  }

  Network network_;
  OptimizerSpec optimizer_;
  int models_;
  std::vector<Group> groups_;
  Vectors gradients_;
  PhiloxKeys keys_;
};

}  // namespace lanes
