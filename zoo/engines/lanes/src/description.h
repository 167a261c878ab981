// What numbers.h says, as JSON, with the version of the sources: Python reads it when it loads the library.
#pragma once

#include <string>
#include <type_traits>

#include "numbers.h"
#include "simd.h"

#ifndef LANES_SOURCES
#error "LANES_SOURCES, the digest of the sources as a string, is given by the build (setup.py)"
#endif

namespace lanes {

template <class T>
constexpr const char* type_name() {
  if constexpr (std::is_pointer_v<T>) return "pointer";
  else if constexpr (std::is_same_v<T, float>) return "float";
  else if constexpr (std::is_same_v<T, double>) return "double";
  else {
    static_assert(std::is_same_v<T, int32_t>, "a new type of a member needs a name here and in library.py");
    return "int32";
  }
}

// Comma-separated members of a JSON object or array.
class List {
 public:
  void add(const std::string& item) { text_ += (text_.empty() ? "" : ", ") + item; }
  std::string object() const { return "{" + text_ + "}"; }
  std::string array() const { return "[" + text_ + "]"; }

 private:
  std::string text_;
};

inline std::string quoted(const std::string& text) { return '"' + text + '"'; }
inline std::string member(const std::string& name, const std::string& json) { return quoted(name) + ": " + json; }

inline std::string describe_numbers() {
  List tables;
#define ENTRY(name) table.add(member(#name, std::to_string(number++)));
#define TABLE(title, NAMES)                       \
  {                                               \
    List table;                                   \
    int number = 0;                               \
    NAMES(ENTRY)                                  \
    tables.add(member(#title, table.object()));   \
  }
  TABLE(LayerKind, LAYER_KINDS)
  TABLE(Activation, ACTIVATIONS)
  TABLE(Optimizer, OPTIMIZERS)
  TABLE(State, STATES)
  TABLE(Function, FUNCTIONS)
#undef TABLE
#undef ENTRY
  return tables.object();
}

inline std::string describe_structures() {
  List structures;
#define ENTRY(type, name) fields.add("[" + quoted(#name) + ", " + quoted(type_name<type>()) + "]");
#define STRUCTURE(title, FIELDS)                                                          \
  {                                                                                       \
    List fields;                                                                          \
    FIELDS(ENTRY)                                                                         \
    const std::string size = member("size", std::to_string(sizeof(title)));               \
    structures.add(member(#title, "{" + size + ", " + member("fields", fields.array()) + "}")); \
  }
  STRUCTURE(LayerSpec, LAYER_SPEC)
  STRUCTURE(NetworkSpec, NETWORK_SPEC)
  STRUCTURE(OptimizerSpec, OPTIMIZER_SPEC)
  STRUCTURE(Hyperparameters, HYPERPARAMETERS)
  STRUCTURE(Samples, SAMPLES)
  STRUCTURE(Visits, VISITS)
  STRUCTURE(Evaluation, EVALUATION)
#undef STRUCTURE
#undef ENTRY
  return structures.object();
}

inline std::string describe() {
  List all;
  all.add(member("sources", quoted(LANES_SOURCES)));
  all.add(member("lanes", std::to_string(kLanes)));
  all.add(member("numbers", describe_numbers()));
  all.add(member("structures", describe_structures()));
  return all.object();
}

}  // namespace lanes
