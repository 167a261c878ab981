// How the lanes of a group are dealt out to its models and to the samples of their batches.
#pragma once

#include <algorithm>

#include "numbers.h"
#include "simd.h"

namespace lanes {

// A group of few models gives each of them several lanes ("slots"), which work on different samples of the same batch.
// A batch then takes rounds: in round r, slot s has sample r * slots + s.
//
// Whatever the layout, a model ends up the same, bit for bit: a sample's losses and gradients are found in its lane alone,
// and summed over the batch in its order.
struct Layout {
  int models, slots;

  explicit Layout(int models) : models(models), slots(kLanes / models) {}

  bool spread() const { return slots > 1; }
  int rounds(int samples) const { return (samples + slots - 1) / slots; }
  // Lanes that are left over repeat the last model, so that they take no path of their own.
  int model(int lane) const { return std::min(lane / slots, models - 1); }
  int sample(int round, int lane) const { return round * slots + lane % slots; }

  // Calls f(model, sample, lane) for a round's samples, each model's in their order.
  template <class F>
  INLINE void each_sample(int round, int samples, F&& f) const {
    const int first = round * slots, count = std::min(slots, samples - first);
    for (int m = 0; m < models; m++)
      for (int s = 0; s < count; s++) f(m, first + s, m * slots + s);
  }
};

// One batch of a group's models: which image each lane works on in each round.
class Batch {
 public:
  // first_model: the group's first, of all those that `visits` are for.
  Batch(const Layout& layout, int first_model, const Visits& visits, int number)
      : layout_(layout), visits_(visits), first_model_(first_model), start_(number * visits.batch_size) {
    size = std::min(visits.batch_size, visits.length - start_);
    rounds = layout.rounds(size);
  }
  int size, rounds;

  // The lane's image in a round; lanes without a sample repeat the batch's last one.
  int32_t image(int round, int lane) const { return visited(lane, start_ + position(round, lane)); }
  int position(int round, int lane) const { return std::min(layout_.sample(round, lane), size - 1); }

  // The lane's image in the round that follows, be it the next batch's first; -1 if none follows.
  int32_t next_image(int round, int lane) const {
    if (round + 1 < rounds) return image(round + 1, lane);
    const int next = start_ + size;
    return next < visits_.length ? visited(lane, std::min(next + layout_.sample(0, lane), visits_.length - 1)) : -1;
  }

 private:
  int32_t visited(int lane, int at) const {
    return visits_.orders[static_cast<int64_t>(first_model_ + layout_.model(lane)) * visits_.length + at];
  }

  Layout layout_;
  Visits visits_;
  int first_model_, start_;
};

}  // namespace lanes
