// A population of models of one architecture: groups, their optimizer, training, evaluation.
#pragma once

#include "build.h"
#include "group.h"
#include "kernels/ranking.h"

namespace lanes {

// The sums over samples of a group's models.
struct Tally {
  double loss[kLanes] = {};
  int64_t right[kLanes] = {};

  void add(const Layout& layout, int round, int samples, Vec losses, uint32_t right_lanes) {
    layout.each_sample(round, samples, [&](int m, int, int lane) {
      loss[m] += static_cast<double>(losses[lane]);
      right[m] += right_lanes >> lane & 1;
    });
  }
  void report(const Group& g, int samples, double* mean_loss, int64_t* correct) const {
    for (int m = 0; m < g.layout.models; m++) {
      mean_loss[g.first_model + m] = loss[m] / samples;
      correct[g.first_model + m] = right[m];
    }
  }
};

class Engine {
 public:
  Engine(Network network, const OptimizerSpec& optimizer, int models)
      : network_(std::move(network)), optimizer_(optimizer), groups_(groups_of(models, network_.parameters())) {}

  int parameters() const { return network_.parameters(); }
  uint64_t steps = 0;

  void set_hyperparameters(const Hyperparameters& h) {
    for (Group& g : groups_) g.set_hyperparameters(h, network_.dropouts().size());
  }
  void get(State which, float* out) const {  // [models, parameters]
    for (const Group& g : groups_) g.get(which, out);
  }
  void set(State which, const float* in) {
    for (Group& g : groups_) g.set(which, in);
  }

  // One pass over the data, in each model's own order. The loss and the right predictions are those of the steps themselves.
  void train(const Samples& samples, const Visits& visits, double* mean_loss, int64_t* correct) {
    const FlushDenormals flush;
    const int batches = (visits.length + visits.batch_size - 1) / visits.batch_size;
    for (Group& g : groups_) {
      begin(g, visits.keys);
      Tally tally;
      for (int b = 0; b < batches; b++) {
        find_gradients(g, samples, Batch(g.layout, g.first_model, visits, b), dropout_step(visits, steps + b), tally);
        g.step(optimizer_, steps + b + 1);
      }
      tally.report(g, visits.length, mean_loss, correct);
    }
    steps += batches;
  }

  // The gradients [models, parameters] of the first batch; nothing changes.
  void gradients(const Samples& samples, const Visits& visits, float* out, double* mean_loss) {
    const FlushDenormals flush;
    std::vector<int64_t> correct(groups_.back().first_model + groups_.back().layout.models);
    for (Group& g : groups_) {
      begin(g, visits.keys);
      const Batch batch(g.layout, g.first_model, visits, 0);
      Tally tally;
      find_gradients(g, samples, batch, dropout_step(visits, steps), tally);
      tally.report(g, batch.size, mean_loss, correct.data());
      g.get_gradients(out);
    }
  }

  // correct counts the right predictions among all images but the near ties.
  void evaluate(const Samples& samples, const Evaluation& to) {
    const FlushDenormals flush;
    for (const Group& g : groups_) evaluate_group(g, samples, to);
  }

  // The logits [models, samples, classes].
  void outputs(const Samples& samples, float* out) {
    const FlushDenormals flush;
    for (const Group& g : groups_) {
      network_.prepare(g.lane_params(lane_params_), true);
      for (int r = 0; r < g.layout.rounds(samples.count); r++) {
        const Logits logits = evaluated(g, in_sequence(g, samples, r)).logits;
        g.layout.each_sample(r, samples.count, [&](int m, int sample, int lane) {
          float* to = out + (int64_t(g.first_model + m) * samples.count + sample) * logits.classes;
          for (int c = 0; c < logits.classes; c++) to[c] = logits.values[c][lane];
        });
      }
    }
  }

 private:
  // The mean gradient of the batch's losses.
  void find_gradients(Group& g, const Samples& samples, const Batch& batch, const DropoutStep& step, Tally& tally) {
    const Vec weight = splat(1.f / static_cast<float>(batch.size));
    std::fill(g.gradients.begin(), g.gradients.end(), zero());
    network_.prepare(g.lane_params(lane_params_), true);
    for (int r = 0; r < batch.rounds; r++) {
      Vec* to = g.gradients.data();
      if (g.layout.spread()) {
        lane_gradients_.assign(g.padded_parameters(), zero());
        to = lane_gradients_.data();
      }
      const LaneSamples chosen = LaneSamples::of(samples, network_.image().size(), [&](int l) { return batch.image(r, l); });
      prefetch(samples, batch, r);
      const DropoutPosition position(step, [&](int l) { return static_cast<uint32_t>(batch.position(r, l)); });
      const Outcome outcome = network_.train(chosen, position, weight, to);
      if (g.layout.spread()) g.add_in_order(to, r, batch.size);
      tally.add(g.layout, r, batch.size, outcome.losses, bits(equal(outcome.predicted, chosen.label)));
    }
  }

  // The images come in random order: ask for the next ones while these are worked on.
  void prefetch(const Samples& samples, const Batch& batch, int round) const {
    const int64_t size = network_.image().size();
    for (int l = 0; l < kLanes; l++) {
      const int32_t image = batch.next_image(round, l);
      if (image < 0) return;
      const char* from = reinterpret_cast<const char*>(samples.images + image * size);
      for (size_t k = 0; k < size * sizeof(float); k += 64) __builtin_prefetch(from + k, 0, 2);
    }
  }

  void evaluate_group(const Group& g, const Samples& samples, const Evaluation& to) {
    network_.prepare(g.lane_params(lane_params_), false);
    std::fill_n(to.near_tie_count + g.first_model, g.layout.models, 0);
    Tally tally;
    for (int r = 0; r < g.layout.rounds(samples.count); r++) {
      const LaneSamples chosen = in_sequence(g, samples, r);
      const auto [logits, deviation] = evaluated(g, chosen);
      const Vec tolerance = tie_tolerance(deviation, to.deviations);
      const Vec losses = cross_entropy(logits, chosen.label, zero(), nullptr);
      const Ranking ranking = rank(logits, tolerance);
      tally.add(g.layout, r, samples.count, losses, bits(both(equal(ranking.best, chosen.label), negate(ranking.near_tie))));
      g.layout.each_sample(r, samples.count, [&](int m, int sample, int lane) {
        to.tie_tolerance[(g.first_model + m) * static_cast<int64_t>(samples.count) + sample] = tolerance[lane];
      });
      if (bits(ranking.near_tie)) note_near_ties(g, r, samples.count, bits(ranking.near_tie), logits, to);
    }
    tally.report(g, samples.count, to.mean_loss, to.correct);
  }

  Evaluated evaluated(const Group& g, const LaneSamples& chosen) {
    return g.layout.spread() ? network_.evaluate(chosen) : network_.evaluate_shared(chosen.image[0]);
  }

  // All samples, as evaluation gives them to the lanes.
  LaneSamples in_sequence(const Group& g, const Samples& samples, int round) const {
    return LaneSamples::of(samples, network_.image().size(),
                           [&](int l) { return std::min(g.layout.sample(round, l), samples.count - 1); });
  }

  // How near a tie the rounding of two logits may have decided.
  static Vec tie_tolerance(Vec deviation, double deviations) {
    constexpr double kOfDifference = 1.4142135623730951;
    return deviations > 0 ? deviation * static_cast<float>(deviations * kOfDifference) : zero();
  }

  static void note_near_ties(const Group& g, int round, int samples, uint32_t ties, const Logits& logits,
                             const Evaluation& to) {
    g.layout.each_sample(round, samples, [&](int m, int sample, int lane) {
      if (!(ties >> lane & 1)) return;
      const int64_t model = g.first_model + m, at = model * samples + to.near_tie_count[model]++;
      to.near_ties[at] = sample;
      to.near_tie_logits[at] = digest(logits, lane);
    });
  }

  // Lets the network draw dropout as the group's models do.
  void begin(const Group& g, const uint64_t* keys) {
    const auto& dropouts = network_.dropouts();
    for (size_t d = 0; d < dropouts.size(); d++) dropouts[d]->set_rates(g.rates.data() + d * kLanes);
    if (!keys) return;
    uint64_t own[kLanes];
    for (int l = 0; l < kLanes; l++) own[l] = keys[g.model(l)];
    keys_.set(own);
  }
  DropoutStep dropout_step(const Visits& visits, uint64_t step) const { return {visits.keys ? &keys_ : nullptr, step}; }

  Network network_;
  OptimizerSpec optimizer_;
  std::vector<Group> groups_;
  Vectors lane_params_, lane_gradients_;  // of the group at hand, where its models have several lanes each
  PhiloxKeys keys_;
};

}  // namespace lanes
