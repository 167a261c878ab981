// A layer of a network over lanes, one sample at a time. A sample's arrays are [channel, y, x] of vectors.
#pragma once

#include "../kernels/dropout.h"
#include "../kernels/rounding.h"

namespace lanes {

struct Shape {
  int c, h, w;
  int size() const { return c * h * w; }
};

class Layer {
 public:
  Layer(Shape in, Shape out, int parameters) : in(in), out(out), parameters(parameters) {}
  virtual ~Layer() = default;
  const Shape in, out;
  const int parameters;

  virtual bool in_place() const { return false; }
  // Called once before the samples of a step; params are this layer's own.
  virtual void prepare(const Vec* params, bool training) { (void)params, (void)training; }
  virtual void train(const Vec* x, Vec* y, const DropoutPosition& position) = 0;
  virtual void evaluate(const Vec* x, Vec* y) = 0;
  // One image for all lanes; only the network's first layer is asked.
  virtual bool shares_images() const { return false; }
  virtual void evaluate_shared(const float* x, Vec* y) { (void)x, (void)y; }
  // Adds to this layer's parameter gradients; gx may be null where nobody asks for the input gradient. x is the input
  // as given to train(), gy may be overwritten; in place, gx is gy.
  virtual void backward(const Vec* x, Vec* gy, Vec* gx, Vec* gradients) = 0;
  // What rounding has done to the outputs y that evaluate() has just found, from what it did to the inputs; prepare() was
  // not for training.
  virtual Rounding rounding(const Rounding& inputs, const Vec* y) const = 0;
};

}  // namespace lanes
