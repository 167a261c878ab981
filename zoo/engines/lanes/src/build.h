// From a network's description to its layers.
#pragma once

#include <stdexcept>
#include <string>

#include "layers/convolution.h"
#include "layers/elementwise.h"
#include "layers/linear.h"
#include "layers/max_pool.h"
#include "network.h"

namespace lanes {

// Layers that the kernels do in one are joined here: a convolution and its 2x2 pool, an activation and its dropout.
class Builder {
 public:
  explicit Builder(const NetworkSpec& spec) : spec_(spec), shape_{spec.channels, spec.height, spec.width} {}

  Network build() {
    const Shape image = shape_;
    for (int k = 0; k < spec_.layer_count; k++) k += add(k) - 1;
    return Network(std::move(layers_), std::move(dropouts_), image);
  }

 private:
  // Adds the layer that begins with number k, and returns how many of the description it stands for.
  int add(int k) {
    const LayerSpec& s = spec_.layers[k];
    Elementwise* const last_activation = std::exchange(open_for_dropout_, nullptr);
    switch (static_cast<LayerKind>(s.kind)) {
      case LayerKind::convolution: {
        const ConvShape conv{shape_.c, shape_.h, shape_.w, s.outputs, s.height, s.width};
        const bool pooled = k + 1 < spec_.layer_count && is_joined_pool(spec_.layers[k + 1]);
        append<Convolution>(conv, s.bias != 0, pooled);
        return pooled ? 2 : 1;
      }
      case LayerKind::max_pool: append<MaxPool>(shape_, s.height, s.width); return 1;
      case LayerKind::activation:
        open_for_dropout_ = append<Elementwise>(shape_, static_cast<Activation>(s.activation), s.slope);
        return 1;
      case LayerKind::dropout: add_dropout(last_activation); return 1;
      case LayerKind::linear: append<Linear>(LinearShape{shape_.size(), s.outputs, s.bias != 0}); return 1;
    }
    throw std::invalid_argument("unknown layer kind " + std::to_string(s.kind));
  }

  static bool is_joined_pool(const LayerSpec& s) {
    return static_cast<LayerKind>(s.kind) == LayerKind::max_pool && s.height == 2 && s.width == 2;
  }

  void add_dropout(Elementwise* to) {
    if (!to) to = append<Elementwise>(shape_, Activation::none, 0.f);
    to->add_dropout(static_cast<int>(dropouts_.size()));
    dropouts_.push_back(to);
  }

  template <class L, class... Arguments>
  L* append(Arguments&&... arguments) {
    auto layer = std::make_unique<L>(std::forward<Arguments>(arguments)...);
    L* const added = layer.get();
    shape_ = layer->out;
    layers_.push_back(std::move(layer));
    return added;
  }

  const NetworkSpec& spec_;
  Shape shape_;  // of the output so far
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<Elementwise*> dropouts_;
  Elementwise* open_for_dropout_ = nullptr;  // the activation that the next layer may join
};

}  // namespace lanes
